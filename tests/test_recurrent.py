"""Recurrent layers against their formulas in float64, one step at a time."""

import numpy as np
import pytest
from test_own_kernels import no_numpy_arithmetic  # noqa: F401 (a fixture)

import pyengine as pe
from pyengine import nn
from pyengine.nn.utils import rnn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, weights):
    """One step of a cell."""
    w_ih, w_hh, b_ih, b_hh = weights
    a, b = w_ih @ x + b_ih, w_hh @ h + b_hh
    if kind == "RNN":
        return np.tanh(a + b), c
    if kind == "GRU":
        (a_r, a_z, a_n), (b_r, b_z, b_n) = a.reshape(3, -1), b.reshape(3, -1)
        z, n = sigmoid(a_z + b_z), np.tanh(a_n + sigmoid(a_r + b_r) * b_n)
        return (1 - z) * n + z * h, c
    i, f, g, o = (a + b).reshape(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def weights_of(layer, suffix):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(layer, name + suffix).detach().numpy().astype(np.float64) for name in names]


def run(kind, layer, x, suffix="_l0", backwards=False):
    """(outputs, last h) of one sequence x (T, in)."""
    h = c = np.zeros(layer.hidden_size)
    outputs = []
    for at in x[::-1] if backwards else x:
        h, c = step(kind, at, h, c, weights_of(layer, suffix))
        outputs.append(h)
    return np.array(outputs[::-1] if backwards else outputs), h


@pytest.mark.parametrize("kind", ("RNN", "LSTM", "GRU"))
def test_layer_is_its_formula(kind):
    layer = getattr(nn, kind)(3, 4, bidirectional=True)
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    output, state = layer(pe.tensor(x))
    for n in range(2):
        forth, h = run(kind, layer, x[:, n])
        back, h_back = run(kind, layer, x[:, n], "_l0_reverse", True)
        np.testing.assert_allclose(output.detach().numpy()[:, n], np.hstack([forth, back]), 1e-5, 1e-5)
        last = (state[0] if kind == "LSTM" else state).detach().numpy()
        np.testing.assert_allclose(last[:, n], [h, h_back], 1e-5, 1e-5)


@pytest.mark.parametrize("kind", ("RNN", "LSTM", "GRU"))
def test_packed_is_each_sequence_alone(kind):
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True)
    rng = np.random.default_rng(0)
    sequences = [pe.tensor(rng.normal(size=(n, 3)).astype(np.float32)) for n in (2, 5, 3)]
    output, state = layer(rnn.pack_sequence(sequences, enforce_sorted=False))
    for n, (x, packed) in enumerate(zip(sequences, rnn.unpack_sequence(output), strict=True)):
        alone, last = layer(x)
        np.testing.assert_allclose(packed.detach().numpy(), alone.detach().numpy(), 1e-5, 1e-6)
        for s, t in zip(*((state, last) if kind == "LSTM" else ((state,), (last,))), strict=True):
            np.testing.assert_allclose(s.detach().numpy()[:, n], t.detach().numpy(), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", ("RNN", "LSTM", "GRU"))
def test_gradients_by_differences(kind):
    layer = getattr(nn, kind)(3, 4)
    x = np.random.default_rng(0).normal(size=(5, 3))
    leaf = pe.tensor(x.astype(np.float32)).requires_grad_()
    layer(leaf)[0].sum().backward()
    expected = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += 1e-5
        down[index] -= 1e-5
        expected[index] = (run(kind, layer, up)[0].sum() - run(kind, layer, down)[0].sum()) / 2e-5
    np.testing.assert_allclose(leaf.grad.numpy(), expected, 1e-4, 1e-4)


def test_padding_and_packing():
    padded = rnn.pad_sequence([pe.ones(2), pe.full((3,), 2.0)], padding_value=-1.0)
    assert padded.tolist() == [[1.0, 2.0], [1.0, 2.0], [-1.0, 2.0]]
    packed = rnn.pack_padded_sequence(padded.requires_grad_(), [2, 3], enforce_sorted=False)
    assert packed.data.tolist() == [2.0, 1.0, 2.0, 1.0, 2.0]
    assert (packed.batch_sizes.tolist(), packed.sorted_indices.tolist()) == ([2, 2, 1], [1, 0])
    back, lengths = rnn.pad_packed_sequence(packed, padding_value=7.0)
    assert (back.tolist(), lengths.tolist()) == ([[1.0, 2.0], [1.0, 2.0], [7.0, 2.0]], [2, 3])
    back.sum().backward()
    assert padded.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize("lengths", ([0, 1], [4, 1], [1, 3], [3], []), ids=str)
def test_errors_of_packing(lengths):
    with pytest.raises(RuntimeError, match="pack_padded_sequence"):
        rnn.pack_padded_sequence(pe.zeros(3, 2, 1), lengths)


def test_errors():
    layer = nn.LSTM(3, 4)
    for x, hx, error in (
        (pe.zeros(3), None, ValueError), (pe.zeros(5, 2, 4), None, RuntimeError),
        (pe.zeros(0, 2, 3), None, RuntimeError),
        (pe.zeros(5, 2, 3), (pe.zeros(1, 2, 4), pe.zeros(1, 1, 4)), RuntimeError),
        (pe.zeros(5, 3), (pe.zeros(1, 2, 4), pe.zeros(1, 2, 4)), RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error, match="LSTM"):
            layer(x, hx)
    with pytest.raises(ValueError, match="LSTMCell"):
        nn.LSTMCell(3, 4)(pe.zeros(1, 2, 3))
    with pytest.warns(UserWarning, match="dropout"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize("kind", ("RNN", "LSTM", "GRU"))
def test_on_our_kernels(kind, request):
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True, dropout=0.5)
    x = pe.randn(5, 2, 3)
    request.getfixturevalue("no_numpy_arithmetic")
    layer(x)[0].sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_second_derivatives():
    cell = nn.GRUCell(2, 2)
    x = pe.randn(1, 2).requires_grad_()
    (g,) = pe.grad(cell(x).sum(), x, create_graph=True)
    (second,) = pe.grad(g.sum(), x)

    def slope(values):
        leaf = pe.tensor(values.astype(np.float32)).requires_grad_()
        return pe.grad(cell(leaf).sum(), leaf)[0].numpy().astype(np.float64).sum()

    at = x.detach().numpy().astype(np.float64)
    for i, unit in enumerate(np.eye(2)):
        change = (slope(at + 1e-2 * unit) - slope(at - 1e-2 * unit)) / 2e-2
        assert second.numpy()[0, i] == pytest.approx(change, abs=2e-3)
