"""Convolution, batch norm and activation as one: within rounding of the three, and never when it could be told."""

import copy
import gc
import pickle
from weakref import ref

import numpy as np
import pytest
from test_conv_pool import convolved
from test_own_kernels import no_numpy_arithmetic  # noqa: F401 (a fixture)

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import io, models, nn, optim
from pyengine.nn import conv_norm
from pyengine.nn.conv_norm import conv_norm_act
from pyengine.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights, fuse_linear_bn_eval

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
OPTIONS = ({}, {"bias": False, "padding": 1}, {"groups": 2, "stride": 2}, {"groups": 4, "padding": 1},
           {"padding": 1, "padding_mode": "reflect"}, {"dilation": 2, "padding": "same"})  # fmt: skip
ACTIVATIONS = {
    "none": (None, lambda v: v), "relu": (nn.ReLU(), lambda v: np.maximum(v, 0)),
    "relu6": (F.relu6, lambda v: np.clip(v, 0, 6)), "silu": (nn.SiLU(), lambda v: v / (1 + np.exp(-v))),
    "hardswish": (nn.Hardswish(), lambda v: v * np.clip(v + 3, 0, 6) / 6), "tanh": (nn.Tanh(), np.tanh),
}  # fmt: skip


def numbers(*shape, seed=0):
    return pe.tensor(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32))


def random_norm(norm, seed=0):
    """Its tensors drawn anew, in evaluation mode."""
    with pe.no_grad():
        for i, name in enumerate(("weight", "bias", "running_mean", "running_var")):
            tensor = getattr(norm, name)
            if tensor is not None:
                drawn = numbers(*tensor.shape, seed=seed + i)
                tensor.copy_(drawn.abs() + 0.5 if name == "running_var" else drawn)
    return norm.eval()


def pair(n=2, inputs=4, outputs=8, norm=None, **options):
    pe.manual_seed(0)
    conv = CONVS[n](inputs, outputs, 3, **options).eval()
    return conv, random_norm(NORMS[n](outputs, **(norm or {})))


def same(a, b):
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def is_fused(conv):
    return conv in conv_norm._kept


def apart(x, conv, norm, activation=None, residual=None):
    y = norm(conv(x))
    y = y if residual is None else y + residual
    return y if activation is None else activation(y)


# ---- by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize("affine", (True, False))
@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_fuse_conv_bn_eval(options, affine):
    conv, norm = pair(norm={"affine": affine}, **options)
    conv.weight.requires_grad_(False)
    x = numbers(2, 4, 7, 6)
    made = fuse_conv_bn_eval(conv, norm)
    assert type(made) is nn.Conv2d and made is not conv
    assert isinstance(made.weight, nn.Parameter) and isinstance(made.bias, nn.Parameter)
    assert not made.weight.requires_grad and made.bias.requires_grad == (conv.bias is not None)
    np.testing.assert_allclose(made(x).detach().numpy(), norm(conv(x)).detach().numpy(), 1e-5, 1e-5)


def test_fuse_transposed_and_linear():
    conv = nn.ConvTranspose2d(4, 8, 3, 2).eval()
    norm, x = random_norm(nn.BatchNorm2d(8)), numbers(2, 4, 5, 6)
    made = fuse_conv_bn_eval(conv, norm, transpose=True)
    np.testing.assert_allclose(made(x).detach().numpy(), norm(conv(x)).detach().numpy(), 1e-5, 1e-5)
    linear, norm, x = nn.Linear(5, 7).eval(), random_norm(nn.BatchNorm1d(7)), numbers(3, 5)
    made = fuse_linear_bn_eval(linear, norm)
    np.testing.assert_allclose(made(x).detach().numpy(), norm(linear(x)).detach().numpy(), 1e-5, 1e-5)
    w, b = fuse_conv_bn_weights(linear.weight, None, norm.running_mean, norm.running_var, norm.eps, None, None)
    assert w.shape == (7, 5) and b.shape == (7,) and not b.requires_grad


def test_fuse_refuses():
    conv, norm = pair()
    with pytest.raises(AssertionError, match="evaluation mode"):
        fuse_conv_bn_eval(conv.train(), norm)
    with pytest.raises(AssertionError, match="running statistics"):
        fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(8, track_running_stats=False).eval())
    with pytest.raises(AssertionError, match="7 outputs"):
        fuse_linear_bn_eval(nn.Linear(5, 7).eval(), nn.BatchNorm1d(6).eval())


# ---- by itself: values -------------------------------------------------------------------


@pytest.mark.parametrize("added", (False, True))
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_one_convolution_rounds_as_three_do(n, options, name, added):
    """|fused - exact| <= 1.5 (K + 8) u (sums of |terms|) with K terms of u = 2^-24: the bound of the three calls too.
    1.5 is more than any slope of these activations."""
    conv, norm = pair(n, **options)
    activation, exact = ACTIVATIONS[name]
    x = numbers(2, 4, *(7, 6, 5)[:n])
    with pe.no_grad():
        plain = norm(conv(x))
        residual = numbers(*plain.shape, seed=9) if added else None
        fused = conv_norm_act(x, conv, norm, activation, residual)
        assert is_fused(conv)
        absolute = copy.deepcopy(conv)
        absolute.weight.copy_(conv.weight.abs())
        if conv.bias is not None:
            absolute.bias.copy_(conv.bias.abs())
        terms = absolute(x.abs()).numpy().astype(np.float64)
    spread = (1, -1, *[1] * n)
    s = norm.weight.detach().numpy().astype(np.float64) / np.sqrt(
        norm.running_var.numpy().astype(np.float64) + norm.eps
    )
    mean, shift = norm.running_mean.numpy().astype(np.float64), norm.bias.detach().numpy().astype(np.float64)
    y = (exact_conv(conv, x) - mean.reshape(spread)) * s.reshape(spread) + shift.reshape(spread)
    total = (terms + np.abs(mean).reshape(spread)) * np.abs(s).reshape(spread) + np.abs(shift).reshape(spread)
    if added:
        y, total = y + residual.numpy(), total + np.abs(residual.numpy())
    bound = 1.5 * (np.prod(conv.weight.shape[1:]) + 8) * 2.0**-24 * total + 1e-6 * (name == "tanh")
    assert (np.abs(fused.numpy() - exact(y)) <= bound).all()
    unfused = apart(x, conv, norm, activation, residual).detach().numpy()
    assert (np.abs(unfused - exact(y)) <= bound).all()


def exact_conv(conv, x):
    """conv(x) in float64."""
    x, padding = x.numpy(), conv.padding if isinstance(conv.padding, str) else conv.padding[0]
    if conv.padding_mode != "zeros":
        x, padding = np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * conv.axes], mode=conv.padding_mode), 0
    w = conv.weight.detach().numpy().astype(np.float64)
    out = convolved(x, w, conv.stride[0], padding, conv.dilation[0], conv.groups)
    return out if conv.bias is None else out + conv.bias.detach().numpy().reshape(1, -1, *[1] * conv.axes)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_bits_in_either_layout(name):
    conv, norm = pair(bias=False, padding=1)
    x, residual = numbers(2, 4, 7, 6), numbers(2, 8, 7, 6, seed=1)
    with pe.no_grad():
        results = [
            conv_norm_act(x.to(memory_format=a), conv, norm, ACTIVATIONS[name][0], residual.to(memory_format=b))
            for a in (pe.contiguous_format, pe.channels_last)
            for b in (pe.contiguous_format, pe.channels_last)
        ]
    for other in results[1:]:
        same(results[0], other)


def test_without_a_norm_the_bits_are_those_of_the_layers():
    conv, act = nn.Conv2d(3, 8, 3), nn.ReLU()
    x = numbers(2, 3, 6, 6)
    with pe.no_grad():
        same(nn.Sequential(conv, act)(x), act(conv(x)))
        same(conv_norm_act(x, conv, None, F.silu), F.silu(conv(x)))


def test_infinite_weights_are_not_folded():
    conv, norm = pair()
    with pe.no_grad():
        norm.running_var.zero_()
        norm.eps = 0.0
        same(conv_norm_act(numbers(1, 4, 5, 5), conv, norm), norm(conv(numbers(1, 4, 5, 5))))


# ---- by itself: what is seen ----------------------------------------------------------------

WRITES = {
    "weight": lambda c, n: c.weight.mul_(2.0), "bias": lambda c, n: c.bias.add_(1.0),
    "norm's weight": lambda c, n: n.weight.mul_(2.0), "norm's bias": lambda c, n: n.bias.add_(1.0),
    "mean": lambda c, n: n.running_mean.add_(1.0), "variance": lambda c, n: n.running_var.mul_(2.0),
    "an element": lambda c, n: c.weight.__setitem__((0, 0, 0, 0), 5.0),
    "eps": lambda c, n: setattr(n, "eps", 0.5), "data": lambda c, n: setattr(c.weight, "data", c.weight * 3.0),
    "parameter": lambda c, n: setattr(c, "weight", nn.Parameter(c.weight * 3.0)),
    "buffer": lambda c, n: setattr(n, "running_mean", n.running_mean + 1.0),
    "numpy": lambda c, n: c.weight.detach().numpy().__imul__(2.0),
    "load": lambda c, n: n.load_state_dict({k: v + 1 for k, v in n.state_dict().items()}),
    "to": lambda c, n: c.to(memory_format=pe.channels_last), "reset": lambda c, n: n.reset_running_stats(),
    "no bias": lambda c, n: setattr(c, "bias", None), "dilation": lambda c, n: setattr(c, "dilation", [2, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES)
def test_writes_are_seen(name):
    conv, norm = pair()
    x = numbers(2, 4, 6, 6)
    with pe.no_grad():
        before = conv_norm_act(x, conv, norm)
        same(before, conv_norm_act(x, conv, norm))
        WRITES[name](conv, norm)
        after = conv_norm_act(x, conv, norm)
        same(after, conv_norm_act(x, *copy.deepcopy((conv, norm))))
        assert name in ("to", "dilation") or np.abs(after.numpy() - before.numpy()).max() > 1e-3
        np.testing.assert_allclose(after.numpy(), norm(conv(x)).numpy(), 1e-4, 1e-4)


def test_arrays_that_write_unseen():
    conv, norm = pair()
    x, array = numbers(2, 4, 6, 6), conv.weight.detach().numpy()
    with pe.no_grad():
        for factor in (1.0, 2.0, 2.0):
            array *= factor
            same(conv_norm_act(x, conv, norm), conv_norm_act(x, *copy.deepcopy((conv, norm))))


def test_training_between_evaluations():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    optimizer, x = optim.SGD(net.parameters(), 0.1), numbers(4, 3, 6, 6)
    for _ in range(3):
        net.train()
        net(x).square().mean().backward()
        assert not is_fused(net[0])
        optimizer.step()
        net.eval()
        with pe.no_grad():
            y = net(x)
            assert is_fused(net[0])
            same(y, copy.deepcopy(net)(x))
        np.testing.assert_allclose(y.numpy(), net(x).detach().numpy(), 1e-4, 1e-4)  # on the tape: unfused


# ---- by itself: what switches it off ---------------------------------------------------------


class Doubled(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2.0


def _parametrized(net):
    nn.utils.parametrizations.weight_norm(net[0])


OFF = {
    "training": lambda net: net[1].train(), "parametrized": _parametrized,
    "hook on conv": lambda net: net[0].register_forward_hook(lambda m, a, y: y * 2.0),
    "hook on norm": lambda net: net[1].register_forward_pre_hook(lambda m, a: (a[0] * 2.0,)),
    "instance": lambda net: setattr(net[0], "forward", lambda x: nn.Conv2d.forward(net[0], x) * 2.0),
    "no statistics": lambda net: setattr(net, "1", nn.BatchNorm2d(8, track_running_stats=False).eval()),
    "subclass": lambda net: setattr(net, "0", Doubled(3, 8, 3).eval()),
}  # fmt: skip


@pytest.mark.parametrize("name", OFF)
def test_what_switches_it_off(name):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU()).eval()
    OFF[name](net)
    x = numbers(2, 3, 6, 6)
    with pe.no_grad():
        y = net(x)
        assert not is_fused(net[0])
        same(y, net[2](net[1](net[0](x))))


def test_a_hook_on_the_activation_runs():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU()).eval()
    calls = []
    handle = net[2].register_forward_hook(lambda m, a, y: calls.append(y.shape))
    with pe.no_grad():
        a = net(numbers(2, 3, 6, 6))
        handle.remove()
        same(a, net(numbers(2, 3, 6, 6)))
    assert calls == [(2, 8, 4, 4)]


def test_the_tape_switches_it_off():
    conv, norm = pair()
    x = numbers(2, 4, 6, 6).requires_grad_()
    y = conv_norm_act(x, conv, norm, F.relu)
    assert not is_fused(conv)
    (dx,) = pe.grad(y, x, pe.ones_like(y))
    same(dx, pe.grad(F.relu(norm(conv(x))), x, pe.ones_like(y))[0])
    for module in (conv, norm):
        module.requires_grad_(False)
    assert conv_norm_act(x, conv, norm).requires_grad and not is_fused(conv)
    residual = numbers(2, 8, 4, 4).requires_grad_()
    assert conv_norm_act(x.detach(), conv, norm, F.relu, residual).requires_grad
    conv_norm_act(x.detach(), conv, norm)
    assert is_fused(conv)  # nothing requires grad: there is no tape to record on


def test_a_convolution_that_norms_share():
    conv, first = pair()
    second, x = random_norm(nn.BatchNorm2d(8), seed=5), numbers(2, 4, 6, 6)
    with pe.no_grad():
        for norm in (first, second, first):
            np.testing.assert_allclose(conv_norm_act(x, conv, norm).numpy(), norm(conv(x)).numpy(), 1e-4, 1e-4)
        same(conv_norm_act(x, conv, second), second(conv(x)))


def test_errors_are_those_of_the_layers():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    with pe.no_grad():
        with pytest.raises(RuntimeError, match="channels are expected"):
            net(numbers(2, 4, 6, 6))
        with pytest.raises(ValueError, match="must have 4 axes"):
            net(numbers(3, 6, 6))
        with pytest.raises(TypeError):
            net("no tensor")
        with pytest.raises(ValueError, match="residual of shape"):
            conv_norm_act(numbers(2, 3, 6, 6), net[0], net[1], net[2], numbers(2, 8, 5, 4))


# ---- memory ------------------------------------------------------------------------------------


def test_what_was_folded_dies_with_its_module():
    conv, norm = pair()
    with pe.no_grad():
        conv_norm_act(numbers(2, 4, 6, 6), conv, norm)
    kept = ref(conv), len(conv_norm._kept)
    del conv
    gc.collect()
    assert kept[0]() is None and len(conv_norm._kept) < kept[1]


def test_trim_forgets():
    conv, norm = pair()
    with pe.no_grad():
        y = conv_norm_act(numbers(2, 4, 6, 6), conv, norm)
        pe.trim()
        assert not is_fused(conv)
        same(conv_norm_act(numbers(2, 4, 6, 6), conv, norm), y)


def test_copies_and_files_do_not_know(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), random_norm(nn.BatchNorm2d(8)), nn.ReLU()).eval()
    x, keys = numbers(2, 3, 6, 6), list(net.state_dict())
    with pe.no_grad():
        y = net(x)
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            same(other(x), y)
        io.save_file(net.state_dict(), tmp_path / "net.safetensors")
    assert list(net.state_dict()) == keys


# ---- networks ------------------------------------------------------------------------------------

NETWORKS = {
    "resnet18": (lambda: models.resnet18(num_classes=5, stem="3x3"), (2, 3, 16, 16)),
    "resnet50": (lambda: models.resnet50(num_classes=5), (1, 3, 40, 40)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(num_classes=5), (2, 3, 32, 32)),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=5), (2, 3, 32, 32)),
    "efficientnet": (lambda: models.efficientnet_lite0(num_classes=5), (1, 3, 33, 32)),
    "unet": (lambda: models.unet(num_classes=3, width=8, depth=2), (1, 3, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_fused(name):
    pe.manual_seed(0)
    make, shape = NETWORKS[name]
    net, x = make(), numbers(*shape)
    net.train()
    net(x if x.shape[0] > 1 else pe.cat([x, -x]))  # running statistics of its own
    net.eval()
    unfused = net(x).detach().numpy()  # on the tape
    with pe.no_grad():
        fused = net(x).numpy()
        again = net(x).numpy()
    followed = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert sum(m in conv_norm._kept for m in net.modules()) == followed > 0
    np.testing.assert_array_equal(fused, again)
    assert np.abs(fused - unfused).max() <= 1e-4 * max(np.abs(unfused).max(), 1.0)


@pytest.mark.parametrize("name", ("resnet18", "mobilenet_v3"))
def test_folding_runs_on_own_kernels(no_numpy_arithmetic, name):  # noqa: F811
    make, shape = NETWORKS[name]
    net = make().eval()
    with pe.no_grad():
        net(pe.rand(*shape))
