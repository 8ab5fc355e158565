"""Convolutions and transposed ones. x, w and y of a convolution make three functions, each of which gives one of them
from the other two; the derivatives of each are the other two. (LeCun et al., 1989; csrc/conv.h has the equation)
"""

from functools import lru_cache
from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded, rule, tensor_only
from pyengine.ops.create import contiguous
from pyengine.ops.reduction import sum as total
from pyengine.ops.shape import reshape, unsqueeze
from pyengine.ops.strided_windows import is_fixed, sizes_of, spatial

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Tensor:
    """Cross-correlation over one axis; padding is a number, "same" (stride 1) or "valid".

    Shape: input (N, C, L) or (C, L), weight (O, C / groups, K), bias (O). RuntimeError names shapes that do not fit.

    >>> import pyengine as pe
    >>> conv1d(pe.tensor([[1.0, 2.0, 4.0]]), pe.tensor([[[1.0, -1.0]]])).tolist()
    [[-1.0, -2.0]]
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Tensor:
    """Cross-correlation over two axes. Shape: input (N, C, H, W) or (C, H, W), weight (O, C / groups, K1, K2),
    bias (O); otherwise as conv1d."""
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Tensor:
    """Cross-correlation over three axes. Shape: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, K1, K2,
    K3), bias (O); otherwise as conv1d."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    output_padding=0,
    groups: int = 1,
    dilation=1,
) -> Tensor:
    """The gradient of conv1d by its input, as an operation of its own.

    Shape: input (N, C, L) or (C, L), weight (C, O / groups, K), bias (O) -> length (L - 1) stride - 2 padding +
    dilation (K - 1) + output_padding + 1.

    >>> import pyengine as pe
    >>> conv_transpose1d(pe.tensor([[1.0, 2.0]]), pe.tensor([[[1.0, -1.0]]]), stride=2).tolist()
    [[1.0, -1.0, 2.0, -2.0]]
    """
    return _transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    output_padding=0,
    groups: int = 1,
    dilation=1,
) -> Tensor:
    """The gradient of conv2d by its input: as conv_transpose1d, over two axes."""
    return _transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    output_padding=0,
    groups: int = 1,
    dilation=1,
) -> Tensor:
    """The gradient of conv3d by its input: as conv_transpose1d, over three axes."""
    return _transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _typed(what: str, n: int, input, weight, bias, groups) -> tuple[int, ...] | None:
    """TypeError for what is no tensor and RuntimeError for another number of axes; gives the bias's shape."""
    spatial(input, n, what)
    if tensor_only(weight, what, "weight").ndim != n + 2:
        raise RuntimeError(f"{what}: weight must have {n + 2} axes, got shape {weight.shape}")
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"{what}: groups must be an integer, got {groups!r}")
    return None if bias is None else tensor_only(bias, what, "bias").shape


def _fits(what: str, n: int, input, weight, bias, groups: int, transposed: bool) -> None:
    """RuntimeError where the shapes of input, weight and bias do not fit."""
    if groups < 1:
        raise RuntimeError(f"{what}: groups must be positive, got {groups}")
    channels = input[len(input) - n - 1]
    expected = weight[0] if transposed else weight[1] * groups
    if channels != expected or weight[0] % groups:
        raise RuntimeError(
            f"{what}: input of shape {input} does not fit weight of shape {weight} in "
            f"{groups} groups: {expected} channels are expected, in groups of one size"
        )
    outputs = weight[1] * groups if transposed else weight[0]
    if bias is not None and bias != (outputs,):
        raise RuntimeError(
            f"{what}: bias of shape {bias} does not fit weight of shape {weight}: ({outputs},) is expected"
        )
    if 0 in weight:
        raise RuntimeError(f"{what}: weight of shape {weight} has no elements")


def _pads(what: str, padding, kernel, stride, dilation) -> list[tuple[int, int]]:
    """(before, after) along each axis."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        if any(step != 1 for step in stride):
            raise RuntimeError(f"{what}: padding 'same' needs stride 1, got {stride}")
        totals = [gap * (k - 1) for k, gap in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, str):
        raise RuntimeError(f"{what}: padding must be integers, 'same' or 'valid', got {padding!r}")
    return [(p, p) for p in sizes_of(padding, len(kernel), what, "padding")]


class Windows(NamedTuple):
    """Where the windows of a convolution lie, one number an axis, and its groups."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    groups: int


class Seen(NamedTuple):
    """What a derivative must know of the operands, which the tape keeps only where a wanted gradient reads them."""

    at: Windows
    sizes: tuple[tuple[int, ...], tuple[int, ...]]  # of their axes of space
    last: tuple[bool, bool]  # whether their channels lie last


def _recorded(out: Tensor, name: str, operands: tuple[Tensor, Tensor], bias: tuple, at: Windows) -> Tensor:
    """Puts out = name(*operands, *bias) on the tape: each gradient reads the operand that is not its own."""
    a, b = operands
    seen = Seen(at, (a.shape[2:], b.shape[2:]), (_core.has_channels_last(a), _core.has_channels_last(b)))
    kept = a if b.requires_grad else None, b if a.requires_grad else None
    return _core.record(out, name, (a, b, *bias), kept, seen)


def _output(x: Tensor, w: Tensor, bias: Tensor | None, at: Windows, places, last: bool | None = None) -> Tensor:
    """y (N, O, places) of x (N, C, space) and w (O, C / groups, kernel). last: whether the channels of a gradient lie
    last where that is free, None: as x's do."""
    stride, dilation, before, groups = at
    taped = recorded(x, w, bias)
    out = _core.conv(x, w, bias, stride, dilation, before, places, groups, taped, last)
    return _recorded(out, "conv", (x, w), (bias,), at) if taped else out


def _input(y: Tensor, w: Tensor, bias: Tensor | None, at: Windows, sizes, last: bool | None = None) -> Tensor:
    """x (N, C, sizes): every element of y, times w, added where its window lies. last: as in _output."""
    stride, dilation, before, groups = at
    out = _core.conv_input(y, w, bias, stride, dilation, before, sizes, groups, last)
    return _recorded(out, "conv_input", (y, w), (bias,), at) if recorded(y, w, bias) else out


def _weight(x: Tensor, y: Tensor, at: Windows, sizes, last: bool) -> Tensor:
    """w (O, C / groups, sizes): the sum over images and places of windows of x times y. last: as in _output."""
    stride, dilation, before, groups = at
    out = _core.conv_weight(x, y, stride, dilation, before, sizes, groups, last)
    return _recorded(out, "conv_weight", (x, y), (), at) if recorded(x, y) else out


def _bias(node, g) -> Tensor | None:
    return total(g, (0, *range(2, g.ndim))) if node.needs(2) else None


@rule("conv")
def _conv_rule(node, g):
    (x, w), (at, sizes, last) = node.saved, node.meta
    dx = _input(g, w, None, at, sizes[0], last[0]) if node.needs(0) else None
    return dx, _weight(x, g, at, sizes[1], last[1]) if node.needs(1) else None, _bias(node, g)


@rule("conv_input")
def _conv_input_rule(node, g):
    (y, w), (at, sizes, last) = node.saved, node.meta
    dy = _output(g, w, None, at, sizes[0], last[0]) if node.needs(0) else None
    return dy, _weight(g, y, at, sizes[1], last[1]) if node.needs(1) else None, _bias(node, g)


@rule("conv_weight")
def _conv_weight_rule(node, g):
    (x, y), (at, sizes, last) = node.saved, node.meta
    dx = _input(y, g, None, at, sizes[0], last[0]) if node.needs(0) else None
    return dx, _output(x, g, None, at, sizes[1], last[1]) if node.needs(1) else None


def _only(images: Tensor) -> Tensor:
    """The image of a batch of one. A matrix (channels, length) is made row-major: view() cannot tell from its strides
    that it is an image."""
    image = reshape(images, images.shape[1:])
    return contiguous(image) if image.ndim == 2 else image


def finished(n, input, weight, bias, stride, padding, dilation, groups, activation=None, residual=None) -> Tensor:
    """act(conv(input) + residual) of images in batches, off the tape, activation a row's number: for nn.conv_norm."""
    given = None if bias is None else bias.shape
    numbers = [tuple(v) if isinstance(v, list) else v for v in (stride, padding, dilation)]
    at, places = known_windows(n, input.shape, weight.shape, given, *numbers, groups)
    row = -1 if activation is None else activation
    return _core.conv(input, weight, bias, *at[:3], places, groups, False, None, row, residual)


@lru_cache(maxsize=1024)
def known_windows(
    n: int, input, weight, bias, stride, padding, dilation, groups: int
) -> tuple[Windows, tuple[int, ...]]:
    """What a layer's convolution looks at before it begins, once for each shape."""
    what = f"conv{n}d"
    _fits(what, n, input, weight, bias, groups, False)
    return _places(what, n, input, weight[2:], stride, padding, dilation, groups)


def _places(what: str, n: int, shape, kernel, stride, padding, dilation, groups) -> tuple[Windows, tuple[int, ...]]:
    """Where the windows of an input of this shape lie, and how many there are along each axis."""
    stride, dilation = sizes_of(stride, n, what, "stride", 1), sizes_of(dilation, n, what, "dilation", 1)
    pads = _pads(what, padding, kernel, stride, dilation)
    places = []
    for length, pad, k, step, gap in zip(shape[len(shape) - n :], pads, kernel, stride, dilation, strict=True):
        room = length + sum(pad) - gap * (k - 1) - 1
        if room < 0 or length < 1:
            raise RuntimeError(
                f"{what}: kernel {tuple(kernel)}, dilation {dilation}, is larger than input of shape {shape} "
                f"with padding {pads}"
            )
        places.append(room // step + 1)
    return Windows(stride, dilation, tuple(before for before, _ in pads), groups), tuple(places)


def _conv(what, n, input, weight, bias, stride, padding, dilation, groups) -> Tensor:
    given = _typed(what, n, input, weight, bias, groups)
    numbers = stride, padding, dilation, groups
    fixed = is_fixed(stride) and is_fixed(dilation) and (is_fixed(padding) or type(padding) is str) and is_fixed(groups)
    find = known_windows if fixed else known_windows.__wrapped__  # as it is without the memory
    at, places = find(n, input.shape, weight.shape, given, *numbers)
    if input.ndim == n + 2:
        return _output(input, weight, bias, at, places)
    return _only(_output(unsqueeze(input, 0), weight, bias, at, places))


def _transposed(what, n, input, weight, bias, stride, padding, output_padding, groups, dilation) -> Tensor:
    given = _typed(what, n, input, weight, bias, groups)
    _fits(what, n, input.shape, weight.shape, given, groups, True)
    kernel, stride = weight.shape[2:], sizes_of(stride, n, what, "stride", 1)
    dilation = sizes_of(dilation, n, what, "dilation", 1)
    padding, extra = sizes_of(padding, n, what, "padding"), sizes_of(output_padding, n, what, "output_padding")
    if any(more >= max(s, d) for more, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{what}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}"
        )
    places = input.shape[input.ndim - n :]
    sizes = tuple(
        (count - 1) * s + d * (k - 1) + 1 + more - 2 * p
        for count, s, d, k, more, p in zip(places, stride, dilation, kernel, extra, padding, strict=True)
    )
    if 0 in places or min(sizes) < 1:
        raise RuntimeError(f"{what}: input of shape {input.shape} with padding {padding} leaves no output")
    at = Windows(stride, dilation, padding, groups)
    if input.ndim == n + 2:
        return _input(input, weight, bias, at, sizes)
    return _only(_input(unsqueeze(input, 0), weight, bias, at, sizes))
