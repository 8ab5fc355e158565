"""Batch normalization, and normalization across neighbouring channels."""

from math import prod as _product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule
from pyengine.ops.create import zeros
from pyengine.ops.row_norm import _affine, _check_channels, _flat, _float32, _normalized
from pyengine.ops.shape import cat


def _check(what, input, running_mean, running_var, weight, bias, momentum) -> None:
    _float32(input, what)
    if not isinstance(momentum, (int, float)):
        raise TypeError(f"{what}: momentum must be a number, got {type(momentum).__name__}")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{what}: running_mean and running_var must both be given, or neither")
    _check_channels(what, input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)


def _update(running: Tensor | None, new: Tensor, momentum: float) -> None:
    """running = (1 - momentum) running + momentum new, in place; called off the tape."""
    if running is not None:
        running.copy_(running * (1.0 - momentum) + new * momentum)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel less its mean over the batch, divided by its deviation; when not training by the running ones.
    (Ioffe & Szegedy 2015)

    Shape: input (N, C) or (N, C, *) -> the same; all others (C). In training running_mean and running_var move by
    momentum towards the batch's mean and its variance divided by n - 1.
    """
    what = "batch_norm"
    _check(what, input, running_mean, running_var, weight, bias, momentum)
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError(f"{what}: when not training, running_mean and running_var are needed")
    if input.ndim < 2:
        if not training:
            return input + 0.0  # no channels, which the checks have made sure of: running_mean is empty
        raise RuntimeError(f"{what}: input of shape {input.shape} must have two axes or more")
    if training and _values(input) == 1:
        raise ValueError(f"{what}: input of shape {input.shape} holds one value a channel; more are needed in training")
    if not input.numel():
        return _affine(input, weight, bias)
    return _normalize(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _values(x: Tensor) -> int:
    """How many elements each channel has."""
    return x.shape[0] * _product(x.shape[2:])


def _dense(x: Tensor | None) -> Tensor | None:
    return x if x is None or x.is_contiguous() else x.contiguous()


def _normalize(input, running_mean, running_var, weight, bias, training, momentum, eps) -> Tensor:
    kept = _dense(running_mean), _dense(running_var)
    out, mean, rstd = _core.batch_norm(input, _dense(weight), _dense(bias), *kept, training, momentum, eps)
    for running, new in zip((running_mean, running_var), kept, strict=True):
        if training and new is not running:
            running.copy_(new)
    saved = (input, weight, mean, rstd)
    return _core.record(out, "batch_norm", (input, weight, bias), saved, (training, eps))


def _images(x: Tensor) -> Tensor:
    """x as (N, C, everything else)."""
    return _core.reshape(x, (x.shape[0], x.shape[1], _product(x.shape[2:])))


def _per_channel(x: Tensor) -> Tensor:
    """Sums of (N, C, L) as (1, C, 1)."""
    return x.sum(-1, keepdim=True).sum(0, keepdim=True)


@rule("batch_norm")
def _batch_norm(node, g):
    (input, weight, mean, rstd), (training, _) = node.saved, node.meta
    wanted = node.needs(0), node.needs(1), node.needs(2)
    if not _core.is_grad_enabled():
        return _core.batch_norm_backward(input, g, _dense(weight), mean, rstd, training, *wanted)
    return _to_be_differentiated(node, g, wanted)


def _to_be_differentiated(node, g, wanted):
    """The same in operations that are recorded; in training the statistics are functions of the input."""
    (input, weight, mean, rstd), (training, eps) = node.saved, node.meta
    x, g, count = _images(input), _images(g), float(_values(input))
    if training:
        d = x - _per_channel(x) / count
        rstd = (_per_channel(d.square()) / count + eps).rsqrt()
    else:
        rstd = _core.reshape(rstd, (1, -1, 1))
        d = x - _core.reshape(mean, rstd.shape)
    h = d * rstd
    along, total = _per_channel(g * h), _per_channel(g)
    scale = rstd if weight is None else rstd * _core.reshape(weight, rstd.shape)
    dx = None
    if wanted[0]:
        dx = _flat(((g - total / count - h * (along / count)) if training else g) * scale, input.shape)
    return dx, _core.reshape(along, (-1,)) if wanted[1] else None, _core.reshape(total, (-1,)) if wanted[2] else None


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each image with its own mean and variance; running statistics where they are given.
    (Ulyanov, Vedaldi & Lempitsky 2016)

    Shape: input (N, C, *) -> the same; all others (C).
    """
    what = "instance_norm"
    _check(what, input, running_mean, running_var, weight, bias, momentum)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(f"{what}: without use_input_stats, running_mean and running_var are needed")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.ndim < 3 or _product(input.shape[2:]) == 1:
        raise ValueError(f"{what}: input of shape {input.shape} has one spatial element; more are needed in training")
    if not input.numel():
        return _affine(input, weight, bias)
    images, channels = input.shape[:2]
    if running_mean is not None:
        rows = _core.reshape(input.detach(), (images, channels, -1))
        _update(running_mean, rows.mean(-1).mean(0), momentum)
        _update(running_var, rows.var(-1).mean(0), momentum)
    return _affine(_normalized(input, images * channels, eps), weight, bias)


def _across(x: Tensor, before: int, after: int) -> Tensor:
    """Sums of each channel (axis 1), so many before it and so many after it."""
    padded = cat([zeros(x.shape[0], before, *x.shape[2:]), x, zeros(x.shape[0], after, *x.shape[2:])], 1)
    total = padded[:, : x.shape[1]]
    for i in range(1, before + after + 1):
        total = total + padded[:, i : i + x.shape[1]]
    return total


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean(x^2))^beta, the mean over size neighbouring channels, zeros past the ends.
    (Krizhevsky, Sutskever & Hinton 2012)

    Shape: input (N, C, *), three axes or more -> the same.
    """
    what = "local_response_norm"
    _float32(input, what)
    if not isinstance(size, int):
        raise TypeError(f"{what}: size must be an int, got {type(size).__name__}")
    if input.ndim < 3:
        raise ValueError(f"{what}: input of shape {input.shape} must have three axes or more")
    if not input.numel():
        return input
    if size <= 0:
        raise RuntimeError(f"{what}: size must be positive, got {size}")
    mean = _across(input.square(), size // 2, (size - 1) // 2) / float(size)
    return input / (mean * alpha + k) ** beta
