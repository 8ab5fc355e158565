"""Max pooling in windows at random places. (Graham, 2014)"""

from math import prod

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.pool import broadcastable, chosen, flat_places
from pyengine.ops.random import rand
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
    places = broadcastable(tables)
    channels = numpy.ogrid[: x.shape[0], : x.shape[1]]
    seen = x[tuple(axis.reshape(*axis.shape, *[1] * (2 * n)) for axis in channels) + tuple(places)]
    values, place = chosen(reshape(seen, (*seen.shape[:-n], prod(kernel))))
    indices = flat_places(place, places, lengths) if return_indices else None
    if not batched:
        values = reshape(values, values.shape[1:])
        indices = None if indices is None else _core.reshape(indices, indices.shape[1:])
    return values if indices is None else (values, indices)
