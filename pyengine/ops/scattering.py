"""Writing by index, as new tensors: scatter and its family."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, axis_of
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.fallback import _index, kept
from pyengine.ops.gathering import grid_index, in_range, index_array, index_sum, put
from pyengine.ops.rounding import where

__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
]


def _pair(input: Tensor, src: Tensor, what: str, name: str = "src") -> None:
    tensor_only(input, what)
    if tensor_only(src, what, name).dtype is not input.dtype:
        raise RuntimeError(f"{what}: dtypes {input.dtype.name} and {src.dtype.name} of input and {name} differ")


def _part(src: Tensor, index: Tensor, what: str) -> Tensor:
    """The part of src that index speaks of."""
    if src.ndim == 0 or index.ndim == 0:
        return _core.reshape(src, index.shape if src.numel() == 1 else (src.numel(),))
    if src.ndim != index.ndim or any(a > n for a, n in zip(index.shape, src.shape, strict=True)):
        raise RuntimeError(f"{what}: index of shape {index.shape} exceeds src of shape {src.shape}")
    return src[tuple(slice(0, n) for n in index.shape)]


def _with_axes(x: Tensor) -> Tensor:
    return x if x.ndim else _core.reshape(x, (1,))


@method
def scatter(input: Tensor, dim: int, index: Tensor, src, *, reduce: str | None = None) -> Tensor:
    """x with out[i][index[i][j][k]][k] = src[i][j][k] for dim = 1; src a tensor or one number. Where an index comes
    twice the last one stays. reduce: "add" or "multiply"."""
    at = grid_index(tensor_only(input, "scatter"), dim, index, "scatter")
    if reduce is not None:
        names = {"add": "sum", "multiply": "prod"}
        if reduce not in names:
            raise RuntimeError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
        if not isinstance(src, Tensor):
            src = _core.full(index.shape, src, input.dtype)
        return scatter_reduce(input, dim, index, src, names[reduce])
    if not isinstance(src, Tensor):
        source = _core.full((), src, input.dtype)
    else:
        _pair(input, src, "scatter")
        source = _part(src, index, "scatter") if index.numel() else src
    if index.numel() == 0:
        return _core.copy(input)
    return _core.reshape(put(_with_axes(input), at, source), input.shape)


@method
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i][j][k] added at [i][index[i][j][k]][k] for dim = 1."""
    at = grid_index(tensor_only(input, "scatter_add"), dim, index, "scatter_add")
    _pair(input, src, "scatter_add")
    if index.numel() == 0:
        return _core.copy(input)
    source = _part(src, index, "scatter_add")
    source = source if source.ndim else _core.reshape(source, (1,))
    return input + _core.reshape(index_sum(source, _with_axes(input).shape, at), input.shape)


def _counts(shape: tuple, at: tuple, like: Tensor) -> Tensor:
    """How often each element of `shape` is named."""
    import numpy

    named = numpy.broadcast(*at).shape
    return index_sum(_core.full(named, 1, "float32"), shape, at).to(like.dtype)


_UFUNC = {"amax": "maximum", "amin": "minimum", "prod": "multiply"}


@method
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_add` with reduce "sum", "prod", "mean", "amax" or "amin" over what meets at an element; x itself takes
    part unless include_self is False. Equal extremes share the gradient."""
    what = "scatter_reduce"
    at = grid_index(tensor_only(input, what), dim, index, what)
    _pair(input, src, what)
    if reduce not in ("sum", "mean", *_UFUNC):
        raise RuntimeError(f"{what}: reduce must be sum, prod, mean, amax or amin, got {reduce!r}")
    if index.numel() == 0:
        return _core.copy(input)
    x, source = _with_axes(input), _part(src, index, what)
    source = source if source.ndim else _core.reshape(source, (1,))
    if reduce in _UFUNC:
        return _core.reshape(_meeting(x, at, source, reduce, include_self), input.shape)
    base = x if include_self else put(x, at, _core.full((), 0, x.dtype))
    total = base + index_sum(source, x.shape, at)
    if reduce == "mean":
        count = _counts(x.shape, at, x)
        count = count + _core.full((), 1, x.dtype) if include_self else where(count == 0, _one(x), count)
        total = total / count if x.is_floating_point() else _floor_quotient(total, count)
    return _core.reshape(total, input.shape)


def _one(x: Tensor) -> Tensor:
    return _core.full((), 1, x.dtype)


def _floor_quotient(a: Tensor, b: Tensor) -> Tensor:
    return _core.from_numpy(a.numpy() // b.numpy())


def _meeting(x: Tensor, at: tuple, source: Tensor, reduce: str, include_self: bool) -> Tensor:
    """amax, amin or prod of what meets at each element; recorded."""
    import numpy

    neutral = {"prod": 1.0, "amax": -numpy.inf, "amin": numpy.inf}[reduce]
    out = _core.copy(x.detach()).numpy()
    if not include_self:
        if reduce != "prod" and out.dtype.kind in "iu":
            limits = numpy.iinfo(out.dtype)
            neutral = limits.min if reduce == "amax" else limits.max
        out[at] = neutral
    getattr(numpy, _UFUNC[reduce]).at(out, at, source.detach().numpy())
    out = _core.from_numpy(out)
    return _core.record(out, f"meet_{reduce}", (x, source), (x, source, out), (kept(at, x, source), include_self))


def _extreme_rule(node, g):
    x, source, out = node.saved
    at, include_self = node.meta
    out = out.detach()
    own = (x.detach() == out).float()
    if not include_self:
        own = put(own, at, _core.full((), 0.0, "float32"))
    hits = (source.detach() == _index(out, at)).float()
    share = own + index_sum(hits, x.shape, at)
    g = g / where(share == 0.0, 1.0, share)
    if not include_self:  # elements that are not named pass their gradient
        own = put(_core.full(x.shape, 1.0), at, _core.full((), 0.0, "float32"))
    return g * own, _index(g, at) * hits


rule("meet_amax")(_extreme_rule)
rule("meet_amin")(_extreme_rule)


@rule("meet_prod")
def _prod_rule(node, g):
    """The product of the others: by division where no 0 is among them, else built without the lone 0."""
    x, source, out = node.saved
    at, include_self = node.meta
    zero = _core.full((), 0.0, "float32")
    x_zero, source_zero = x.detach() == 0.0, source.detach() == 0.0
    own = where(x_zero, 1.0, x)
    dx = g * _meeting(own, at, source, "prod", include_self) / own
    if not include_self:
        dx = put(dx, at, zero)
    zeros = _index(index_sum(source_zero.float(), x.shape, at), at)
    lone = (zeros == 1.0).logical_and(source_zero)
    others = _meeting(x, at, where(lone, 1.0, source), "prod", include_self)
    divided = _index(g * out, at) / where(source_zero, 1.0, source)
    return dx, where(lone, _index(g * others, at), divided)


def _vector_index(input: Tensor, dim: int, index: Tensor, what: str) -> tuple[int, tuple]:
    axis, array = axis_of(input, dim, what), index_array(index, what)
    if array.ndim > 1:
        raise IndexError(f"{what}: index must be a vector, got shape {index.shape}")
    array = array.reshape(-1)
    size = input.shape[axis] if input.ndim else 1
    in_range(array, size, what, IndexError, -size)
    return axis, along(axis, array)


def _fits(input: Tensor, axis: int, index: Tensor, source: Tensor, what: str) -> None:
    _pair(input, source, what, "source")
    wanted = list(_with_axes(input).shape)
    wanted[axis] = index.numel()
    if tuple(wanted) != (source.shape or (1,)):
        raise (RuntimeError if what == "index_add" else IndexError)(
            f"{what}: source of shape {source.shape} does not fit {index.numel()} indices along axis {axis} of shape "
            f"{input.shape}"
        )


@method
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha=1) -> Tensor:
    """x with alpha source added at the indices of a vector along axis dim."""
    axis, at = _vector_index(input, dim, index, "index_add")
    _fits(input, axis, index, source, "index_add")
    shape = _with_axes(input).shape
    total = _core.reshape(index_sum(_with_axes(source), shape, at), input.shape)
    return input + (total if alpha == 1 else total * alpha)


@method
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """x with source at the indices of a vector along axis dim."""
    axis, at = _vector_index(input, dim, index, "index_copy")
    _fits(input, axis, index, source, "index_copy")
    return _core.reshape(put(_with_axes(input), at, _with_axes(source)), input.shape)


@method
def index_fill(input: Tensor, dim: int, index: Tensor, value) -> Tensor:
    """x with one value at the indices of a vector along axis dim."""
    import numpy

    axis, at = _vector_index(input, dim, index, "index_fill")
    # each place once, so that the value's gradient counts it once
    at = along(axis, numpy.unique(at[axis] % (input.shape[axis] if input.ndim else 1)))
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"index_fill: value must be one number, got shape {value.shape}")
        value = value.to(input.dtype)
    else:
        value = _core.full((), value, input.dtype)
    return _core.reshape(put(_with_axes(input), at, value), input.shape)


def index_put(input: Tensor, indices, values: Tensor, accumulate: bool = False) -> Tensor:
    """x with values written (or added) at x[indices]."""
    _pair(input, values, "index_put", "values")
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put: indices must be a tuple of Tensors, got {type(indices).__name__}")
    at = tuple(slice(None) if i is None else tensor_only(i, "index_put", "indices").numpy() for i in indices)
    if any(getattr(getattr(i, "dtype", None), "kind", "i") not in "iub" for i in at):
        raise IndexError("index_put: indices must be integers or bool")
    if not accumulate:
        return put(input, at, values)
    named = _index(input.detach(), at).shape
    return input + index_sum(_core.expand(values, named), input.shape, at)


_core.add_method("index_put", index_put)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """x with src at one index of axis dim."""
    axis = axis_of(input, dim, "select_scatter")
    _pair(input, src, "select_scatter")
    if input[along(axis, index)].shape != src.shape:
        raise RuntimeError(f"select_scatter: src of shape {src.shape} does not fit axis {axis} of {input.shape}")
    return put(input, along(axis, index), src)


_core.add_method("select_scatter", select_scatter)
