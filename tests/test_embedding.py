"""Embeddings, bags and the bilinear form against NumPy; dropouts by their statistics."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, nn
from pyengine.nn import functional as F
from pyengine.ops import fallback

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(11, 5)).astype(np.float32)
INDEX = rng.integers(0, 11, (4, 6))


def added(index, g, rows=11):
    total = np.zeros((rows, g.shape[-1]))
    np.add.at(total, index.reshape(-1), g.reshape(-1, g.shape[-1]).astype(np.float64))
    return total


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_lookup_and_gradient(dtype):
    weight = pe.tensor(TABLE, requires_grad=True)
    g = rng.normal(size=(4, 6, 5)).astype(np.float32)
    out = F.embedding(pe.tensor(INDEX, dtype), weight)
    np.testing.assert_array_equal(out.detach().numpy(), TABLE[INDEX])
    (out * pe.tensor(g)).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), added(INDEX, g), rtol=1e-5, atol=1e-6)


def test_padding_and_frequency():
    weight = pe.tensor(TABLE, requires_grad=True)
    F.embedding(pe.tensor(INDEX), weight, padding_idx=int(INDEX[0, 0]) - 11).sum().backward()
    expected = added(INDEX, np.ones((4, 6, 5)))
    expected[INDEX[0, 0]] = 0
    np.testing.assert_allclose(weight.grad.numpy(), expected)
    weight = pe.tensor(TABLE, requires_grad=True)
    F.embedding(pe.tensor(INDEX), weight, scale_grad_by_freq=True).sum().backward()
    used = np.isin(np.arange(11), INDEX)
    np.testing.assert_allclose(weight.grad.numpy(), np.tile(used[:, None], (1, 5)), rtol=1e-6)


def test_max_norm_scales_rows_in_place():
    layer = nn.Embedding(11, 5, max_norm=1.0)
    out = layer(pe.tensor(INDEX)).detach().numpy()
    assert np.linalg.norm(out, axis=-1).max() <= 1.00001
    np.testing.assert_array_equal(out, layer.weight.detach().numpy()[INDEX])


def test_bits_do_not_depend_on_threads():
    index = pe.tensor(rng.integers(0, 50, 20000))
    g = pe.tensor(rng.normal(size=(20000, 16)).astype(np.float32))
    results = []
    for threads in (1, 2, 3):
        with pe.num_threads(threads):
            results.append(_core.add_rows(g, index, 50).numpy())
    assert all(np.array_equal(results[0], r) for r in results[1:])
    np.testing.assert_allclose(results[0], added(index.numpy(), g.numpy(), 50), atol=1e-3)


def test_double_backward():
    weight = pe.tensor(TABLE, requires_grad=True)
    out = F.embedding(pe.tensor(INDEX), weight)
    (first,) = pe.grad((out * out * out).sum(), [weight], create_graph=True)
    (second,) = pe.grad(first.sum(), [weight])
    np.testing.assert_allclose(second.numpy(), added(INDEX, 6 * TABLE[INDEX]), rtol=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    flat, offsets = INDEX.reshape(-1), [0, 3, 3, 10]
    weight = pe.tensor(TABLE, requires_grad=True)
    out = F.embedding_bag(pe.tensor(flat), weight, pe.tensor(offsets), mode=mode)
    fold = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    bags = np.split(TABLE[flat].astype(np.float64), offsets[1:])
    expected = np.stack([fold(bag, axis=0) if len(bag) else np.zeros(5) for bag in bags])
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    out.sum().backward()
    np.testing.assert_allclose(weight.grad.numpy().sum(), {"sum": 24 * 5, "mean": 15, "max": 15}[mode], rtol=1e-5)


def test_bag_weights_and_padding():
    weight, per = pe.tensor(TABLE, requires_grad=True), pe.tensor(rng.normal(size=(4, 6)).astype(np.float32))
    per.requires_grad_()
    pad = int(INDEX[1, 2])
    out = F.embedding_bag(pe.tensor(INDEX), weight, mode="sum", per_sample_weights=per, padding_idx=pad)
    counted = per.detach().numpy() * (pad != INDEX)
    np.testing.assert_allclose(out.detach().numpy(), (TABLE[INDEX] * counted[..., None]).sum(1), rtol=1e-4, atol=1e-5)
    out.sum().backward()
    np.testing.assert_allclose(per.grad.numpy(), TABLE[INDEX].sum(-1) * (pad != INDEX), rtol=1e-4, atol=1e-5)


def test_bag_divides_by_frequency():
    weight = pe.tensor(TABLE, requires_grad=True)
    F.embedding_bag(pe.tensor(INDEX), weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), np.tile(np.isin(np.arange(11), INDEX)[:, None], (1, 5)), rtol=1e-6)


def test_layers_start_and_load():
    layer = nn.Embedding(11, 5, padding_idx=-1)
    assert layer.padding_idx == 10 and not layer.weight.detach().numpy()[10].any()
    frozen = nn.Embedding.from_pretrained(pe.tensor(TABLE))
    assert not frozen.weight.requires_grad
    np.testing.assert_array_equal(frozen(pe.tensor(INDEX)).numpy(), TABLE[INDEX])
    assert nn.EmbeddingBag.from_pretrained(pe.tensor(TABLE), mode="sum").mode == "sum"


def test_bilinear():
    layer = nn.Bilinear(3, 4, 2)
    a, b = rng.normal(size=(5, 6, 3)).astype(np.float32), rng.normal(size=(5, 6, 4)).astype(np.float32)
    w, bias = layer.weight.detach().numpy().astype(float), layer.bias.detach().numpy()
    expected = np.einsum("...i,oij,...j->...o", a, w, b) + bias
    np.testing.assert_allclose(layer(pe.tensor(a), pe.tensor(b)).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_runs_on_our_kernels(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("this rests on NumPy's arithmetic")

    layer, index = nn.Embedding(11, 5, padding_idx=0), pe.tensor(INDEX)
    monkeypatch.setattr(np, "add", refuse)
    _core.set_fallback("arithmetic", refuse)
    try:
        layer(index).square().sum().backward()
    finally:
        _core.set_fallback("arithmetic", fallback._arithmetic)
    assert layer.weight.grad is not None


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda w: F.embedding(pe.tensor([11]), w), IndexError),
        (lambda w: F.embedding(pe.tensor([-1]), w), IndexError),
        (lambda w: F.embedding(pe.tensor([1.0]), w), RuntimeError),
        (lambda w: F.embedding([1], w), TypeError),
        (lambda w: F.embedding(pe.tensor([1]), w, padding_idx=11), AssertionError),
        (lambda w: F.embedding_bag(pe.tensor([1]), w), ValueError),
        (lambda w: F.embedding_bag(pe.tensor([[1]]), w, pe.tensor([0])), ValueError),
        (lambda w: F.embedding_bag(pe.tensor([1, 2]), w, pe.tensor([1])), RuntimeError),
        (lambda w: F.embedding_bag(pe.tensor([[1]]), w, mode="min"), ValueError),
        (lambda w: F.bilinear(w, w, pe.zeros(2, 3, 3)), RuntimeError),
        (lambda w: F.dropout(w, 1.5), ValueError),
        (lambda w: F.dropout1d(pe.zeros(3)), RuntimeError),
    ],
)
def test_what_is_refused(call, error):
    with pytest.raises(error):
        call(pe.tensor(TABLE))


CHANNELS = [(F.dropout1d, (50, 40, 7)), (F.dropout1d, (400, 7)), (F.dropout2d, (50, 40, 3, 3)),
            (F.dropout3d, (50, 40, 2, 2, 2)), (F.dropout3d, (400, 2, 2, 2))]  # fmt: skip


@pytest.mark.parametrize(("function", "shape"), CHANNELS, ids=str)
def test_channels_drop_as_a_whole(function, shape):
    pe.manual_seed(0)
    y = function(pe.ones(*shape), 0.25).numpy()
    channels = y.reshape(*shape[: 2 if len(shape) in (3, 5) or shape[0] == 50 else 1], -1)
    assert (channels == channels[..., :1]).all()
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75).item()}
    assert abs((y == 0).mean() - 0.25) < 0.08


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function):
    pe.manual_seed(0)
    y = function(pe.randn(400, 500), 0.3, training=True).numpy()
    assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03
