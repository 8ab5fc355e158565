"""Convolutions: one copy lays the windows of the input side by side, one batched product does the rest. Gradients are
those of the parts: the transposed products, and a sum of windows. (LeCun et al., 1989; Chellapilla et al., 2006)
"""

from math import prod

from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.product import matmul
from pyengine.ops.shape import permute, reshape, unsqueeze
from pyengine.ops.strided_windows import padded, sizes_of, spatial, sum_windows, windows

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


def _checked(what: str, n: int, input, weight, bias, groups, transposed: bool) -> None:
    """RuntimeError (TypeError for what is no tensor) where input, weight and bias do not fit."""
    spatial(input, n, what)
    if tensor_only(weight, what, "weight").ndim != n + 2:
        raise RuntimeError(f"{what}: weight must have {n + 2} axes, got shape {weight.shape}")
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"{what}: groups must be an integer, got {groups!r}")
    if groups < 1:
        raise RuntimeError(f"{what}: groups must be positive, got {groups}")
    channels = input.shape[input.ndim - n - 1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if channels != expected or weight.shape[0] % groups:
        raise RuntimeError(
            f"{what}: input of shape {input.shape} does not fit weight of shape {weight.shape} in "
            f"{groups} groups: {expected} channels are expected, in groups of one size"
        )
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and tensor_only(bias, what, "bias").shape != (outputs,):
        raise RuntimeError(
            f"{what}: bias of shape {bias.shape} does not fit weight of shape {weight.shape}: ({outputs},) is expected"
        )
    if 0 in weight.shape:
        raise RuntimeError(f"{what}: weight of shape {weight.shape} has no elements")


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


def _with_bias(out: Tensor, bias: Tensor | None, n: int, batched: bool) -> Tensor:
    if bias is not None:
        out = out + reshape(bias, (-1, *[1] * n))
    return out if batched else reshape(out, out.shape[1:])


def _conv(what, n, input, weight, bias, stride, padding, dilation, groups) -> Tensor:
    _checked(what, n, input, weight, bias, groups, False)
    kernel, stride = weight.shape[2:], sizes_of(stride, n, what, "stride", 1)
    dilation = sizes_of(dilation, n, what, "dilation", 1)
    batched = input.ndim == n + 2
    x = padded(input if batched else unsqueeze(input, 0), _pads(what, padding, kernel, stride, dilation))
    seen = windows(x, kernel, stride, dilation, what)  # (N, C, O.., K..)
    batch, channels, places = seen.shape[0], seen.shape[1], seen.shape[2 : 2 + n]
    columns = permute(seen, (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n)))
    depth = channels // groups * prod(kernel)
    if groups == 1:
        product = matmul(reshape(weight, (-1, depth)), reshape(columns, (batch, depth, prod(places))))
    else:
        product = matmul(
            reshape(weight, (groups, weight.shape[0] // groups, depth)),
            reshape(columns, (batch, groups, depth, prod(places))),
        )
    return _with_bias(reshape(product, (batch, weight.shape[0], *places)), bias, n, batched)


def _transposed(what, n, input, weight, bias, stride, padding, output_padding, groups, dilation) -> Tensor:
    _checked(what, n, input, weight, bias, groups, True)
    kernel, stride = weight.shape[2:], sizes_of(stride, n, what, "stride", 1)
    dilation = sizes_of(dilation, n, what, "dilation", 1)
    padding, extra = sizes_of(padding, n, what, "padding"), sizes_of(output_padding, n, what, "output_padding")
    if any(more >= max(s, d) for more, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{what}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}"
        )
    batched = input.ndim == n + 2
    x = input if batched else unsqueeze(input, 0)
    batch, places, channels = x.shape[0], x.shape[2:], weight.shape[1] * groups
    lengths = tuple(
        (count - 1) * s + d * (k - 1) + 1 + more
        for count, s, d, k, more in zip(places, stride, dilation, kernel, extra, strict=True)
    )
    if 0 in places or any(length - 2 * p < 1 for length, p in zip(lengths, padding, strict=True)):
        raise RuntimeError(f"{what}: input of shape {input.shape} with padding {padding} leaves no output")
    inputs, depth = x.shape[1] // groups, weight.shape[1] * prod(kernel)
    rows = reshape(permute(reshape(weight, (groups, inputs, depth)), (0, 2, 1)), (groups, depth, inputs))
    product = matmul(rows, reshape(x, (batch, groups, inputs, prod(places))))
    columns = reshape(product, (batch, channels, *kernel, *places))
    columns = permute(columns, (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n)))
    out = sum_windows(columns, lengths, stride, dilation)
    if any(padding):
        out = out[(Ellipsis, *(slice(p, length - p) for p, length in zip(padding, lengths, strict=True)))]
    return _with_bias(out, bias, n, batched)
