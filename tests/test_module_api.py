"""Modules beyond the layers: hooks, conversions, containers, state, parametrizations, summary."""

import copy
import pickle

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn
from pyengine.io import load_file, load_model, save_file, save_model
from pyengine.nn.summary import summary
from pyengine.nn.utils import functional_call, parametrize, skip_init
from pyengine.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm


class Pair(nn.Module):
    """Two inputs, two outputs, a keyword."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(pe.tensor([2.0]))

    def forward(self, a, b, *, shift=0.0):
        if shift == "fail":
            raise ValueError("fail")
        return a * self.scale + shift, b * a


# ---- hooks around forward --------------------------------------------------------


def test_forward_hooks_replace_and_are_removed():
    layer, seen = nn.Identity(), []
    layer.register_forward_pre_hook(lambda m, args: args[0] + 1.0)
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].item()))
    layer.register_forward_pre_hook(lambda m, args: seen.append("early"), prepend=True)
    handle = layer.register_forward_hook(lambda m, args, y: y * 10.0)
    layer.register_forward_hook(lambda m, args, y: seen.append((args[0].item(), y.item())))
    assert layer(pe.tensor(1.0)).item() == 20.0
    assert seen == ["early", 2.0, (2.0, 20.0)]
    handle.remove()
    assert layer(pe.tensor(1.0)).item() == 2.0
    with layer.register_forward_hook(lambda m, args, y: y - 2.0):
        assert layer(pe.tensor(1.0)).item() == 0.0
    assert layer(pe.tensor(1.0)).item() == 2.0


def test_forward_hooks_with_keywords():
    layer, seen, one = Pair(), [], pe.ones(1)
    layer.register_forward_pre_hook(lambda m, args, kwargs: (args, {"shift": kwargs["shift"] + 1.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kwargs, y: seen.append(kwargs), with_kwargs=True)
    assert layer(one, one, shift=1.0)[0].item() == 4.0 and seen == [{"shift": 2.0}]
    wrong = nn.Identity()
    wrong.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"\(args, kwargs\)"):
        wrong(one)
    with pytest.raises(TypeError, match="callable"):
        wrong.register_forward_hook(3)


def test_always_called_hooks():
    layer, seen, one = Pair(), [], pe.ones(1)
    layer.register_forward_hook(lambda m, args, y: seen.append("usual"))
    layer.register_forward_hook(lambda m, args, y: seen.append(y), always_call=True)
    with pytest.raises(ValueError, match="fail"):
        layer(one, one, shift="fail")
    assert seen == [None]


def test_full_backward_hooks_see_and_replace():
    layer, seen = Pair(), []
    a, b = pe.tensor([3.0], requires_grad=True), pe.tensor([5.0], requires_grad=True)
    layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 10.0, go[1]))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(([g.item() for g in gi], [g.item() for g in go])))
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 2.0, gi[1]))
    y, z = layer(a, b)
    (y + z).sum().backward()
    # d/da = 10 * 2 + 5, d/db = 3, d/dscale = 10 * 3
    assert seen == [([25.0, 3.0], [10.0, 1.0])]
    assert (a.grad.item(), b.grad.item(), layer.scale.grad.item()) == (50.0, 3.0, 30.0)
    assert layer(a, b)[0].item() == 6.0


def test_full_backward_hooks_where_no_input_wants_a_gradient():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(pe.ones(3, 2)).sum().backward()
    assert seen == [((None,), [[1.0]] * 3)] and layer.weight.grad.tolist() == [[3.0, 3.0]]
    with pe.no_grad():
        layer(pe.ones(3, 2))
    layer.register_full_backward_hook(lambda m, gi, go: (pe.ones(3, 2),))
    with pytest.raises(RuntimeError, match="no input wants a gradient"):
        layer(pe.ones(3, 2)).sum().backward()


def test_hooks_do_not_cost_second_derivatives():
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda m, gi, go: None)
    assert pe.autograd.gradgradcheck(layer, pe.tensor([0.3, -0.8], requires_grad=True))


# ---- conversions -----------------------------------------------------------------


def test_conversions_keep_the_parameters_themselves():
    layer = nn.Linear(3, 2)
    layer.register_buffer("count", pe.zeros(1, dtype="int64"))
    weight, values = layer.weight, layer.weight.tolist()
    layer.weight.grad = pe.ones(2, 3)
    assert layer.bfloat16() is layer and layer.weight is weight and weight.dtype is pe.bfloat16
    assert weight.grad.dtype is pe.bfloat16 and layer.count.dtype is pe.int64
    with pytest.raises(TypeError, match="bfloat16"):
        layer(pe.ones(1, 3))
    layer.float()
    assert weight.dtype is pe.float32 and weight.requires_grad and isinstance(weight, nn.Parameter)
    np.testing.assert_allclose(weight.tolist(), values, rtol=1e-2)
    assert layer(pe.ones(1, 3)).shape == (1, 2)
    assert layer.half().weight.dtype is pe.float16 and layer.double().weight.dtype is pe.float64
    assert layer.to("cpu").cpu() is layer and layer.to(pe.ones(1)).weight.dtype is pe.float32
    assert layer.to("cpu", dtype=pe.float64).bias.dtype is pe.float64 and layer.type("float32").bias.dtype is pe.float32
    with pytest.raises(RuntimeError, match="cuda"):
        layer.to("cuda")
    with pytest.raises(TypeError, match="floating"):
        layer.to(pe.int64)


# ---- state -----------------------------------------------------------------------


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.calls = 0

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_extra_state():
    source, target = nn.Sequential(Counting()), nn.Sequential(Counting())
    source[0].calls = 7
    state = source.state_dict()
    assert list(state) == ["0._extra_state", "0.layer.weight", "0.layer.bias"]
    target.load_state_dict(state)
    assert target[0].calls == 7
    del state["0._extra_state"]
    with pytest.raises(RuntimeError, match=r"missing keys: 0\._extra_state"):
        target.load_state_dict(state)


def test_load_with_assign():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net[0].bias.requires_grad_(False)
    state = {name: pe.ones(*t.shape) for name, t in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert net[0].weight is net[1].weight and isinstance(net[0].weight, nn.Parameter)
    assert net[0].weight.requires_grad and not net[0].bias.requires_grad
    state["0.bias"].fill_(5.0)
    assert net[0].bias.tolist() == [5.0, 5.0]  # the given memory itself
    with pytest.raises(TypeError, match="dict"):
        net.load_state_dict([1])


def test_state_dict_hooks():
    net, seen = nn.Sequential(nn.Linear(2, 1)), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep_vars: seen.append((prefix, keep_vars)))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(version=pe.ones(1)))
    state = net.state_dict()
    assert seen == [("0.", False)] and list(state) == ["0.weight", "0.bias", "version"]

    def rename(module, state, prefix, meta, strict, missing, unexpected, errors):
        state.pop("version")
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    state["0.kernel"] = state.pop("0.weight")
    net[0].register_load_state_dict_pre_hook(rename)
    net.register_load_state_dict_post_hook(lambda m, keys: seen.append(keys))
    net.load_state_dict(state)
    assert seen[-1] == ([], []) and "0.kernel" in state
    with pytest.raises(TypeError, match="post hook"):
        net.register_load_state_dict_post_hook(lambda m, keys: 3)
        net.load_state_dict(state)


def test_tied_weights_through_files(tmp_path):
    def tied():
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        net[1].weight = net[0].weight
        return net

    source, target = tied(), tied()
    save_file(source.state_dict(), tmp_path / "all.safetensors")
    target.load_state_dict(load_file(tmp_path / "all.safetensors"), assign=True)
    assert target[0].weight is target[1].weight and target[1].weight.tolist() == source[0].weight.tolist()
    target = tied()
    save_model(source, tmp_path / "once.safetensors", {"made": "here"})
    assert sorted(load_file(tmp_path / "once.safetensors")) == ["0.bias", "0.weight", "1.bias"]
    assert load_model(target, tmp_path / "once.safetensors") == ([], [])
    assert target[0].weight is target[1].weight and target[1].weight.tolist() == source[0].weight.tolist()
    with pytest.raises(RuntimeError, match=r"missing keys: 1\.weight"):  # not tied there
        load_model(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), tmp_path / "once.safetensors")


def test_finding_and_replacing():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    net[0].register_buffer("seen", pe.zeros(1))
    assert net.get_buffer("0.seen") is net[0].seen
    with pytest.raises(AttributeError, match="no buffer '0.nothing'"):
        net.get_buffer("0.nothing")
    net.set_submodule("0.0", nn.ReLU())
    assert isinstance(net[0][0], nn.ReLU)
    with pytest.raises(AttributeError, match="no module"):
        net.set_submodule("0.9", nn.ReLU(), strict=True)
    names = [name for name, _ in net.named_modules(remove_duplicate=False)]
    assert names == ["", "0", "0.0"]


# ---- containers ------------------------------------------------------------------


def test_module_dict():
    heads = nn.ModuleDict({"a": nn.Linear(2, 2)})
    heads.update([("b", nn.ReLU())])
    heads["c"] = nn.Tanh()
    assert list(heads.keys()) == ["a", "b", "c"] and len(heads) == 3 and "b" in heads
    assert isinstance(heads.pop("b"), nn.ReLU) and [name for name, _ in heads.items()] == ["a", "c"]
    assert len(list(heads.parameters())) == 2 and isinstance(list(heads.values())[1], nn.Tanh)
    del heads["a"]
    heads.clear()
    assert len(heads) == 0
    with pytest.raises(TypeError, match="must be a Module"):
        heads["d"] = 3
    with pytest.raises(TypeError, match="a dict or pairs"):
        heads.update(3)


def test_parameter_containers():
    weights = nn.ParameterList([pe.zeros(2)])
    weights.append(nn.Parameter(pe.ones(3))).extend([pe.ones(1)])
    weights += [pe.ones(4)]
    assert len(weights) == 4 and isinstance(weights[0], nn.Parameter) and list(weights.state_dict()) == list("0123")
    assert weights.pop(0).shape == (2,) and [w.shape for w in weights] == [(3,), (1,), (4,)]
    assert len(weights[1:]) == 2 and "Parameter containing: [float32 of size 3]" in repr(weights)
    weights[0] = nn.Parameter(pe.zeros(5))
    assert weights[0].shape == (5,)
    with pytest.raises(IndexError, match="index 3"):
        weights[3]
    named = nn.ParameterDict({"left": pe.zeros(2)})
    named["right"] = pe.ones(3)
    named.update({"note": "text"})
    assert [name for name, _ in named.named_parameters()] == ["left", "right"] and named["note"] == "text"
    assert named.get("none") is None and named.pop("note") == "text" and list(named) == ["left", "right"]
    assert named.setdefault("left", 3) is named["left"] and list(named | {"more": 1}) == ["left", "right", "more"]
    with pytest.raises(KeyError):
        named["none"]
    with pytest.raises(KeyError, match="method"):
        named["forward"] = pe.ones(1)
    for container in (weights, named):
        for twin in (copy.deepcopy(container), pickle.loads(pickle.dumps(container))):
            assert repr(twin) == repr(container)
            assert all(isinstance(p, nn.Parameter) for p in twin.parameters())


def test_lists_of_modules():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    for kind in (lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)):
        net = kind(a, b, c)
        assert net.pop(1) is b and list(net) == [a, c] and net.insert(1, b) is net
        net += [a]
        assert list(net + kind(b)) == [a, b, c, a, b] and len(net) == 4
        del net[1:3]
        assert list(net) == [a, a] and [name for name, _ in net.named_modules(remove_duplicate=False)][1:] == ["0", "1"]
        with pytest.raises(TypeError, match="Module"):
            net.insert(0, 3)
        assert list(net) == [a, a]
    assert list(nn.Sequential(a, b) * 2) == [a, b, a, b]
    with pytest.raises(ValueError, match="positive"):
        nn.Sequential(a) * 0


def test_unflatten():
    assert nn.Unflatten(-1, (2, -1))(pe.zeros(5, 8)).shape == (5, 2, 4)
    assert repr(nn.Unflatten(1, (2, 4))) == "Unflatten(dim=1, unflattened_size=(2, 4))"
    for sizes in ((3, 3), (-1, -1), (3, -1), (0, -1)):
        with pytest.raises(RuntimeError, match=r"\(5, 8\)"):
            nn.Unflatten(1, sizes)(pe.zeros(5, 8))
    with pytest.raises(IndexError, match="axis 2"):
        nn.Unflatten(2, (2, 4))(pe.zeros(5, 8))
    with pytest.raises(TypeError, match="tuple"):
        nn.Unflatten(1, 8)


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


# ---- summary ---------------------------------------------------------------------


def test_summary():
    net = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 2)), nn.Dropout())
    net[0].bias.requires_grad_(False)
    found = summary(net, input_size=(3, 4))
    assert [layer.name for layer in found.layers] == ["", "0", "1", "1.0", "1.1", "2"]
    assert found.layers[4].input_shape == (3, 8) and found.layers[4].output_shape == (3, 2)
    assert found.total_parameters == 40 + 18 and found.trainable_parameters == 50
    assert found.parameter_bytes == 4 * 58 and found.total_flops == 2 * 3 * (4 * 8 + 8 * 2)
    assert found.activation_bytes == 4 * 3 * (8 + 8 + 2 + 2)
    assert "Linear" in str(found) and net.training and net._hooks.around_call is False
    assert pe.summary is summary
    assert summary(Pair(), [(2,), (2,)]).layers[0].output_shape == ((2,), (2,))
    assert summary(nn.Identity(), input_data=pe.ones(2)).total_parameters == 0
    twice = nn.Linear(4, 4)
    found = summary(nn.Sequential(twice, twice), (1, 4))
    assert found.total_parameters == sum(layer.parameters for layer in found.layers) == 20
    with pytest.raises(ValueError, match="input_size"):
        summary(net)
    with pytest.raises(TypeError, match="Module"):
        summary(print, (1,))
