"""Other shapes for the same elements: views, joins, elements by index."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axes_of, axis_of
from pyengine.ops._method import method, rule, sizes, tensor_only


@method
def reshape(x: Tensor, *shape) -> Tensor:
    """x in another shape (one size may be -1): a view where possible, else a copy."""
    return _core.reshape(x, sizes(shape))


@method
def view(x: Tensor, *shape) -> Tensor:
    """x's memory in another shape (one size may be -1); ValueError where that needs a copy. A whole image with its
    channels last is copied, as `reshape` does it: convolutions lay their results out so on their own, and what follows
    them may say x.view(x.size(0), -1)."""
    return _core.view(x, sizes(shape))


@rule("reshape")
def _reshape(node, g):
    return _core.reshape(g, node.meta)


@method
def permute(x: Tensor, *dims) -> Tensor:
    """x with its axes in the order dims."""
    return _core.permute(x, sizes(dims))


_core.add_method("mT", property(lambda x: _core.transpose(x, -2, -1), doc="Matrices transposed: the last two axes."))


@rule("permute")
def _permute(node, g):
    dims = [d % len(node.meta) for d in node.meta]
    return _core.permute(g, [dims.index(i) for i in range(len(dims))])


@method
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with the axes dim0 and dim1 exchanged."""
    return _core.transpose(x, dim0, dim1)


@method
def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are."""
    if tensor_only(x, "t").ndim > 2:
        raise ValueError(f"t: at most 2 axes, got shape {x.shape}; use transpose or permute")
    return x if x.ndim < 2 else _core.transpose(x, 0, 1)


@method
def expand(x: Tensor, *shape) -> Tensor:
    """x broadcast to shape (-1 keeps a size); no memory is used."""
    return _core.expand(x, sizes(shape))


@rule("expand")
def _expand(node, g):
    return _core.sum_to(g, node.meta)


@method
def squeeze(x: Tensor, dim: int | tuple | None = None) -> Tensor:
    """x without its axes of size 1, or without the axis dim (or several) if that has size 1."""
    if isinstance(dim, (tuple, list)):
        gone = axes_of(x, dim, "squeeze")
        return _core.view(x, [n for i, n in enumerate(tensor_only(x, "squeeze").shape) if n != 1 or i not in gone])
    if dim is None:
        return _core.view(x, [n for n in tensor_only(x, "squeeze").shape if n != 1])
    axis = axis_of(x, dim, "squeeze")
    return x if x.ndim == 0 or x.shape[axis] != 1 else _core.view(x, x.shape[:axis] + x.shape[axis + 1 :])


@method
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """x with a new axis of size 1 at dim."""
    axis = axis_of(x, dim, "unsqueeze", 1)
    return _core.view(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@method
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes start_dim to end_dim as one."""
    if tensor_only(x, "flatten").ndim == 0:
        return _core.reshape(x, (1,))
    first, last = axis_of(x, start_dim, "flatten"), axis_of(x, end_dim, "flatten")
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim} in shape {x.shape}")
    size = 1
    for n in x.shape[first : last + 1]:
        size *= n
    return _core.reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))


@rule("slice")
def _slice(node, g):
    shape, index = node.meta
    return _placed(g, shape, index)


def _placed(x: Tensor, shape: tuple, index: tuple, value: float = 0) -> Tensor:
    """A tensor of `shape` full of value, with x at the slices `index`: with 0, what a slice pulls back."""
    out = _core.new_image_like(x, shape, value)
    out[index] = x.detach()
    return _core.record(out, "scatter_slice", (x,), (), index)


@rule("scatter_slice")
def _scatter_slice_rule(node, g):
    return g[node.meta]


def cat(tensors, dim: int = 0) -> Tensor:
    """The tensors one after the other along axis dim; their other sizes must agree."""
    tensors = tuple(tensor_only(x, "cat") for x in tensors)
    if not tensors:
        raise ValueError("cat: at least one tensor is needed")
    tensors = tuple(x for x in tensors if x.shape != (0,)) or tensors[:1]  # a vector of nothing fits anywhere
    first = tensors[0]
    axis = axis_of(first, dim, "cat")
    for x in tensors:
        if x.dtype is not first.dtype:
            raise TypeError(f"cat: dtypes {first.dtype.name} and {x.dtype.name} differ")
        if (
            x.ndim != first.ndim
            or x.ndim == 0
            or (*x.shape[:axis], *x.shape[axis + 1 :]) != (*first.shape[:axis], *first.shape[axis + 1 :])
        ):
            raise ValueError(f"cat: shapes {first.shape} and {x.shape} differ beside axis {axis}")
    total = sum(x.shape[axis] for x in tensors)
    like = next((x for x in tensors if _core.has_channels_last(x)), first)
    out = _core.new_image_like(like, (*first.shape[:axis], total, *first.shape[axis + 1 :]))
    for x, part in zip(tensors, _parts(tensors, axis), strict=True):
        out[part] = x.detach()
    return _core.record(out, "cat", tensors, (), (axis, [x.shape[axis] for x in tensors]))


def _parts(tensors, axis: int) -> list[tuple]:
    """The index of each tensor's place in their concatenation."""
    places, start = [], 0
    for x in tensors:
        places.append((*[slice(None)] * axis, slice(start, start + x.shape[axis])))
        start += x.shape[axis]
    return places


@rule("cat")
def _cat(node, g):
    axis, lengths = node.meta
    grads, start = [], 0
    for n in lengths:
        grads.append(g[(*[slice(None)] * axis, slice(start, start + n))])
        start += n
    return tuple(grads)


def stack(tensors, dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new axis dim."""
    return cat([unsqueeze(x, dim) for x in tensors], dim)


_core.add_method("T", property(t, doc="The transpose of a matrix."))
