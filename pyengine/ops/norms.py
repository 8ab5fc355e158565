"""Lengths and distances, and the logarithm of a sum of exponentials."""

import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of
from pyengine.ops._method import method, tensor_only
from pyengine.ops.reduction import _axes, _root, amax, amin, sum
from pyengine.ops.rounding import where


def vector_norm(x: Tensor, ord: float = 2, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """(sum |x|^ord)^(1/ord) over the axes dim; the number of elements that are not 0 for ord 0, the largest |x| for
    inf, the smallest for -inf. The gradient at 0 is 0."""
    if dtype is not None:
        x = tensor_only(x, "vector_norm").to(dtype)
    if not tensor_only(x, "vector_norm").is_floating_point():
        raise RuntimeError(f"vector_norm: floats are needed, got {x.dtype.name} of shape {x.shape}")
    if isinstance(ord, bool) or not isinstance(ord, (int, float)):
        raise TypeError(f"vector_norm: ord must be a number, got {ord!r}")
    dim = _axes(dim)
    if ord == 2:
        return _root(sum(x * x, dim, keepdim))
    size = x.abs()
    if ord == 1:
        return sum(size, dim, keepdim)
    if ord == 0:
        return sum(size.sign(), dim, keepdim)
    if math.isinf(ord):
        return (amax if ord > 0 else amin)(size, dim, keepdim)
    zero = size.detach() == 0.0  # where the slope of |x|^ord may be infinite
    total = sum(where(zero, 0.0, where(zero, 1.0, size) ** float(ord)), dim, keepdim)
    zero = amax(zero.float(), dim, keepdim) > 0.0 if ord < 0 else total.detach() == 0.0
    return where(zero, 0.0, where(zero, 1.0, total) ** (1.0 / ord))


@method
def norm(x: Tensor, p="fro", dim=None, keepdim: bool = False, dtype=None) -> Tensor:
    """The p-norm of the elements over the axes dim, as `linalg.vector_norm`; "fro" is p = 2."""
    if p in ("fro", None):
        return vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if isinstance(p, str):
        if p == "nuc":
            from pyengine.ops.matrix_norms import matrix_norm

            return matrix_norm(x, "nuc", tuple(range(x.ndim)) if dim is None else dim, keepdim, dtype=dtype)
        if p in ("inf", "-inf"):
            return vector_norm(x, float(p), dim, keepdim, dtype=dtype)
        raise RuntimeError(f"norm: p must be a number or 'fro', got {p!r}")
    return vector_norm(x, p, dim, keepdim, dtype=dtype)


@method
def dist(x: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of x - other."""
    return vector_norm(tensor_only(x, "dist") - tensor_only(other, "dist", "other"), p)


@method
def logsumexp(x: Tensor, dim, keepdim: bool = False) -> Tensor:
    """log sum e^x over the axes dim, with the maximum taken off first."""
    dim = _axes(dim)
    x = x if tensor_only(x, "logsumexp").is_floating_point() else x.float()
    if x.numel() == 0:
        return sum(x.exp(), dim, keepdim).log()
    top = amax(x.detach(), dim, keepdim=True)
    top = where(top.isfinite(), top, 0.0)
    out = (x - top).exp().sum(dim, keepdim).log()
    return out + (top if keepdim else _core.reshape(top, out.shape))


@method
def renorm(x: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """x with every slice along axis dim whose p-norm exceeds maxnorm scaled down to it."""
    axis = axis_of(x, dim, "renorm")
    if x.ndim < 2:
        raise RuntimeError(f"renorm: at least 2 axes are needed, got shape {x.shape}")
    if p <= 0 or maxnorm < 0:
        raise RuntimeError(f"renorm: p must be positive and maxnorm not negative, got {p} and {maxnorm}")
    length = vector_norm(x, p, [i for i in range(x.ndim) if i != axis], keepdim=True)
    return x * where(length > float(maxnorm), float(maxnorm) / (length + 1e-7), 1.0)
