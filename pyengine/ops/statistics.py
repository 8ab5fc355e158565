"""Medians and quantiles (sorted by NumPy), covariance and correlation."""

import math
from typing import Any, NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of
from pyengine.ops._method import method, tensor_only
from pyengine.ops.reduction import mean, sum
from pyengine.ops.rounding import clamp, where
from pyengine.ops.shape import stack


class Median(NamedTuple):
    """The medians and where they are."""

    values: Tensor
    indices: Tensor


def _at(x: Tensor, axis: int, places) -> Tensor:
    """x at NumPy's int64 `places` (one number a line along axis); recorded."""
    import numpy

    index = list(numpy.indices(places.shape, sparse=True))
    index[axis] = places
    return x[tuple(_core.from_numpy(numpy.array(i)) for i in index)]


def _middle(x: Tensor, dim, keepdim: bool, what: str, skip: bool):
    import numpy

    if dim is None:
        flat = _core.reshape(tensor_only(x, what), (-1,))
        return _middle(flat, 0, False, what, skip).values if x.numel() else _core.full((), math.nan, x.dtype)
    axis = axis_of(x, dim, what)
    if x.ndim == 0:
        return Median(x.clone(), _core.full((), 0, "int64"))
    if x.shape[axis] == 0:
        raise IndexError(f"{what}: axis {dim} of a tensor of shape {x.shape} has no elements")
    values = x.detach().numpy()
    order = numpy.argsort(values, axis, kind="stable")  # NaN last
    unknown = (values != values).sum(axis, keepdims=True)
    place = (values.shape[axis] - unknown - 1).clip(0) // 2 if skip else (values.shape[axis] - 1) // 2
    if not skip:
        place = numpy.where(unknown > 0, values.shape[axis] - 1, place)
    places = numpy.take_along_axis(order, place, axis)
    out, indices = _at(x, axis, places), _core.from_numpy(places)
    if keepdim:
        return Median(out, indices)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return Median(_core.reshape(out, shape), _core.reshape(indices, shape))


@method
def median(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """The median (the lower of the two middle ones) of all elements, or (values, indices) along axis dim; NaN if one
    is there."""
    return _middle(x, dim, keepdim, "median", False)


@method
def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """`median` of the elements that are not NaN."""
    return _middle(x, dim, keepdim, "nanmedian", True)


@method
def quantile(x: Tensor, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The q-quantiles (0 <= q <= 1, a number or a vector, whose axis comes first) along axis dim or of all elements."""
    import numpy

    steps = {"linear", "lower", "higher", "nearest", "midpoint"}
    if interpolation not in steps:
        raise RuntimeError(f"quantile: interpolation must be one of {sorted(steps)}, got {interpolation!r}")
    if not tensor_only(x, "quantile").is_floating_point() or x.numel() == 0:
        raise RuntimeError(f"quantile: floats are needed, got {x.dtype.name} of shape {x.shape}")
    if not isinstance(q, (Tensor, int, float)):
        raise TypeError(f"quantile: q must be a number or a Tensor, got {type(q).__name__}")
    levels: Any = q.detach().tolist() if isinstance(q, Tensor) else q
    several = isinstance(levels, list)
    if isinstance(q, Tensor) and q.ndim > 1:
        raise RuntimeError(f"quantile: q must be a number or a vector, got shape {q.shape}")
    if [level for level in (levels if several else [levels]) if not 0 <= level <= 1]:
        raise RuntimeError(f"quantile: q must lie between 0 and 1, got {levels}")
    shape = (1,) * x.ndim if dim is None else ()
    rows = _core.reshape(x, (-1,)) if dim is None or x.ndim == 0 else x
    axis = 0 if dim is None or x.ndim == 0 else axis_of(x, dim, "quantile")
    shape = shape or tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    if not keepdim:
        shape = () if dim is None else tuple(n for i, n in enumerate(shape) if i != axis)
    values = rows.detach().numpy()
    order = numpy.argsort(values, axis, kind="stable")
    unknown = _core.from_numpy((values != values).any(axis, keepdims=True))

    def one(level: float, given) -> Tensor:
        position = level * (values.shape[axis] - 1)
        if interpolation == "nearest":
            position = numpy.rint(position)
        low, high = math.floor(position), math.ceil(position)
        low, high = (high, high) if interpolation == "higher" else (low, low if interpolation == "lower" else high)
        below, above = (_at(rows, axis, numpy.take(order, [i], axis)) for i in (low, high))
        weight = given * float(values.shape[axis] - 1) - float(low)  # recorded: q may want a gradient
        if interpolation == "midpoint":
            weight = 0.5
        out = below + (above - below) * weight if interpolation in ("linear", "midpoint") else below
        return _core.reshape(where(unknown, math.nan, out), shape)

    given: Any = q
    return stack(list(map(one, levels, given))) if several else one(levels, given)


@method
def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of the rows of x; the columns are observations, weighted by how often (fweights) and how
    reliably (aweights) they were made."""
    if tensor_only(x, "cov").ndim > 2:
        raise RuntimeError(f"cov: at most 2 axes, got shape {x.shape}")
    rows = _core.reshape(x, (1, -1)) if x.ndim < 2 else x
    rows = rows if rows.is_floating_point() else rows.float()
    count: float | Tensor = float(rows.shape[1])
    weights = None
    for given in (fweights, aweights):
        if given is not None:
            given = given if given.is_floating_point() else given.float()
            weights = given if weights is None else weights * given
    if weights is None:
        centred = rows - mean(rows, 1, keepdim=True)
        scaled, factor = centred, max(count - correction, 0.0)
    else:
        total = sum(weights)
        centred = rows - sum(rows * weights, 1, keepdim=True) / total
        scaled = centred * weights
        reliable = total if aweights is None else sum(weights * (aweights.float())) / total * 1.0
        factor = total - correction if aweights is None else total - reliable * correction
        factor = clamp(factor, min=0.0)
    out = scaled @ centred.T / factor
    return _core.reshape(out, ()) if out.shape == (1, 1) else out


@method
def corrcoef(x: Tensor) -> Tensor:
    """The correlation coefficients of the rows of x, held between -1 and 1."""
    c = cov(x)
    if c.ndim == 0:
        return c / c
    deviations = _core.reshape(sum(c * _eye(c.shape[0]), 1), (-1,)).sqrt()
    return clamp(c / _core.reshape(deviations, (-1, 1)) / _core.reshape(deviations, (1, -1)), -1.0, 1.0)


def _eye(n: int) -> Tensor:
    import numpy

    return _core.from_numpy(numpy.eye(n, dtype=numpy.float32))
