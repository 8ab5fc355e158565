"""The recurrent layers' kernels against the layers composed of operations (which test_recurrent.py holds against their
formulas): the same bits forward, gradients to rounding, of first and second order; the same bits for any number of
threads and any batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyengine as pe
from pyengine import nn
from pyengine.ops.recurrence import recurrence
from pyengine.ops.recurrence_steps import GATES, layer

MODES = tuple(GATES)


@pytest.fixture(autouse=True)
def threads_as_before():
    before = pe.get_num_threads()
    yield
    pe.set_num_threads(before)


def drawn(rng, *shape):
    return pe.tensor((0.4 * rng.normal(size=shape)).astype(np.float32)).requires_grad_()


def make(mode, inputs, hidden, sizes, directions, bias=True, seed=0):
    """(x, state, weights) of one layer."""
    rng, rows = np.random.default_rng(seed), GATES[mode] * hidden
    state = tuple(drawn(rng, directions, sizes[0], hidden) for _ in range(1 + (mode == "LSTM")))
    weights = []
    for _ in range(directions):
        biases = (drawn(rng, rows), drawn(rng, rows)) if bias else (None, None)
        weights.append((drawn(rng, rows, inputs), drawn(rng, rows, hidden), *biases))
    return drawn(rng, sum(sizes), inputs), state, weights


def leaves(x, state, weights):
    return [t for t in (x, *state, *(w for each in weights for w in each)) if t is not None]


def arrays(tensors):
    return [None if t is None else t.detach().numpy() for t in tensors]


def close(found, wanted, bound=3e-5):
    for a, b in zip(arrays(found), arrays(wanted), strict=True):
        if a is None or b is None:  # one way names a gradient that is 0, the other does not
            assert not np.any(b if a is None else a)
        else:
            assert np.abs(a - b).max(initial=0) <= bound * (np.abs(b).max(initial=0) + 1e-3)


def composed(mode, x, sizes, state, weights):
    return layer(mode, x, sizes, state, [(*each, None) for each in weights])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MODES), st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 2), st.booleans(), st.integers(1, 3), st.sets(st.integers(0, 2), min_size=1),
)  # fmt: skip
def test_as_composed(mode, hidden, sizes, directions, bias, threads, used):
    sizes = sorted(sizes, reverse=True)
    pe.set_num_threads(threads)
    given = make(mode, 5, hidden, sizes, directions, bias)
    x, state, weights = given
    ours, theirs = recurrence(mode, x, sizes, state, weights), composed(mode, x, sizes, state, weights)
    with pe.no_grad():
        for _ in range(3):  # the weights are packed meanwhile
            again = recurrence(mode, x, sizes, state, weights)
    for a, b, c in zip(*map(arrays, (ours, theirs, again)), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    chosen = [i for i in used if i < len(ours)] or [0]
    rng = np.random.default_rng(1)
    slopes = [drawn(rng, *ours[i].shape).detach() for i in chosen]
    close(*(pe.grad([out[i] for i in chosen], leaves(*given), slopes, allow_unused=True) for out in (ours, theirs)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("hidden", "batch", "steps"), ((200, 1, 20), (130, 40, 6)))
def test_bits_on_any_number_of_threads(mode, hidden, batch, steps):
    given, results = make(mode, 30, hidden, [batch] * steps, 2), []
    for threads in (1, 2, 3, 2):
        pe.set_num_threads(threads)
        out = recurrence(mode, given[0], [batch] * steps, *given[1:])
        results.append(arrays([*out, *pe.grad(sum(t.square().sum() for t in out), leaves(*given))]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_bits_do_not_depend_on_the_batch(mode):
    """A sequence alone, in a batch, and packed with shorter ones."""
    x, state, weights = make(mode, 7, 70, [30] * 4, 2)
    y = recurrence(mode, x, [30] * 4, state, weights)[0].reshape(4, 30, 140)
    rows = pe.cat([x.reshape(4, 30, 7)[t, :n] for t, n in enumerate((30, 9, 9, 1))])
    packed = recurrence(mode, rows, [30, 9, 9, 1], state, weights)[0]
    alone = recurrence(mode, x.reshape(4, 30, 7)[:, 0], [1] * 4, tuple(s[:, :1] for s in state), weights)[0]
    assert np.array_equal(alone.detach().numpy(), y[:, 0].detach().numpy())
    first = packed.detach().numpy()[[0, 30, 39, 48]]  # the longest sequence's rows
    assert np.array_equal(first, y[:, 0].detach().numpy())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", ([2, 2, 2], [3, 2, 1]), ids=str)
def test_gradients_of_gradients(mode, sizes):
    given = make(mode, 2, 3, sizes, 2)
    results = []
    for build in (recurrence, composed):
        out = build(mode, given[0], sizes, *given[1:])
        first = pe.grad(sum(t.square().sum() for t in out), leaves(*given), create_graph=True)
        results.append([*first, *pe.grad(sum(g.square().sum() for g in first), leaves(*given))])
    close(*results, bound=1e-4)


def test_inputs_that_hang_on_each_other():
    """Gradients of second order are of each input alone, though one is made of another."""
    x, (h,), [weights] = make("GRU", 3, 3, [2, 2], 1)
    results = []
    for build in (recurrence, composed):
        y = build("GRU", x, [2, 2], (x[:2].unsqueeze(0) * h,), [(weights[0] * weights[1], *weights[1:])])[0]
        first = pe.grad(y.square().sum(), [x, h, weights[1]], create_graph=True)
        results.append([*first, *pe.grad(sum(g.square().sum() for g in first), [x, h, weights[1]])])
    close(*results, bound=1e-4)


@pytest.mark.parametrize("kind", ("RNN", "LSTM", "GRU"))
def test_gradcheck(kind):
    """Projected on random directions, from the public layer."""
    model = getattr(nn, kind)(3, 5, 2, bidirectional=True, batch_first=True)
    pe.autograd.gradcheck(lambda x: model(x)[0], (pe.randn(2, 4, 3).requires_grad_(),), eps=1e-2, atol=2e-2, rtol=2e-2)


def test_a_long_batch_in_stretches():
    """More gates than are worked on at once, forward and backward."""
    sizes = [90] * 40  # 3600 rows of 4 x 128 gates: in two stretches
    given = make("LSTM", 8, 128, sizes, 2)
    x, state, weights = given
    ours, theirs = recurrence("LSTM", x, sizes, state, weights), composed("LSTM", x, sizes, state, weights)
    assert np.array_equal(*(out[0].detach().numpy() for out in (ours, theirs)))
    close(*(pe.grad(out[0].square().sum(), leaves(*given)[:-1]) for out in (ours, theirs)), bound=2e-4)


def test_frozen_parts_and_written_weights():
    model, x = nn.LSTM(4, 6), pe.randn(3, 2, 4)
    model.weight_hh_l0.requires_grad_(False)
    model(x)[1][1].sum().backward()
    assert model.weight_hh_l0.grad is None and model.weight_ih_l0.grad is not None
    model.requires_grad_(False)
    before = [model(x)[0].numpy().copy() for _ in range(3)]
    model.weight_hh_l0.fill_(0.0)  # a pack of the old values would be stale
    assert not np.array_equal(model(x)[0].numpy(), before[0]) and np.array_equal(before[0], before[2])
    model.requires_grad_(True)
    y = model(x)[0]
    with pe.no_grad():
        model.weight_hh_l0.mul_(2.0)
    with pytest.raises(RuntimeError, match="written in place"):
        y.sum().backward()


def test_nothing_to_do_and_bad_input():
    model = nn.GRU(3, 4, bidirectional=True)
    y, h = model(pe.zeros(5, 0, 3))
    assert y.shape == (5, 0, 8) and h.shape == (2, 0, 4)
    y.sum().backward()
    assert not np.any(model.weight_hh_l0.grad.numpy())
    x, state, weights = make("LSTM", 3, 4, [2, 2], 1)
    for sizes, error in (([2, 3], ValueError), ([2, 1], ValueError), ([4], ValueError), ([3, 0], ValueError)):
        with pytest.raises(error, match="recurrence"):
            recurrence("LSTM", x, sizes, state, weights)
    w_ih, *others = weights[0]
    for data, first in ((x[:, :2], w_ih), (x, w_ih[:12])):
        with pytest.raises(ValueError, match="recurrence: w_ih"):
            recurrence("LSTM", data, [2, 2], state, [(first, *others)])
    with pytest.raises(TypeError, match="float32"):
        nn.LSTM(3, 4)(pe.zeros(2, 2, 3).to(pe.float64))
