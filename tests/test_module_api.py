"""Modules beyond the layers: hooks, conversions, containers, state, summary."""

import copy
import pickle

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn
from pyengine.io import load_file, load_model, save_file, save_model
from pyengine.nn.summary import summary


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
    with pytest.raises(AttributeError, match=r"no buffer '0\.nothing'"):
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
