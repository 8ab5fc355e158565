"""Reductions over axes. The order of combination is fixed by the shape (csrc/kernels/reduce.def): the bits
do not depend on the number of threads."""

from math import prod as _product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.elementwise import where

_OP = {name: _core.reduction_op(name) for name in ("sum", "mean", "prod", "amax", "amin")}


def _as_float(x: Tensor, name: str) -> Tensor:
    return x if tensor_only(x, name).is_floating_point() else _core.copy(x, "float32")


def _spread(node, g: Tensor) -> Tensor:
    """The gradient of a reduced tensor at every element it came from."""
    shape, dims, keepdim = node.meta
    if not keepdim:
        g = _core.reshape(g, _kept(shape, dims))
    return _core.expand(g, shape)


def _kept(shape: tuple, dims) -> tuple:
    """The shape with the reduced axes of size 1."""
    if dims is None:
        return (1,) * len(shape)
    axes = {d % len(shape) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))} if shape else set()
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _reduced(name: str, x: Tensor, dim, keepdim: bool, saved=()) -> Tensor:
    out = _core.reduce(_OP[name], x, dim, keepdim)
    return _core.record(out, f"reduce_{name}", (x,), saved or (), (x.shape, dim, keepdim))


@method
def sum(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """The sum over the axes dim (one, several, None: all); 0 over nothing. Integers are summed as float32."""
    return _reduced("sum", _as_float(x, "sum"), dim, keepdim)


@rule("reduce_sum")
def _sum(node, g):
    return _spread(node, g)


@rule("sum")
def _sum_to(node, g):
    return _core.expand(g, node.meta)


@method
def mean(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """The mean over the axes dim (one, several, None: all); NaN over nothing."""
    return _reduced("mean", _as_float(x, "mean"), dim, keepdim)


@rule("reduce_mean")
def _mean(node, g):
    shape, dims, _ = node.meta
    count = _product(shape) // max(_product(_kept(shape, dims)), 1)
    return _spread(node, g / float(max(count, 1)))


@method
def prod(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """The product over the axes dim; 1 over nothing. Its gradient is the product of the other elements; where
    elements are 0 it has no derivative of its own (create_graph)."""
    x = _as_float(x, "prod")
    out = _core.reduce(_OP["prod"], x, dim, keepdim)
    return _core.record(out, "reduce_prod", (x,), (x, out), (x.shape, dim, keepdim))


@rule("reduce_prod")
def _prod(node, g):
    x, out = node.saved
    zero = x.detach() == 0.0
    if _core.reduce(_OP["sum"], zero.float()).item() == 0.0:
        return _spread(node, g * out) / x
    if _core.is_grad_enabled():
        raise RuntimeError(f"prod: create_graph at an element of 0 (input of shape {x.shape}) is not built yet")
    # a lone 0 gets the product of the others; beside a 0 all other gradients are 0
    dims, others = node.meta[1], where(zero, 1.0, x)
    zeros, product = sum(zero.float(), dims, True), _core.reduce(_OP["prod"], others, dims, True)
    return _spread(node, g) * where(zero, where(zeros == 1.0, product, 0.0), where(zeros == 0.0, product, 0.0) / others)


def _extreme(name: str, x: Tensor, dim, keepdim: bool) -> Tensor:
    out = _core.reduce(_OP[name], tensor_only(x, name), dim, keepdim)
    return _core.record(out, f"reduce_{name}", (x,), (x, out), (x.shape, dim, keepdim))


def _extreme_rule(node, g):
    """Equal extremes share the gradient."""
    x, out = node.saved
    shape, dims, _ = node.meta
    at = (x.detach() == _core.expand(_core.reshape(out.detach(), _kept(shape, dims)), shape)).float()
    return _spread(node, g) * (at / sum(at, dims, keepdim=True))


@method
def amax(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """The maximum over the axes dim; NaN if one is there. Equal maxima share the gradient."""
    return _extreme("amax", x, dim, keepdim)


@method
def amin(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    """The minimum over the axes dim; NaN if one is there. Equal minima share the gradient."""
    return _extreme("amin", x, dim, keepdim)


rule("reduce_amax")(_extreme_rule)
rule("reduce_amin")(_extreme_rule)


@method
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first maximum along axis dim, or of the flattened tensor."""
    tensor_only(x, "argmax")
    return _core.argmax(_core.reshape(x.detach(), (-1,)), 0) if dim is None else _core.argmax(x, dim, keepdim)


@method
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first minimum along axis dim, or of the flattened tensor."""
    tensor_only(x, "argmin")
    if dim is None:
        return _core.argmax(_core.reshape(x.detach(), (-1,)), 0, False, True)
    return _core.argmax(x, dim, keepdim, True)


@method
def var(x: Tensor, dim=None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The variance over the axes dim: sum((x - mean)^2) / (n - correction)."""
    count = _product(tensor_only(x, "var").shape) // max(_product(_kept(x.shape, dim)), 1)
    centred = x - mean(x, dim, keepdim=True)
    return sum(centred * centred, dim, keepdim) / float(count - correction if count > correction else 0)


@method
def std(x: Tensor, dim=None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation over the axes dim."""
    return var(x, dim, correction, keepdim).sqrt()
