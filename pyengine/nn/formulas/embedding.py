"""Rows of a table by number, alone or in bags."""

from pyengine import _core, no_grad, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.bags import sum_bags
from pyengine.ops.rows import lookup, whole_numbers

__all__ = ["embedding", "embedding_bag"]


def _table(name: str, weight: Tensor, padding_idx: int | None) -> int | None:
    """padding_idx counted from the front."""
    if tensor_only(weight, name, "weight").ndim != 2:
        raise ValueError(f"{name}: weight must be a matrix, got shape {weight.shape}")
    if padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]:
        raise AssertionError(f"{name}: padding_idx {padding_idx} lies outside weight of shape {weight.shape}")
    return None if padding_idx is None else padding_idx % weight.shape[0]


@no_grad()
def _renorm(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows in use whose norm is above max_norm down to it, in place."""
    rows = _core.take_rows(weight, index)
    if norm_type == float("inf"):
        norm = rows.abs().amax(1, keepdim=True)
    elif norm_type == 2:
        norm = rows.square().sum(1, keepdim=True).sqrt()
    else:
        norm = (rows.abs() ** float(norm_type)).sum(1, keepdim=True) ** (1.0 / norm_type)
    weight[index] = rows * ops.where(norm > max_norm, max_norm / (norm + 1e-7), 1.0)


def _numbers(name: str, input: Tensor, weight: Tensor) -> Tensor:
    """input as an int64 vector; IndexError that names an entry which is no row of weight."""
    index = whole_numbers(input, name, "input").reshape(-1)
    array, rows = index.numpy(), weight.shape[0]
    if array.size and not (array.min() >= 0 and array.max() < rows):
        bad = int(((array < 0) | (array >= rows)).argmax())
        raise IndexError(
            f"{name}: entry {bad} of input {input.shape} is {array[bad]}, expected 0 to {rows - 1}: weight has the "
            f"shape {weight.shape}"
        )
    return index


def _frequencies(index: Tensor) -> Tensor:
    """How often the number of each entry is there."""
    import numpy

    _, inverse, counts = numpy.unique(index.numpy(), return_inverse=True, return_counts=True)
    return _core.from_numpy(counts[inverse].astype(numpy.float32))


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """weight[input]. The gradient adds its rows in the order of input, so that its bits do not depend on threads.

    Arguments: padding_idx, a row without gradient; max_norm, rows in use are first scaled down to this norm_type norm
    in place; scale_grad_by_freq, gradients are divided by how often their row is used; sparse, the gradient is a
    RowSparse, which optim.SparseAdam, Adagrad and SGD without momentum take. Shape: (...) -> (..., features).
    Errors: IndexError that names the entry which is no row of weight.
    """
    padding_idx = _table("embedding", weight, padding_idx)
    index = _numbers("embedding", input, weight)
    if max_norm is not None:
        _renorm(weight, index, max_norm, norm_type)
    rows = lookup(weight, index, padding_idx, sparse)
    if scale_grad_by_freq and _core.is_grad_enabled() and weight.requires_grad:
        # the value of one, the gradient of the other
        rows = rows.detach() + (rows - rows.detach()) / _frequencies(index).unsqueeze(1)
    return rows.reshape(*input.shape, weight.shape[1])


def _offsets(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> Tensor:
    """Where each bag starts among all entries, and where the last one ends."""
    name = "embedding_bag"
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{name}: input of shape {input.shape} holds a bag in every row, offsets must be None")
        bags, size = input.shape
        return ops.arange(0, bags * size + 1, size) if size else _core.full((bags + 1,), 0, "int64")
    if input.ndim != 1:
        raise ValueError(f"{name}: input must have 1 or 2 axes, got shape {input.shape}")
    if offsets is None or tensor_only(offsets, name, "offsets").ndim != 1:
        raise ValueError(f"{name}: offsets must be a vector where input is one, got {offsets!r}")
    starts = whole_numbers(offsets, name, "offsets")
    if include_last_offset and not starts.numel():
        raise RuntimeError(f"{name}: include_last_offset needs at least one offset")
    ends = starts if include_last_offset else ops.cat([starts, _core.tensor([input.shape[0]], "int64")])
    array = ends.numpy()
    if (array[0] != 0 and starts.numel()) or array[-1] > input.shape[0]:
        raise RuntimeError(f"{name}: offsets must begin with 0 and end within input {input.shape}, got {offsets!r}")
    if (array[1:] < array[:-1]).any():
        raise RuntimeError(f"{name}: offsets must not decrease, got {offsets!r}")
    return ends if starts.numel() else _core.full((1,), 0, "int64")


def _check_bags(input: Tensor, mode: str, by_frequency: bool, sparse: bool, weights: Tensor | None) -> None:
    name = "embedding_bag"
    tensor_only(input, name, "input")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if mode == "max" and (by_frequency or sparse):
        raise ValueError(f"{name}: mode 'max' has neither scale_grad_by_freq nor sparse")
    if weights is not None:
        if tensor_only(weights, name, "per_sample_weights").shape != input.shape:
            raise ValueError(f"{name}: per_sample_weights {weights.shape} and input {input.shape} differ")
        if mode != "sum":
            raise NotImplementedError(f"{name}: per_sample_weights goes with mode 'sum' alone, not {mode!r}")


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or maximum of each bag's rows of weight; 0 for an empty bag. Entries padding_idx do not count.

    sparse, the gradient is a RowSparse, as embedding's.
    Shape: input (bags, n), or all bags one after the other with the offset of each -> (bags, features).
    Errors: IndexError that names the entry which is no row of weight.
    """
    padding_idx = _table("embedding_bag", weight, padding_idx)
    _check_bags(input, mode, scale_grad_by_freq, sparse, per_sample_weights)
    bounds = _offsets(input, offsets, include_last_offset)
    index = _numbers("embedding_bag", input, weight)[: bounds[-1].item()]
    if max_norm is not None:
        _renorm(weight, index, max_norm, norm_type)
    if mode == "max":
        return _largest(weight, index, bounds, padding_idx)
    weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)[: index.shape[0]]
    by_frequency = scale_grad_by_freq and _core.is_grad_enabled() and weight.requires_grad
    total = sum_bags(weight.detach() if by_frequency else weight, index, bounds, weights, padding_idx, sparse)
    if by_frequency:
        shares = 1.0 / _frequencies(index)
        shares = shares if weights is None else weights.detach() * shares
        scaled = sum_bags(weight, index, bounds, shares, padding_idx, sparse)
        total = total + (scaled - scaled.detach())
    if mode == "sum":
        return total
    return total / ops.maximum(_counts(index, bounds, padding_idx), 1.0)


def _counts(index: Tensor, bounds: Tensor, padding_idx: int | None) -> Tensor:
    """How many entries of each bag count: (bags, 1)."""
    import numpy

    ends = bounds.numpy()
    if padding_idx is None:
        counts = numpy.diff(ends)
    else:
        counted = numpy.concatenate(([0], numpy.cumsum(index.numpy() != padding_idx)))
        counts = numpy.diff(counted[ends])
    return _core.from_numpy(counts.astype(numpy.float32).reshape(-1, 1))


def _largest(weight: Tensor, index: Tensor, bounds: Tensor, padding_idx: int | None) -> Tensor:
    """The maximum of each bag; of equal ones the first gets the gradient."""
    largest, place = _core.max_bags(weight.detach(), index, bounds, padding_idx)
    if not (_core.is_grad_enabled() and weight.requires_grad):
        return largest
    import numpy

    entries, columns = place.numpy(), numpy.arange(weight.shape[1])
    found = numpy.append(index.numpy(), 0)[entries] * weight.shape[1] + columns  # of each among weight's elements
    found = _core.from_numpy(numpy.where(entries < 0, -1, found).reshape(-1))
    return _core.take_rows(weight.reshape(-1, 1), found, -1).reshape(*place.shape)
