"""Convolution layers, with torch's weight layout: (out, in / groups, kernel), transposed (in, out / groups, kernel)."""

import math

import pyengine as pe

from . import functional as F
from . import init
from .factory import float32_only, repeated
from .module import Module, Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    axes: int
    transposed: bool

    def _setup(self, channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode):
        what, n = type(self).__name__, self.axes
        self.in_channels, self.out_channels = channels
        if not isinstance(groups, int) or groups < 1:
            raise ValueError(f"{what}: groups must be a positive integer, got {groups!r}")
        for name, size in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if not isinstance(size, int) or size < 0 or size % groups:
                raise ValueError(f"{what}: {name} must be an integer divisible by {groups} groups, got {size!r}")
        if padding_mode not in (PADDING_MODES[:1] if self.transposed else PADDING_MODES):
            raise ValueError(
                f"{what}: padding_mode must be one of {PADDING_MODES}, and 'zeros' where transposed, got "
                f"{padding_mode!r}"
            )
        self.kernel_size, self.stride = repeated(kernel_size, n), repeated(stride, n)
        self.padding = padding if isinstance(padding, str) else repeated(padding, n)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{what}: padding must be integers, 'same' or 'valid', got {padding!r}")
        if padding == "same" and any(step != 1 for step in self.stride):
            raise ValueError(f"{what}: padding 'same' needs stride 1, got {self.stride}")
        self.dilation, self.output_padding = repeated(dilation, n), repeated(output_padding, n)
        self.groups, self.padding_mode = groups, padding_mode
        first, second = channels if self.transposed else reversed(channels)
        self.weight = Parameter(pe.empty(first, second // groups, *self.kernel_size))
        if bias:
            self.bias = Parameter(pe.empty(self.out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws weight and bias anew, uniform in +-1/sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self):
        zero = (0,) * self.axes
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != zero:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.axes:
            text += f", dilation={self.dilation}"
        if self.output_padding != zero:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _Conv(_ConvNd):
    transposed = False

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        float32_only(type(self).__name__, device, dtype)
        self._setup((in_channels, out_channels), kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode)

    def forward(self, input):
        return self.convolved(input, self.weight, self.bias)

    def convolved(self, input, weight, bias, finish=None):
        """What forward does, with another weight and bias. finish: (activation, residual), see nn.conv_norm."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._borders(), mode=self.padding_mode), 0
        return self._at(input, weight, bias, padding, finish)

    def _at(self, input, weight, bias, padding, finish):
        if finish is None:
            convolve = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1]
            return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        from pyengine.ops.conv import finished

        return finished(self.axes, input, weight, bias, self.stride, padding, self.dilation, self.groups, *finish)

    def _borders(self):
        """The padding as F.pad takes it: (before, after) from the last axis on."""
        borders = []
        for i in reversed(range(self.axes)):
            total = self.dilation[i] * (self.kernel_size[i] - 1) if self.padding == "same" else 0
            each = 0 if isinstance(self.padding, str) else self.padding[i]
            borders += [total // 2, total - total // 2] if self.padding == "same" else [each, each]
        return borders


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__()
        float32_only(type(self).__name__, device, dtype)
        if isinstance(padding, str):
            raise ValueError(f"{type(self).__name__}: padding must be integers, got {padding!r}")
        self._setup(
            (in_channels, out_channels),
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
        )

    def forward(self, input, output_size=None):
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.axes - 1]
        return convolve(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, input, output_size):
        """The output_padding that gives output_size."""
        n, what = self.axes, type(self).__name__
        given = tuple(output_size)
        sizes = given[len(given) - n :] if len(given) in (n, n + 1, n + 2) else ()
        least = [
            (length - 1) * s - 2 * p + d * (k - 1) + 1
            for length, s, p, d, k in zip(
                input.shape[input.ndim - n :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        if not sizes or any(
            not low <= size < low + max(s, d)
            for size, low, s, d in zip(sizes, least, self.stride, self.dilation, strict=True)
        ):
            raise ValueError(f"{what}: output_size {given} is not within stride {self.stride} above {tuple(least)}")
        return tuple(size - low for size, low in zip(sizes, least, strict=True))


class Conv1d(_Conv):
    """Cross-correlation over one axis, plus a bias. (LeCun et al. 1989)

    Arguments: in_channels, out_channels, kernel_size, stride, padding (numbers, "same" or "valid"), dilation, groups,
    bias, padding_mode ("zeros", "reflect", "replicate", "circular").
    Shape: (N, C, L) or (C, L) -> the same with out_channels, (L + 2 padding - dilation (K - 1) - 1) // stride + 1.

    >>> import pyengine as pe
    >>> layer = pe.nn.Conv1d(2, 4, 3, padding=1)
    >>> layer
    Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=(1,))
    >>> layer(pe.zeros(5, 2, 7)).shape
    (5, 4, 7)
    """

    axes = 1


class Conv2d(_Conv):
    """Cross-correlation over two axes: (N, C, H, W) or (C, H, W). Otherwise as Conv1d.

    >>> import pyengine as pe
    >>> pe.nn.Conv2d(3, 8, 3, stride=2, padding=1)(pe.zeros(1, 3, 8, 6)).shape
    (1, 8, 4, 3)
    """

    axes = 2


class Conv3d(_Conv):
    """Cross-correlation over three axes: (N, C, D, H, W) or (C, D, H, W). Otherwise as Conv1d."""

    axes = 3


class ConvTranspose1d(_ConvTranspose):
    """The gradient of Conv1d by its input as a layer: it makes longer what Conv1d with the same numbers made shorter.
    (Zeiler et al. 2010)

    Arguments: as Conv1d's, and output_padding, which is added to the length at one end. forward(input, output_size)
    chooses it by the size wanted.

    >>> import pyengine as pe
    >>> pe.nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1)(pe.zeros(5, 4, 4)).shape
    (5, 2, 8)
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The gradient of Conv2d by its input as a layer. Otherwise as ConvTranspose1d."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The gradient of Conv3d by its input as a layer. Otherwise as ConvTranspose1d."""

    axes = 3
