"""Batch normalization against float64 over random shapes: both memory formats, the layout kept, the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_pooling import last, lies_last

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import nn
from pyengine.autograd import gradcheck, gradgradcheck

SHAPES = st.tuples(
    st.integers(2, 6), st.sampled_from([1, 2, 7, 16, 33, 130]), *[st.integers(1, 12)] * 3
).flatmap(lambda shape: st.integers(2, 5).map(lambda n: shape[:n]))  # fmt: skip


def draw(shape, seed=0, scale=1.0, offset=0.0):
    return (np.random.default_rng(seed).normal(offset, scale, shape)).astype(np.float32)


def statistics(x):
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes), x.size // x.shape[1]


def along(v, x):
    return np.asarray(v, np.float64).reshape(-1, *[1] * (x.ndim - 2))


def expected(x, g, w, b, mean, var, training, eps=1e-5):
    """y, dx, dw, db by the formula, and the bounds of tests/c/test_batch_norm.c."""
    axes, count, u = (0, *range(2, x.ndim)), x.size // x.shape[1], 2.0**-24
    rstd = 1 / np.sqrt(var + eps)
    h, deviation = (x - along(mean, x)) * along(rstd, x), along(np.abs(mean) * rstd, x)
    total, product = g.sum(axes), (g * h).sum(axes)
    rest = along(total / count, x) + h * along(product / count, x) if training else 0
    y, dx = h * along(w, x) + along(b, x), (g - rest) * along(rstd * w, x)
    all_g, all_gh = np.abs(g).sum(axes), np.abs(g * h).sum(axes)
    k = 1 + np.abs(h).max(axes) + np.abs(mean) * rstd
    most = np.abs(g) + along(all_g / count, x) + (1 + np.abs(h)) * along((all_gh + all_g) / count, x)
    rooms = (
        32 * u * ((1 + deviation + np.abs(h)) * along(np.abs(w), x) + along(np.abs(b), x)),
        64 * u * along(rstd * k * np.abs(w), x) * most,
        100 * u * all_g * k,
        100 * u * all_g,
    )
    return zip((y, dx, product, total), rooms, strict=True)


@given(SHAPES, st.booleans(), st.sampled_from([0.0, 50.0]), st.integers(0, 2**32))
def test_values_gradients_and_running_statistics(shape, training, offset, seed):
    x, g = draw(shape, seed, 1.5, offset), draw(shape, seed + 1)
    w, b, running_mean = (draw(shape[1], seed + i) for i in (2, 3, 4))
    running_var = np.abs(draw(shape[1], seed + 5)) + 0.5
    exact = x.astype(np.float64)
    mean, var, count = statistics(exact) if training else (running_mean, running_var, 0)
    answers = list(expected(exact, g.astype(np.float64), w.astype(np.float64), b, mean, var, training))
    found = []
    for make in (pe.tensor, last) if len(shape) > 2 else (pe.tensor,):
        leaves = [t.requires_grad_() for t in (make(x), pe.tensor(w), pe.tensor(b))]
        kept = pe.tensor(running_mean.copy()), pe.tensor(running_var.copy())
        y = F.batch_norm(leaves[0], *kept, *leaves[1:], training, 0.3)
        y.backward(pe.tensor(g))
        results = [y.detach(), *(leaf.grad for leaf in leaves)]
        if make is last and min(shape[1], int(np.prod(shape[2:]))) > 1:
            assert lies_last(y) and lies_last(leaves[0].grad)
        for ours, (answer, room) in zip(results, answers, strict=True):
            assert (np.abs(ours.numpy() - answer) <= room).all()
        if training:
            moved = 0.7 * running_mean + 0.3 * mean, 0.7 * running_var + 0.3 * var * count / (count - 1)
            for ours, answer in zip(kept, moved, strict=True):
                np.testing.assert_allclose(ours.numpy(), answer, rtol=1e-4, atol=1e-5)
        found.append([t.numpy().tobytes() for t in (*results, *kept)])
    assert all(bits == found[0] for bits in found)


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("make", (pe.tensor, last))
def test_first_and_second_derivatives(make, training):
    x, w, b = make(draw((3, 2, 2, 3))).requires_grad_(), pe.tensor(draw(2, 1)), pe.tensor(draw(2, 2))
    kept = pe.tensor(draw(2, 3)), pe.tensor(np.float32([0.7, 2.0]))

    def call(x, w, b):
        return F.batch_norm(x, *(t.clone() for t in kept), w, b, training).square()

    inputs = (x, w.requires_grad_(), b.requires_grad_())
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


def test_one_number_far_off_the_others():
    """The first element, about which a sum of squares in one pass would cancel."""
    x = draw((2, 1, 3000), scale=1e-3)
    x[0, 0, 0] = 1e4
    y = F.batch_norm(pe.tensor(x), None, None, training=True).numpy()
    mean, var, _ = statistics(x.astype(np.float64))
    np.testing.assert_allclose(y, (x - along(mean, x)) / np.sqrt(along(var, x) + 1e-5), rtol=1e-4, atol=1e-6)


def test_threads_do_not_change_the_bits():
    x, before, found = draw((12, 140, 33, 30)), pe.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            pe.set_num_threads(threads)
            for make in (pe.tensor, last):
                net, leaf = nn.BatchNorm2d(140), make(x).requires_grad_()
                y = net(leaf)
                y.square().sum().backward()
                results = y.detach(), leaf.grad, net.weight.grad, net.bias.grad, net.running_mean, net.running_var
                found.add(b"".join(t.numpy().tobytes() for t in results))
    finally:
        pe.set_num_threads(before)
    assert len(found) == 1


def test_odd_strides_and_what_is_written():
    x = pe.tensor(draw((5, 4, 3, 6))).permute(0, 3, 1, 2)[:, ::2]
    wide = pe.ones(3, 2)
    mean, var = pe.zeros(3), wide[:, 0]
    dense = F.batch_norm(x.contiguous(), pe.zeros(3), pe.ones(3), training=True)
    assert F.batch_norm(x, mean, var, training=True).tolist() == dense.tolist()
    assert wide[:, 1].tolist() == [1.0] * 3 and wide[:, 0].tolist() == var.tolist() != [1.0] * 3
    leaf = x.detach().requires_grad_()
    y = F.batch_norm(leaf, mean, var)  # evaluation keeps what it used: a later batch in training may move them
    F.batch_norm(x, mean, var, training=True)
    y.sum().backward()
    assert leaf.grad.shape == x.shape
    frozen = np.zeros(3, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        F.batch_norm(x, pe.from_numpy(frozen), var, training=True)


def test_infinities_stay_in_their_channel():
    x = draw((4, 3, 20))
    x[1, 1, 2] = np.inf
    y = F.batch_norm(pe.tensor(x), None, None, training=True).numpy()
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, [0, 2]]).all()
