"""Pooling over any windows against float64, one window at a time; both memory formats, layout kept, the same bits."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyengine as pe
import pyengine.nn.functional as F
from pyengine.autograd import gradcheck, gradgradcheck


def last(a):
    """a as a tensor whose channels lie last."""
    return pe.tensor(np.ascontiguousarray(np.moveaxis(a, 1, -1))).permute(0, a.ndim - 1, *range(1, a.ndim - 1))


def lies_last(x):
    return x.permute(0, *range(2, x.ndim), 1).is_contiguous()


@st.composite
def poolings(draw):
    """An input, and for each axis kernel, stride, padding, dilation; ceil_mode."""
    n = draw(st.integers(1, 3))
    axes = [
        (k, draw(st.integers(1, 4)), draw(st.integers(0, k // 2)), draw(st.integers(1, 2)))
        for k in draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    ]
    lengths = [draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), (40, 12, 8)[n - 1] + 8)) for k, _, p, d in axes]
    shape = (draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 7, 8, 16, 19, 40])), *lengths)
    x = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape).astype(np.float32)
    return x, axes, draw(st.booleans())


def spans(length, axis, ceil_mode):
    """Of each window: its places inside, and how many places it has with padding counted."""
    k, s, p, d = axis
    count = -((d * (k - 1) + 1 - length - 2 * p) // s) + 1 if ceil_mode else (length + 2 * p - d * (k - 1) - 1) // s + 1
    if ceil_mode and (count - 1) * s >= length + p:
        count -= 1
    for start in range(-p, count * s - p, s):
        inside = [i for i in range(start, start + d * k, d) if 0 <= i < length]
        yield inside, min(start + k, length + p) - start


def windows(x, axes, ceil_mode):
    """(place, its elements (N, C, K), their numbers in the flattened axes, the count with padding)."""
    lengths = x.shape[2:]
    numbers = np.arange(int(np.prod(lengths))).reshape(lengths)
    all_spans = [list(spans(length, axis, ceil_mode)) for length, axis in zip(lengths, axes, strict=True)]
    for place in product(*(range(len(s)) for s in all_spans)):
        found = [s[i] for s, i in zip(all_spans, place, strict=True)]
        grid = np.ix_(*[inside for inside, _ in found])
        chosen = numbers[grid].reshape(-1)
        seen = x.reshape(*x.shape[:2], numbers.size)[..., chosen]
        yield place, seen, chosen, int(np.prod([count for _, count in found]))


def arguments(axes):
    return tuple(tuple(axis[i] for axis in axes) for i in range(4))


def both_ways(x, call):
    """The results of call(tensor) and their gradients by the input, in both formats: the same bits, the format kept."""
    found = []
    for make in (pe.tensor, last):
        leaf = make(x).requires_grad_()
        out = call(leaf)
        g = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
        out.backward(pe.tensor(g))
        if make is last and x.size and min(x.shape[1], x[0, 0].size) > 1:  # else the formats are one
            assert lies_last(out) and lies_last(leaf.grad)
        assert out.detach().numpy().tobytes() == call(make(x)).numpy().tobytes()
        found.append((out.detach().numpy(), leaf.grad.numpy(), g))
    assert found[0][0].tobytes() == found[1][0].tobytes() and found[0][1].tobytes() == found[1][1].tobytes()
    return found[0]


@given(poolings())
def test_maxima(case):
    x, axes, ceil_mode = case
    n = x.ndim - 2
    kernel, stride, padding, dilation = arguments(axes)
    pool = getattr(F, f"max_pool{n}d")

    def call(t):
        return pool(t, kernel, stride, padding, dilation, ceil_mode)

    out, grad, g = both_ways(x, call)
    values, indices = pool(last(x), kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    expected = np.zeros((*x.shape[:2], int(np.prod(x.shape[2:]))))
    images = np.ogrid[: x.shape[0], : x.shape[1]]
    for place, seen, numbers, _ in windows(x, axes, ceil_mode):
        at = (..., *place)
        if not numbers.size:  # padding alone
            assert (out[at] == -np.inf).all() and (indices.numpy()[at] == -1).all()
        elif x.shape[0]:
            assert (out[at] == seen.max(-1)).all() and (indices.numpy()[at] == numbers[seen.argmax(-1)]).all()
            np.add.at(expected, (*images, numbers[seen.argmax(-1)]), g[at].astype(np.float64))
    assert values.numpy().tobytes() == out.tobytes()
    np.testing.assert_allclose(grad, expected.reshape(x.shape), rtol=1e-5, atol=1e-5)


@given(poolings(), st.booleans(), st.sampled_from([None, None, 3, -5, 8]))
def test_means(case, include_pad, divisor):
    x, axes, ceil_mode = case
    n = x.ndim - 2
    axes = [(k, s, p, 1) for k, s, p, _ in axes]
    kernel, stride, padding, _ = arguments(axes)
    more = () if n == 1 else (divisor,)
    out, grad, g = both_ways(
        x, lambda t: getattr(F, f"avg_pool{n}d")(t, kernel, stride, padding, ceil_mode, include_pad, *more)
    )
    expected = np.zeros((*x.shape[:2], int(np.prod(x.shape[2:]))))
    for place, seen, numbers, padded in windows(x, axes, ceil_mode):
        count = divisor if divisor and n > 1 else padded if include_pad else len(numbers)
        at = (..., *place)
        np.testing.assert_allclose(out[at], seen.astype(np.float64).sum(-1) / count, rtol=1e-5, atol=1e-5)
        expected[..., numbers] += g[at].astype(np.float64)[..., None] / count
    np.testing.assert_allclose(grad, expected.reshape(x.shape), rtol=1e-5, atol=1e-5)


@given(st.data())
def test_adaptive(data):
    n = data.draw(st.integers(1, 3))
    lengths = data.draw(st.lists(st.integers(1, 11), min_size=n, max_size=n))
    outputs = tuple(data.draw(st.lists(st.integers(1, 13), min_size=n, max_size=n)))
    x = np.random.default_rng(data.draw(st.integers(0, 2**32))).normal(size=(2, 5, *lengths)).astype(np.float32)
    mean, grad, g = both_ways(x, lambda t: getattr(F, f"adaptive_avg_pool{n}d")(t, outputs))
    most, _, _ = both_ways(x, lambda t: getattr(F, f"adaptive_max_pool{n}d")(t, outputs))
    expected = np.zeros(x.shape)
    for place in product(*map(range, outputs)):
        part = tuple(
            slice(o * length // count, -((o + 1) * length // -count))
            for o, length, count in zip(place, lengths, outputs, strict=True)
        )
        seen = x[(..., *part)].reshape(2, 5, -1)
        np.testing.assert_allclose(mean[(..., *place)], seen.mean(-1, dtype=np.float64), rtol=1e-5, atol=1e-5)
        assert (most[(..., *place)] == seen.max(-1)).all()
        expected[(..., *part)] += g[(..., *place)].astype(np.float64)[(..., *[None] * n)] / seen.shape[-1]
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 2, 1, divisor_override=3),
        lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.lp_pool2d(x, 2, 2),
    ],
)
def test_first_and_second_derivatives(call):
    order = np.random.default_rng(0).permutation(2 * 5 * 4).reshape(1, 2, 5, 4)  # maxima that a small step keeps
    for make in (pe.tensor, last):
        x = make((order.astype(np.float32) + 1) / 10).requires_grad_()
        assert gradcheck(lambda t: call(t).square(), (x,))
        assert gradgradcheck(lambda t: call(t).square(), (x,))


def test_nan_infinity_and_places():
    inf, nan = float("inf"), float("nan")
    x = pe.tensor([[[[-inf, -inf, 3.0, nan], [-inf, -inf, nan, 5.0]]]])
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    assert values[0, 0, 0, 0].item() == -inf and np.isnan(values[0, 0, 0, 1].item())
    assert indices.tolist() == [[[[0, 6]]]]  # the first of equals; the last NaN, as in torch
    assert np.isnan(F.avg_pool2d(x, 2)[0, 0, 0, 1].item())
    assert F.max_pool2d(-pe.ones(1, 1, 2, 2) * inf, 3, 1, 1, return_indices=True)[1].tolist() == [[[[0, 0], [0, 0]]]]


def test_threads_do_not_change_the_bits():
    x = np.random.default_rng(0).normal(size=(8, 30, 40, 41)).astype(np.float32)
    before, found = pe.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            pe.set_num_threads(threads)
            for make in (pe.tensor, last):
                leaf = make(x).requires_grad_()
                out = F.max_pool2d(leaf, 3, 2, 1) * F.avg_pool2d(leaf, 3, 2, 1) + F.adaptive_avg_pool2d(leaf, 1)
                out.square().sum().backward()
                found.add((out.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    finally:
        pe.set_num_threads(before)
    assert len(found) == 1


def test_a_strided_input_and_no_batch():
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype(np.float32)
    odd = pe.tensor(x).permute(0, 3, 2, 1)
    plain = pe.tensor(np.ascontiguousarray(x.transpose(0, 3, 2, 1)))
    assert F.max_pool2d(odd, 2).tolist() == F.max_pool2d(plain, 2).tolist()
    assert F.avg_pool2d(odd[0], 2).tolist() == F.avg_pool2d(plain, 2)[0].tolist()
    assert F.max_pool2d(pe.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
