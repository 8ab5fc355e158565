"""max and min with their places, and what is counted or asked of all elements."""

from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of
from pyengine.ops._method import method, tensor_only
from pyengine.ops.elementwise import maximum, minimum
from pyengine.ops.reduction import _axes, _on_host, _place, amax, amin, sum
from pyengine.ops.rounding import where


class Max(NamedTuple):
    """The maxima and where they are."""

    values: Tensor
    indices: Tensor


class Min(NamedTuple):
    """The minima and where they are."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """Both extremes."""

    min: Tensor
    max: Tensor


def _taken(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """x at indices (axis kept, of size 1) along axis; only that element gets the gradient."""
    if x.ndim == 0:
        return x.clone()
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    steps = _core.reshape(_core.from_numpy(_steps(x.shape[axis])), shape)
    return sum(where(steps == indices.float(), x, 0.0), axis, keepdim=True)


def _steps(n: int):
    import numpy

    return numpy.arange(n, dtype=numpy.float32)


def _with_place(x: Tensor, dim: int, keepdim: bool, smallest: bool) -> tuple[Tensor, Tensor]:
    what = "min" if smallest else "max"
    axis = axis_of(x, dim, what)
    if x.ndim and x.shape[axis] == 0:
        raise IndexError(f"{what}: axis {dim} of a tensor of shape {x.shape} has no elements")
    places = _place(x, axis, True, smallest)
    if x.requires_grad and _core.is_grad_enabled():
        values = _taken(x, places, axis)
    else:
        values = (amin if smallest else amax)(x, axis, keepdim=True)
    if keepdim or x.ndim == 0:
        return values, places
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return _core.reshape(values, shape), _core.reshape(places, shape)


def _both_ways(x: Tensor, dim, keepdim: bool, smallest: bool, other):
    what = "min" if smallest else "max"
    if other is not None or isinstance(dim, Tensor):
        return (minimum if smallest else maximum)(x, dim if other is None else other)
    if dim is not None:
        return (Min if smallest else Max)(*_with_place(x, dim, keepdim, smallest))
    if tensor_only(x, what).numel() == 0:
        raise RuntimeError(f"{what}: nothing to choose from in a tensor of shape {x.shape}; name an axis")
    return (amin if smallest else amax)(x)


@method
def max(x: Tensor, dim=None, keepdim: bool = False, *, other: Tensor | None = None):
    """max(x): the largest element. max(x, dim): (values, indices) along axis dim, where the first of equals gets the
    gradient. max(x, other): `maximum`.

    >>> import pyengine as pe
    >>> pe.max(pe.tensor([[1.0, 5.0], [7.0, 2.0]]), 1).indices.tolist()
    [1, 0]
    """
    return _both_ways(x, dim, keepdim, False, other)


@method
def min(x: Tensor, dim=None, keepdim: bool = False, *, other: Tensor | None = None):
    """min(x): the smallest element. min(x, dim): (values, indices) along axis dim, where the first of equals gets the
    gradient. min(x, other): `minimum`."""
    return _both_ways(x, dim, keepdim, True, other)


@method
def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """(amin, amax) along axis dim, or of all elements."""
    return MinMax(amin(x, dim, keepdim), amax(x, dim, keepdim))


def _asked(what: str, x: Tensor, dim, keepdim: bool) -> Tensor:
    dim = _axes(dim)
    truth = x if tensor_only(x, what).dtype.name == "bool" else x.detach() != 0
    return _on_host(what, truth, dim, keepdim).to("uint8" if x.dtype.name == "uint8" else "bool")


@method
def any(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """True where an element along the axes dim is not 0."""
    return _asked("any", x, dim, keepdim)


@method
def all(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """True where no element along the axes dim is 0."""
    return _asked("all", x, dim, keepdim)


@method
def count_nonzero(x: Tensor, dim=None) -> Tensor:
    """How many elements along the axes dim are not 0 (int64)."""
    return sum(tensor_only(x, "count_nonzero").detach() != 0, dim)


@method
def nansum(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The sum of the elements that are not NaN."""
    if not tensor_only(x, "nansum").is_floating_point():
        return sum(x, dim, keepdim, dtype=dtype)
    return sum(where(x.isnan(), 0.0, x), dim, keepdim, dtype=dtype)


@method
def nanmean(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The mean of the elements that are not NaN; NaN where all are."""
    if not tensor_only(x, "nanmean").is_floating_point():
        raise RuntimeError(f"nanmean: floats are needed, got {x.dtype.name}")
    known = sum(x.detach().isnan().logical_not().to(x.dtype), dim, keepdim)
    return nansum(x, dim, keepdim, dtype=dtype) / known
