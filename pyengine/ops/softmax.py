"""softmax, and the losses."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.create import arange


def _along(x: Tensor, dim: int, logarithm: bool) -> Tensor:
    name = "log_softmax" if logarithm else "softmax"
    if tensor_only(x, name).ndim == 0 and dim not in (0, -1):
        raise IndexError(f"{name}: axis {dim} is out of range for a tensor of shape ()")
    if dim in (-1, x.ndim - 1) or x.ndim == 0:
        return _core.softmax(x, logarithm)
    return _core.transpose(_core.softmax(_core.transpose(x, dim, -1), logarithm), dim, -1)


@method
def softmax(x: Tensor, dim: int = -1, dtype=None) -> Tensor:
    """e^(x_i) / sum_j e^(x_j) along axis dim, with the maximum taken off first. dtype: the result's, computed in
    float32."""
    return _along(x, dim, False) if dtype is None else _along(tensor_only(x, "softmax").float(), dim, False).to(dtype)


@method
def log_softmax(x: Tensor, dim: int = -1, dtype=None) -> Tensor:
    """x_i - log sum_j e^(x_j) along axis dim. dtype: the result's, computed in float32."""
    return _along(x, dim, True) if dtype is None else _along(tensor_only(x, "log_softmax").float(), dim, True).to(dtype)


@rule("softmax")
def _softmax(node, g):
    (y,) = node.saved
    if _core.is_grad_enabled():  # to be differentiated again: in operations that are recorded
        return y * (g - (g * y).sum(-1, keepdim=True))
    return _core.softmax_backward(y, g, False)


@rule("log_softmax")
def _log_softmax(node, g):
    (y,) = node.saved
    if _core.is_grad_enabled():
        return g - y.exp() * g.sum(-1, keepdim=True)
    return _core.softmax_backward(y, g, True)


def _labels(target: Tensor) -> Tensor:
    if target.dtype.name in ("int8", "int16", "int32", "uint8"):
        return target.long()
    if target.dtype.name != "int64":
        raise TypeError(
            f"cross_entropy: target must hold integer labels, got {target.dtype.name} of shape {target.shape}"
        )
    return target


def cross_entropy(
    input: Tensor, target: Tensor, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """-log softmax(input)[target], fused: only the log-sum-exp of each row is kept for the gradient.

    Shape: input (n, classes) float32, target (n) integers -> a scalar, or (n) with reduction="none".
    Rows whose label is ignore_index count nothing. IndexError names a label outside 0 .. classes-1.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"cross_entropy: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}")
    tensor_only(input, "cross_entropy", "input")
    tensor_only(target, "cross_entropy", "target")
    if input.ndim == 1 and target.ndim == 0:
        return cross_entropy(
            input.unsqueeze(0),
            target.unsqueeze(0),
            ignore_index,
            "sum" if reduction == "none" else reduction,
            label_smoothing,
        )
    labels = _labels(target)
    loss, lse, counted = _core.cross_entropy(input.detach(), labels, ignore_index, label_smoothing)
    scale = 1.0
    if reduction != "none":
        loss = loss.sum()
        if reduction == "mean":
            scale = 1.0 / counted if counted else float("nan")
            loss = loss * scale
    meta = (ignore_index, label_smoothing, scale)
    return _core.record(loss, "cross_entropy", (input,), (input, labels, lse), meta)


@rule("cross_entropy")
def _cross_entropy(node, g):
    logits, labels, lse = node.saved
    ignore_index, smoothing, scale = node.meta
    rows = _core.expand(g, lse.shape)
    if _core.is_grad_enabled():
        return _recorded_gradient(logits, labels, rows, *node.meta)
    return _core.cross_entropy_backward(logits, labels, lse, rows, scale, ignore_index, smoothing)


def _recorded_gradient(logits, labels, g, ignore_index, smoothing, scale):
    """g scale (softmax(logits) - the target distribution), in operations that are recorded."""
    classes = logits.shape[1]
    column = labels.float().reshape(-1, 1)  # exact: there are fewer than 2^24 classes
    target = (column == arange(classes).float()).float() * (1.0 - smoothing) + smoothing / classes
    counts = (column != float(ignore_index)).float() * scale
    return (softmax(logits) - target) * (g.reshape(-1, 1) * counts)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2, its mean or sum. The shapes must be equal."""
    return _difference("mse_loss", input, target, reduction, lambda d: d.square())


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|, its mean or sum. The shapes must be equal."""
    return _difference("l1_loss", input, target, reduction, lambda d: d.abs())


def _difference(name: str, input: Tensor, target: Tensor, reduction: str, distance) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if tensor_only(input, name, "input").shape != tensor_only(target, name, "target").shape:
        raise ValueError(f"{name}: input of shape {input.shape} and target of shape {target.shape} differ")
    each = distance(input - target)
    return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()
