"""Pooling over windows: maxima, means, norms. (Max pooling: Weng, Ahuja and Huang, 1992)"""

from functools import lru_cache
from math import prod
from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded, rule
from pyengine.ops.elementwise import abs as absolute
from pyengine.ops.elementwise import pow as power
from pyengine.ops.elementwise import relu, sign
from pyengine.ops.gathering import gather
from pyengine.ops.rounding import clamp, where
from pyengine.ops.shape import reshape
from pyengine.ops.strided_windows import is_fixed, sizes_of, spatial

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


class Plan(NamedTuple):
    """Where the windows of a pooling lie, for each axis; kernel 0: `outputs` parts that overlap where they do not
    divide the axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    lengths: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def windows(self) -> tuple:
        """What the kernels ask for beside sizes."""
        return self[:4]

    def counts(self, include_pad: bool) -> Tensor | float:
        """How many elements each window counts: a number, or a tensor (O1 .. On) where windows differ."""
        product: Tensor | None = None
        uniform = 1
        for i in range(len(self.kernel)):
            counts = self._counts_along(i, include_pad)
            if len(set(counts)) == 1:
                uniform *= counts[0]
                continue
            shape = [1] * len(self.outputs)
            shape[i] = self.outputs[i]
            axis = reshape(_core.tensor([float(count) for count in counts]), shape)
            product = axis if product is None else product * axis
        return float(uniform) if product is None else product * float(uniform)

    def _counts_along(self, i: int, include_pad: bool) -> list[int]:
        kernel, stride, _, padding, length, outputs = (numbers[i] for numbers in self)
        if not kernel:
            return [-((o + 1) * length // -outputs) - o * length // outputs for o in range(outputs)]
        counts = []
        for start in range(-padding, outputs * stride - padding, stride):
            end = min(start + kernel, length + padding)
            counts.append(end - start if include_pad else min(end, length) - max(start, 0))
        return counts


def plan(what: str, n: int, x: Tensor, kernel, stride, padding, dilation=1, ceil_mode: bool = False) -> Plan:
    """Sizes and places of the windows; RuntimeError, as torch's, where they do not fit."""
    spatial(x, n, what)
    fixed = is_fixed(kernel) and (stride is None or is_fixed(stride)) and is_fixed(padding) and is_fixed(dilation)
    find = _plan if fixed else _plan.__wrapped__  # as it is without the memory
    return find(what, n, x.shape, kernel, stride, padding, dilation, bool(ceil_mode))


@lru_cache(maxsize=1024)
def _plan(what: str, n: int, shape, kernel, stride, padding, dilation, ceil_mode: bool) -> Plan:
    """plan for a shape, once for each."""
    kernel = sizes_of(kernel, n, what, "kernel_size", 1)
    stride = kernel if stride is None or stride == () or stride == [] else sizes_of(stride, n, what, "stride", 1)
    padding, dilation = sizes_of(padding, n, what, "padding"), sizes_of(dilation, n, what, "dilation", 1)
    outputs = []
    for k, s, p, d, length in zip(kernel, stride, padding, dilation, shape[len(shape) - n :], strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(f"{what}: padding {p} must be at most half of the window ({k}, spaced {d})")
        room = length + 2 * p - d * (k - 1) - 1
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= length + p:  # the last window must start inside
            count -= 1
        if count < 1 or length < 1:
            raise RuntimeError(f"{what}: windows of {kernel} leave no output of shape {shape}")
        outputs.append(count)
    if shape[len(shape) - n - 1] == 0:
        raise RuntimeError(f"{what}: input of shape {shape} has no channels")
    return Plan(kernel, stride, dilation, padding, shape[len(shape) - n :], tuple(outputs))


def batched(x: Tensor, n: int) -> Tensor:
    """x (channels, n axes) or (batch, channels, n axes) as the latter."""
    return x if x.ndim == n + 2 else reshape(x, (1, *x.shape))


def unbatched(y: Tensor, x: Tensor) -> Tensor:
    """y as x is: with a batch or without."""
    return y if y.ndim == x.ndim else reshape(y, y.shape[1:])


# ---- maxima ----------------------------------------------------------------------


def maxima(x: Tensor, at: Plan, return_indices: bool) -> tuple[Tensor, Tensor | None]:
    """The maxima of windows of x (N, C, lengths), and where they are (int64, in the flattened axes) if asked for."""
    taped = recorded(x)
    out, place = _core.max_pool(x, at.windows, at.outputs, taped or return_indices)
    if taped:
        out = _core.record(out, "max_pool", (x,), (place,), (at, _core.has_channels_last(x)))
    return out, place.long() if return_indices else None


@rule("max_pool")
def _max_pool_rule(node, g):
    return _at_places(g, node.saved[0], *node.meta)


def _at_places(g: Tensor, place: Tensor, at: Plan, channels_last: bool) -> Tensor:
    """(N, C, lengths): each element of g added at its place."""
    out = _core.max_pool_input(g, place, at.windows, at.lengths, channels_last)
    return _core.record(out, "max_pool_input", (g,), (place,), at)


@rule("max_pool_input")
def _max_pool_input_rule(node, g):
    place = node.saved[0].long()
    images, shape = g.shape[:2], place.shape
    place = reshape(place, (*images, prod(shape[2:])))
    taken = gather(reshape(g, (*images, prod(g.shape[2:]))), 2, clamp(place, 0))
    return reshape(where(place < 0, 0.0, taken), shape)  # -1: a window of padding alone


def _max_pool(what, n, x, kernel, stride, padding, dilation, ceil_mode, return_indices):
    at = plan(what, n, x, kernel, stride, padding, dilation, ceil_mode)
    out, place = maxima(batched(x, n), at, return_indices)
    return unbatched(out, x) if place is None else (unbatched(out, x), unbatched(place, x))


def max_pool1d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
):
    """The maximum of each window of the last axis; stride is kernel_size where it is not given. Padding never wins.

    Shape: (N, C, L) or (C, L). return_indices adds the maxima's places (int64).

    >>> import pyengine as pe
    >>> max_pool1d(pe.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).tolist()
    [[3.0, 2.0]]
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
):
    """The maximum of each window of the last two axes; indices count in the flattened (H W). As max_pool1d."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
):
    """The maximum of each window of the last three axes; indices count in the flattened (D H W). As max_pool1d."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


# ---- means -----------------------------------------------------------------------


def means(x: Tensor, at: Plan, include_pad: bool = True, divisor: float | None = None) -> Tensor:
    """The sums of windows of x (N, C, lengths), divided by divisor or by the elements that they count."""
    out = _core.avg_pool(x, at.windows, at.outputs, include_pad, 0.0 if divisor is None else divisor)
    return _core.record(out, "avg_pool", (x,), (), (at, include_pad, divisor, _core.has_channels_last(x)))


@rule("avg_pool")
def _avg_pool_rule(node, g):
    at, include_pad, divisor, channels_last = node.meta
    counts = at.counts(include_pad) if divisor is None else divisor
    if isinstance(counts, Tensor):
        return _spread(g / counts, at, 1.0, channels_last)
    return _spread(g, at, counts, channels_last)


def _spread(g: Tensor, at: Plan, divisor: float, channels_last: bool) -> Tensor:
    """(N, C, lengths): each element of g added over its window, the sums divided by divisor."""
    out = _core.avg_pool_input(g, at.windows, at.lengths, divisor, channels_last)
    return _core.record(out, "avg_pool_input", (g,), (), (at, divisor))


@rule("avg_pool_input")
def _avg_pool_input_rule(node, g):
    at, divisor = node.meta
    return means(g, at, divisor=divisor)


def _avg_pool(what, n, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override) -> Tensor:
    if divisor_override == 0:
        raise RuntimeError(f"{what}: divisor_override must not be 0")
    at = plan(what, n, x, kernel, stride, padding, 1, ceil_mode)
    divisor = None if divisor_override is None else float(divisor_override)
    return unbatched(means(batched(x, n), at, count_include_pad, divisor), x)


def avg_pool1d(
    input: Tensor, kernel_size, stride=None, padding=0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Tensor:
    """The mean of each window of the last axis; padding counts as zeros, or not at all. Shape: (N, C, L) or (C, L).

    >>> import pyengine as pe
    >>> avg_pool1d(pe.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).tolist()
    [[2.0, 1.0]]
    """
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of the last two axes; divisor_override divides instead of the count. As avg_pool1d."""
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of the last three axes. As avg_pool2d."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# ---- norms -----------------------------------------------------------------------


def _lp_pool(what, n, x, norm_type, kernel, stride, ceil_mode) -> Tensor:
    kernel = sizes_of(kernel, n, what, "kernel_size", 1)
    if not norm_type:
        raise ValueError(f"{what}: norm_type must not be 0")
    mean = _avg_pool(what, n, power(x, float(norm_type)), kernel, stride, 0, ceil_mode, True, None)
    return power(sign(mean) * relu(absolute(mean)) * float(prod(kernel)), 1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window of the last axis, p = norm_type. Shape: (N, C, L) or (C, L)."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window of the last two axes, p = norm_type."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) of each window of the last three axes, p = norm_type."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)
