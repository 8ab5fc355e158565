"""Lazy layers: after the first input they are the ordinary ones, bit for bit."""

import copy

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim

CASES = [
    ("Linear", (4,), {}, (2, 3, 6)),
    *((f"Conv{n}d", (4, 3), {"groups": 2}, (2, 6, *[5] * n)) for n in (1, 2, 3)),
    *((f"ConvTranspose{n}d", (4, 3), {"stride": 2}, (2, 6, *[5] * n)) for n in (1, 2, 3)),
    *((f"BatchNorm{n}d", (), {}, (2, 6, *[5] * n)) for n in (1, 2, 3)),
    *((f"InstanceNorm{n}d", (), {"affine": True, "track_running_stats": True}, (2, 6, *[5] * n)) for n in (1, 2, 3)),
]


@pytest.mark.parametrize(("name", "args", "named", "shape"), CASES, ids=[case[0] for case in CASES])
def test_the_first_input_makes_the_ordinary_layer(name, args, named, shape):
    eager_class = getattr(nn, name)
    size = shape[-1] if name == "Linear" else shape[1]
    x = pe.tensor(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    lazy = getattr(nn, "Lazy" + name)(*args, **named)
    held = dict(lazy.named_parameters())
    assert lazy.has_uninitialized_params()
    assert all(parameter.numel() == 0 for parameter in held.values())
    pe.manual_seed(3)
    y = lazy(x)
    assert type(lazy) is eager_class
    pe.manual_seed(3)
    eager = eager_class(size, *args, **named)
    np.testing.assert_array_equal(y.detach().numpy(), eager(x).detach().numpy())
    assert repr(lazy) == repr(eager)
    assert all(parameter is held[key] for key, parameter in lazy.named_parameters())
    # and by a state_dict, without an input
    loaded = getattr(nn, "Lazy" + name)(*args, **named)
    loaded.load_state_dict(eager.state_dict())
    assert type(loaded) is eager_class
    np.testing.assert_array_equal(loaded.eval()(x).detach().numpy(), eager.eval()(x).detach().numpy())


def network():
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3, bias=False)
    )


def test_an_optimizer_made_first_and_a_copy_learn():
    net = network()
    twin = copy.deepcopy(net)
    x, target = pe.randn(6, 2, 5, 5), pe.tensor([0, 1, 2, 0, 1, 2])
    for model in (net, twin):
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
    assert net[0].weight.shape == (8, 2, 3, 3)
    assert net[0].weight is not twin[0].weight


def test_what_is_frozen_or_converted_stays_so():
    layer = nn.LazyLinear(2).requires_grad_(False)
    layer(pe.ones(1, 3))
    assert not layer.weight.requires_grad
    small = nn.LazyLinear(2).to(pe.bfloat16)
    small.initialize_parameters(pe.ones(1, 3))
    assert small.weight.dtype == pe.bfloat16


def test_placeholders_go_through_a_state_dict():
    state = network().state_dict()
    net = network()
    net.load_state_dict(state)
    assert isinstance(net[0], nn.LazyConv2d)
    net(pe.randn(6, 2, 5, 5))
    with pytest.raises(RuntimeError, match=r"0\.weight: shape \(0,\) was given"):
        net.load_state_dict(state)


def test_an_input_that_does_not_fit_leaves_it_lazy():
    layer = nn.LazyConv2d(4, 3, groups=2)
    for wrong, error, text in (
        (pe.ones(2, 3), ValueError, r"LazyConv2d: x of shape \(2, 3\) must have 3 or 4 axes"),
        (pe.ones(1, 3, 5, 5), ValueError, "in_channels must be an integer divisible by 2 groups, got 3"),
        ("x", TypeError, "LazyConv2d: the input must be a Tensor, got str"),
    ):
        with pytest.raises(error, match=text):
            layer(wrong)
        assert isinstance(layer, nn.LazyConv2d)
    with pytest.raises(ValueError, match=r"LazyLinear: x must have an axis"):
        nn.LazyLinear(2)(pe.tensor(1.0))
    assert layer(pe.ones(1, 2, 5, 5)).shape == (1, 4, 3, 3)
