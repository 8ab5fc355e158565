"""Running sums, products and extremes along an axis. NumPy walks; the gradients are operations on tensors."""

import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops import elementwise as ew
from pyengine.ops._method import composed, rule, tensor_only
from pyengine.ops.elementwise import where
from pyengine.ops.statistics import Extremes, _take_last


def _walk(function: str, x: Tensor, dim: int) -> Tensor:
    import numpy

    n = max(x.ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"axis {dim} is out of range for shape {x.shape}")
    array = x.detach().numpy()
    if not x.ndim:
        return x.detach().clone() if x.is_floating_point() else x.detach().long()
    whole = array.dtype.kind in "iub"
    out = getattr(numpy, function)(array, axis=dim, dtype=numpy.int64 if whole else array.dtype)
    return _core.from_numpy(numpy.ascontiguousarray(out))


def _typed(x: Tensor, dtype, name: str) -> Tensor:
    return tensor_only(x, name) if dtype is None else x.to(dtype)


@composed
def cumsum(x: Tensor, dim: int, *, dtype=None) -> Tensor:
    """y_i = x_0 + ... + x_i along axis dim; integers give int64."""
    x = _typed(x, dtype, "cumsum")
    return _core.record(_walk("cumsum", x, dim), "cumsum", (x,), (), dim)


@rule("cumsum")
def _cumsum(node, g):
    return _backwards(g, node.meta)


def _backwards(g: Tensor, dim: int) -> Tensor:
    """The sums from the other end."""
    if not g.ndim:
        return g
    return _turned(cumsum(_turned(g, dim), dim), dim)


def _turned(x: Tensor, dim: int) -> Tensor:
    n = x.shape[dim]
    order = _core.from_numpy(__import__("numpy").arange(n - 1, -1, -1))
    return x[(slice(None),) * (dim % x.ndim) + (order,)]


@composed
def cumprod(x: Tensor, dim: int, *, dtype=None) -> Tensor:
    """y_i = x_0 ... x_i along axis dim; integers give int64."""
    x = _typed(x, dtype, "cumprod")
    return _core.record(_walk("cumprod", x, dim), "cumprod", (x,), (x,), dim)


@rule("cumprod")
def _cumprod(node, g):
    (x,), dim = node.saved, node.meta
    if not x.ndim:
        return g
    zero = x.detach() == 0.0
    if not bool(zero.any()) and not _core.is_grad_enabled():
        return _backwards(g * cumprod(x, dim), dim) / x
    # dx_k = sum over i >= k of g_i times the product of the others up to i, for each k: no division by x
    axis, parts = dim % x.ndim, []
    for k in range(x.shape[axis]):
        ones = _at(x, axis, k) * 0.0 + 1.0
        others = _replaced(x, ones, axis, k)
        running = cumprod(others, axis)
        tail = (slice(None),) * axis + (slice(k, None),)
        parts.append((g[tail] * running[tail]).sum(axis, True))
    from pyengine.ops.shape import cat

    return cat(parts, axis)


def _at(x: Tensor, axis: int, k: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(k, k + 1),)]


def _replaced(x: Tensor, part: Tensor, axis: int, k: int) -> Tensor:
    from pyengine.ops.shape import cat

    before, after = (x[(slice(None),) * axis + (s,)] for s in (slice(0, k), slice(k + 1, None)))
    return cat([before, part.detach(), after], axis)


@composed
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """y_i = log(e^x_0 + ... + e^x_i) along axis dim, without overflow."""
    import numpy

    tensor_only(x, "logcumsumexp")
    if not x.ndim:
        return x + 0.0
    y = _core.from_numpy(numpy.ascontiguousarray(numpy.logaddexp.accumulate(x.detach().numpy(), axis=dim)))
    return _core.record(y, "logcumsumexp", (x,), (x, y), dim)


@rule("logcumsumexp")
def _logcumsumexp(node, g):
    """dx_i = the sum over k >= i of g_k e^(x_i - y_k), in logarithms, for the two signs of g apart."""
    (x, y), dim = node.saved, node.meta
    parts = []
    for side in (g, -g):
        above = ew.log(where(side > 0.0, side, 0.0)) - y
        parts.append(ew.exp(x + _turned(logcumsumexp(_turned(above, dim), dim), dim)))
    return parts[0] - parts[1]


def _running(name: str, x: Tensor, dim: int, larger) -> Extremes:
    import numpy

    tensor_only(x, name)
    if not x.ndim:
        return Extremes(x + 0, _core.from_numpy(numpy.zeros((), numpy.int64)))
    array = numpy.moveaxis(x.detach().numpy(), dim, 0)
    indices = numpy.zeros(array.shape, numpy.int64)
    best = array[0].copy() if len(array) else None
    for i in range(1, len(array)):
        with numpy.errstate(invalid="ignore"):
            better = larger(array[i], best)
        if array.dtype.kind == "f":
            better |= numpy.isnan(array[i])
        best = numpy.where(better, array[i], best)
        indices[i] = numpy.where(better, i, indices[i - 1])
    places = _core.from_numpy(numpy.ascontiguousarray(numpy.moveaxis(indices, 0, dim)))
    return Extremes(_take_last(x, places, dim, True), places)


@composed
def cummax(x: Tensor, dim: int) -> Extremes:
    """(values, indices) of the largest so far along axis dim; of equals the last."""
    return _running("cummax", x, dim, lambda a, b: ~(a < b) & (b == b))


@composed
def cummin(x: Tensor, dim: int) -> Extremes:
    """(values, indices) of the smallest so far along axis dim; of equals the last."""
    return _running("cummin", x, dim, lambda a, b: ~(a > b) & (b == b))


@composed
def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """x_{i+1} - x_i along axis dim, n times; prepend and append are joined to x first."""
    from pyengine.ops.shape import cat

    if tensor_only(x, "diff").ndim == 0:
        raise RuntimeError("diff: at least one axis is needed, got shape ()")
    if n < 0:
        raise RuntimeError(f"diff: n must be at least 0, got {n}")
    axis = dim % x.ndim
    joined = [part for part in (prepend, x, append) if part is not None]
    x = cat(joined, axis) if len(joined) > 1 and n else x
    for _ in range(n if math.isfinite(n) else 0):
        if x.shape[axis] == 0:
            break
        lead = (slice(None),) * axis
        late, early = x[(*lead, slice(1, None))], x[(*lead, slice(0, x.shape[axis] - 1))]
        x = late != early if x.dtype.name == "bool" else late - early
    return x
