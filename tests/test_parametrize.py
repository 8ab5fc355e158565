"""Computed parameters, other tensors in a module's place, layers that are not drawn."""

import copy
import pickle

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn
from pyengine.nn.utils import functional_call, parametrize, skip_init
from pyengine.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

# ---- other tensors, no draws -----------------------------------------------------


def test_functional_call():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    net[2].weight = net[0].weight
    w = pe.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    zero = {"0.bias": pe.zeros(2), "2.bias": pe.zeros(2)}
    x = pe.tensor([[0.5, -1.0]])
    y = functional_call(net, {"0.weight": w, **zero}, x)
    np.testing.assert_allclose(y.detach().numpy(), np.tanh([[0.5, -1.0]]), rtol=1e-6)
    y.sum().backward()
    assert w.grad is not None and net[0].weight is net[2].weight and net[0].weight.grad is None
    with pytest.raises(RuntimeError, match="'nothing'"):
        functional_call(net, {"nothing": w}, x)
    with pytest.raises(RuntimeError, match="not given"):
        functional_call(net, {"0.weight": w}, x, strict=True)
    with pytest.raises(ValueError, match="tied"):
        functional_call(net, {"0.weight": w, "2.weight": pe.zeros(2, 2)}, x)


def test_skip_init_draws_nothing():
    before = pe.default_generator.get_state()
    layer = skip_init(nn.Linear, 3, 2, bias=False)
    assert pe.default_generator.get_state() == before and layer.weight.shape == (2, 3)
    nn.Linear(3, 2)
    assert pe.default_generator.get_state() != before
    with pytest.raises(TypeError, match="class of Module"):
        skip_init(print)


# ---- parametrizations ------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x):
        return (x + x.T) * 0.5

    def right_inverse(self, value):
        return value


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2.0

    def right_inverse(self, value):
        return value * 0.5


def test_parametrize():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert layer.parametrizations.weight.original is weight and not isinstance(layer.weight, nn.Parameter)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert repr(layer).startswith("ParametrizedLinear(\n  in_features=3")
    assert layer.weight.tolist() == layer.weight.T.tolist()
    layer(pe.ones(1, 3)).sum().backward()
    assert weight.grad.tolist() == [[1.0] * 3] * 3
    parametrize.register_parametrization(layer, "weight", Doubled())
    value = pe.tensor([[2.0, 1.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 6.0]])
    layer.weight = value
    assert layer.weight.tolist() == value.tolist() and weight.tolist() == (value * 0.5).tolist()
    twin = copy.deepcopy(layer)
    assert pickle.loads(pickle.dumps(layer)).weight.tolist() == value.tolist()
    parametrize.remove_parametrizations(layer, "weight")
    assert layer.weight is weight and weight.tolist() == value.tolist() and not hasattr(layer, "parametrizations")
    assert parametrize.is_parametrized(twin, "weight") and not parametrize.is_parametrized(layer)
    parametrize.remove_parametrizations(twin, "weight", leave_parametrized=False)
    assert twin.weight.tolist() == (value * 0.5).tolist()


def test_parametrize_caches_and_refuses():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 1.0

    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counted())
    calls.clear()
    with parametrize.cached():
        assert layer.weight is layer.weight and len(calls) == 1
        layer(pe.ones(1, 2))
        assert len(calls) == 1
    assert layer.weight is not layer.weight and len(calls) == 3
    with pytest.raises(RuntimeError, match="no right_inverse"):
        layer.weight = pe.ones(2, 2)
    with pytest.raises(ValueError, match="'nothing'"):
        parametrize.register_parametrization(layer, "nothing", Doubled())
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        parametrize.register_parametrization(nn.Linear(3, 2), "weight", type("T", (nn.Module,), {
            "forward": lambda self, x: x.T})())  # fmt: skip
    with pytest.raises(ValueError, match="no parametrization"):
        parametrize.remove_parametrizations(layer, "bias")


def test_weight_norm():
    layer = nn.Linear(4, 3)
    before = layer.weight.tolist()
    weight_norm(layer)
    np.testing.assert_allclose(layer.weight.tolist(), before, rtol=1e-6)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert g.shape == (3, 1) and v.shape == (3, 4)
    with pe.no_grad():
        v.mul_(7.0)
        g.fill_(2.0)
    np.testing.assert_allclose(layer.weight.square().sum(1).tolist(), [4.0] * 3, rtol=1e-6)
    f = layer.parametrizations.weight[0]
    assert pe.autograd.gradcheck(f, (g.detach().requires_grad_(), pe.randn(3, 4, requires_grad=True)))
    state = {"bias": pe.zeros(3), "weight_g": pe.ones(3, 1), "weight_v": pe.ones(3, 4)}
    layer.load_state_dict(state)
    np.testing.assert_allclose(layer.weight.tolist(), [[0.5] * 4] * 3, rtol=1e-6)
    assert weight_norm(nn.Linear(4, 3), dim=None).parametrizations.weight.original0.shape == ()
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(ValueError, match="several"):
        parametrize.remove_parametrizations(weight_norm(nn.Linear(2, 2)), "weight", leave_parametrized=False)


def test_spectral_norm():
    pe.manual_seed(0)
    layer = spectral_norm(nn.Linear(5, 7))
    for _ in range(40):
        layer(pe.ones(1, 5))
    assert np.linalg.svd(layer.weight.detach().numpy())[1][0] == pytest.approx(1.0, abs=1e-4)
    layer.eval()
    u = layer.parametrizations.weight[0]._u.tolist()
    (layer(pe.ones(1, 5)) - layer(pe.ones(1, 5))).sum().backward()
    assert layer.parametrizations.weight[0]._u.tolist() == u
    assert "parametrizations.weight.0._u" in layer.state_dict()
    layer.train()
    (layer(pe.ones(1, 5)) - layer(pe.ones(1, 5))).sum().backward()  # u and v were written in between
    with pytest.raises(IndexError, match="axis 2"):
        spectral_norm(nn.Linear(2, 2), dim=2)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("base", [True, False])
def test_orthogonal(shape, how, base):
    pe.manual_seed(1)
    layer = nn.Linear(shape[1], shape[0])
    nn.init.orthogonal_(layer.weight)
    before = layer.weight.detach().clone()
    orthogonal(layer, orthogonal_map=how, use_trivialization=base)
    if base or how == "householder":
        np.testing.assert_allclose(layer.weight.tolist(), before.tolist(), atol=1e-5)
    original = layer.parametrizations.weight.original
    (layer.weight * pe.randn(*shape)).sum().backward()
    with pe.no_grad():
        original.sub_(original.grad * 0.3)
    q = layer.weight.detach().numpy().astype(float)
    q = q if shape[0] >= shape[1] else q.T
    np.testing.assert_allclose(q.T @ q, np.eye(q.shape[1]), atol=1e-5)
    assert np.abs(layer.weight.tolist() - np.array(before.tolist())).max() > 0.01
    if how != "householder":  # the sign of its diagonal is no smooth function
        assert pe.autograd.gradcheck(layer.parametrizations.weight[0], original.detach().requires_grad_())
