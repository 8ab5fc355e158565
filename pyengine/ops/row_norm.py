"""Normalization of rows: over the last axes (layer, RMS), and over groups of channels."""

from math import prod as _product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only

_EPSILON = 2.0**-23  # of float32: what torch takes where RMS norm is given no eps


def _float32(x, what: str, argument: str = "input") -> Tensor:
    if tensor_only(x, what, argument).dtype.name != "float32":
        raise TypeError(f"{what}: {argument} must be float32, got {x.dtype.name} of shape {x.shape}")
    return x


def _flat(x: Tensor, shape: tuple) -> Tensor:
    return x if x.shape == shape else _core.reshape(x, shape)


def _as_they_are(input, shape, *parameters) -> bool:
    """True for what most calls are: one axis, and parameters of it."""
    if type(shape) is not tuple or len(shape) != 1 or type(input) is not Tensor or input.shape[-1:] != shape:
        return False
    for t in parameters:
        if t is not None and (type(t) is not Tensor or t.shape != shape or t.dtype is not input.dtype):
            return False
    return True


def _rows(what: str, input: Tensor, normalized_shape, *parameters):
    """input and the parameters, the axes of normalized_shape as one; an error where they do not fit."""
    if _as_they_are(input, normalized_shape, *parameters):
        return (input, *parameters)
    _float32(input, what)
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(f"{what}: normalized_shape must be a tuple of ints, got {type(normalized_shape).__name__}")
    if any(not isinstance(n, int) for n in normalized_shape):
        raise TypeError(f"{what}: normalized_shape must hold ints, got {normalized_shape}")
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(f"{what}: normalized_shape must name one axis or more, got {shape}")
    lead = input.ndim - len(shape)
    if lead < 0 or input.shape[lead:] != shape:
        raise RuntimeError(f"{what}: input of shape {input.shape} does not end in normalized_shape {shape}")
    n, flat = _product(shape), []
    for name, t in zip(("weight", "bias"), parameters, strict=False):
        if t is not None and _float32(t, what, name).shape != shape:
            raise RuntimeError(f"{what}: {name} of shape {t.shape} must have the normalized_shape {shape}")
        flat.append(t if t is None else _flat(t, (n,)))
    return [_flat(input, (*input.shape[:lead], n)), *flat]


def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) weight + bias, over the last axes. (Ba, Kiros & Hinton 2016)

    Shape: input (*, *normalized_shape) -> the same; weight and bias have the normalized_shape.

    >>> import pyengine as pe
    >>> pe.layer_norm(pe.tensor([[1.0, 3.0], [5.0, 5.0]]), (2,), eps=0.5).tolist()[1]
    [0.0, 0.0]
    """
    x, w, b = _rows("layer_norm", input, normalized_shape, weight, bias)
    out, mean, rstd = _core.layer_norm(x, w, b, eps)
    if _core.is_grad_enabled():
        _core.record(out, "layer_norm", (x, w, b), (x, w, mean, rstd), eps)
    return out if x is input else _flat(out, input.shape)


def _over_rows(x: Tensor) -> Tensor:
    return _core.sum_to(x, x.shape[-1:])


@rule("layer_norm")
def _layer_norm(node, g):
    x, w, mean, rstd = node.saved
    wanted = node.needs(1), node.needs(2)
    if not _core.is_grad_enabled():
        return _core.layer_norm_backward(x, g, mean, rstd, w, *wanted)
    # to be differentiated again: in operations that are recorded
    d = x - x.mean(-1, keepdim=True)
    r = (d.square().mean(-1, keepdim=True) + node.meta).rsqrt()
    h, p = d * r, g if w is None else g * w
    dx = r * (p - p.mean(-1, keepdim=True) - h * (p * h).mean(-1, keepdim=True))
    return dx, _over_rows(g * h) if wanted[0] else None, _over_rows(g) if wanted[1] else None


def rms_norm(
    input: Tensor, normalized_shape: tuple[int, ...] | list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) weight, over the last axes; eps=None: 2^-23. (Zhang & Sennrich 2019)

    Shape: input (*, *normalized_shape) -> the same; weight has the normalized_shape.
    """
    x, w = _rows("rms_norm", input, normalized_shape, weight)
    eps = _EPSILON if eps is None else eps
    out, rstd = _core.rms_norm(x, w, eps)
    if _core.is_grad_enabled():
        _core.record(out, "rms_norm", (x, w), (x, w, rstd), eps)
    return out if x is input else _flat(out, input.shape)


@rule("rms_norm")
def _rms_norm(node, g):
    x, w, rstd = node.saved
    if not _core.is_grad_enabled():
        return _core.rms_norm_backward(x, g, rstd, w, node.needs(1))
    r = (x.square().mean(-1, keepdim=True) + node.meta).rsqrt()
    h, p = x * r, g if w is None else g * w
    return r * (p - h * (p * h).mean(-1, keepdim=True)), _over_rows(g * h) if node.needs(1) else None


def _check_channels(what: str, x: Tensor, **vectors: Tensor | None) -> None:
    """Each vector holds one float32 a channel (axis 1)."""
    channels = x.shape[1] if x.ndim > 1 else 0
    for name, t in vectors.items():
        if t is not None and _float32(t, what, name).shape != (channels,):
            raise RuntimeError(f"{what}: {name} of shape {t.shape} must hold one number a channel of {x.shape}")


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x weight + bias, one of each a channel (axis 1)."""
    spread = (x.shape[1],) + (1,) * (x.ndim - 2)
    if weight is not None:
        x = x * _flat(weight, spread)
    return x if bias is None else x + _flat(bias, spread)


def _normalized(x: Tensor, rows: int, eps: float) -> Tensor:
    """x cut into so many rows, each normalized."""
    return _flat(layer_norm(_core.reshape(x, (rows, x.numel() // rows)), (x.numel() // rows,), eps=eps), x.shape)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each image's channels in num_groups groups, mean and variance over each group. (Wu & He 2018)

    Shape: input (N, C, *) -> the same; weight and bias (C).
    """
    _float32(input, "group_norm")
    if not isinstance(num_groups, int):
        raise TypeError(f"group_norm: num_groups must be an int, got {type(num_groups).__name__}")
    if input.ndim < 2:
        raise RuntimeError(f"group_norm: input of shape {input.shape} must have two axes or more")
    if num_groups <= 0:
        raise (RuntimeError if num_groups else ZeroDivisionError)(f"group_norm: num_groups is {num_groups}")
    if input.shape[1] % num_groups:
        raise RuntimeError(f"group_norm: {num_groups} groups do not divide the channels of {input.shape}")
    _check_channels("group_norm", input, weight=weight, bias=bias)
    if input.numel() == num_groups:  # torch asks for the whole batch, not for each row
        raise ValueError(f"group_norm: input of shape {input.shape} holds one value a channel; more are needed")
    x = _normalized(input, input.shape[0] * num_groups, eps) if input.numel() else input
    return _affine(x, weight, bias)
