"""Losses of classification: scores for classes against labels, or against a distribution over the classes."""

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only
from pyengine.ops.rows import labelled, whole_numbers
from pyengine.ops.softmax import _recorded_gradient

from ._reduce import asked, reduced

__all__ = ["cross_entropy", "linear_cross_entropy", "nll_loss"]


def _last(x: Tensor) -> Tensor:
    """(N, C, d1, ...) as (N d1 ..., C): one row a label."""
    if x.ndim > 2:
        x = x.permute(0, *range(2, x.ndim), 1)
    rows = 1
    for n in x.shape[:-1]:
        rows *= n
    return x.reshape(rows, x.shape[-1])


def _check_labels(name: str, input: Tensor, target: Tensor) -> None:
    if tensor_only(input, name, "input").ndim == 0:
        raise RuntimeError(f"{name}: input needs an axis of classes, got shape ()")
    wanted = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if tensor_only(target, name, "target").shape != wanted:
        # torch's types: the batch's size is a ValueError, the other axes' a RuntimeError
        kind = RuntimeError if input.ndim > 2 and target.shape[:1] == input.shape[:1] else ValueError
        raise kind(f"{name}: target of shape {target.shape} does not fit input of shape {input.shape}, "
                   f"expected {wanted}")  # fmt: skip


def _class_weight(name: str, weight: Tensor | None, classes: int) -> Tensor | None:
    if weight is not None and tensor_only(weight, name, "weight").shape != (classes,):
        raise RuntimeError(f"{name}: weight must hold one number for each of {classes} classes, is {weight.shape}")
    return weight


def _of_labels(weight: Tensor | None, labels: Tensor, classes: int, ignore_index: int) -> Tensor:
    """The weight (None: 1) of every label, 0 for those ignored."""
    column = _core.full((classes, 1), 1.0, "float32") if weight is None else weight.detach().reshape(classes, 1)
    return _core.take_rows(column, labels, ignore_index).reshape(-1)


def _averaged(each: Tensor, weights: Tensor, shape: tuple, reduction: str) -> Tensor:
    if reduction == "none":
        return each.reshape(shape)
    return each.sum() / weights.sum() if reduction == "mean" else each.sum()


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average=None, ignore_index: int = -100,
    reduce=None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """-weight[t] input[t] for logarithms of probabilities; the mean is that by weight over labels not ignored.

    Shape: input (N, C), (N, C, d1, ...) or (C); target (N), (N, d1, ...) or ().
    """
    reduction = asked("nll_loss", reduction, size_average, reduce)
    _check_labels("nll_loss", input, target)
    labels = whole_numbers(target, "nll_loss", "target").reshape(-1)
    rows = _last(input) if input.ndim > 1 else input.unsqueeze(0)
    weight = _class_weight("nll_loss", weight, rows.shape[1])
    picked = labelled(rows, labels, ignore_index)
    if weight is None and reduction != "mean":
        return _averaged(-picked, picked, target.shape, reduction)
    weights = _of_labels(weight, labels, rows.shape[1], ignore_index)
    return _averaged(-(picked * weights), weights, target.shape, reduction)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average=None, ignore_index: int = -100,
    reduce=None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """-sum_c target_c weight_c log softmax(input)_c, with labels as target (fused: only one number a row is kept for
    the gradient) or with a distribution of input's shape.

    Shape: input (N, C), (N, C, d1, ...) or (C); labels (N), (N, d1, ...) or ().
    """
    reduction = asked("cross_entropy", reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:  # torch says RuntimeError, the layer ValueError
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    tensor_only(input, "cross_entropy", "input")
    tensor_only(target, "cross_entropy", "target")
    if target.is_floating_point() and target.shape == input.shape and input.ndim:
        return _of_distribution(input, target, weight, reduction, label_smoothing)
    if input.ndim == 2 and target.ndim == 1 and weight is None:
        return ops.cross_entropy(input, target, ignore_index, reduction, label_smoothing)
    _check_labels("cross_entropy", input, target)
    labels = whole_numbers(target, "cross_entropy", "target").reshape(-1)
    rows = _last(input) if input.ndim > 1 else input.unsqueeze(0)
    weight = _class_weight("cross_entropy", weight, rows.shape[1])
    if weight is None:
        loss = ops.cross_entropy(rows, labels, ignore_index, reduction, label_smoothing)
        return loss.reshape(target.shape) if reduction == "none" else loss
    weights = _of_labels(weight, labels, rows.shape[1], ignore_index)
    if label_smoothing == 0.0:
        each = ops.cross_entropy(rows, labels, ignore_index, "none") * weights
        return _averaged(each, weights, target.shape, reduction)
    logs = ops.log_softmax(rows, 1)
    spread = ops.matmul(logs, weight.detach()) * (label_smoothing / rows.shape[1])
    each = labelled(logs, labels, ignore_index) * weights * (1.0 - label_smoothing)
    each = -(each + spread * _of_labels(None, labels, rows.shape[1], ignore_index))
    return _averaged(each, weights, target.shape, reduction)


def _of_distribution(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / max(classes, 1)
    terms = ops.log_softmax(input, axis) * target
    if _class_weight("cross_entropy", weight, classes) is not None and weight is not None:
        terms = terms * weight.reshape(classes, *[1] * (input.ndim - 1 - axis))
    each = -terms.sum(axis)
    return reduced(each, reduction)


# ---- the product and its loss at once ---------------------------------------------

_CHUNK = 1 << 21  # logits at a time: 8 MB


def _chunks(rows: int, classes: int, chunk: int | None):
    step = max(1, _CHUNK // max(classes, 1)) if chunk is None else chunk
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options=None, chunk_size: int | None = None,
) -> Tensor:  # fmt: skip
    """cross_entropy(linear(input, linear_weight, linear_bias), target) that never holds all logits: they are made
    chunk_size rows at a time (default: 2 M numbers), and once more for the gradient. (Wijmans et al., 2024)

    With probabilities as target, axes after the classes, or class weights beside label_smoothing the logits are whole.
    options: torch's, accepted and not needed. Shape: input (..., features), linear_weight (classes, features), target
    (...) -> () or target's; linear_weight (classes, d1, ..., features) with input (N, features), target (N, d1, ...).
    """
    name = "linear_cross_entropy"
    reduction = asked(name, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"{name}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"{name}: chunk_size must be at least 1, got {chunk_size}")
    for what, x in (("input", input), ("linear_weight", linear_weight), ("target", target)):
        tensor_only(x, name, what)
    if input.ndim < 1 or linear_weight.ndim < 2 or input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(f"{name}: input {input.shape} and linear_weight {linear_weight.shape} do not fit")
    if linear_weight.ndim > 2 and input.ndim != 2:
        raise RuntimeError(
            f"{name}: linear_weight {linear_weight.shape} needs an input (N, features), got {input.shape}"
        )
    if linear_bias is not None and tensor_only(linear_bias, name, "linear_bias").shape != linear_weight.shape[:-1]:
        raise RuntimeError(f"{name}: linear_bias {linear_bias.shape} does not fit linear_weight {linear_weight.shape}")
    logits_shape = (*input.shape[:-1], *linear_weight.shape[:-1])
    if target.shape == logits_shape and ignore_index is not None:
        raise RuntimeError(f"{name}: ignore_index cannot be given when the target {target.shape} holds probabilities")
    ignore_index = -100 if ignore_index is None else ignore_index
    if linear_weight.ndim > 2 or target.shape == logits_shape or (weight is not None and label_smoothing):
        flat = linear_weight.reshape(-1, input.shape[-1])
        logits = ops.linear(input, flat, None if linear_bias is None else linear_bias.reshape(-1))
        return cross_entropy(
            logits.reshape(logits_shape), target, weight, None, ignore_index, None, reduction, label_smoothing
        )
    if target.shape != input.shape[:-1]:
        raise ValueError(f"{name}: target of shape {target.shape} does not fit input of shape {input.shape}")
    labels = whole_numbers(target, name, "target").reshape(-1)
    weight = _class_weight(name, weight, linear_weight.shape[0])
    x = input.reshape(labels.shape[0], input.shape[-1])
    loss = _in_chunks(
        x, linear_weight, linear_bias, labels, weight, reduction, (ignore_index, label_smoothing), chunk_size
    )
    return loss.reshape(target.shape) if reduction == "none" else loss


def _in_chunks(x, weight, bias, labels, class_weight, reduction, settings, chunk_size) -> Tensor:
    parts = _chunks(x.shape[0], weight.shape[0], chunk_size)
    loss, lse, counted = _core.empty(labels.shape), _core.empty(labels.shape), 0
    for part in parts:
        logits = ops.linear(x.detach()[part], weight.detach(), None if bias is None else bias.detach())
        loss[part], lse[part], n = _core.cross_entropy(logits, labels[part], *settings)
        counted += n
    rows = None
    if class_weight is not None:
        rows = _of_labels(class_weight, labels, weight.shape[0], settings[0])
        loss, counted = loss * rows, rows.sum().item() if reduction == "mean" else 0
    scale = 1.0 if reduction != "mean" else 1.0 / counted if counted else float("nan")
    loss = loss if reduction == "none" else loss.sum() * scale
    saved = (x, weight, bias, labels, lse, rows)
    return _core.record(loss, "linear_cross_entropy", (x, weight, bias), saved, (*settings, scale, parts))


@rule("linear_cross_entropy")
def _linear_cross_entropy(node, g):
    x, weight, bias, labels, lse, by_row = node.saved
    ignore_index, smoothing, scale, parts = node.meta
    rows = _core.expand(g, lse.shape)
    rows = rows if by_row is None else rows * by_row
    if _core.is_grad_enabled():  # to be differentiated again: all logits at once
        logits = ops.linear(x, weight, bias)
        each = _recorded_gradient(logits, labels, rows, ignore_index, smoothing, scale)
        return ops.matmul(each, weight), ops.matmul(each.t(), x), None if bias is None else each.sum(0)
    dx, dw = _core.empty(x.shape), _core.full(weight.shape, 0.0, "float32")
    db = None if bias is None else _core.full(bias.shape, 0.0, "float32")
    for part in parts:
        logits = ops.linear(x[part], weight, bias)
        each = _core.cross_entropy_backward(logits, labels[part], lse[part], rows[part], scale, ignore_index, smoothing)
        dx[part] = ops.matmul(each, weight)
        dw += ops.matmul(each.t(), x[part])
        if db is not None:
            db += each.sum(0)
    return dx, dw, db
