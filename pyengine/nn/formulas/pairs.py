"""Losses between an output and a target of the same shape."""

import math

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only

from ._reduce import alike, asked, paired, reduced

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "poisson_nll_loss", "sigmoid_focal_loss", "smooth_l1_loss", "soft_margin_loss",
]  # fmt: skip


def _weighted(each: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Of weighted elements the mean is that by weight."""
    if weight is None:
        return reduced(each, reduction)
    each = each * weight
    return each.sum() / ops.expand(weight, each.shape).sum() if reduction == "mean" else reduced(each, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(input - target)^2; with weight the mean is that by weight."""
    reduction = asked("mse_loss", reduction, size_average, reduce)
    paired("mse_loss", input, target)
    return _weighted((input - target).square(), weight, reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """|input - target|; with weight the mean is that by weight."""
    reduction = asked("l1_loss", reduction, size_average, reduce)
    paired("l1_loss", input, target)
    return _weighted((input - target).abs(), weight, reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = input - target. (Girshick, 2015)"""
    reduction = asked("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    paired("smooth_l1_loss", input, target)
    distance = (input - target).abs()
    if beta == 0:
        return reduced(distance, reduction)
    near = (input - target).square() * (0.5 / beta)
    return reduced(ops.where(distance < beta, near, distance - 0.5 * beta), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target. (Huber, 1964)"""
    reduction = asked("huber_loss", reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss: delta must be positive, got {delta}")
    paired("huber_loss", input, target)
    distance = (input - target).abs()
    near = (input - target).square() * 0.5
    return _weighted(ops.where(distance <= delta, near, (distance - 0.5 * delta) * delta), weight, reduction)


def _log_from(x: Tensor) -> Tensor:
    """log(x), not below -100."""
    return ops.maximum(ops.log(x), -100.0)


@rule("binary_cross_entropy")
def _binary_cross_entropy(node, g):
    x, t = node.saved
    dx = g * (x - t) / ops.maximum((1.0 - x) * x, 1e-12)
    return dx, (g * (_log_from(1.0 - x) - _log_from(x)) if t.requires_grad else None)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average=None, reduce=None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; no logarithm counts below -100."""
    reduction = asked("binary_cross_entropy", reduction, size_average, reduce)
    alike("binary_cross_entropy", input, target)
    x, t = input.detach(), target.detach()
    if x.shape and 0 not in x.shape and (x.amin().item() < 0 or x.amax().item() > 1):
        raise RuntimeError("binary_cross_entropy: the input must lie between 0 and 1; of scores take "
                           f"binary_cross_entropy_with_logits (input of shape {input.shape})")  # fmt: skip
    each = -(t * _log_from(x) + (1.0 - t) * _log_from(1.0 - x))
    each = _core.record(each, "binary_cross_entropy", (input, target), (input, target))
    return reduced(each if weight is None else each * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average=None, reduce=None,
    reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight multiplies the term of t."""
    name = "binary_cross_entropy_with_logits"
    reduction = asked(name, reduction, size_average, reduce)
    alike(name, input, target)
    if pos_weight is None:
        each = input - input * target - ops.logsigmoid(input)
    else:
        each = input - input * target - ((pos_weight - 1.0) * target + 1.0) * ops.logsigmoid(input)
    return reduced(each if weight is None else each * weight, reduction)


def sigmoid_focal_loss(
    input: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """alpha_t (1 - p_t)^gamma times the binary cross entropy of scores: what is right already counts little. alpha < 0:
    no weighting of the classes. (Lin et al., 2017)"""
    reduction = asked("sigmoid_focal_loss", reduction)
    alike("sigmoid_focal_loss", input, target)
    each = input - input * target - ops.logsigmoid(input)
    p = ops.sigmoid(input)
    each = each * (p + target - p * target * 2.0) ** gamma
    return reduced(each if alpha < 0 else each * (target * (2.0 * alpha - 1.0) + (1.0 - alpha)), reduction)


def _x_log_x(x: Tensor) -> Tensor:
    """x log(x), 0 at 0."""
    zero = x == 0.0
    return ops.where(zero, 0.0, x * ops.log(ops.where(zero, 1.0, x)))


def kl_div(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """t (log t - input) for the logarithms of probabilities; log_target: target is a logarithm too. reduction
    "batchmean": the sum divided by the first axis, which is the divergence's mean. (Kullback and Leibler, 1951)"""
    by_batch = reduction == "batchmean" and size_average is None and reduce is None
    reduction = "sum" if by_batch else asked("kl_div", reduction, size_average, reduce)
    tensor_only(input, "kl_div", "input")
    tensor_only(target, "kl_div", "target")
    each = ops.exp(target) * (target - input) if log_target else _x_log_x(target) - target * input
    loss = reduced(each, reduction)
    return loss / float(input.shape[0]) if by_batch and input.ndim and input.shape[0] else loss


def soft_margin_loss(input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean") -> Tensor:
    """log(1 + e^(-t x)) for t of 1 and -1."""
    reduction = asked("soft_margin_loss", reduction, size_average, reduce)
    tensor_only(input, "soft_margin_loss", "input")
    return reduced(-ops.logsigmoid(input * tensor_only(target, "soft_margin_loss", "target").float()), reduction)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average=None, eps: float = 1e-8,
    reduce=None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """e^x - t x, or x - t log(x + eps) without log_input; full adds Stirling's formula for log t! where t > 1."""
    reduction = asked("poisson_nll_loss", reduction, size_average, reduce)
    tensor_only(input, "poisson_nll_loss", "input")
    tensor_only(target, "poisson_nll_loss", "target")
    each = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        t = ops.where(target > 1.0, target, 1.0)
        stirling = t * ops.log(t) - t + ops.log(t * (2.0 * math.pi)) * 0.5
        each = each + ops.where(target > 1.0, stirling, 0.0)
    return reduced(each, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log v + (input - target)^2 / v) / 2 with v = max(var, eps); full adds log(2 pi) / 2. var has input's shape, or
    1 (or nothing) for the last axis. (Nix and Weigend, 1994)"""
    reduction = asked("gaussian_nll_loss", reduction)
    tensor_only(input, "gaussian_nll_loss", "input")
    tensor_only(target, "gaussian_nll_loss", "target")
    spread: Tensor = var if isinstance(var, Tensor) else _core.full(input.shape, float(var), "float32")
    if 0 not in spread.shape and spread.detach().amin().item() < 0:
        raise ValueError(f"gaussian_nll_loss: var of shape {spread.shape} has a negative entry")
    if spread.shape != input.shape:
        if input.shape[:-1] == spread.shape:
            spread = spread.unsqueeze(-1)
        elif input.ndim != spread.ndim or [v for x, v in zip(input.shape, spread.shape, strict=True) if x != v] != [1]:
            raise ValueError(f"gaussian_nll_loss: var {spread.shape} does not fit input of shape {input.shape}")
    # the bound is not seen by the gradient
    v = ops.where(spread.detach() < eps, spread - spread.detach() + eps, spread)
    each = (ops.log(v) + (input - target).square() / v) * 0.5
    return reduced(each + 0.5 * math.log(2 * math.pi) if full else each, reduction)
