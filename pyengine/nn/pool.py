"""Pooling layers, each one call of the function of its name."""

from . import functional as F
from .factory import repeated
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _Pool(Module):
    """A layer whose arguments are those of its function, kept as attributes under torch's names."""

    function: str
    shown: tuple[str, ...]  # what its repr names

    def _keep(self, **options):
        self._options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, input):
        return getattr(F, self.function)(input, **{name: getattr(self, name) for name in self._options})

    def extra_repr(self):
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self._keep(
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
            dilation=dilation,
            return_indices=return_indices,
            ceil_mode=ceil_mode,
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window; return_indices adds where it stands, for MaxUnpool1d.

    Arguments: kernel_size, stride (kernel_size), padding (never the maximum), dilation, return_indices, ceil_mode (a
    last window that starts inside counts). Shape: (N, C, L) or (C, L).

    >>> import pyengine as pe
    >>> pe.nn.MaxPool1d(2)(pe.tensor([[1.0, 3.0, 2.0, 0.0]])).tolist()
    [[3.0, 2.0]]
    """

    function = "max_pool1d"


class MaxPool2d(_MaxPool):
    """The maximum of each window of (N, C, H, W) or (C, H, W). Otherwise as MaxPool1d."""

    function = "max_pool2d"


class MaxPool3d(_MaxPool):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W). Otherwise as MaxPool1d."""

    function = "max_pool3d"


class AvgPool1d(_Pool):
    """The mean of each window; padding counts as zeros, or not at all (count_include_pad=False).

    >>> import pyengine as pe
    >>> pe.nn.AvgPool1d(2)(pe.tensor([[1.0, 3.0, 2.0, 0.0]])).tolist()
    [[2.0, 1.0]]
    """

    function = "avg_pool1d"
    shown = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        single = [
            (v,) if isinstance(v, int) else v for v in (kernel_size, kernel_size if stride is None else stride, padding)
        ]
        self._keep(
            kernel_size=single[0],
            stride=single[1],
            padding=single[2],
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )


class AvgPool2d(_Pool):
    """The mean of each window of two axes; divisor_override divides instead of the count. As AvgPool1d."""

    function = "avg_pool2d"
    shown = ("kernel_size", "stride", "padding")

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__()
        self._keep(
            kernel_size=kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )


class AvgPool3d(AvgPool2d):
    """The mean of each window of three axes. As AvgPool2d."""

    function = "avg_pool3d"


class _LPPool(_Pool):
    shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self._keep(norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode)


class LPPool1d(_LPPool):
    """(sum x^p)^(1/p) of each window, p = norm_type."""

    function = "lp_pool1d"


class LPPool2d(_LPPool):
    """(sum x^p)^(1/p) of each window of two axes, p = norm_type."""

    function = "lp_pool2d"


class LPPool3d(_LPPool):
    """(sum x^p)^(1/p) of each window of three axes, p = norm_type."""

    function = "lp_pool3d"


class _AdaptiveAvgPool(_Pool):
    shown = ("output_size",)

    def __init__(self, output_size):
        super().__init__()
        self._keep(output_size=output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of output_size parts of the last axis.

    >>> import pyengine as pe
    >>> pe.nn.AdaptiveAvgPool1d(2)(pe.tensor([[1.0, 3.0, 2.0, 0.0]])).tolist()
    [[2.0, 1.0]]
    """

    function = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of output_size parts of the last two axes; None keeps an axis."""

    function = "adaptive_avg_pool2d"


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of output_size parts of the last three axes; None keeps an axis."""

    function = "adaptive_avg_pool3d"


class _AdaptiveMaxPool(_Pool):
    shown = ("output_size",)

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self._keep(output_size=output_size, return_indices=return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maxima of output_size parts of the last axis; return_indices adds where they stand."""

    function = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maxima of output_size parts of the last two axes; None keeps an axis."""

    function = "adaptive_max_pool2d"


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maxima of output_size parts of the last three axes; None keeps an axis."""

    function = "adaptive_max_pool3d"


class _FractionalMaxPool(_Pool):
    shown = ()
    axes: int

    def __init__(self, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        super().__init__()
        what = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{what}: one of output_size and output_ratio must be given")
        if output_ratio is not None and not all(0 < ratio < 1 for ratio in repeated(output_ratio, self.axes)):
            raise ValueError(f"{what}: output_ratio must be between 0 and 1, got {output_ratio}")
        self.register_buffer("_random_samples", _random_samples)
        self._keep(
            kernel_size=repeated(kernel_size, self.axes),
            output_size=None if output_size is None else repeated(output_size, self.axes),
            output_ratio=None if output_ratio is None else repeated(output_ratio, self.axes),
            return_indices=return_indices,
        )

    def forward(self, input):
        options = {name: getattr(self, name) for name in self._options}
        return getattr(F, self.function)(input, **options, _random_samples=self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPool):
    """The maxima of windows at random places, output_size or output_ratio of the input many. (Graham 2014)"""

    function = "fractional_max_pool2d"
    axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The maxima of windows at random places in (D, H, W). (Graham 2014)"""

    function = "fractional_max_pool3d"
    axes = 3


class _MaxUnpool(_Pool):
    shown = ("kernel_size", "stride", "padding")
    axes: int

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        stride = kernel_size if stride is None else stride
        self._keep(
            **{
                name: (value,) * self.axes if isinstance(value, int) else tuple(value)
                for name, value in (("kernel_size", kernel_size), ("stride", stride), ("padding", padding))
            }
        )

    def forward(self, input, indices, output_size=None):
        function = getattr(F, self.function)
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Maxima back at their indices, zeros elsewhere; forward(input, indices, output_size). (Zeiler & Fergus 2014)"""

    function = "max_unpool1d"
    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Maxima back at their indices in (H, W), zeros elsewhere."""

    function = "max_unpool2d"
    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """Maxima back at their indices in (D, H, W), zeros elsewhere."""

    function = "max_unpool3d"
    axes = 3
