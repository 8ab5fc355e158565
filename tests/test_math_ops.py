"""Functions made of rows, and reductions made of others, against float64 NumPy and SciPy; their gradients against
central differences of the same."""

import math

import numpy as np
import pytest
from scipy import special

import pyengine as pe

RNG = np.random.default_rng(5)


def draw(low, high, shape=(3, 7)):
    return RNG.uniform(low, high, shape).astype(np.float32)


UNARY = [
    (pe.asinh, np.arcsinh, -30, 30), (pe.acosh, np.arccosh, 1.01, 50), (pe.atanh, np.arctanh, -0.97, 0.97),
    (pe.logit, special.logit, 0.03, 0.97), (pe.sinc, np.sinc, -4, 4), (pe.erfinv, special.erfinv, -0.99, 0.99),
    (pe.frac, lambda x: x - np.trunc(x), -5, 5), (pe.deg2rad, np.deg2rad, -400, 400),
    (pe.rad2deg, np.rad2deg, -7, 7), (pe.nan_to_num, np.nan_to_num, -9, 9),
    (lambda x: pe.round(x, decimals=2), lambda x: np.round(x, 2), -9, 9), (pe.absolute, np.abs, -3, 3),
]  # fmt: skip


@pytest.mark.parametrize("ours, theirs, low, high", UNARY)
def test_functions_of_one(ours, theirs, low, high):
    x = draw(low, high)
    leaf = pe.tensor(x, requires_grad=True)
    out = ours(leaf)
    np.testing.assert_allclose(out.detach().numpy(), theirs(x.astype(np.float64)), rtol=3e-6, atol=3e-6)
    if ours in (pe.frac, pe.nan_to_num) or theirs(np.float64(0.5)) == 0.5:
        return
    out.sum().backward()
    step = 1e-6
    slope = (theirs(x + np.float64(step)) - theirs(x - np.float64(step))) / (2 * step)
    np.testing.assert_allclose(leaf.grad.numpy(), slope, rtol=3e-4, atol=1e-5)


def test_edges_of_functions():
    assert pe.asinh(pe.tensor([0.0, 1e30, -math.inf])).tolist()[0] == 0.0
    np.testing.assert_allclose(pe.asinh(pe.tensor([1e30, 1e-7])).numpy(), np.arcsinh([1e30, 1e-7]), rtol=1e-6)
    assert pe.erfinv(pe.tensor([1.0, -1.0])).tolist() == [math.inf, -math.inf]
    assert math.isnan(pe.erfinv(pe.tensor(1.5)).item()) and math.isnan(pe.acosh(pe.tensor(0.5)).item())
    assert pe.nan_to_num(pe.tensor([math.nan, math.inf, 1.0]), nan=2.0, posinf=3.0).tolist() == [2.0, 3.0, 1.0]
    assert pe.signbit(pe.tensor([-0.0, 0.0, -1.0])).tolist() == [True, False, True]
    assert pe.copysign(pe.tensor([1.0, -2.0]), pe.tensor([-0.0, 3.0])).tolist() == [-1.0, 2.0]
    x = pe.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    pe.clamp(x, 0.0, 1.0).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


BINARY = [
    (pe.hypot, np.hypot), (pe.logaddexp, np.logaddexp), (pe.logaddexp2, np.logaddexp2), (pe.fmax, np.fmax),
    (pe.fmin, np.fmin), (pe.remainder, np.remainder), (pe.fmod, np.fmod), (pe.copysign, np.copysign),
    (pe.floor_divide, np.floor_divide),
    (lambda a, b: pe.div(a, b, rounding_mode="trunc"), lambda a, b: np.trunc(a / b)),
    (lambda a, b: pe.add(a, b, alpha=2.5), lambda a, b: a + 2.5 * b),
    (lambda a, b: pe.lerp(a, b, 0.3), lambda a, b: a + 0.3 * (b - a)),
    (lambda a, b: pe.xlogy(a, pe.abs(b)), lambda a, b: special.xlogy(a, np.abs(b))),
]  # fmt: skip


@pytest.mark.parametrize("ours, theirs", BINARY)
def test_functions_of_two(ours, theirs):
    a, b = draw(-5, 5), draw(-5, 5, (7,))
    out = ours(pe.tensor(a), pe.tensor(b))
    np.testing.assert_allclose(out.numpy(), theirs(a.astype(np.float64), b.astype(np.float64)), rtol=1e-5, atol=1e-5)


def test_integers_stay_integers():
    a, b = pe.tensor([7, -7, 7, -7]), pe.tensor([2, 2, -2, -2])
    assert pe.floor_divide(a, b).tolist() == [3, -4, -4, 3]
    assert pe.div(a, b, rounding_mode="trunc").tolist() == [3, -3, -3, 3]
    assert pe.remainder(a, b).tolist() == [1, 1, -1, -1] and pe.fmod(a, b).tolist() == [1, -1, 1, -1]
    assert pe.bitwise_and(a, b).dtype is pe.int64
    assert a.sum().item() == 0 and a.sum().dtype is pe.int64 and a.prod().item() == 2401
    assert pe.tensor([True, True]).sum().item() == 2
    for function in (pe.floor_divide, pe.remainder):
        with pytest.raises(ZeroDivisionError, match=function.__name__):
            function(a, 0)


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_reductions(dim, keepdim):
    x = draw(-3, 3, (4, 5, 6))
    wide = x.astype(np.float64)
    t = pe.tensor(x)
    axes = {"axis": dim, "keepdims": keepdim}
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(t.var(dim, keepdim=keepdim).numpy(), wide.var(ddof=1, **axes), **close)
    np.testing.assert_allclose(t.std(dim, correction=0, keepdim=keepdim).numpy(), wide.std(**axes), **close)
    np.testing.assert_allclose(t.norm(3, dim, keepdim).numpy(), (np.abs(wide) ** 3).sum(**axes) ** (1 / 3), **close)
    np.testing.assert_allclose(t.norm(2, dim, keepdim).numpy(), np.sqrt((wide**2).sum(**axes)), **close)
    np.testing.assert_allclose(pe.norm(t, math.inf, dim, keepdim).numpy(), np.abs(wide).max(**axes), **close)
    assert np.array_equal(t.any(dim, keepdim).numpy(), (x != 0).any(**axes))
    assert np.array_equal((t > 2.9).all(dim, keepdim).numpy(), (x > 2.9).all(**axes))
    if dim is not None:
        np.testing.assert_allclose(t.logsumexp(dim, keepdim).numpy(), special.logsumexp(wide, **axes), **close)


def test_places_of_extremes():
    x = draw(-3, 3, (4, 5))
    leaf = pe.tensor(x, requires_grad=True)
    values, indices = leaf.max(1)
    assert np.array_equal(indices.numpy(), x.argmax(1)) and np.array_equal(values.detach().numpy(), x.max(1))
    values.sum().backward()
    assert np.array_equal(leaf.grad.numpy(), (x == x.max(1, keepdims=True)).astype(np.float32))
    assert pe.min(leaf, 0, True).indices.shape == (1, 5)
    assert pe.max(pe.tensor([1, 5, 3])).item() == 5 and pe.max(leaf, -leaf).shape == (4, 5)
    assert pe.median(pe.tensor([3.0, 1.0, 2.0, 4.0])).item() == 2.0
    assert math.isnan(pe.median(pe.tensor([3.0, math.nan])).item())
    np.testing.assert_allclose(pe.quantile(leaf, pe.tensor([0.0, 0.3, 1.0]), 1).detach().numpy(),
                               np.quantile(x, [0.0, 0.3, 1.0], axis=1), rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_running(dim):
    x = draw(-2, 2, (4, 5))
    t = pe.tensor(x)
    np.testing.assert_allclose(t.cumsum(dim).numpy(), x.cumsum(dim), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(t.cumprod(dim).numpy(), x.cumprod(dim), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(t.logcumsumexp(dim).numpy(), np.logaddexp.accumulate(x, dim), rtol=1e-5)
    assert np.array_equal(t.cummax(dim).values.numpy(), np.maximum.accumulate(x, dim))
    assert np.array_equal(t.diff(dim=dim).numpy(), np.diff(x, axis=dim))
    leaf = pe.tensor(np.where(np.abs(x) < 1, 0, x).astype(np.float32), requires_grad=True)
    leaf.cumprod(dim).sum().backward()  # with zeros among the factors
    wide, step = leaf.detach().numpy().astype(np.float64), 1e-6
    slopes = np.zeros_like(wide)
    for place in np.ndindex(wide.shape):
        for sign in (1, -1):
            moved = wide.copy()
            moved[place] += sign * step
            slopes[place] += sign * moved.cumprod(dim).sum() / (2 * step)
    np.testing.assert_allclose(leaf.grad.numpy(), slopes, rtol=1e-4, atol=1e-4)
