"""Values as keys: unique, bincount, searchsorted, histograms, one_hot. By NumPy; nothing here has a gradient."""

from typing import Literal

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of, integer
from pyengine.ops._method import method, tensor_only

__all__ = ["bincount", "bucketize", "histc", "searchsorted", "unique", "unique_consecutive"]


def _array(x: Tensor, what: str, name: str = "input"):
    x = tensor_only(x, what, name).detach()
    return (x.float() if x.dtype.name == "bfloat16" else x).numpy()


def _result(values, like: Tensor | None = None) -> Tensor:
    import numpy

    out = _core.from_numpy(numpy.array(values))
    return out if like is None else out.to(like.dtype)


@method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
):
    """The different values of x in order (along axis dim: the different slices); with return_inverse the index of
    every element's value, with return_counts how often each came."""
    import numpy

    values = _array(input, "unique")
    axis = None if dim is None else axis_of(input, dim, "unique")
    if axis is not None and input.ndim == 0:
        values = values.reshape(1)
    if axis is not None and values.shape[axis] == 0 and values.size == 0 and values.ndim > 1:
        if input.shape.count(0) > 1:
            raise RuntimeError(f"unique: nothing to compare along axis {axis} of shape {input.shape}")
        nothing = _core.full((0,), 0, "int64")
        results = [_core.copy(input.detach())] + [nothing] * (bool(return_inverse) + bool(return_counts))
        return results[0] if len(results) == 1 else tuple(results)
    if axis is not None and values.size == 0 and values.ndim > 1:
        raise RuntimeError(f"unique: nothing to compare along axis {axis} of shape {input.shape}")
    kinds, inverse, counts = numpy.unique(values, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(values.shape if axis is None else -1).astype("int64")
    results = [_result(kinds, input)]
    results += [_result(inverse)] if return_inverse else []
    results += [_result(counts.astype("int64"))] if return_counts else []
    return results[0] if len(results) == 1 else tuple(results)


@method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
):
    """x without elements (along axis dim: slices) that equal the one before them."""
    import numpy

    values = _array(input, "unique_consecutive")
    if dim is None:
        rows = values.reshape(values.size, 1)
        axis = 0
    else:
        axis = axis_of(input, dim, "unique_consecutive")
        moved = numpy.moveaxis(numpy.atleast_1d(values), axis, 0)
        rows = moved.reshape(len(moved), moved.size // max(len(moved), 1))
    starts = numpy.ones(len(rows), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    kept = values.reshape(-1)[starts] if dim is None else numpy.compress(starts, numpy.atleast_1d(values), axis=axis)
    inverse = numpy.cumsum(starts) - 1
    counts = numpy.diff(numpy.append(numpy.nonzero(starts)[0], len(rows)))
    results = [_result(kept, input)]
    if return_inverse:
        results.append(_result((inverse.reshape(values.shape) if dim is None else inverse).astype("int64")))
    if return_counts:
        results.append(_result(counts.astype("int64")))
    return results[0] if len(results) == 1 else tuple(results)


@method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, ... comes in a vector, or the sum of its weights.

    >>> bincount(pe.tensor([1, 1, 3])).tolist()
    [0, 2, 0, 1]
    """
    import numpy

    values, least = _array(input, "bincount"), integer(minlength, "bincount", "minlength")
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise RuntimeError(
            f"bincount: a vector of integers from 0 on is needed, got {input.dtype.name} of shape {input.shape}"
        )
    if least < 0:
        raise RuntimeError(f"bincount: minlength must not be negative, got {least}")
    top = int(values.max()) + 1 if values.size else 0
    if max(top, least) > 1 << 40:
        raise RuntimeError(f"bincount: {max(top, least)} counts are too many")
    if weights is None:
        return _result(numpy.bincount(values, minlength=least).astype("int64"))
    if tensor_only(weights, "bincount", "weights").shape != input.shape:
        raise RuntimeError(f"bincount: weights of shape {weights.shape} do not fit input of shape {input.shape}")
    sums = numpy.bincount(values, weights=_array(weights, "bincount"), minlength=least)
    return _result(sums).to("float32" if weights.dtype.name == "float32" else "float64")


def searchsorted(
    sorted_sequence: Tensor,
    input,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value of input belongs in the sorted last axis: before equals, or (right, side="right") behind them.

    Shape: a sequence of one axis serves all of input; else all axes but the last must agree.
    """
    import numpy

    keys = _array(sorted_sequence, "searchsorted", "sorted_sequence")
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(f"searchsorted: side must be 'left' or 'right' and agree with right, got {side!r}")
    values = _array(input if isinstance(input, Tensor) else _core.tensor(input), "searchsorted")
    if keys.ndim == 0:
        raise RuntimeError("searchsorted: sorted_sequence needs an axis, got shape ()")
    if keys.ndim > 1 and (values.ndim != keys.ndim or values.shape[:-1] != keys.shape[:-1]):
        raise RuntimeError(f"searchsorted: shapes {keys.shape} and {values.shape} differ before the last axis")
    if sorter is not None:
        order = _array(sorter, "searchsorted", "sorter")
        if order.shape != keys.shape or order.dtype.kind not in "iu":
            raise RuntimeError(f"searchsorted: sorter of shape {order.shape} does not fit {keys.shape}")
        if order.size and not (order.min() >= 0 and order.max() < keys.shape[-1]):
            raise RuntimeError("searchsorted: sorter has an index out of range")
        keys = numpy.take_along_axis(keys, order, -1)
    where: Literal["left", "right"] = "right" if right or side == "right" else "left"
    if keys.ndim == 1:
        found = numpy.searchsorted(keys, values, side=where)
    else:
        found = numpy.empty(values.shape, "int64")
        for row in numpy.ndindex(keys.shape[:-1]):
            found[row] = numpy.searchsorted(keys[row], values[row], side=where)
    return _result(numpy.asarray(found, "int32" if out_int32 else "int64"))


def bucketize(input, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket between boundaries that each value of input falls in."""
    if tensor_only(boundaries, "bucketize", "boundaries").ndim != 1:
        raise RuntimeError(f"bucketize: boundaries must be a vector, got shape {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max] (both 0: of x's own range)."""
    import numpy

    values, bins = _array(input, "histc").reshape(-1), integer(bins, "histc", "bins")
    if values.dtype.kind != "f":
        raise RuntimeError(f"histc: a float tensor is needed, got {input.dtype.name}")
    if not 0 < bins <= 1 << 31:
        raise RuntimeError(f"histc: bins must be positive, got {bins}")
    low, high = float(min), float(max)
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (numpy.isfinite([low, high]).all() and low < high):
        raise RuntimeError(f"histc: no finite range from {low} to {high}")
    return _result(numpy.histogram(values, bins, (low, high))[0].astype("float32"), input)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class, else 0, along a new last axis; as int64. num_classes -1: the largest class + 1.

    >>> one_hot(pe.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    import numpy

    values, count = _array(tensor, "one_hot", "tensor"), integer(num_classes, "one_hot", "num_classes")
    if tensor.dtype.name != "int64":
        raise RuntimeError(f"one_hot: classes must be int64, got {tensor.dtype.name}")
    if values.size == 0 and count <= 0:
        raise RuntimeError(f"one_hot: num_classes must be given for an empty tensor of shape {tensor.shape}")
    if values.size and values.min() < 0:
        raise RuntimeError(f"one_hot: classes must not be negative, got {values.min()}")
    if count == -1:
        count = int(values.max()) + 1
    if count < 1 or (values.size and values.max() >= count):
        raise RuntimeError(f"one_hot: {count} classes are too few for class {values.max() if values.size else 0}")
    out = _core.full((*values.shape, count), 0, "int64", "one_hot")
    numpy.put_along_axis(out.numpy(), values[..., None], 1, -1)
    return out
