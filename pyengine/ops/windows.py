"""Windows over axes: Tensor.unfold, and im2col and col2im as nn.functional.unfold and fold."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of, integer, integers
from pyengine.ops._method import method, tensor_only
from pyengine.ops.fallback import _index
from pyengine.ops.shape import permute
from pyengine.ops.strided_windows import padded, sum_windows, windows

__all__ = ["as_strided"]


def sliding(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` elements along an axis, every `step` elements one; their elements are a new last axis.
    A view."""
    axis = axis_of(input, dimension, "unfold")
    size, step = integer(size, "unfold", "size"), integer(step, "unfold", "step")
    length = input.shape[axis] if input.ndim else 1
    if size < 0 or size > length:
        raise RuntimeError(f"unfold: size {size} does not fit axis {axis} of shape {input.shape}")
    if step <= 0:
        raise RuntimeError(f"unfold: step must be positive, got {step}")
    if input.ndim == 0:
        return _core.reshape(input, (1,))[:size]
    if size == 0:
        return _core.full((*input.shape[:axis], length // step + 1, *input.shape[axis + 1 :], 0), 0, input.dtype)
    order = [*range(axis), *range(axis + 1, input.ndim), axis]  # the axis last, and back where it was
    found = windows(permute(input, *order), (size,), (step,), (1,), "unfold")
    return permute(found, *range(axis), input.ndim - 1, *range(axis, input.ndim - 1), input.ndim)


_core.add_method("unfold", sliding)


@method
def as_strided(input: Tensor, size, stride, storage_offset: int | None = None) -> Tensor:
    """out[i, j, ...] = flat[storage_offset + i stride[0] + j stride[1] ...] with x's elements row by row as flat: a
    copy, where torch gives a view. RuntimeError where that leaves x's elements."""
    import numpy

    shape, steps = integers(size, "as_strided", "size"), integers(stride, "as_strided", "stride")
    first = integer(storage_offset or 0, "as_strided", "storage_offset")
    if len(shape) != len(steps) or min((*shape, *steps, first), default=0) < 0:
        raise RuntimeError(f"as_strided: size {shape} and stride {steps} must be as long and not negative")
    count = tensor_only(input, "as_strided").numel()
    if 0 not in shape and first + sum((n - 1) * s for n, s in zip(shape, steps, strict=True)) >= count:
        raise RuntimeError(f"as_strided: size {shape}, stride {steps} and offset {first} leave shape {input.shape}")
    _core.empty(shape)  # refuses sizes that do not fit
    at = numpy.full((1,) * len(shape), first, numpy.int64)
    for axis, (n, s) in enumerate(zip(shape, steps, strict=True)):
        at = at + (numpy.arange(n) * s).reshape([n if i == axis else 1 for i in range(len(shape))])
    return _index(_core.reshape(input, (count,)), (at,))


def _pair(value, what: str, name: str) -> tuple[int, int]:
    pair = integers(value, what, name)
    if len(pair) not in (1, 2):
        raise RuntimeError(f"{what}: {name} must be one or two integers, got {value!r}")
    return (pair[0], pair[-1])


def _blocks(what: str, image, kernel, dilation, padding, stride) -> tuple[int, ...]:
    """How many windows there are along each axis; RuntimeError where none fits."""
    for name, sizes in (("kernel", kernel), ("dilation", dilation), ("stride", stride)):
        if min(sizes) <= 0:
            raise RuntimeError(f"{what}: {name} must be positive, got {sizes}")
    if min(padding) < 0:
        raise RuntimeError(f"{what}: padding must not be negative, got {padding}")
    blocks = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(image, padding, dilation, kernel, stride, strict=True)
    )
    if min(blocks) <= 0:
        raise RuntimeError(f"{what}: a kernel of {kernel} does not fit an image of {image} with padding {padding}")
    return blocks


def unfold(input: Tensor, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """The windows of images as columns (im2col).

    Shape: (n, c, h, w) -> (n, c kh kw, windows), or without n. RuntimeError where the kernel does not fit.
    """
    if tensor_only(input, "unfold", "input").ndim not in (3, 4):
        raise RuntimeError(f"unfold: 3 or 4 axes are needed, got shape {input.shape}")
    if 0 in input.shape[-3:]:
        raise RuntimeError(f"unfold: an image of nothing, shape {input.shape}")
    if input.ndim == 3:
        return unfold(_core.reshape(input, (1, *input.shape)), kernel_size, dilation, padding, stride)[0]
    n, c = input.shape[:2]
    kernel, steps = _pair(kernel_size, "unfold", "kernel_size"), _pair(stride, "unfold", "stride")
    gaps, pads = _pair(dilation, "unfold", "dilation"), _pair(padding, "unfold", "padding")
    blocks = _blocks("unfold", input.shape[2:], kernel, gaps, pads, steps)
    found = windows(padded(input, [(p, p) for p in pads]), kernel, steps, gaps, "unfold")
    return _core.reshape(permute(found, 0, 1, 4, 5, 2, 3), (n, c * kernel[0] * kernel[1], blocks[0] * blocks[1]))


def fold(input: Tensor, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Images of output_size from their windows as columns; where windows overlap they are added (col2im).

    Shape: (n, c kh kw, windows) -> (n, c, h, w), or without n. RuntimeError where the sizes do not fit.
    """
    if tensor_only(input, "fold", "input").ndim not in (2, 3):
        raise RuntimeError(f"fold: 2 or 3 axes are needed, got shape {input.shape}")
    if input.ndim == 2:
        return fold(_core.reshape(input, (1, *input.shape)), output_size, kernel_size, dilation, padding, stride)[0]
    image = _pair(output_size, "fold", "output_size")
    kernel, steps = _pair(kernel_size, "fold", "kernel_size"), _pair(stride, "fold", "stride")
    gaps, pads = _pair(dilation, "fold", "dilation"), _pair(padding, "fold", "padding")
    (bh, bw), (kh, kw) = _blocks("fold", image, kernel, gaps, pads, steps), kernel
    n, size, count = input.shape
    if size % (kh * kw) or size == 0 or count != bh * bw:
        raise RuntimeError(
            f"fold: shape {input.shape} does not fit {bh * bw} windows of a kernel of {kernel} in {image}"
        )
    found = permute(_core.reshape(input, (n, size // (kh * kw), kh, kw, bh, bw)), 0, 1, 4, 5, 2, 3)
    out = sum_windows(found, [m + 2 * p for m, p in zip(image, pads, strict=True)], steps, gaps)
    (top, left), (height, width) = pads, image
    return out[:, :, top : top + height, left : left + width] if top or left else out
