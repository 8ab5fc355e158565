"""Windows over axes: Tensor.unfold, and im2col and col2im as nn.functional.unfold and fold. Copies of strided views."""

from itertools import product as _product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, axis_of, integer, integers
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.fallback import _index
from pyengine.ops.pad import pad
from pyengine.ops.shape import stack

__all__ = ["as_strided"]


def sliding(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` elements along an axis, every `step` elements one; their elements are a new last axis.
    A copy."""
    axis = axis_of(input, dimension, "unfold")
    size, step = integer(size, "unfold", "size"), integer(step, "unfold", "step")
    length = input.shape[axis] if input.ndim else 1
    if size < 0 or size > length:
        raise RuntimeError(f"unfold: size {size} does not fit axis {axis} of shape {input.shape}")
    if step <= 0:
        raise RuntimeError(f"unfold: step must be positive, got {step}")
    if input.ndim == 0:
        return _core.reshape(input, (1,))[:size]
    last = length - size + 1
    if size == 0:
        shape = (*input.shape[:axis], (last - 1) // step + 1, *input.shape[axis + 1 :], 0)
        return _core.full(shape, 0, input.dtype)
    return stack([input[along(axis, slice(k, k + last, step))] for k in range(size)], -1)


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


class _Geometry:
    """Kernel, dilation, padding and stride of windows over an image, and where each kernel position reads."""

    def __init__(self, what, image, kernel_size, dilation, padding, stride):
        self.kernel, self.dilation = _pair(kernel_size, what, "kernel_size"), _pair(dilation, what, "dilation")
        self.padding, self.stride = _pair(padding, what, "padding"), _pair(stride, what, "stride")
        for name in ("kernel", "dilation", "stride"):
            if min(getattr(self, name)) <= 0:
                raise RuntimeError(f"{what}: {name} must be positive, got {getattr(self, name)}")
        if min(self.padding) < 0:
            raise RuntimeError(f"{what}: padding must not be negative, got {self.padding}")
        self.image = tuple(n + 2 * p for n, p in zip(image, self.padding, strict=True))
        self.blocks = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, d, k, s in zip(self.image, self.dilation, self.kernel, self.stride, strict=True)
        )
        if min(self.blocks) <= 0:
            raise RuntimeError(f"{what}: a kernel of {self.kernel} does not fit an image of {self.image}")

    def positions(self):
        """(i, j) of the kernel, and the slices of the padded image that it reads."""
        for at in _product(range(self.kernel[0]), range(self.kernel[1])):
            yield (
                at,
                tuple(
                    slice(i * d, i * d + (n - 1) * s + 1, s)
                    for i, d, n, s in zip(at, self.dilation, self.blocks, self.stride, strict=True)
                ),
            )


def _im2col(x: Tensor, geometry: _Geometry) -> Tensor:
    """(n, c, h, w), padded -> (n, c, kh, kw, blocks_h, blocks_w)."""
    n, c = x.shape[:2]
    out = _core.empty((n, c, *geometry.kernel, *geometry.blocks), x.dtype)
    source = x.detach()
    for (i, j), window in geometry.positions():
        out[:, :, i, j] = source[(slice(None), slice(None), *window)]
    return _core.record(out, "im2col", (x,), (), geometry)


def _col2im(columns: Tensor, geometry: _Geometry) -> Tensor:
    """The transpose: every window's elements added where they came from."""
    n, c = columns.shape[:2]
    out = _core.full((n, c, *geometry.image), 0, columns.dtype)
    source = columns.detach()
    for (i, j), window in geometry.positions():
        out[(slice(None), slice(None), *window)].add_(source[:, :, i, j])
    return _core.record(out, "col2im", (columns,), (), geometry)


@rule("im2col")
def _im2col_rule(node, g):
    return _col2im(g, node.meta)


@rule("col2im")
def _col2im_rule(node, g):
    return _im2col(g, node.meta)


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
    geometry = _Geometry("unfold", input.shape[2:], kernel_size, dilation, padding, stride)
    (top, left), (n, c) = geometry.padding, input.shape[:2]
    if top or left:
        input = pad(input, (left, left, top, top))
    size = c * geometry.kernel[0] * geometry.kernel[1]
    return _core.reshape(_im2col(input, geometry), (n, size, geometry.blocks[0] * geometry.blocks[1]))


def fold(input: Tensor, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Images of output_size from their windows as columns; where windows overlap they are added (col2im).

    Shape: (n, c kh kw, windows) -> (n, c, h, w), or without n. RuntimeError where the sizes do not fit.
    """
    if tensor_only(input, "fold", "input").ndim not in (2, 3):
        raise RuntimeError(f"fold: 2 or 3 axes are needed, got shape {input.shape}")
    if input.ndim == 2:
        return fold(_core.reshape(input, (1, *input.shape)), output_size, kernel_size, dilation, padding, stride)[0]
    image = _pair(output_size, "fold", "output_size")
    geometry = _Geometry("fold", image, kernel_size, dilation, padding, stride)
    n, size, count = input.shape
    (kh, kw), (bh, bw), (top, left) = geometry.kernel, geometry.blocks, geometry.padding
    if size % (kh * kw) or size == 0 or count != bh * bw:
        raise RuntimeError(
            f"fold: shape {input.shape} does not fit {bh * bw} windows of a kernel of {geometry.kernel} in {image}"
        )
    out = _col2im(_core.reshape(input, (n, size // (kh * kw), kh, kw, bh, bw)), geometry)
    return out[:, :, top : top + image[0], left : left + image[1]] if top or left else out
