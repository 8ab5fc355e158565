"""Elements by index. NumPy finds them; the gradients are sums at the same index."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, axis_of
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.fallback import _index, _index_add, kept
from pyengine.ops.rounding import where as _choose

__all__ = [
    "argwhere",
    "gather",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "take",
    "take_along_dim",
]

INDEX_TYPES = ("int64", "int32", "int16", "int8", "uint8")


def put(x: Tensor, index: tuple, source: Tensor) -> Tensor:
    """A copy of x with source (of x's dtype) at `index`, arrays and slices; recorded."""
    out = _core.copy(x.detach())
    out.numpy()[index] = source.detach().numpy()
    return _core.record(out, "put", (x, source), (), (kept(index, x, source), source.shape))


@rule("put")
def _put(node, g):
    index, shape = node.meta
    dx = put(g, index, _core.full((), 0.0, "float32")) if node.needs(0) else None
    return dx, _core.sum_to(_index(g, index), shape) if node.needs(1) else None


def index_array(index, what: str, types=INDEX_TYPES[:2]):
    """An index tensor as an array; RuntimeError where it has another dtype."""
    if tensor_only(index, what, "index").dtype.name not in types:
        raise RuntimeError(f"{what}: index must be int64 or int32, got {index.dtype.name}")
    return index.numpy()


def in_range(index, size: int, what: str, error=RuntimeError, lowest: int = 0) -> None:
    """error where an entry of the array is not in [lowest, size)."""
    if index.size and not (lowest <= index.min() and index.max() < size):
        bad = int(index.max() if index.max() >= size else index.min())
        raise error(f"{what}: index {bad} is out of range for size {size}")


def grid_index(x: Tensor, dim: int, index: Tensor, what: str) -> tuple:
    """The index tuple that gather and scatter mean: index's entries along dim, everyone's own place elsewhere."""
    import numpy

    axis, array = axis_of(x, dim, what), index_array(index, what)
    if array.ndim != x.ndim and array.size and (x.ndim > 1 or array.ndim > 1):
        raise RuntimeError(f"{what}: index of shape {index.shape} must have as many axes as shape {x.shape}")
    if array.size == 0:
        return (numpy.zeros(array.shape, dtype=numpy.int64),) * max(x.ndim, 1)
    if any(a > n for i, (a, n) in enumerate(zip(array.shape, x.shape, strict=False)) if i != axis):
        raise RuntimeError(f"{what}: index of shape {index.shape} exceeds shape {x.shape} beside axis {axis}")
    in_range(array, x.shape[axis] if x.ndim else 1, what)
    if x.ndim == 0:
        return (array.reshape(-1),)
    array = array.reshape(array.shape or (1,))
    places = list(numpy.ogrid[tuple(slice(0, n) for n in array.shape)])
    places[axis] = array
    return tuple(places)


@method
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j][k] = x[i][index[i][j][k]][k] for dim = 1. The result has index's shape.

    >>> gather(pe.tensor([[1, 2], [3, 4]]), 1, pe.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    if tensor_only(index, "gather", "index").numel() == 0:
        axis_of(input, dim, "gather")
        return _index(_core.reshape(input, (input.numel(),)), (index.long().numpy(),))
    at = grid_index(tensor_only(input, "gather"), dim, index, "gather")
    source = input if input.ndim else _core.reshape(input, (1,))
    return _core.reshape(_index(source, at), index.shape)


@method
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """x at the indices of a vector along axis dim; IndexError where one is out of range."""
    axis = axis_of(input, dim, "index_select")
    array = index_array(index, "index_select")
    if array.ndim > 1:
        raise IndexError(f"index_select: index must be a vector, got shape {index.shape}")
    array = array.reshape(-1)
    if input.ndim == 0:
        if array.size != 1:
            raise IndexError(f"index_select: a tensor without axes takes one index, got {array.size}")
        in_range(array, 1, "index_select", IndexError)
        return _core.copy(input)
    in_range(array, input.shape[axis], "index_select", IndexError)
    return _index(input, along(axis, array))


@method
def take(input: Tensor, index: Tensor) -> Tensor:
    """x, flattened, at the indices; negative ones count from the end."""
    array, size = index_array(index, "take", ("int64",)), tensor_only(input, "take").numel()
    in_range(array, size, "take", IndexError, -size)
    if input.ndim == 1:
        return _index(input, (array,))
    return _index(_core.reshape(input, (size,)), (array,))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` whose input and indices broadcast to each other beside axis dim; without dim both are flattened."""
    from pyengine.ops.join import broadcast_shapes

    tensor_only(input, "take_along_dim")
    if index_array(indices, "take_along_dim", ("int64",)).ndim != input.ndim and dim is not None:
        raise RuntimeError(f"take_along_dim: shapes {input.shape} and {indices.shape} need the same number of axes")
    if dim is None:
        return gather(_core.reshape(input, (input.numel(),)), 0, _core.reshape(indices, (indices.numel(),)))
    if input.ndim == 0:
        return gather(input, 0, indices)
    axis = axis_of(input, dim, "take_along_dim")
    ours, theirs = list(input.shape), list(indices.shape)
    ours[axis] = theirs[axis] = 1
    common = list(broadcast_shapes(ours, theirs))
    common[axis] = input.shape[axis]
    source = _core.expand(input, common)
    length, common[axis] = input.shape[axis], indices.shape[axis]
    in_range(indices.numpy(), length, "take_along_dim", RuntimeError, -length)
    return gather(source, axis, _core.expand(_wrapped(indices, length), common))


_core.add_method("take_along_dim", take_along_dim)


def _wrapped(indices: Tensor, length: int) -> Tensor:
    """Negative indices counted from the end."""
    array = indices.numpy()
    return _core.from_numpy(array + length * (array < 0)) if (array < 0).any() else indices


def _mask(mask, what: str) -> Tensor:
    if tensor_only(mask, what, "mask").dtype.name != "bool":
        raise RuntimeError(f"{what}: mask must be bool, got {mask.dtype.name}")
    return mask


@method
def masked_fill(input: Tensor, mask: Tensor, value) -> Tensor:
    """value where mask is true, else x. Shapes broadcast."""
    _mask(mask, "masked_fill")
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"masked_fill: value must be one number, got shape {value.shape}")
        if not input.is_floating_point() and value.is_floating_point():
            raise RuntimeError(f"masked_fill: {value.dtype.name} does not fit into {input.dtype.name}")
        value = value.to(input.dtype)
    else:
        value = _core.full((), value, tensor_only(input, "masked_fill").dtype)
    if input.dtype.name in ("bfloat16", "float16"):
        return masked_fill(input.float(), mask, value.float()).to(input.dtype)
    return _choose(mask, value, input)


@method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of x where mask is true, as a vector. Shapes broadcast."""
    from pyengine.ops.join import broadcast_shapes

    _mask(mask, "masked_select")
    shape = broadcast_shapes(tensor_only(input, "masked_select").shape, mask.shape)
    chosen = _core.expand(mask, shape).numpy()
    return _index(_core.expand(input, shape), (chosen,))


@method
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x, with the first elements of source one by one where mask is true."""
    from pyengine.ops.join import broadcast_shapes

    _mask(mask, "masked_scatter")
    if tensor_only(source, "masked_scatter", "source").dtype is not tensor_only(input, "masked_scatter").dtype:
        raise RuntimeError(f"masked_scatter: dtypes {input.dtype.name} and {source.dtype.name} differ")
    shape = broadcast_shapes(input.shape, mask.shape)
    chosen = _core.expand(mask, shape).numpy()
    count = int(chosen.sum())
    if source.numel() < count:
        raise RuntimeError(f"masked_scatter: source of shape {source.shape} has fewer than {count} elements")
    flat = _core.reshape(source, (source.numel(),))[:count]
    return put(_core.expand(input, shape), (chosen,), flat)


@method
def nonzero(input: Tensor, *, as_tuple: bool = False):
    """The indices of the elements that are not 0, one row each; as_tuple: one vector for each axis."""
    import numpy

    x = tensor_only(input, "nonzero").detach()
    values = (x.float() if x.dtype.name == "bfloat16" else x).numpy()
    if as_tuple:
        return tuple(_core.from_numpy(i.astype("int64")) for i in numpy.nonzero(numpy.atleast_1d(values)))
    return _core.from_numpy(numpy.ascontiguousarray(numpy.argwhere(values).astype("int64")))


@method
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not 0, one row each."""
    return nonzero(input)


def index_sum(source: Tensor, shape: tuple, index: tuple) -> Tensor:
    """Zeros of `shape` plus source at `index`, in source's dtype."""
    import numpy

    if source.dtype.name == "float32":
        return _index_add(source, shape, index)
    if source.dtype.name in ("bfloat16", "float16"):
        return _index_add(source.float(), shape, index).to(source.dtype)
    values = source.detach().numpy()
    total = numpy.zeros(shape, values.dtype)
    numpy.add.at(total, index, values)
    return _core.from_numpy(total)
