"""Reductions made of others: norms, extremes with their places, logical ones, medians."""

import builtins
import math
from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops import elementwise as ew
from pyengine.ops import reduction as red
from pyengine.ops._method import checked, composed, tensor_only
from pyengine.ops.elementwise import where
from pyengine.ops.functions import as_float


class Extremes(NamedTuple):
    """What max, min, median and the like give along an axis."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """What aminmax gives."""

    min: Tensor
    max: Tensor


def _axes(x: Tensor, dim) -> tuple:
    """The axes of dim as 0 .. ndim-1; None or nothing: all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(x.ndim))
    n = builtins.max(x.ndim, 1)
    listed = dim if isinstance(dim, (tuple, list)) else (dim,)
    for d in listed:
        if not -n <= d < n:
            raise IndexError(f"axis {d} is out of range for shape {x.shape}")
    return tuple(d % n for d in listed) if x.ndim else ()


def _take_last(x: Tensor, indices: Tensor, dim: int, keepdim: builtins.bool) -> Tensor:
    """The elements of x at indices (with the axis kept, of size 1) along axis dim, with their gradient."""
    shape, axis = x.shape, dim % builtins.max(x.ndim, 1)
    if not x.ndim:
        return x + 0
    places = [_core.reshape(_arange(n), (1,) * i + (n,) + (1,) * (x.ndim - i - 1)) for i, n in enumerate(shape)]
    places[axis] = indices
    picked = x[tuple(places)]
    return picked if keepdim else picked.squeeze(axis)


def _arange(n: int) -> Tensor:
    from pyengine.ops.create import arange

    return arange(n)


def _placed(name: str, x: Tensor, dim: int, keepdim: builtins.bool, minimum: builtins.bool) -> Extremes:
    tensor_only(x, name)
    _axes(x, dim)
    if x.ndim and x.shape[dim] == 0:
        raise IndexError(f"{name}: axis {dim} of shape {x.shape} is empty")
    indices = _core.argmax(x.detach().float(), dim, True, minimum)
    values = _take_last(x, indices, dim, keepdim)
    return Extremes(values, indices if keepdim or not x.ndim else indices.squeeze(dim))


def _extreme(name: str, x: Tensor, dim, keepdim, other, minimum: builtins.bool):
    if isinstance(dim, Tensor) or other is not None:
        return (ew.minimum if minimum else ew.maximum)(x, dim if other is None else other)
    if dim is not None:
        return _placed(name, x, dim, keepdim, minimum)
    if tensor_only(x, name).numel() == 0:
        raise RuntimeError(f"{name}: no elements in shape {x.shape}; name an axis")
    if x.is_floating_point() and x.dtype.name == "float32":
        return (red.amin if minimum else red.amax)(x)
    import numpy

    plain = x.detach()
    array = (plain.float() if x.dtype.name in ("bfloat16", "float16") else plain).numpy()
    return _core.from_numpy(numpy.array(array.min() if minimum else array.max())).to(x.dtype)


@composed
def max(x: Tensor, dim=None, keepdim: bool = False, *, other: Tensor | None = None):
    """The maximum; along axis dim (values, indices), of two tensors the larger of each pair."""
    return _extreme("max", x, dim, keepdim, other, False)


@composed
def min(x: Tensor, dim=None, keepdim: bool = False, *, other: Tensor | None = None):
    """The minimum; along axis dim (values, indices), of two tensors the smaller of each pair."""
    return _extreme("min", x, dim, keepdim, other, True)


@composed
def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """(min, max) over axis dim, or over all."""
    return MinMax(red.amin(x, dim, keepdim), red.amax(x, dim, keepdim))


def _kept_shape(x: Tensor, axes: tuple, keepdim: builtins.bool) -> tuple:
    if keepdim:
        return tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


@composed
def any(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """True where any element over the axes dim is not 0."""
    truth = tensor_only(x, "any") if x.dtype.name == "bool" else ew.ne(x, 0)
    axes = _axes(x, dim)
    if dim is not None and not axes and x.ndim:
        return truth
    if not x.numel():
        return _core.full(_kept_shape(x, axes, keepdim), 0.0, "float32") > 0.5
    return red.amax(truth.float(), axes, keepdim) > 0.5


@composed
def all(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """True where no element over the axes dim is 0."""
    truth = tensor_only(x, "all") if x.dtype.name == "bool" else ew.ne(x, 0)
    axes = _axes(x, dim)
    if not x.numel():
        return _core.full(_kept_shape(x, axes, keepdim), 1.0, "float32") > 0.5
    return red.amin(truth.float(), axes, keepdim) > 0.5


@composed
def count_nonzero(x: Tensor, dim=None) -> Tensor:
    """How many elements over the axes dim are not 0, as int64."""
    return red.sum(ew.ne(tensor_only(x, "count_nonzero"), 0).long(), dim)


@composed
def nansum(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The sum of what is not NaN."""
    x = as_float(x, "nansum") if dtype is None else x.to(dtype)
    return red.sum(where(ew.isnan(x), 0.0, x), dim, keepdim)


@composed
def nanmean(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The mean of what is not NaN."""
    x = as_float(x, "nanmean") if dtype is None else x.to(dtype)
    return nansum(x, dim, keepdim) / red.sum(ew.logical_not(ew.isnan(x)).float(), dim, keepdim)


@composed
def logsumexp(x: Tensor, dim, keepdim: bool = False) -> Tensor:
    """log of the sum of e^x over the axes dim, the maximum taken off first."""
    x = as_float(x, "logsumexp")
    axes = _axes(x, dim)
    if not x.numel():
        return ew.log(red.sum(x, axes, keepdim))
    high = red.amax(x.detach(), axes, True)
    high = where(ew.isfinite(high), high, 0.0)
    total = ew.log(red.sum(ew.exp(x - high), axes, True)) + high
    return total if keepdim else _core.reshape(total, _kept_shape(x, axes, False))


@checked
def vector_norm(x: Tensor, ord: float = 2, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """(sum |x|^ord)^(1/ord) over the axes dim; ord inf: the largest, -inf: the least, 0: how many are not 0."""
    x = as_float(x, "vector_norm") if dtype is None else x.to(dtype)
    axes = _axes(x, dim)
    if ord == 0:
        return red.sum(ew.ne(x, 0.0).float(), axes, keepdim) + 0.0 * red.sum(x, axes, keepdim).detach()
    size = ew.abs(x)
    if ord in (math.inf, -math.inf):
        return (red.amax if ord > 0 else red.amin)(size, axes, keepdim)
    if ord == 1:
        return red.sum(size, axes, keepdim)
    if ord == 2:
        return _root(red.sum(x * x, axes, keepdim))
    total = red.sum(ew.pow(where(size == 0.0, 1.0, size), float(ord)) * (size != 0.0).float(), axes, keepdim)
    if ord < 0:
        return ew.pow(red.sum(ew.pow(size, float(ord)), axes, keepdim), 1.0 / ord)
    return where(total == 0.0, 0.0, ew.pow(where(total == 0.0, 1.0, total), 1.0 / ord))


def _root(total: Tensor) -> Tensor:
    """The square root with gradient 0 at 0, as torch's norm has it."""
    zero = total == 0.0
    return where(zero, 0.0, ew.sqrt(where(zero, 1.0, total)))


@composed
def norm(x: Tensor, p="fro", dim=None, keepdim: bool = False, dtype=None) -> Tensor:
    """The vector norm of order p over the axes dim ("fro": 2)."""
    if p in ("fro", None):
        p = 2
    elif not isinstance(p, (int, float)):
        raise ValueError(f"norm: p must be a number or 'fro', got {p!r}")
    return vector_norm(x, p, dim, keepdim, dtype=dtype)


@composed
def dist(a: Tensor, b: Tensor, p: float = 2) -> Tensor:
    """The p-norm of a - b."""
    return vector_norm(a - b, p)


@composed
def renorm(x: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """x with every slice along axis dim scaled down to a p-norm of maxnorm at most."""
    axis = dim % x.ndim
    others = tuple(i for i in range(x.ndim) if i != axis)
    size = vector_norm(x, p, others, True)
    return x * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def _correction(unbiased, correction) -> float:
    return correction if unbiased is None else float(bool(unbiased))


def _moments(name: str, x: Tensor, dim, correction, keepdim, unbiased) -> tuple:
    if isinstance(dim, builtins.bool):  # torch's old form: var(x, unbiased)
        dim, unbiased = None, dim
    tensor_only(x, name)
    if not x.is_floating_point():
        raise RuntimeError(f"{name}: a floating-point tensor is needed, got {x.dtype.name}")
    axes = _axes(x, dim)
    count = math.prod(x.shape[i] for i in axes)
    mean = red.mean(x, axes, True)
    centred = x - mean
    divisor = builtins.max(count - _correction(unbiased, 1 if correction is None else correction), 0)
    total = red.sum(centred * centred, axes, keepdim)
    out = total / float(divisor) if divisor else total * math.nan if count <= 1 else total / 0.0
    return out, mean if keepdim else _core.reshape(mean, _kept_shape(x, axes, False))


@composed
def var(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The variance over the axes dim: sum((x - mean)^2) / (n - correction), correction 1 unless given."""
    return _moments("var", x, dim, correction, keepdim, unbiased)[0]


@composed
def std(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The standard deviation: the root of var."""
    return _root(_moments("std", x, dim, correction, keepdim, unbiased)[0])


@checked
def var_mean(x: Tensor, dim=None, unbiased=None, keepdim: bool = False, *, correction: float | None = None) -> tuple:
    """(var, mean)."""
    return _moments("var_mean", x, dim, correction, keepdim, unbiased)


@checked
def std_mean(x: Tensor, dim=None, unbiased=None, keepdim: bool = False, *, correction: float | None = None) -> tuple:
    """(std, mean)."""
    variance, mean = _moments("std_mean", x, dim, correction, keepdim, unbiased)
    return _root(variance), mean


@composed
def trace(x: Tensor) -> Tensor:
    """The sum of a matrix' diagonal."""
    if tensor_only(x, "trace").ndim != 2:
        raise RuntimeError(f"trace: a matrix is needed, got shape {x.shape}")
    n = builtins.min(x.shape)
    return red.sum(x[(_arange(n), _arange(n))])


@composed
def median(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """The lower median; along axis dim (values, indices). NaN if one is there."""
    return _middle("median", x, dim, keepdim, False)


@composed
def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """The lower median of what is not NaN."""
    return _middle("nanmedian", x, dim, keepdim, True)


def _middle(name: str, x: Tensor, dim, keepdim, skip: builtins.bool):
    import numpy

    if dim is None:
        return _middle(name, _core.reshape(tensor_only(x, name), (-1,)), 0, False, skip).values
    _axes(x, dim)
    if not x.ndim:
        return Extremes(x + 0, _core.reshape(_arange(1), ()))
    array = x.detach().numpy()
    order = numpy.argsort(array, axis=dim, kind="stable")
    count = array.shape[dim]
    whole = numpy.full(numpy.delete(array.shape, dim % x.ndim), count)
    if array.dtype.kind == "f":
        good = count - numpy.isnan(array).sum(axis=dim)
        whole = numpy.maximum(good, 1) if skip else numpy.where(good < count, 2 * count - 1, count)
        # NaNs are sorted last: with one there, the first of them is the median
        at = (whole - 1) // 2 if skip else numpy.where(good < count, good, (count - 1) // 2)
    else:
        at = (whole - 1) // 2
    at = numpy.expand_dims(at, dim)
    indices = _core.from_numpy(numpy.array(numpy.take_along_axis(order, at, axis=dim)))
    values = _take_last(x, indices, dim, keepdim)
    return Extremes(values, indices if keepdim else indices.squeeze(dim))


@composed
def quantile(x: Tensor, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The q-quantiles (a number, or a vector whose axis comes first) along axis dim, or of all elements."""
    import numpy

    if dim is None and keepdim:
        out = quantile(_core.reshape(x, (-1,)), q, 0, interpolation=interpolation)
        return _core.reshape(out, out.shape + (1,) * x.ndim)
    if dim is None or not x.ndim:
        x, dim, keepdim = _core.reshape(x, (-1,)), 0, keepdim and bool(x.ndim)
    fractions = numpy.atleast_1d(q.detach().numpy() if isinstance(q, Tensor) else numpy.float32(q))
    if fractions.size and not ((fractions >= 0) & (fractions <= 1)).all():
        raise RuntimeError("quantile: q must lie between 0 and 1")
    axis, count = dim % x.ndim, x.shape[dim]
    order = _core.from_numpy(numpy.argsort(x.detach().numpy(), axis=axis, kind="stable"))
    nan = red.sum(ew.isnan(x.detach()).float(), axis, True) > 0.0
    parts = []
    given = _core.reshape(q, (-1,)) if isinstance(q, Tensor) else None
    for i, fraction in enumerate(fractions):
        at = float(fraction) * (count - 1)
        low, high = math.floor(at), math.ceil(at)
        linear = at - low if given is None else given[i] * float(count - 1) - float(low)  # q may want its gradient
        share = {"linear": linear, "lower": 0.0, "higher": 1.0, "midpoint": 0.5 if high > low else 0.0,
                 "nearest": float(round(at) - low)}.get(interpolation)  # fmt: skip
        if share is None:
            raise RuntimeError(f"quantile: interpolation {interpolation!r} is not known")
        below, above = (_take_last(x, _narrow(order, axis, i), axis, True) for i in (low, high))
        parts.append(where(nan, math.nan, below + (above - below) * share))
    shaped = [p if keepdim else p.squeeze(axis) for p in parts]
    if not (isinstance(q, Tensor) and q.ndim):
        return shaped[0]
    from pyengine.ops.shape import stack

    return stack(shaped, 0)


def _narrow(x: Tensor, axis: int, i: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(i, i + 1),)]


@checked
def cov(x: Tensor, *, correction: int = 1, fweights=None, aweights=None) -> Tensor:
    """The covariance of the rows (variables) over the columns (observations)."""
    rows = _core.reshape(x, (1, -1)) if x.ndim < 2 else x
    count = rows.shape[1]
    weight = None
    for given in (fweights, aweights):
        if given is not None:
            weight = given.float() if weight is None else weight * given.float()
    total = float(count) if weight is None else red.sum(weight)
    mean = red.sum(rows if weight is None else rows * weight, 1, True) / total
    centred = rows - mean
    weighted = centred if weight is None else centred * weight
    if weight is None or correction == 0 or aweights is None:
        divisor = total - correction
    else:
        divisor = total - correction * red.sum(weight * aweights.float()) / total
    if not isinstance(divisor, Tensor):
        divisor = builtins.max(divisor, 0.0)
    out = _core.matmul(weighted, _core.transpose(centred, 0, 1)) / divisor
    return _core.reshape(out, ()) if rows.shape[0] == 1 else out


@checked
def corrcoef(x: Tensor) -> Tensor:
    """cov scaled to a diagonal of 1."""
    c = cov(x)
    if c.ndim == 0:
        return c / c
    n = c.shape[0]
    d = ew.sqrt(c[(_arange(n), _arange(n))])
    return c / _core.reshape(d, (-1, 1)) / _core.reshape(d, (1, -1))


_core.add_method("cov", cov)
_core.add_method("corrcoef", corrcoef)
