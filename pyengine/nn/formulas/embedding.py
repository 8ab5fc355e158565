"""Rows of a table by number, alone or in bags."""

import itertools

from pyengine import _core, no_grad, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
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


def _looked_up(weight: Tensor, index: Tensor, padding_idx: int | None, by_frequency: bool) -> Tensor:
    rows = lookup(weight, index, padding_idx)
    if by_frequency and _core.is_grad_enabled() and weight.requires_grad:
        ones = _core.full((index.shape[0], 1), 1.0, "float32")
        counts = _core.take_rows(_core.add_rows(ones, index, weight.shape[0]), index)
        rows = rows.detach() + (rows - rows.detach()) / counts  # the value of one, the gradient of the other
    return rows


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """weight[input]. The gradient adds its rows in the order of input, so that its bits do not depend on threads.

    Arguments: padding_idx, a row without gradient; max_norm, rows in use are first scaled down to this norm_type norm
    in place; scale_grad_by_freq, gradients are divided by how often their row is used; sparse is accepted, gradients
    are dense. Shape: (...) -> (..., features).
    """
    padding_idx = _table("embedding", weight, padding_idx)
    index = whole_numbers(input, "embedding", "input").reshape(-1)
    if max_norm is not None:
        _renorm(weight, index, max_norm, norm_type)
    return _looked_up(weight, index, padding_idx, scale_grad_by_freq).reshape(*input.shape, weight.shape[1])


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> list[int]:
    """The length of every bag."""
    name = "embedding_bag"
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{name}: input of shape {input.shape} holds a bag in every row, offsets must be None")
        return [input.shape[1]] * input.shape[0]
    if input.ndim != 1:
        raise ValueError(f"{name}: input must have 1 or 2 axes, got shape {input.shape}")
    if offsets is None or tensor_only(offsets, name, "offsets").ndim != 1:
        raise ValueError(f"{name}: offsets must be a vector where input is one, got {offsets!r}")
    starts = whole_numbers(offsets, name, "offsets").tolist()
    if include_last_offset and not starts:
        raise RuntimeError(f"{name}: include_last_offset needs at least one offset")
    ends = starts if include_last_offset else [*starts, input.shape[0]]
    if ends and (ends[0] != 0 or ends[-1] > input.shape[0]):
        raise RuntimeError(f"{name}: offsets must begin with 0 and end within input {input.shape}, got {starts}")
    lengths = [b - a for a, b in itertools.pairwise(ends)]
    if any(n < 0 for n in lengths):
        raise RuntimeError(f"{name}: offsets must not decrease, got {starts}")
    return lengths


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or maximum of each bag's rows of weight; 0 for an empty bag. Entries padding_idx do not count.

    Shape: input (bags, n), or all bags one after the other with the offset of each -> (bags, features).
    """
    name = "embedding_bag"
    tensor_only(input, name, "input")
    padding_idx = _table(name, weight, padding_idx)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError(f"{name}: mode 'max' has neither scale_grad_by_freq nor sparse")
    if per_sample_weights is not None:
        if tensor_only(per_sample_weights, name, "per_sample_weights").shape != input.shape:
            raise ValueError(f"{name}: per_sample_weights {per_sample_weights.shape} and input {input.shape} differ")
        if mode != "sum":
            raise NotImplementedError(f"{name}: per_sample_weights goes with mode 'sum' alone, not {mode!r}")
    lengths = _bags(input, offsets, include_last_offset)
    bags, used = len(lengths), sum(lengths)
    index = whole_numbers(input, name, "input").reshape(-1)[:used]
    if max_norm is not None:
        _renorm(weight, index, max_norm, norm_type)
    rows = _looked_up(weight, index, padding_idx, scale_grad_by_freq)
    # what is padding goes to no bag
    numbers = [bag for bag, n in enumerate(lengths) for _ in range(n)]
    if padding_idx is not None:
        numbers = [-1 if i == padding_idx else bag for i, bag in zip(index.tolist(), numbers, strict=True)]
    bag_of = _core.tensor(numbers, "int64") if numbers else _core.empty((0,), "int64")
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1)[:used].unsqueeze(1)
    if mode == "max":
        return _largest(rows, numbers, bags)
    total = _core.add_rows(rows, bag_of, bags, -1)
    if mode == "sum":
        return total
    counts = _core.add_rows(_core.full((used, 1), 1.0, "float32"), bag_of, bags, -1)
    return total / ops.maximum(counts, 1.0)


def _largest(rows: Tensor, numbers: list[int], bags: int) -> Tensor:
    """The maximum of each bag; of equal ones the first gets the gradient."""
    members: list[list[int]] = [[] for _ in range(bags)]
    for row, bag in enumerate(numbers):
        if bag >= 0:
            members[bag].append(row)
    features = rows.shape[1]
    places = []  # of each maximum among all numbers of rows; -1: an empty bag
    columns = ops.arange(features).tolist()
    for bag_rows in members:
        if not bag_rows:
            places += [-1] * features
            continue
        best = ops.argmax(_core.take_rows(rows.detach(), _core.tensor(bag_rows, "int64")), 0).tolist()
        places += [bag_rows[i] * features + column for i, column in zip(best, columns, strict=True)]
    index = _core.tensor(places, "int64") if places else _core.empty((0,), "int64")
    return _core.take_rows(rows.reshape(-1, 1), index, -1).reshape(bags, features)
