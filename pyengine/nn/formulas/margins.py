"""Losses that are 0 beyond a margin: ranking, hinges, cosines, triplets, and several labels at once."""

from collections.abc import Callable

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.rows import labelled, whole_numbers

from ._reduce import asked, reduced

__all__ = [
    "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss",
    "multilabel_margin_loss", "multilabel_soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def _tensors(name: str, **arguments: Tensor) -> None:
    for argument, x in arguments.items():
        tensor_only(x, name, argument)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average=None, reduce=None, reduction: str = "mean"
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1. (Hadsell et al., 2006)"""
    reduction = asked("hinge_embedding_loss", reduction, size_average, reduce)
    _tensors("hinge_embedding_loss", input=input, target=target)
    target = target.float()
    hinge = ops.where(target != 1.0, ops.relu(margin - input), 0.0)
    return reduced(hinge + ops.where(target != -1.0, input, 0.0), reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, size_average=None, reduce=None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, margin - t (input1 - input2)): t = 1 wants input1 to be the larger, t = -1 input2."""
    reduction = asked("margin_ranking_loss", reduction, size_average, reduce)
    _tensors("margin_ranking_loss", input1=input1, input2=input2, target=target)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError("margin_ranking_loss: input1, input2 and target need the same number of axes, got shapes "
                           f"{input1.shape}, {input2.shape} and {target.shape}")  # fmt: skip
    return reduced(ops.relu(margin - target.float() * (input1 - input2)), reduction)


def _rows_and_labels(name: str, input: Tensor, target: Tensor, several: bool) -> tuple[Tensor, Tensor]:
    """input as (N, C), and target as int64 (N) or, with several labels each, (N, C)."""
    _tensors(name, input=input, target=target)
    rows = input if input.ndim > 1 else input.reshape(1, -1)
    labels = whole_numbers(target, name, "target")
    if input.ndim > 2 or rows.shape[-1] == 0:
        raise RuntimeError(f"{name}: input must be (N, C) or (C), got shape {input.shape}")
    wanted = input.shape if several else input.shape[:1] if input.ndim == 2 else ()
    if labels.shape != wanted and (several or input.ndim == 2 or labels.shape != (1,)):
        raise RuntimeError(f"{name}: target of shape {target.shape} does not fit input of shape {input.shape}")
    return rows, labels.reshape(rows.shape if several else (rows.shape[0],))


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, size_average=None,
    reduce=None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """sum_(i != t) max(0, margin - x[t] + x[i])^p weight[t] / C: the hinge of several classes, p 1 or 2.
    (Crammer and Singer, 2001)"""
    reduction = asked("multi_margin_loss", reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    rows, labels = _rows_and_labels("multi_margin_loss", input, target, False)
    n, classes = rows.shape
    if weight is not None and tensor_only(weight, "multi_margin_loss", "weight").shape != (classes,):
        raise ValueError(f"multi_margin_loss: weight must hold {classes} numbers, is {weight.shape}")
    short = ops.relu(rows - labelled(rows, labels).reshape(n, 1) + margin)
    others = 1.0 - _core.add_rows(_core.full((n, 1), 1.0, "float32"), labels, n * classes, None, classes)
    each = (short if p == 1 else short.square()) * others.reshape(n, classes)
    if weight is not None:
        each = each * _core.take_rows(weight.detach().reshape(classes, 1), labels)
    each = each.sum(1) / float(classes)
    return reduced(each if input.ndim == 2 else each.reshape(()), reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean"
) -> Tensor:
    """sum_j sum_i max(0, 1 - (x[t_j] - x[i])) / C over the labels t_j before the first -1 and all classes i that are
    no label."""
    reduction = asked("multilabel_margin_loss", reduction, size_average, reduce)
    rows, labels = _rows_and_labels("multilabel_margin_loss", input, target, True)
    n, classes = rows.shape
    kept, is_label = [], []
    for line in labels.tolist():
        given = line[: line.index(-1)] if -1 in line else line
        if any(not 0 <= label < classes for label in given):
            raise RuntimeError(f"multilabel_margin_loss: target holds {given}, there are {classes} classes")
        kept.append(given + [-1] * (classes - len(given)))
        is_label.append([float(c in given) for c in range(classes)])
    if not n:
        return reduced(rows.sum(1), reduction)
    flat = _core.tensor(kept, "int64").reshape(n * classes)
    wide = ops.expand(rows.unsqueeze(1), n, classes, classes)
    of_labels = labelled(wide.reshape(n * classes, classes), flat, -1).reshape(n, classes, 1)
    counts = _core.take_rows(_core.full((classes, 1), 1.0, "float32"), flat, -1).reshape(n, classes, 1)
    others = 1.0 - _core.tensor(is_label).reshape(n, 1, classes)
    each = (ops.relu(1.0 - of_labels + rows.unsqueeze(1)) * counts * others).sum((1, 2)) / float(classes)
    return reduced(each if input.ndim > 1 else each.reshape(()), reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average=None, reduce=None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The binary cross entropy of scores, averaged over the last axis."""
    reduction = asked("multilabel_soft_margin_loss", reduction, size_average, reduce)
    _tensors("multilabel_soft_margin_loss", input=input, target=target)
    target = target.float()
    each = -(target * ops.logsigmoid(input) + (1.0 - target) * ops.logsigmoid(-input))
    return reduced((each if weight is None else each * weight).mean(-1), reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, size_average=None, reduce=None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """1 - cos(input1, input2) where the target is 1, max(0, cos - margin) where it is -1; along the last axis."""
    reduction = asked("cosine_embedding_loss", reduction, size_average, reduce)
    _tensors("cosine_embedding_loss", input1=input1, input2=input2, target=target)
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError("cosine_embedding_loss: inputs (N, D) with target (N), or (D) with (), are needed, got "
                           f"{input1.shape}, {input2.shape} and {target.shape}")  # fmt: skip
    target = target.float()
    lengths = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / lengths.sqrt()
    each = ops.where(target == 1.0, 1.0 - cosine, 0.0) + ops.where(target == -1.0, ops.relu(cosine - margin), 0.0)
    return reduced(each, reduction)


def _distance(a: Tensor, b: Tensor, p: float, eps: float) -> Tensor:
    """The p-norm of a - b + eps along the last axis."""
    d = a - b + eps
    if p == 2:
        return d.square().sum(-1).sqrt()
    d = d.abs()
    if p == 1:
        return d.sum(-1)
    return d.amax(-1) if p == float("inf") else (d ** float(p)).sum(-1) ** (1.0 / p)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average=None, reduce=None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with the distance of the p-norm; swap: the negative
    counts from the positive where it is nearer to that. (Balntas et al., 2016)"""
    reduction = asked("triplet_margin_loss", reduction, size_average, reduce)
    return _triplet(
        "triplet_margin_loss", (anchor, positive, negative), lambda a, b: _distance(a, b, p, eps), margin, swap,
        reduction,
    )  # fmt: skip


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """triplet_margin_loss with a distance of one's own (None: the Euclidean)."""
    reduction = asked("triplet_margin_with_distance_loss", reduction)
    distance = distance_function or (lambda a, b: _distance(a, b, 2, 1e-6))
    triplet = anchor, positive, negative
    return _triplet("triplet_margin_with_distance_loss", triplet, distance, margin, swap, reduction)


def _triplet(name, triplet, distance, margin, swap, reduction):
    anchor, positive, negative = triplet
    _tensors(name, anchor=anchor, positive=positive, negative=negative)
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(f"{name}: anchor, positive and negative need the same number of axes, got "
                           f"{anchor.shape}, {positive.shape} and {negative.shape}")  # fmt: skip
    far = distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced(ops.relu(distance(anchor, positive) - far + margin), reduction)
