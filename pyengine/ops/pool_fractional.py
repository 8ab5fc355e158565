"""Max pooling in windows at random places. (Graham, 2014)"""

from math import prod

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.create import arange
from pyengine.ops.random import rand
from pyengine.ops.reduction import argmax
from pyengine.ops.reduction import sum as total
from pyengine.ops.rounding import where
from pyengine.ops.shape import reshape
from pyengine.ops.strided_windows import sizes_of, spatial

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]


def fractional_max_pool2d(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
):
    """The maxima of windows of kernel_size whose steps are drawn, so that output_size (or output_ratio of the input)
    come out.

    Arguments: _random_samples (N, C, 2) in [0, 1) decides the steps; drawn where it is None.
    Shape: (N, C, H, W) or (C, H, W). ValueError unless exactly one of output_size and output_ratio is given.

    >>> import pyengine as pe
    >>> fractional_max_pool2d(pe.zeros(1, 1, 7, 7), 2, output_size=5).shape
    (1, 1, 5, 5)
    """
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
):
    """The maxima of windows at random places of (N, C, D, H, W) or (C, D, H, W). As fractional_max_pool2d."""
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def _broadcastable(tables) -> list:
    """Arrays (..., O, K), one an axis, in shapes that broadcast to (..., O1 .. On, K1 .. Kn)."""
    tables = list(tables)
    n, shaped = len(tables), []
    for i, table in enumerate(tables):
        sizes = [1] * (2 * n)
        sizes[i], sizes[n + i] = table.shape[-2:]
        shaped.append(table.reshape(*table.shape[:-2], *sizes))
    return shaped


def _chosen(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The first maximum of the last axis, and its place there (float32). The gradient goes to it alone."""
    place = argmax(columns.detach(), -1, keepdim=True).float()
    taken = place == arange(columns.shape[-1]).float()
    return total(where(taken, columns, 0.0), -1), reshape(place, columns.shape[:-1])


def _flat_places(place: Tensor, places, lengths) -> Tensor:
    """Indices (int64) into the flattened input axes. `place` counts in the window; places are as broadcastable's."""
    import numpy

    n, flat = len(lengths), numpy.zeros((), numpy.int64)
    for axis, length in zip(places, lengths, strict=True):
        flat = flat * length + axis
    k = place.numpy().astype(numpy.int64)[..., None]
    table = flat.reshape(*flat.shape[:-n], prod(flat.shape[-n:]))
    table = numpy.broadcast_to(table, (*k.shape[:-1], table.shape[-1]))
    return _core.from_numpy(numpy.take_along_axis(table, k, -1)[..., 0].astype(numpy.int64))


def _starts(samples, length: int, kernel: int, outputs: int):
    """The first element of each window, (N, C, outputs), for samples (N, C)."""
    import numpy

    last = length - kernel
    step = numpy.float32(last) / numpy.float32(max(outputs - 1, 1))
    drawn = samples[..., None].astype(numpy.float32)
    starts = ((numpy.arange(outputs, dtype=numpy.float32) + drawn) * step).astype(numpy.int64)
    starts -= (drawn * step).astype(numpy.int64)
    starts[..., -1:] = last
    return starts


def _fractional(what, n, x, kernel, output_size, output_ratio, return_indices, samples):
    import numpy

    spatial(x, n, what)
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{what}: one of output_size and output_ratio must be given, got {output_size, output_ratio}")
    lengths = x.shape[x.ndim - n :]
    if output_size is None:
        ratios = tuple(output_ratio) if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        output_size = tuple(int(length * ratio) for length, ratio in zip(lengths, ratios, strict=True))
    outputs, kernel = sizes_of(output_size, n, what, "output_size", 1), sizes_of(kernel, n, what, "kernel_size", 1)
    if any(o + k - 1 > length for o, k, length in zip(outputs, kernel, lengths, strict=True)) or 0 in x.shape[-n - 1 :]:
        raise RuntimeError(f"{what}: {outputs} windows of {kernel} do not fit shape {x.shape}")
    batched = x.ndim == n + 2
    x = x if batched else reshape(x, (1, *x.shape))
    drawn = (rand(*x.shape[:2], n) if samples is None else samples).numpy()
    if drawn.shape != (*x.shape[:2], n):
        raise RuntimeError(f"{what}: _random_samples of shape {drawn.shape}, {(*x.shape[:2], n)} is expected")
    order = (1, 0) if n == 2 else (0, 1, 2)  # torch's: two axes take their samples last axis first
    tables = [
        _starts(drawn[..., i], length, k, o)[..., None] + numpy.arange(k)
        for i, length, k, o in zip(order, lengths, kernel, outputs, strict=True)
    ]
    places = _broadcastable(tables)
    channels = numpy.ogrid[: x.shape[0], : x.shape[1]]
    seen = x[tuple(axis.reshape(*axis.shape, *[1] * (2 * n)) for axis in channels) + tuple(places)]
    values, place = _chosen(reshape(seen, (*seen.shape[:-n], prod(kernel))))
    indices = _flat_places(place, places, lengths) if return_indices else None
    if not batched:
        values = reshape(values, values.shape[1:])
        indices = None if indices is None else _core.reshape(indices, indices.shape[1:])
    return values if indices is None else (values, indices)
