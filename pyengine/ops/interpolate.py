"""Images in other sizes: along each axis one product with a small matrix of weights, so that gradients are its
transpose. A NaN or inf spreads along the axes of its image."""

from functools import lru_cache
from math import floor

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import integer
from pyengine.ops._method import tensor_only
from pyengine.ops.arrange import _repeated
from pyengine.ops.product import matmul

_AXES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
         "bicubic": (2,), "trilinear": (3,)}  # fmt: skip


def _cubic(t: float, a: float) -> float:
    """The convolution kernel of Keys (1981)."""
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0


def _smooth(row, middle: float, n: int, scale: float, kind: str) -> None:
    """Weights of an antialiased filter, as wide as `scale` source elements."""
    reach, wide = (2.0 if kind == "bicubic" else 1.0), max(scale, 1.0)
    first, last = max(int(middle - reach * wide + 0.5), 0), min(int(middle + reach * wide + 0.5), n)
    taps = [(j + 0.5 - middle) / wide for j in range(first, last)]
    weights = [_cubic(t, -0.5) if kind == "bicubic" else max(1 - abs(t), 0.0) for t in taps]
    total = sum(weights) or 1.0
    for j, w in zip(range(first, last), weights, strict=True):
        row[j] += w / total


@lru_cache(maxsize=32)
def _weights(n: int, out: int, mode: str, align: bool, factor: float | None, antialias: bool) -> Tensor:
    """The matrix (out, n) that makes `out` elements of n."""
    import numpy

    matrix = numpy.zeros((out, n), numpy.float64)
    scale = (n - 1) / (out - 1) if align and out > 1 else 0.0 if align else 1 / factor if factor else n / out
    for i, row in enumerate(matrix):
        place = i * scale if align else (i + 0.5) * scale - 0.5
        if mode == "area":
            first, last = i * n // out, -((-(i + 1) * n) // out)
            row[first:last] = 1 / (last - first)
        elif mode.startswith("nearest"):
            # the index is found in float32, as torch finds it
            step = numpy.float32(scale)
            at = (numpy.float32(i) + numpy.float32(0.5 if mode == "nearest-exact" else 0)) * step
            row[min(int(at), n - 1)] = 1
        elif antialias:
            _smooth(row, (i + 0.5) * scale, n, scale, mode)
        elif mode == "bicubic":
            first = floor(place)
            for j in range(first - 1, first + 3):
                row[min(max(j, 0), n - 1)] += _cubic(place - j, -0.75)
        else:
            place = max(place, 0.0)
            first = min(int(place), n - 1)
            part = min(max(place - first, 0.0), 1.0)
            row[first] += 1 - part
            row[min(first + 1, n - 1)] += part
    return _core.from_numpy(matrix.astype(numpy.float32))


def _along(x: Tensor, axis: int, weights: Tensor) -> Tensor:
    """Axis `axis` of x times the matrix."""
    out, n = weights.shape
    lead = tail = 1
    for size in x.shape[:axis]:
        lead *= size
    for size in x.shape[axis + 1 :]:
        tail *= size
    shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
    if tail == 1:
        return _core.reshape(matmul(_core.reshape(x, (lead, n)), _core.transpose(weights, 0, 1)), shape)
    return _core.reshape(matmul(weights, _core.reshape(x, (lead, n, tail))), shape)


def _each(value, axes: int, what: str) -> list:
    values = list(value) if isinstance(value, (tuple, list)) else [value] * axes
    if len(values) != axes:
        raise ValueError(f"interpolate: {what} {value} must have {axes} entries")
    return values


def _target(x: Tensor, size, scale_factor, recompute) -> tuple[list[int], list]:
    """The sizes asked for, and the factors that the weights use (None: the quotient of the sizes)."""
    axes = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: one of size and scale_factor must be given")
    if size is not None:
        sizes = [integer(n, "interpolate", "size") for n in _each(size, axes, "size")]
        return sizes, [None] * axes
    factors = _each(scale_factor, axes, "scale_factor")
    if any(isinstance(f, bool) or not isinstance(f, (int, float)) for f in factors):
        raise TypeError(f"interpolate: scale_factor must be numbers, got {scale_factor!r}")
    factors = [float(f) for f in factors]
    if not all(0 < f < 1 << 31 for f in factors):
        raise RuntimeError(f"interpolate: scale_factor must be positive, got {scale_factor}")
    sizes = [floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]
    return sizes, [None] * axes if recompute else factors


def interpolate(
    input: Tensor,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images in another size: "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area".

    Arguments: size or scale_factor, one or one for each axis behind the channels; align_corners, whether the centres
    of the corners stay; recompute_scale_factor, weights by the quotient of the sizes; antialias, filters as wide as
    the reduction (bilinear, bicubic).
    Shape: (n, c, ...) with one to three axes, as the mode says.
    """
    if tensor_only(input, "interpolate", "input").ndim not in (3, 4, 5):
        raise NotImplementedError(f"interpolate: 3 to 5 axes are needed, got shape {input.shape}")
    if not isinstance(mode, str) or mode not in _AXES or input.ndim - 2 not in _AXES[mode]:
        raise NotImplementedError(f"interpolate: no mode {mode!r} for shape {input.shape}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"interpolate: align_corners has no meaning for mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias has no meaning for mode {mode!r}")
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor needs scale_factor, not size")
    sizes, factors = _target(input, size, scale_factor, recompute_scale_factor or mode == "area")
    if min(sizes) <= 0 or 0 in input.shape[1:]:
        raise RuntimeError(f"interpolate: from shape {input.shape} to {sizes}: sizes must be positive")
    if max(sizes) * max(input.shape[2:]) > 1 << 32:
        raise RuntimeError(f"interpolate: from shape {input.shape} to {sizes} is too large")
    last = _core.has_channels_last(input)
    if last:  # one axis after the other in its place in memory: no copy, the same products
        input = _core.permute(input, (0, *range(2, input.ndim), 1))
    for axis, (out, factor) in enumerate(zip(sizes, factors, strict=True), 1 if last else 2):
        n = input.shape[axis]
        if mode.startswith("nearest") and out % n == 0 and factor in (None, out // n):
            input = _repeated(input, axis, out // n, False)
        elif out != n or factor not in (None, 1.0):
            input = _along(input, axis, _weights(n, out, mode, bool(align_corners), factor, bool(antialias)))
    return _core.permute(input, (0, input.ndim - 1, *range(1, input.ndim - 1))) if last else input


def upsample(input: Tensor, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None):
    """`interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size=None, scale_factor=None) -> Tensor:
    """`interpolate` with mode "nearest"."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input: Tensor, size=None, scale_factor=None) -> Tensor:
    """`interpolate` with mode "bilinear" and the corners' centres kept."""
    return interpolate(input, size, scale_factor, "bilinear", True)
