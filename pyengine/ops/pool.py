"""Pooling over windows: maxima, means, norms. (Max pooling: Weng, Ahuja and Huang, 1992)"""

from math import prod
from typing import NamedTuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.create import arange
from pyengine.ops.elementwise import abs as absolute
from pyengine.ops.elementwise import pow as power
from pyengine.ops.elementwise import relu, sign
from pyengine.ops.reduction import amax, argmax
from pyengine.ops.reduction import sum as total
from pyengine.ops.rounding import where
from pyengine.ops.shape import reshape
from pyengine.ops.strided_windows import padded, sizes_of, spatial, windows

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
    """Where the windows of a pooling lie, for each axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    lengths: tuple[int, ...]
    outputs: tuple[int, ...]

    def view(self, x: Tensor, value: float, what: str) -> Tensor:
        """The windows of x (..., O1 .. On, K1 .. Kn), `value` outside."""
        pads = [(p, max(0, (o - 1) * s + d * (k - 1) + 1 - n - p)) for k, s, p, d, n, o in zip(*self, strict=True)]
        return windows(padded(x, pads, value), self.kernel, self.stride, self.dilation, what)

    def places(self):
        """Per axis the place in the input of each element of each window, to broadcast to (O1 .. On, K1 .. Kn); those
        outside moved inside."""
        import numpy

        return broadcastable(
            numpy.clip(numpy.arange(o)[:, None] * s - p + numpy.arange(k) * d, 0, n - 1)
            for k, s, p, d, n, o in zip(*self, strict=True)
        )


def broadcastable(tables) -> list:
    """Arrays (..., O, K), one an axis, in shapes that broadcast to (..., O1 .. On, K1 .. Kn)."""
    tables = list(tables)
    n, shaped = len(tables), []
    for i, table in enumerate(tables):
        sizes = [1] * (2 * n)
        sizes[i], sizes[n + i] = table.shape[-2:]
        shaped.append(table.reshape(*table.shape[:-2], *sizes))
    return shaped


def plan(what: str, n: int, x: Tensor, kernel, stride, padding, dilation=1, ceil_mode: bool = False) -> Plan:
    """Sizes and places of the windows; RuntimeError, as torch's, where they do not fit."""
    spatial(x, n, what)
    kernel = sizes_of(kernel, n, what, "kernel_size", 1)
    stride = kernel if stride is None or stride == () or stride == [] else sizes_of(stride, n, what, "stride", 1)
    padding, dilation = sizes_of(padding, n, what, "padding"), sizes_of(dilation, n, what, "dilation", 1)
    outputs = []
    for k, s, p, d, length in zip(kernel, stride, padding, dilation, x.shape[x.ndim - n :], strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(f"{what}: padding {p} must be at most half of the window ({k}, spaced {d})")
        room = length + 2 * p - d * (k - 1) - 1
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= length + p:  # the last window must start inside
            count -= 1
        if count < 1 or length < 1:
            raise RuntimeError(f"{what}: windows of {kernel} leave no output of shape {x.shape}")
        outputs.append(count)
    if x.shape[x.ndim - n - 1] == 0:
        raise RuntimeError(f"{what}: input of shape {x.shape} has no channels")
    return Plan(kernel, stride, padding, dilation, x.shape[x.ndim - n :], tuple(outputs))


# ---- maxima ----------------------------------------------------------------------


def chosen(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The first maximum of the last axis, and its place there (float32). The gradient goes to it alone."""
    place = argmax(columns.detach(), -1, keepdim=True).float()
    taken = place == arange(columns.shape[-1]).float()
    return total(where(taken, columns, 0.0), -1), reshape(place, columns.shape[:-1])


def flat_places(place: Tensor, places, lengths) -> Tensor:
    """Indices (int64) into the flattened input axes. `place` counts in the window; places are as broadcastable's."""
    import numpy

    n, flat = len(lengths), numpy.zeros((), numpy.int64)
    for axis, length in zip(places, lengths, strict=True):
        flat = flat * length + axis
    k = place.numpy().astype(numpy.int64)[..., None]
    table = flat.reshape(*flat.shape[:-n], prod(flat.shape[-n:]))
    table = numpy.broadcast_to(table, (*k.shape[:-1], table.shape[-1]))
    return _core.from_numpy(numpy.take_along_axis(table, k, -1)[..., 0].astype(numpy.int64))


def _max_pool(what, n, x, kernel, stride, padding, dilation, ceil_mode, return_indices):
    where_ = plan(what, n, x, kernel, stride, padding, dilation, ceil_mode)
    seen = where_.view(x, float("-inf"), what)
    if not return_indices and not (_core.is_grad_enabled() and x.requires_grad):
        return amax(seen, tuple(range(-n, 0)))
    values, place = chosen(reshape(seen, (*seen.shape[:-n], prod(where_.kernel))))
    return (values, flat_places(place, where_.places(), where_.lengths)) if return_indices else values


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


def _counts(where_: Plan, include_pad: bool):
    """How many elements each window counts: a number, or a tensor (O1 .. On) where windows differ."""
    product: Tensor | None = None
    uniform = 1
    for i, (k, s, p, _, length, outputs) in enumerate(zip(*where_, strict=True)):
        counts = []
        for o in range(outputs):
            start = o * s - p
            end = min(start + k, length + p)
            counts.append(end - start if include_pad else min(end, length) - max(start, 0))
        if len(set(counts)) == 1:
            uniform *= counts[0]
            continue
        shape = [1] * len(where_.outputs)
        shape[i] = outputs
        axis = reshape(_core.tensor([float(count) for count in counts]), shape)
        product = axis if product is None else product * axis
    return float(uniform) if product is None else product * float(uniform)


def _avg_pool(what, n, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override) -> Tensor:
    if divisor_override == 0:
        raise RuntimeError(f"{what}: divisor_override must not be 0")
    where_ = plan(what, n, x, kernel, stride, padding, 1, ceil_mode)
    sums = total(where_.view(x, 0.0, what), tuple(range(-n, 0)))
    return sums / (_counts(where_, count_include_pad) if divisor_override is None else float(divisor_override))


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
