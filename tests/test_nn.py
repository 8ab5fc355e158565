"""Modules and layers: what belongs to whom, state_dict, and every layer against its formula in float64."""

import copy
import math
import pickle

import numpy as np
import pytest
from scipy import special

import pyengine as pe
from pyengine import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(pe.ones(4))
        self.register_buffer("mean", pe.zeros(4))
        self.register_buffer("scratch", pe.zeros(2), persistent=False)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.first(x)) * self.scale + self.mean


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- what belongs to a module ----------------------------------------------------


def test_names_in_order():
    block = nn.Sequential(Block(), nn.Linear(4, 2, bias=False))
    names = [name for name, _ in block.named_parameters()]
    assert names == ["0.scale", "0.first.weight", "0.first.bias", "1.weight"]
    assert [name for name, _ in block.named_buffers()] == ["0.mean", "0.scratch"]
    assert list(block.state_dict()) == ["0.scale", "0.mean", "0.first.weight", "0.first.bias", "1.weight"]
    assert [name for name, _ in block.named_modules()] == ["", "0", "0.first", "0.act", "1"]
    assert [name for name, _ in block.named_children()] == ["0", "1"]
    assert len(list(block.parameters(recurse=False))) == 0
    assert block.get_submodule("0.first") is block[0].first
    assert block.get_parameter("1.weight") is block[1].weight


def test_tied_parameters_and_modules_appear_once():
    encoder, decoder = nn.Linear(4, 4), nn.Linear(4, 4)
    decoder.weight = encoder.weight
    net = nn.Sequential(encoder, decoder, encoder)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(net.modules())) == 3
    assert sorted(net.state_dict()) == ["0.bias", "0.weight", "1.bias", "1.weight", "2.bias", "2.weight"]
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight and twin[0].weight is not encoder.weight


def test_assignment():
    block = Block()
    with pytest.raises(TypeError, match="scale is a parameter"):
        block.scale = pe.ones(4)
    with pytest.raises(TypeError, match="act is a layer"):
        block.act = 3
    with pytest.raises(TypeError, match="'mean' must be a Tensor"):
        block.mean = 3
    block.mean = pe.ones(4)
    assert dict(block.named_buffers())["mean"].tolist() == [1.0] * 4
    block.scale = None
    assert block.scale is None and "scale" not in block.state_dict()
    block.scale = nn.Parameter(pe.zeros(4))
    assert "scale" in block.state_dict()
    block.plain = pe.ones(2)  # a plain tensor is no parameter
    assert "plain" not in block.state_dict()
    del block.act
    with pytest.raises(AttributeError, match="Block has no attribute 'act'"):
        block.act  # noqa: B018
    assert "first" in dir(block)


def test_assignment_before_init_is_refused():
    class Hasty(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Hasty()
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)
    with pytest.raises(KeyError, match="cannot be a name"):
        nn.Module().add_module("a.b", nn.ReLU())


def test_parameter():
    data = pe.ones(2)
    parameter = nn.Parameter(data)
    assert parameter.requires_grad and parameter.is_leaf and not data.requires_grad
    assert not isinstance(data, nn.Parameter)
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert isinstance(pickle.loads(pickle.dumps(parameter)), nn.Parameter)
    assert isinstance(copy.deepcopy(parameter), nn.Parameter)
    with pytest.raises(TypeError, match="got list"):
        nn.Parameter([1.0])


def test_modes_and_apply():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert net.train() is net and all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="train: mode"):
        net.train(3)
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Dropout", "Dropout", "Sequential", "Sequential"]


def test_gradients_are_forgotten_or_zeroed():
    layer = nn.Linear(3, 2)
    layer(pe.ones(1, 3)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0] * 3] * 2
    layer.zero_grad()
    assert layer.weight.grad is None
    layer.requires_grad_(False)
    assert not layer(pe.ones(1, 3)).requires_grad


def test_copies_are_independent():
    net = nn.Sequential(Block(), nn.Linear(4, 2))
    x = pe.from_numpy(values(5, 3))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin(x).tolist() == net(x).tolist()
        assert all(isinstance(p, nn.Parameter) for p in twin.parameters())
        with pe.no_grad():
            twin[1].weight.zero_()
        assert twin(x).tolist() != net(x).tolist()


# ---- state_dict ------------------------------------------------------------------


def test_state_dict_round_trip():
    source, target = nn.Sequential(Block()), nn.Sequential(Block())
    state = source.state_dict()
    assert not any(tensor.requires_grad for tensor in state.values())
    assert target.load_state_dict(state) == ([], [])
    for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
        assert ours.tolist() == theirs.tolist() and ours is not theirs and theirs.requires_grad
    arrays = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in state.items()}
    target.load_state_dict(arrays)  # converts


def test_load_state_dict_names_every_difference_and_changes_nothing():
    net = nn.Sequential(nn.Linear(3, 2))
    before = net[0].bias.tolist()
    state = {"0.weight": pe.zeros(3, 2), "0.bias": pe.zeros(2), "extra": pe.zeros(1)}
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert "into Sequential" in text and "unexpected keys: extra" in text
    assert "0.weight: shape (3, 2) was given, the module's is (2, 3)" in text
    assert net[0].bias.tolist() == before
    with pytest.raises(RuntimeError, match=r"missing keys: 0\.weight"):
        net.load_state_dict({"0.bias": pe.zeros(2)})
    with pytest.raises(RuntimeError, match=r"0\.bias: a tensor or array is needed, got str"):
        net.load_state_dict({"0.bias": "zero"}, strict=False)
    result = net.load_state_dict({"0.bias": pe.zeros(2), "extra": pe.zeros(1)}, strict=False)
    assert result.missing_keys == ["0.weight"] and result.unexpected_keys == ["extra"]
    assert net[0].bias.tolist() == [0.0, 0.0]


# ---- containers and printing -----------------------------------------------------


def test_sequential_is_a_list():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert net.append(c) is net and len(net) == 3 and net[-1] is c and list(net) == [a, b, c]
    assert list(net[1:]) == [b, c]
    net.insert(0, c)
    assert list(net) == [c, a, b, c]
    del net[0]
    assert list(net) == [a, b, c] and [name for name, _ in net.named_children()] == ["0", "1", "2"]
    net[1] = c
    assert net[1] is c
    named = nn.Sequential({"hidden": a, "out": b})
    assert named.hidden is a and named[1] is b
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        net[3]
    with pytest.raises(TypeError, match="must be a Module"):
        nn.Sequential(a, "b")


def test_module_list():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers.extend([nn.ReLU()])
    assert len(layers) == 4 and len(list(layers.parameters())) == 6 and isinstance(layers[1:], nn.ModuleList)
    del layers[0]
    assert len(layers) == 3 and layers[2] is layers[-1]


def test_printing():
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.GELU(), nn.Dropout(0.1)), nn.ModuleList())
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): GELU(approximate='none')\n"
        "    (1): Dropout(p=0.1)\n"
        "  )\n"
        "  (2): ModuleList()\n"
        ")"
    )


# ---- layers against their formulas -----------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias):
    layer, x = nn.Linear(3, 4, bias=bias), values(*shape)
    out = layer(pe.from_numpy(x)).detach().numpy()
    expected = x.astype(np.float64) @ np.asarray(layer.weight.detach(), np.float64).T
    if bias:
        expected += np.asarray(layer.bias.detach(), np.float64)
    assert out.shape == (*shape[:-1], 4)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_linear_refuses():
    layer = nn.Linear(3, 4)
    with pytest.raises(ValueError, match=r"\(5, 2\).*\(4, 3\)"):
        layer(pe.zeros(5, 2))
    with pytest.raises(TypeError, match="float64"):
        layer(pe.from_numpy(np.zeros((5, 3))))
    for size in (-1, 2.0, "3"):
        with pytest.raises(ValueError, match="in_features"):
            nn.Linear(size, 3)
    assert nn.Linear(0, 2)(pe.zeros(3, 0)).shape == (3, 2)


ACTIVATIONS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.GELU(), lambda x: x * special.ndtr(x)),
    (nn.GELU("tanh"), lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    (nn.SiLU(), lambda x: x * special.expit(x)),
    (nn.Tanh(), np.tanh),
    (nn.Sigmoid(), special.expit),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    (nn.Softplus(), lambda x: np.logaddexp(0, x)),
    (nn.Softplus(beta=2.0), lambda x: np.logaddexp(0, 2 * x) / 2),
    (nn.Softmax(dim=1), lambda x: special.softmax(x, 1)),
    (nn.Softmax(dim=0), lambda x: special.softmax(x, 0)),
    (nn.LogSoftmax(dim=-1), lambda x: special.log_softmax(x, -1)),
    (nn.Identity(), lambda x: x),
    (nn.Flatten(0), np.ravel),
]


@pytest.mark.parametrize("layer, formula", ACTIVATIONS, ids=[repr(layer) for layer, _ in ACTIVATIONS])
def test_activation(layer, formula):
    x = 3 * values(7, 19)
    np.testing.assert_allclose(layer(pe.from_numpy(x)).numpy(), formula(x.astype(np.float64)), rtol=2e-6, atol=1e-6)


def test_dropout():
    x = pe.ones(200, 500)
    pe.manual_seed(3)
    layer = nn.Dropout(0.3)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    kept = (y != 0).mean()
    assert abs(kept - 0.7) < 4 * math.sqrt(0.3 * 0.7 / y.size)
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).sum().item() == 0
    leaf = pe.ones(1000, requires_grad=True)
    out = nn.Dropout(0.5)(leaf)
    out.sum().backward()
    assert leaf.grad.tolist() == out.tolist()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            nn.Dropout(p)


# ---- losses ----------------------------------------------------------------------


def cross_entropy(x, labels, smoothing=0.0, ignore=-100):
    logs = special.log_softmax(x.astype(np.float64), 1)
    each = -(1 - smoothing) * logs[np.arange(len(x)), np.maximum(labels, 0)] - smoothing * logs.mean(1)
    return np.where(labels == ignore, 0, each), (labels != ignore).sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(smoothing, reduction):
    x, labels = 4 * values(11, 7), np.arange(11) % 7
    labels[[2, 5]] = -100
    each, count = cross_entropy(x, labels, smoothing)
    expected = {"mean": each.sum() / count, "sum": each.sum(), "none": each}[reduction]
    loss = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)(pe.from_numpy(x), pe.from_numpy(labels))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=2e-6, atol=1e-6)


def test_cross_entropy_refuses():
    loss, x = nn.CrossEntropyLoss(), pe.zeros(2, 3)
    with pytest.raises(IndexError, match="3"):
        loss(x, pe.tensor([0, 3]))
    with pytest.raises(IndexError, match="-1"):
        loss(x, pe.tensor([0, -1]))
    with pytest.raises(TypeError, match="integer labels, got float32"):
        loss(x, pe.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3,\)"):
        loss(x, pe.tensor([0, 1, 2]))
    with pytest.raises(RuntimeError, match=r"weight .*3 classes.*\(4,\)"):
        nn.CrossEntropyLoss(pe.ones(4))(x, pe.tensor([0, 1]))
    with pytest.raises(ValueError, match="reduction"):
        nn.CrossEntropyLoss(reduction="median")
    with pytest.raises(ValueError, match="label_smoothing"):
        nn.CrossEntropyLoss(label_smoothing=1.5)


@pytest.mark.parametrize("layer, distance", [(nn.MSELoss, np.square), (nn.L1Loss, np.abs)])
def test_distances(layer, distance):
    a, b = values(4, 5), values(4, 5, seed=1)
    x, y = pe.from_numpy(a), pe.from_numpy(b)
    each = distance(a.astype(np.float64) - b)
    np.testing.assert_allclose(layer()(x, y).item(), each.mean(), rtol=1e-6)
    np.testing.assert_allclose(layer(reduction="sum")(x, y).item(), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(layer(reduction="none")(x, y).numpy(), each, rtol=1e-6)
    with pytest.warns(UserWarning, match=r"\(5,\).*\(4, 5\)"):  # as torch does
        np.testing.assert_allclose(layer()(x, pe.zeros(5)).item(), distance(a.astype(np.float64)).mean(), rtol=1e-6)


# ---- whose arithmetic ------------------------------------------------------------


def test_a_training_step_rests_on_no_numpy(monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 4))
    optimizer = pe.optim.AdamW(net.parameters())
    x, labels = pe.from_numpy(values(6, 4, 4)), pe.tensor([0, 1, 2, 3, 0, 1])

    def refuse(*arguments, **named):
        raise AssertionError("NumPy computed something")

    for name in ("matmul", "dot", "einsum", "tensordot", "add", "multiply", "exp", "sum", "mean", "max"):
        monkeypatch.setattr(np, name, refuse)
    for name in ("arithmetic", "index", "index_put"):
        pe._core.set_fallback(name, refuse)
    try:
        loss = nn.CrossEntropyLoss()(net(x), labels)
        loss.backward()
        optimizer.step()
    finally:
        from pyengine.ops import fallback

        for name in ("arithmetic", "index", "index_put"):
            pe._core.set_fallback(name, getattr(fallback, f"_{name}"))
