"""Parts of a tensor: views all."""

from itertools import pairwise

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, axis_of, integer, integers
from pyengine.ops._method import method, tensor_only

__all__ = ["chunk", "dsplit", "hsplit", "narrow", "select", "split", "tensor_split", "unbind", "unflatten", "vsplit"]


def _pieces(x: Tensor, axis: int, bounds: list[int]) -> tuple[Tensor, ...]:
    """x between each two neighbours of bounds along axis."""
    return tuple(x[along(axis, slice(a, max(a, b)))] for a, b in pairwise(bounds))


def _has_axes(x: Tensor, what: str) -> None:
    if tensor_only(x, what).ndim == 0:
        raise RuntimeError(f"{what}: at least one axis is needed, got shape ()")


@method
def split(tensor: Tensor, split_size_or_sections, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts of x of one size along axis dim (the last may be smaller), or of the sizes of a list.

    >>> [part.tolist() for part in split(pe.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    _has_axes(tensor, "split")
    axis = axis_of(tensor, dim, "split")
    length = tensor.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        lengths = list(integers(split_size_or_sections, "split", "split_size_or_sections"))
        if any(n < 0 for n in lengths) or sum(lengths) != length:
            raise RuntimeError(f"split: sizes {lengths} must add up to {length}, axis {axis} of shape {tensor.shape}")
        bounds = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        return _pieces(tensor, axis, bounds)
    step = integer(split_size_or_sections, "split", "split_size")
    if step < 0 or (step == 0 and length > 0):
        raise RuntimeError(f"split: split_size must be positive, got {step} for shape {tensor.shape}")
    if length == 0:
        return (tensor[along(axis, slice(None))],)
    return _pieces(tensor, axis, [*range(0, length, step), length])


@method
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of x along axis dim, all but the last of one size."""
    _has_axes(input, "chunk")
    axis, chunks = axis_of(input, dim, "chunk"), integer(chunks, "chunk", "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk: chunks must be positive, got {chunks}")
    length = input.shape[axis]
    if length == 0:
        return tuple(input[along(axis, slice(None))] for _ in range(min(chunks, 1 << 20)))
    return split(input, -(-length // chunks), axis)


@method
def tensor_split(input: Tensor, indices_or_sections, dim: int = 0) -> tuple[Tensor, ...]:
    """n parts of x as equal as can be, or the parts between the given indices.

    >>> [part.tolist() for part in tensor_split(pe.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    _has_axes(input, "tensor_split")
    axis, cuts = axis_of(input, dim, "tensor_split"), indices_or_sections
    length = input.shape[axis]
    if isinstance(cuts, Tensor):
        cuts = cuts.tolist()
    if isinstance(cuts, (tuple, list)):
        cuts = [range(length)[: integer(i, "tensor_split", "indices")].stop if i else 0 for i in cuts]
        return _pieces(input, axis, [0, *cuts, length])
    count = integer(cuts, "tensor_split", "sections")
    if count <= 0 or count > 1 << 24:
        raise RuntimeError(f"tensor_split: the number of sections must be positive, got {count}")
    size, longer = divmod(length, count)
    return _pieces(input, axis, [i * size + min(i, longer) for i in range(count + 1)])


def _equal_parts(x: Tensor, cuts, what: str, least: int, axis: int) -> tuple[Tensor, ...]:
    if tensor_only(x, what).ndim < least:
        raise RuntimeError(f"{what}: at least {least} axes are needed, got shape {x.shape}")
    if isinstance(cuts, int) and (cuts <= 0 or x.shape[axis] % cuts):
        raise RuntimeError(f"{what}: axis {axis} of shape {x.shape} has no {cuts} equal parts")
    return tensor_split(x, cuts, axis)


@method
def hsplit(input: Tensor, indices_or_sections) -> tuple[Tensor, ...]:
    """Equal parts, or those between indices, along axis 1; of a vector along axis 0."""
    axis = 0 if tensor_only(input, "hsplit").ndim == 1 else 1
    return _equal_parts(input, indices_or_sections, "hsplit", 1, axis)


@method
def vsplit(input: Tensor, indices_or_sections) -> tuple[Tensor, ...]:
    """Equal parts, or those between indices, along axis 0."""
    return _equal_parts(input, indices_or_sections, "vsplit", 2, 0)


@method
def dsplit(input: Tensor, indices_or_sections) -> tuple[Tensor, ...]:
    """Equal parts, or those between indices, along axis 2."""
    return _equal_parts(input, indices_or_sections, "dsplit", 3, 2)


@method
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """x at every index of axis dim, without that axis."""
    axis = axis_of(input, dim, "unbind")
    if input.ndim == 0:
        raise IndexError("unbind: at least one axis is needed, got shape ()")
    return tuple(input[along(axis, i)] for i in range(input.shape[axis]))


@method
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """x from start to start + length along axis dim."""
    _has_axes(input, "narrow")
    axis, size = axis_of(input, dim, "narrow"), input.shape[dim]
    start, length = integer(start, "narrow", "start"), integer(length, "narrow", "length")
    if length < 0:
        raise RuntimeError(f"narrow: length must not be negative, got {length}")
    if not -size <= start <= size:
        raise IndexError(f"narrow: start {start} is out of range for axis {axis} of shape {input.shape}")
    start += size if start < 0 else 0
    if start + length > size:
        raise RuntimeError(f"narrow: {start} + {length} exceeds axis {axis} of shape {input.shape}")
    return input[along(axis, slice(start, start + length))]


@method
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """x at one index of axis dim, without that axis."""
    axis = axis_of(input, dim, "select")
    if input.ndim == 0:
        raise IndexError("select: at least one axis is needed, got shape ()")
    return input[along(axis, integer(index, "select", "index"))]


@method
def unflatten(input: Tensor, dim: int, sizes) -> Tensor:
    """Axis dim as several axes of these sizes (one may be -1)."""
    axis = axis_of(input, dim, "unflatten")
    sizes = integers(sizes, "unflatten", "sizes")
    if not sizes:
        raise RuntimeError(f"unflatten: sizes must not be empty, for shape {input.shape}")
    length, known = input.shape[axis] if input.ndim else 1, 1
    for n in sizes:
        known *= 1 if n == -1 else n
    if sizes.count(-1) > 1 or min(sizes) < -1 or (known != length if -1 not in sizes else not known or length % known):
        raise RuntimeError(f"unflatten: sizes {sizes} do not multiply to axis {axis} of shape {input.shape}")
    sizes = tuple(length // known if n == -1 else n for n in sizes)
    return _core.reshape(input, (*input.shape[:axis], *sizes, *input.shape[axis + 1 :]))
