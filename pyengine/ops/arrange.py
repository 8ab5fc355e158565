"""The same elements in another order, or several times."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, axes_of, axis_of, integer, integers
from pyengine.ops._method import method, sizes, tensor_only
from pyengine.ops.shape import cat

__all__ = [
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "movedim",
    "repeat_interleave",
    "roll",
    "rot90",
    "swapaxes",
    "swapdims",
    "tile",
]

_BACKWARDS = slice(None, None, -1)


@method
def flip(input: Tensor, *axes, dims=None) -> Tensor:
    """A copy of x with the order along axes reversed: flip(x, 0, 1), flip(x, (0, 1)) or flip(x, dims=(0, 1))."""
    named = axes_of(input, sizes(axes) if dims is None else dims, "flip")
    if input.ndim == 0:
        return _core.copy(input)
    index = tuple(_BACKWARDS if i in named else slice(None) for i in range(input.ndim))
    return _core.copy(input[index])


@method
def fliplr(input: Tensor) -> Tensor:
    """x with axis 1 reversed."""
    if tensor_only(input, "fliplr").ndim < 2:
        raise RuntimeError(f"fliplr: at least 2 axes are needed, got shape {input.shape}")
    return flip(input, 1)


@method
def flipud(input: Tensor) -> Tensor:
    """x with axis 0 reversed."""
    if tensor_only(input, "flipud").ndim < 1:
        raise RuntimeError(f"flipud: at least 1 axis is needed, got shape {input.shape}")
    return flip(input, 0)


@method
def roll(input: Tensor, shifts, dims=None) -> Tensor:
    """x with every element moved on by shifts along the axes dims; what leaves at the end enters at the start.

    >>> roll(pe.arange(4), 1).tolist()
    [3, 0, 1, 2]
    """
    tensor_only(input, "roll")
    shifts = integers(shifts, "roll", "shifts")
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        if len(shifts) != 1:
            raise RuntimeError(f"roll: shifts {shifts} without dims: one shift is needed for shape {input.shape}")
        return _core.reshape(
            _rolled(_core.reshape(input, (-1,)) if input.numel() else input, shifts[0], 0), input.shape
        )
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(dims) != len(shifts):
        raise RuntimeError(f"roll: {len(shifts)} shifts for {len(dims)} dims")
    if input.ndim == 0:
        raise IndexError(f"roll: dims {tuple(dims)} of a tensor without axes")
    for shift, dim in zip(shifts, dims, strict=True):
        input = _rolled(input, shift, axis_of(input, dim, "roll"))
    return input


def _rolled(x: Tensor, shift: int, axis: int) -> Tensor:
    if x.ndim == 0 or x.numel() == 0 or shift % x.shape[axis] == 0:
        return _core.copy(x)
    cut = x.shape[axis] - shift % x.shape[axis]
    return cat([x[along(axis, slice(cut, None))], x[along(axis, slice(0, cut))]], axis)


@method
def rot90(input: Tensor, k: int = 1, dims=(0, 1)) -> Tensor:
    """x turned k times by 90 degrees in the plane of two axes, from the first towards the second."""
    tensor_only(input, "rot90")
    dims = integers(dims, "rot90", "dims")
    if len(dims) != 2 or input.ndim < 2:
        raise RuntimeError(f"rot90: two axes are needed, got dims {dims} for shape {input.shape}")
    if abs(dims[0] - dims[1]) in (0, input.ndim):
        raise RuntimeError(f"rot90: the axes {dims} must differ, for shape {input.shape}")
    a, b = axes_of(input, dims, "rot90")
    turns = integer(k, "rot90", "k") % 4
    if turns == 0:
        return _core.copy(input)
    if turns == 2:
        return flip(input, a, b)
    return flip(_core.transpose(input, a, b), a if turns == 1 else b)


def _repeated(x: Tensor, axis: int, count: int, blocks: bool) -> Tensor:
    """Axis `axis` count times: as blocks (0 1 0 1), or element by element (0 0 1 1)."""
    if count == 1:
        return x
    lead = tail = 1
    for n in x.shape[:axis]:
        lead *= n
    for n in x.shape[axis + 1 :]:
        tail *= n
    length = x.shape[axis]
    shape = (*x.shape[:axis], length * count, *x.shape[axis + 1 :])
    before, after = (lead, length * tail) if blocks else (lead * length, tail)
    row = _core.reshape(x, (before, 1, after))
    return _core.reshape(_core.expand(row, (before, count, after)), shape)


@method
def repeat(input: Tensor, *repeats) -> Tensor:
    """x so many times along each axis; further counts in front make new axes.

    >>> repeat(pe.arange(2), 2, 2).tolist()
    [[0, 1, 0, 1], [0, 1, 0, 1]]
    """
    counts = integers(sizes(repeats), "repeat", "repeats")
    if len(counts) < tensor_only(input, "repeat").ndim:
        raise RuntimeError(f"repeat: {len(counts)} counts for shape {input.shape}; one for each axis is needed")
    if any(n < 0 for n in counts):
        raise RuntimeError(f"repeat: counts must not be negative, got {counts}")
    out = _core.reshape(input, (*[1] * (len(counts) - input.ndim), *input.shape))
    for axis in reversed(range(len(counts))):
        out = _repeated(out, axis, counts[axis], True)
    return _core.copy(out) if all(n == 1 for n in counts) else out


@method
def tile(input: Tensor, *dims) -> Tensor:
    """`repeat` whose missing counts in front are 1."""
    counts = integers(sizes(dims), "tile", "dims")
    return repeat(input, *[1] * (tensor_only(input, "tile").ndim - len(counts)), *counts)


def repeat_interleave(input: Tensor, repeats=None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Every element along axis dim (None: of the flattened tensor) so many times in a row; repeats is one count, or a
    tensor of one for each index. repeat_interleave(counts): the indices themselves.

    >>> repeat_interleave(pe.arange(3), 2).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    from pyengine.ops.gathering import index_select

    tensor_only(input, "repeat_interleave")
    if repeats is None:
        return _counted(input, "repeats")
    if dim is None:
        input, dim = _core.reshape(input, (-1,)) if input.numel() else _core.reshape(input, (0,)), 0
    axis = axis_of(input, dim, "repeat_interleave")
    if input.ndim == 0:
        input = _core.reshape(input, (1,))
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        if repeats.ndim != 1 or repeats.shape[0] != input.shape[axis]:
            raise RuntimeError(
                f"repeat_interleave: repeats of shape {repeats.shape} do not fit axis {axis} of shape {input.shape}"
            )
        return index_select(input, axis, _counted(repeats, "repeats"))
    count = integer(repeats, "repeat_interleave", "repeats")
    if count < 0:
        raise RuntimeError(f"repeat_interleave: repeats must not be negative, got {count}")
    return _core.copy(input) if count == 1 else _repeated(input, axis, count, False)


_core.add_method("repeat_interleave", repeat_interleave)


def _counted(counts: Tensor, name: str) -> Tensor:
    """0 counts[0] times, 1 counts[1] times, ..."""
    import numpy

    if counts.ndim != 1 or counts.dtype.name not in ("int32", "int64"):
        raise RuntimeError(
            f"repeat_interleave: {name} must be integers on one axis, got {counts.dtype.name} of shape {counts.shape}"
        )
    times = counts.numpy()
    if (times < 0).any():
        raise RuntimeError(f"repeat_interleave: {name} must not be negative")
    return _core.from_numpy(numpy.repeat(numpy.arange(len(times)), times))


@method
def movedim(input: Tensor, source, destination) -> Tensor:
    """x with the axes source at the places destination; the others keep their order."""
    before, after = axes_of(input, source, "movedim"), axes_of(input, destination, "movedim")
    if len(before) != len(after):
        raise RuntimeError(f"movedim: {len(before)} axes for {len(after)} places, for shape {input.shape}")
    if input.ndim == 0:
        return input
    places = dict(zip(after, before, strict=True))
    rest = iter([i for i in range(input.ndim) if i not in before])
    return _core.permute(input, [places[i] if i in places else next(rest) for i in range(input.ndim)])


@method
def moveaxis(input: Tensor, source, destination) -> Tensor:
    """`movedim`."""
    return movedim(input, source, destination)


@method
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose`."""
    return _core.transpose(input, axis0, axis1)


@method
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose`."""
    return _core.transpose(input, dim0, dim1)
