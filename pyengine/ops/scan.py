"""Running sums, products and extremes along an axis, and differences of neighbours."""

from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.fallback import _result_of
from pyengine.ops.shape import cat
from pyengine.ops.special import logaddexp


class Cummax(NamedTuple):
    """The running maxima and where they are."""

    values: Tensor
    indices: Tensor


class Cummin(NamedTuple):
    """The running minima and where they are."""

    values: Tensor
    indices: Tensor


def _running(x: Tensor, axis: int, join, backwards: bool = False) -> Tensor:
    """join of x's elements up to each along axis (from each to the end), in log2(n) steps of operations on tensors:
    differentiable as often as they are, also where a quotient would divide by 0. (Hillis and Steele, 1986)"""
    lead, n, step = (slice(None),) * axis, x.shape[axis], 1
    while step < n:
        low, high = x[(*lead, slice(0, n - step))], x[(*lead, slice(step, n))]
        if backwards:
            x = cat([join(low, high), x[(*lead, slice(n - step, n))]], axis)
        else:
            x = cat([x[(*lead, slice(0, step))], join(low, high)], axis)
        step *= 2
    return x


def _watched(x: Tensor) -> bool:
    return x.requires_grad and _core.is_grad_enabled()


def _typed(x: Tensor, dtype, what: str) -> Tensor:
    x = tensor_only(x, what)
    if dtype is not None:
        return x.to(dtype)
    return x if x.is_floating_point() else x.to("int64")


def _by_numpy(function, x: Tensor, axis: int) -> Tensor:
    import numpy

    values = (x.float() if x.dtype.name == "bfloat16" else x).detach().numpy()
    with numpy.errstate(all="ignore"):
        result = function(values.reshape(x.shape or (1,)), axis=axis)
    return _result_of(result.astype(values.dtype, copy=False).reshape(x.shape), [x])


def _sums(x: Tensor, axis: int, backwards: bool) -> Tensor:
    import numpy

    def sums(values, axis):
        return numpy.flip(numpy.cumsum(numpy.flip(values, axis), axis), axis) if backwards else values.cumsum(axis)

    return _core.record(_by_numpy(sums, x, axis), "cumsum", (x,), (), (axis, backwards))


@rule("cumsum")
def _cumsum(node, g):
    axis, backwards = node.meta
    return _sums(g, axis, not backwards)


@method
def cumsum(x: Tensor, dim: int, *, dtype=None) -> Tensor:
    """The running sums along axis dim; of integers and bool as int64."""
    return _sums(_typed(x, dtype, "cumsum"), axis_of(x, dim, "cumsum"), False)


@method
def cumprod(x: Tensor, dim: int, *, dtype=None) -> Tensor:
    """The running products along axis dim; of integers and bool as int64."""
    x, axis = _typed(x, dtype, "cumprod"), axis_of(x, dim, "cumprod")
    if _watched(x) and x.ndim:
        return _running(x.clone(), axis, lambda a, b: a * b)
    import numpy

    return x.clone() if x.ndim == 0 else _by_numpy(numpy.cumprod, x, axis)


@method
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """log of the running sums of e^x along axis dim, without overflow."""
    axis = axis_of(x, dim, "logcumsumexp")
    if not x.is_floating_point():
        raise RuntimeError(f"logcumsumexp: floats are needed, got {x.dtype.name}")
    return x.clone() if x.ndim == 0 else _running(x.clone(), axis, logaddexp)


def _extremes(x: Tensor, dim: int, what: str) -> tuple[Tensor, Tensor]:
    import numpy

    axis = axis_of(x, dim, what)
    if x.ndim == 0 or 0 in x.shape:
        return x.clone(), _core.full(x.shape, 0, "int64")
    values = numpy.moveaxis((x.float() if x.dtype.name == "bfloat16" else x).detach().numpy(), axis, 0)
    best, at = values[0].copy(), numpy.zeros(values.shape, numpy.int64)
    for i in range(1, len(values)):
        better = values[i] >= best if what == "cummax" else values[i] <= best
        better |= values[i] != values[i]
        at[i], best = numpy.where(better, i, at[i - 1]), numpy.where(better, values[i], best)
    at = numpy.moveaxis(at, 0, axis)
    index = list(numpy.indices(x.shape, sparse=True))
    index[axis] = at
    return x[tuple(_core.from_numpy(numpy.array(i)) for i in index)], _core.from_numpy(numpy.array(at))


@method
def cummax(x: Tensor, dim: int) -> Cummax:
    """The running maxima along axis dim and their indices (the last of equals); NaN stays."""
    return Cummax(*_extremes(x, dim, "cummax"))


@method
def cummin(x: Tensor, dim: int) -> Cummin:
    """The running minima along axis dim and their indices (the last of equals); NaN stays."""
    return Cummin(*_extremes(x, dim, "cummin"))


@method
def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of neighbours along axis dim, n times over; prepend and append join x there first."""
    if tensor_only(x, "diff").ndim == 0:
        raise RuntimeError("diff: a tensor of at least one axis is needed, got shape ()")
    if n < 0:
        raise RuntimeError(f"diff: n must not be negative, got {n}")
    axis = axis_of(x, dim, "diff")
    if n == 0:
        return x.clone()
    parts = [part for part in (prepend, x, append) if part is not None]
    x = cat(parts, axis) if len(parts) > 1 else x
    lead = (slice(None),) * axis
    for _ in range(min(n, x.shape[axis])):
        high, low = x[(*lead, slice(1, None))], x[(*lead, slice(0, max(x.shape[axis] - 1, 0)))]
        x = high != low if x.dtype.name == "bool" else high - low
    return x
