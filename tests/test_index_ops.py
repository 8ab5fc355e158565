"""Indexing, order, counting and creation beside NumPy: values, gradients, errors."""

import numpy as np
import pytest

import pyengine as pe
from pyengine.nn import functional as F

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype(np.float32)
AT = np.array([[0, 2, 2, 1], [1, 1, 0, 2]])  # indices along axis 0; one place is named twice
SRC = RNG.normal(size=(2, 4)).astype(np.float32)
MASK = X > 0.2
VECTOR = np.array([2, 0, 2])
ROWS = RNG.normal(size=(3, 4)).astype(np.float32)
GRID = np.arange(4)[None].repeat(2, 0)


def after(x, change):
    x = x.copy()
    change(x)
    return x


def put(index, values):
    return lambda x: after(x, lambda y: y.__setitem__(index, values))


def add(index, values):
    return lambda x: after(x, lambda y: np.add.at(y, index, values))


I = pe.tensor  # noqa: E741

# name: ours (of x and a second tensor), NumPy's, the second operand
DIFFERENTIABLE = {
    "gather": (lambda x, s: x.gather(0, I(AT)) + s * 0.0, lambda x, s: np.take_along_axis(x, AT, 0), SRC),
    "scatter_add": (lambda x, s: x.scatter_add(0, I(AT), s), lambda x, s: add((AT, GRID), s)(x), SRC),
    "scatter": (lambda x, s: x.scatter(1, I(AT[:, :1]), s), lambda x, s: put(([0, 1], AT[:, 0]), s[:, 0])(x), SRC),
    "index_select": (lambda x, s: x.index_select(0, I(VECTOR)) * s, lambda x, s: x[VECTOR] * s, ROWS),
    "index_add": (lambda x, s: x.index_add(0, I(VECTOR), s, alpha=2), lambda x, s: add(VECTOR, 2 * s)(x), ROWS),
    "index_copy": (lambda x, s: x.index_copy(0, I([2, 0]), s), lambda x, s: put([2, 0], s)(x), SRC),
    "index_fill": (lambda x, s: x.index_fill(1, I([3, -3]), s), lambda x, s: put((slice(None), [3, 1]), s)(x), X[0, 0]),
    "index_put": (lambda x, s: x.index_put((I(VECTOR),), s, True), lambda x, s: add(VECTOR, s)(x), ROWS),
    "take": (
        lambda x, s: x.take(I([[3, -1], [3, 0]])) * s,
        lambda x, s: x.reshape(-1)[[[3, -1], [3, 0]]] * s,
        X[:2, :2],
    ),
    "take_along_dim": (
        lambda x, s: pe.take_along_dim(x, I(AT[:1]), 0) * s,
        lambda x, s: np.take_along_axis(x, AT[:1], 0) * s,
        SRC,
    ),
    "masked_fill": (lambda x, s: x.masked_fill(I(MASK), 2.0) * s, lambda x, s: np.where(MASK, 2, x) * s, ROWS),
    "masked_select": (lambda x, s: x.masked_select(I(MASK)) + s[0, 0], lambda x, s: x[MASK] + s[0, 0], ROWS),
    "masked_scatter": (
        lambda x, s: x.masked_scatter(I(MASK), s),
        lambda x, s: put(MASK, s.reshape(-1)[: MASK.sum()])(x),
        ROWS,
    ),
    "rows and columns": (
        lambda x, s: x[I(VECTOR), I([1, 1, 3])] * s[:, 0],
        lambda x, s: x[VECTOR, [1, 1, 3]] * s[:, 0],
        ROWS,
    ),
    "mixed": (lambda x, s: x[1:, I([3, 3])] * s[0, 0], lambda x, s: x[1:, [3, 3]] * s[0, 0], ROWS),
    "bool rows": (lambda x, s: x[I([True, False, True])] * s, lambda x, s: x[[True, False, True]] * s, SRC),
    "sort": (lambda x, s: x.sort(1).values * s, lambda x, s: np.sort(x, 1) * s, ROWS),
    "topk": (lambda x, s: x.topk(2, 0).values * s, lambda x, s: np.sort(x, 0)[:0:-1] * s, SRC),
    "kthvalue": (lambda x, s: x.kthvalue(2, 1).values * s[:, 0], lambda x, s: np.sort(x, 1)[:, 1] * s[:, 0], ROWS),
    "msort": (lambda x, s: pe.msort(x) * s, lambda x, s: np.sort(x, 0) * s, ROWS),
    "sum": (lambda x, s: x.scatter_reduce(0, I(AT), s, "sum", include_self=False), lambda x, s: met(x, s, np.sum), SRC),
    "prod": (
        lambda x, s: x.scatter_reduce(0, I(AT), s, "prod", include_self=False),
        lambda x, s: met(x, s, np.prod),
        SRC,
    ),
    "mean": (
        lambda x, s: x.scatter_reduce(0, I(AT), s, "mean", include_self=False),
        lambda x, s: met(x, s, np.mean),
        SRC,
    ),
    "amax": (lambda x, s: x.scatter_reduce(0, I(AT), s, "amax"), lambda x, s: met(x, s, np.max, True), SRC),
    "amin": (lambda x, s: x.scatter_reduce(0, I(AT), s, "amin"), lambda x, s: met(x, s, np.min, True), SRC),
}


def met(x, s, reduce, own=False):
    """What meets at each element of x, element by element."""
    out = x.copy()
    for i, j in np.ndindex(x.shape):
        values = [s[r, j] for r in range(2) if AT[r, j] == i]
        if values:
            out[i, j] = reduce([*values, x[i, j]] if own else values)
    return out


def numeric(f, x, h=1e-5):
    x, g = np.array(x, np.float64), np.empty(np.shape(x))
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_and_gradients(name):
    ours, reference, second = DIFFERENTIABLE[name]
    x, s = pe.tensor(X, requires_grad=True), pe.tensor(np.array(second), requires_grad=True)
    out = ours(x, s)
    wide = X.astype(np.float64), np.array(second, np.float64)
    expected = reference(*wide)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    w = np.cos(np.arange(expected.size)).reshape(expected.shape)
    (out * pe.tensor(w.astype(np.float32))).sum().backward()
    for leaf, f, at in (
        (x, lambda v: (reference(v, wide[1]) * w).sum(), wide[0]),
        (s, lambda v: (reference(wide[0], v) * w).sum(), wide[1]),
    ):
        np.testing.assert_allclose(leaf.grad.numpy(), numeric(f, at), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["gather", "scatter_add", "scatter", "index_copy", "masked_scatter", "sum", "amax"])
def test_differentiated_twice(name):
    """f is linear near x: the gradient of sum(f^2) is 2 J^T J x, and its derivative along x is itself."""
    ours, _, second = DIFFERENTIABLE[name]
    x, s = pe.tensor(X, requires_grad=True), pe.tensor(second, requires_grad=True)
    y = ours(x, s)
    dx, ds = pe.grad((y * y).sum(), [x, s], create_graph=True)
    along = (dx * x.detach()).sum() + (ds * s.detach()).sum()
    for first, again in zip((dx, ds), pe.grad(along, [x, s]), strict=True):
        np.testing.assert_allclose(again.numpy(), first.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_prod_at_zeros():
    x = pe.tensor([2.0, 3.0], requires_grad=True)
    s = pe.tensor([0.0, 5.0, 0.0, 0.0], requires_grad=True)
    x.scatter_reduce(0, I([0, 0, 1, 1]), s, "prod").sum().backward()
    assert s.grad.tolist() == [10, 0, 0, 0] and x.grad.tolist() == [0, 0]


def test_equal_extremes_share():
    x = pe.tensor([1.0, 1.0], requires_grad=True)
    s = pe.tensor([1.0, 1.0, 0.0], requires_grad=True)
    x.scatter_reduce(0, I([0, 0, 1]), s, "amax").sum().backward()
    np.testing.assert_allclose(s.grad.numpy(), [1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(x.grad.numpy(), [1 / 3, 1])


def test_order():
    x = np.array([[3, 1, 2, 1], [np.nan, 0, -np.inf, 5]], np.float32)
    values, indices = pe.sort(pe.tensor(x), 1, True)
    np.testing.assert_array_equal(values.numpy(), [[3, 2, 1, 1], [np.nan, 5, 0, -np.inf]])
    assert indices.tolist() == [[0, 2, 1, 3], [0, 3, 1, 2]]
    assert pe.argsort(pe.tensor(x)).tolist() == np.argsort(x, kind="stable").tolist()
    assert pe.topk(I([4, 9, 2]), 2, largest=False).indices.tolist() == [2, 0]
    assert pe.topk(pe.zeros(3), 0).values.shape == (0,)
    assert pe.sort(pe.tensor(2.0)).indices.item() == 0


def test_counting():
    x = RNG.integers(0, 5, (4, 3))
    for ours, theirs in zip(
        pe.unique(I(x), return_inverse=True, return_counts=True),
        np.unique(x, return_inverse=True, return_counts=True),
        strict=True,
    ):
        assert ours.tolist() == np.reshape(theirs, ours.shape).tolist()
    assert pe.unique(I(x), dim=1).tolist() == np.unique(x, axis=1).tolist()
    out, inverse, counts = pe.unique_consecutive(I([1, 1, 2, 1]), True, True)
    assert (out.tolist(), inverse.tolist(), counts.tolist()) == ([1, 2, 1], [0, 0, 1, 2], [2, 1, 1])
    assert pe.bincount(I(x[0]), minlength=7).tolist() == np.bincount(x[0], minlength=7).tolist()
    assert pe.bincount(I([0, 2, 2]), pe.tensor([1.0, 2.0, 3.0])).tolist() == [1, 0, 5]
    keys, at = np.sort(X, 1), RNG.normal(size=(3, 5)).astype(np.float32)
    expected = [np.searchsorted(k, v, "right").tolist() for k, v in zip(keys, at, strict=True)]
    assert pe.searchsorted(pe.tensor(keys), pe.tensor(at), right=True).tolist() == expected
    assert pe.bucketize(I([0, 1, 5]), I([1, 3])).tolist() == [0, 0, 2]
    assert pe.histc(pe.tensor(X), 5, -1, 1).tolist() == np.histogram(X, 5, (-1, 1))[0].tolist()
    assert F.one_hot(I([2, 0]), 4).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert pe.nonzero(I(x)).tolist() == np.argwhere(x).tolist()
    assert [i.tolist() for i in pe.where(I(x) > 2)] == [i.tolist() for i in np.nonzero(x > 2)]


def test_other_types():
    x = pe.arange(6).reshape(2, 3)
    assert x.gather(1, I([[2, 0]])).tolist() == [[2, 0]] and x.gather(1, I([[2, 0]])).dtype is x.dtype
    assert x.scatter(1, I([[0], [2]]), 9).tolist() == [[9, 1, 2], [3, 4, 9]]
    assert x.scatter_add(1, I([[0, 0]]), I([[5, 6]])).tolist() == [[11, 1, 2], [3, 4, 5]]
    assert x.index_add(0, I([1]), I([[1, 1, 1]])).tolist() == [[0, 1, 2], [4, 5, 6]]
    assert x.masked_fill(x > 3, -1).tolist() == [[0, 1, 2], [3, -1, -1]]
    half = pe.tensor(X).to("bfloat16")
    assert half.index_select(0, I([1])).dtype.name == "bfloat16"


def test_creation():
    np.testing.assert_allclose(pe.linspace(-1, 2, 7).numpy(), np.linspace(-1, 2, 7), rtol=1e-6)
    np.testing.assert_allclose(pe.logspace(0, 3, 4, base=2).numpy(), [1, 2, 4, 8])
    x = pe.zeros(2, 3, dtype="int64")
    assert pe.full_like(x, 7).tolist() == [[7] * 3] * 2 and pe.full_like(x, 7).dtype is x.dtype
    assert x.new_ones(2).dtype is x.dtype and x.new_tensor([1.0]).dtype is x.dtype
    assert x.new_full((1,), 4).tolist() == [4]
    assert pe.rand(3).type_as(x).dtype is x.dtype and pe.empty_like(x).shape == (2, 3)


def drawn():
    pe.manual_seed(3)
    weights = pe.tensor([0.0, 1.0, 3.0])
    return [pe.randint(-2, 5, (1000,)), pe.multinomial(weights, 1000, True), pe.rand_like(pe.ones(5))]


def test_random_numbers_of_a_type():
    assert (
        pe.rand(2, dtype="float64").dtype.name == "float64" and pe.randn(2, dtype="bfloat16").dtype.name == "bfloat16"
    )
    assert pe.rand_like(pe.zeros(2), "float64").dtype.name == "float64"
    with pytest.raises(RuntimeError, match="rand_like: a float dtype"):
        pe.rand_like(pe.arange(3))


def test_random_numbers():
    first, again = drawn(), drawn()
    for a, b in zip(first, again, strict=True):
        assert a.tolist() == b.tolist()
    assert set(first[0].tolist()) == set(range(-2, 5)) and first[0].dtype.name == "int64"
    counts = pe.bincount(first[1], minlength=3).tolist()
    assert counts[0] == 0 and 180 < counts[1] < 320  # 250 +- 5 standard deviations
    picked = pe.multinomial(pe.tensor([[1.0, 0.0, 2.0, 4.0]] * 200), 3).numpy()
    assert (np.sort(picked, 1) == [0, 2, 3]).all() and 85 < (picked[:, 0] == 3).sum() < 144  # 4/7 of 200
    assert pe.bernoulli(pe.tensor([0.0, 1.0])).tolist() == [0, 1]
    assert 420 < pe.bernoulli(pe.full((1000,), 0.5)).sum().item() < 580
    draws = pe.normal(pe.full((4000,), 3.0), 2.0)
    assert abs(draws.mean().item() - 3) < 0.16 and abs(draws.std().item() - 2) < 0.12


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x.gather(0, I([[3]])), RuntimeError, "gather: index 3 is out of range for size 3"),
        (lambda x: x.gather(0, I([1])), RuntimeError, "as many axes"),
        (lambda x: x.gather(2, I([[1]])), IndexError, "gather: axis 2"),
        (lambda x: x.gather(0, pe.zeros(1, 1)), RuntimeError, "int64"),
        (lambda x: x.scatter(0, I([[0, 1]]), I([[1.0]])), RuntimeError, "scatter: index of shape"),
        (lambda x: x.scatter_add(0, I([[0]]), I([[1]])), RuntimeError, "dtypes float32 and int64"),
        (lambda x: x.scatter_reduce(0, I([[0]]), x, "median"), RuntimeError, "'median'"),
        (lambda x: x.index_select(0, I([3])), IndexError, "index_select: index 3"),
        (lambda x: x.index_add(0, I([0]), pe.ones(2, 4)), RuntimeError, "index_add: source of shape"),
        (lambda x: x.take(I([12])), IndexError, "take: index 12"),
        (lambda x: x.masked_fill(x, 1.0), RuntimeError, "mask must be bool"),
        (lambda x: x.masked_scatter(x == x, pe.ones(2)), RuntimeError, "fewer than 12"),
        (lambda x: x.topk(5), RuntimeError, "topk: k = 5"),
        (lambda x: x.kthvalue(0), RuntimeError, "kthvalue: k = 0"),
        (lambda x: pe.bincount(I([-1])), RuntimeError, "bincount"),
        (lambda x: F.one_hot(I([3]), 2), RuntimeError, "one_hot: 2 classes"),
        (lambda x: pe.linspace(0, 1, -1), RuntimeError, "linspace: steps"),
        (lambda x: pe.randint(3, 3, (1,)), RuntimeError, "randint: low 3"),
        (lambda x: pe.multinomial(x[0] * 0.0, 1), RuntimeError, "multinomial"),
        (lambda x: pe.gather([1], 0, I([0])), TypeError, "gather: x must be a Tensor"),
    ],
)  # fmt: skip
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(pe.zeros(3, 4))
