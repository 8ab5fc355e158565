"""Padding layers, over the last one to three axes; each is one call of F.pad."""

from . import functional as F
from .factory import repeated
from .module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    axes: int
    mode = "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = repeated(padding, 2 * self.axes)

    def forward(self, input):
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self):
        return f"{self.padding}"


class _SpatialPad(_Pad):
    def forward(self, input):
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ValueError(
                f"{type(self).__name__}: input must have {self.axes + 1} or {self.axes + 2} axes, got shape "
                f"{input.shape}"
            )
        return super().forward(input)


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """`value` before and after the last axis.

    Arguments: padding, (before, after) from the last axis on, or one number; value. Negative padding cuts off.
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """`value` around the last two axes. As ConstantPad1d."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """`value` around the last three axes. As ConstantPad1d."""

    axes = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Zeros before and after the last axis."""

    axes = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two axes."""

    axes = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around the last three axes."""

    axes = 3


class ReflectionPad1d(_Pad):
    """The axis mirrored at its ends, which are not repeated."""

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes mirrored at their ends, which are not repeated."""

    axes, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The last three axes mirrored at their ends, which are not repeated."""

    axes, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The ends of the axis repeated."""

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The ends of the last two axes repeated."""

    axes, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The ends of the last three axes repeated."""

    axes, mode = 3, "replicate"


class CircularPad1d(_SpatialPad):
    """The axis as if it began anew at its end."""

    axes, mode = 1, "circular"


class CircularPad2d(_SpatialPad):
    """The last two axes as if they began anew at their ends."""

    axes, mode = 2, "circular"


class CircularPad3d(_SpatialPad):
    """The last three axes as if they began anew at their ends."""

    axes, mode = 3, "circular"
