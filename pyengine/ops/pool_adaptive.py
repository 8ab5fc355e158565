"""Pooling into a given number of outputs, in random windows, and back to where maxima came from."""

from pyengine import _core
from pyengine._core import Tensor, from_numpy
from pyengine.ops._method import rule, tensor_only
from pyengine.ops.fallback import kept
from pyengine.ops.pool import Plan, batched, maxima, means, unbatched
from pyengine.ops.reduction import mean
from pyengine.ops.shape import reshape
from pyengine.ops.strided_windows import sizes_of, spatial

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _outputs(what: str, n: int, x: Tensor, output_size) -> tuple[int, ...]:
    """The sizes asked for; None keeps an axis."""
    spatial(x, n, what)
    lengths = x.shape[x.ndim - n :]
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if len(given) != n:
        raise RuntimeError(f"{what}: output_size must be one integer or {n}, got {output_size!r}")
    filled = [length if size is None else size for size, length in zip(given, lengths, strict=True)]
    if 0 in x.shape[x.ndim - n - 1 :]:
        raise RuntimeError(f"{what}: input of shape {x.shape} has an empty axis")
    return sizes_of(tuple(filled), n, what, "output_size")


def _parts(what: str, n: int, x: Tensor, output_size) -> Plan:
    """Windows side by side where they divide the axes, else parts that overlap."""
    outputs, lengths = _outputs(what, n, x, output_size), x.shape[x.ndim - n :]
    kernel = tuple(
        length // count if count and length % count == 0 else 0 for length, count in zip(lengths, outputs, strict=True)
    )
    return Plan(kernel, tuple(max(k, 1) for k in kernel), (1,) * n, (0,) * n, lengths, outputs)


def _adaptive_avg(what: str, n: int, x: Tensor, output_size) -> Tensor:
    at = _parts(what, n, x, output_size)
    if at.outputs == (1,) * n:  # all of it: one reduction, whose tree is kinder to long sums
        return mean(x, tuple(range(-n, 0)), keepdim=True)
    return unbatched(means(batched(x, n), at), x)


def adaptive_avg_pool1d(input: Tensor, output_size) -> Tensor:
    """The means of output_size parts of the last axis; they overlap where they do not divide it.

    Shape: (N, C, L) or (C, L) -> (..., output_size).

    >>> import pyengine as pe
    >>> adaptive_avg_pool1d(pe.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).tolist()
    [[2.0, 1.0]]
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size) -> Tensor:
    """The means of output_size (one number, two, None keeps an axis) parts of the last two axes."""
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size) -> Tensor:
    """The means of output_size (one number, three, None keeps an axis) parts of the last three axes."""
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max(what: str, n: int, x: Tensor, output_size, return_indices: bool):
    at = _parts(what, n, x, output_size)
    out, place = maxima(batched(x, n), at, return_indices)
    return unbatched(out, x) if place is None else (unbatched(out, x), unbatched(place, x))


def adaptive_max_pool1d(input: Tensor, output_size, return_indices: bool = False):
    """The maxima of output_size parts of the last axis. As adaptive_avg_pool1d."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size, return_indices: bool = False):
    """The maxima of output_size parts of the last two axes; indices count in the flattened (H W)."""
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size, return_indices: bool = False):
    """The maxima of output_size parts of the last three axes; indices count in the flattened (D H W)."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


# ---- unpooling -------------------------------------------------------------------


def _max_unpool(what: str, n: int, x: Tensor, indices: Tensor, kernel, stride, padding, output_size) -> Tensor:
    import numpy

    spatial(x, n, what)
    if tensor_only(indices, what, "indices").dtype.name != "int64":
        raise RuntimeError(f"{what}: indices must be int64, got {indices.dtype.name}")
    if indices.shape != x.shape:
        raise RuntimeError(f"{what}: input of shape {x.shape} and indices of shape {indices.shape} differ")
    kernel = sizes_of(kernel, n, what, "kernel_size", 1)
    stride = kernel if stride is None else sizes_of(stride, n, what, "stride", 1)
    padding = sizes_of(padding, n, what, "padding")
    lead, counts = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    default = tuple((c - 1) * s - 2 * p + k for c, k, s, p in zip(counts, kernel, stride, padding, strict=True))
    lengths = default
    if output_size is not None:
        lengths = tuple(output_size)[-n:]
        if len(tuple(output_size)) not in (n, n + 1, n + 2) or any(
            not d - s < length < d + s for length, d, s in zip(lengths, default, stride, strict=True)
        ):
            raise ValueError(f"{what}: output_size {tuple(output_size)} must lie within {stride} of {default}")
    size = int(numpy.prod(lengths))
    flat = indices.numpy().reshape(int(numpy.prod(lead)), -1)
    if flat.size and (flat.min() < 0 or flat.max() >= size):
        raise RuntimeError(f"{what}: indices of shape {indices.shape} name places outside {lengths}")
    index = (numpy.arange(flat.shape[0])[:, None], flat)
    return reshape(_put(reshape(x, flat.shape), (flat.shape[0], size), index), (*lead, *lengths))


def _put(x: Tensor, shape: tuple, index: tuple) -> Tensor:
    import numpy

    out = numpy.zeros(shape, numpy.float32)
    out[index] = x.detach().numpy()
    return _core.record(from_numpy(out), "unpool", (x,), (), (shape, kept(index, x)))


@rule("unpool")
def _unpool(node, g):
    return g[node.meta[1]]


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """The maxima back at their indices (those of max_pool1d), zeros elsewhere.

    >>> import pyengine as pe
    >>> max_unpool1d(pe.tensor([[3.0, 2.0]]), pe.tensor([[1, 2]]), 2).tolist()
    [[0.0, 3.0, 2.0, 0.0]]
    """
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """The maxima back at their indices (those of max_pool2d), zeros elsewhere."""
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """The maxima back at their indices (those of max_pool3d), zeros elsewhere."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
