"""Reductions over axes. The order of combination is fixed by the shape (csrc/kernels/reduce.def): the bits
do not depend on the number of threads."""

from math import prod as _product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import method, rule, tensor_only

_OP = {name: _core.reduction_op(name) for name in ("sum", "mean", "prod", "amax", "amin")}


def _on_host(what: str, x: Tensor, dim, keepdim: bool, dtype=None) -> Tensor:
    """NumPy's reduction `what` of types that the kernels have not; off the tape."""
    import numpy

    shape, values = _kept(x.shape, dim, what), (x if x.dtype.name != "bfloat16" else x.float()).detach().numpy()
    axes = tuple(i for i, n in enumerate(x.shape) if dim is None or _named(i, dim, x.ndim))
    result = getattr(numpy, what)(values, axis=axes, keepdims=True, **({"dtype": dtype} if dtype else {}))
    out = _core.from_numpy(numpy.array(result).reshape(shape))
    return out if keepdim else _core.reshape(out, tuple(n for i, n in enumerate(shape) if i not in axes))


def _named(axis: int, dim, ndim: int) -> bool:
    return axis in [d % ndim for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]


def _axes(dim):
    """No axes named means all of them."""
    return None if isinstance(dim, (tuple, list)) and len(dim) == 0 else dim


def _spread(node, g: Tensor) -> Tensor:
    """The gradient of a reduced tensor at every element it came from."""
    shape, dims, keepdim = node.meta
    if not keepdim:
        g = _core.reshape(g, _kept(shape, dims))
    return _core.expand(g, shape)


def _kept(shape: tuple, dims, what: str = "") -> tuple:
    """The shape with the reduced axes of size 1."""
    if dims is None:
        return (1,) * len(shape)
    named = dims if isinstance(dims, (tuple, list)) else (dims,)
    for d in named if what else ():
        if not hasattr(d, "__index__"):
            raise TypeError(f"{what}: an axis must be an integer, got {d!r}")
        if not -max(len(shape), 1) <= d < max(len(shape), 1):
            raise IndexError(f"{what}: axis {d} is out of range for shape {shape}")
    axes = {d % len(shape) for d in named} if shape else set()
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _reduced(name: str, x: Tensor, dim, keepdim: bool, saved=()) -> Tensor:
    out = _core.reduce(_OP[name], x, dim, keepdim)
    return _core.record(out, f"reduce_{name}", (x,), saved or (), (x.shape, dim, keepdim))


def _own(x: Tensor) -> bool:
    """The kernels read this type."""
    return x.dtype.name != "float64" and x.is_floating_point()


@method
def sum(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The sum over the axes dim (one, several, None: all); 0 over nothing. Integers and bool give int64."""
    dim = _axes(dim)
    if dtype is not None:
        x = tensor_only(x, "sum").to(dtype)
    if tensor_only(x, "sum").dtype.name == "float32":
        return _reduced("sum", x, dim, keepdim)
    if _own(x):
        return _reduced("sum", _core.copy(x, "float32"), dim, keepdim).to(x.dtype)
    out = _on_host("sum", x, dim, keepdim, None if x.is_floating_point() else "int64")
    return out if dtype is None else out.to(dtype)


@rule("reduce_sum")
def _sum(node, g):
    return _spread(node, g)


@rule("sum")
def _sum_to(node, g):
    return _core.expand(g, node.meta)


@method
def mean(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The mean over the axes dim (one, several, None: all); NaN over nothing. Integers are taken as float32."""
    dim = _axes(dim)
    if dtype is not None:
        x = tensor_only(x, "mean").to(dtype)
    if tensor_only(x, "mean").dtype.name == "float32":
        return _reduced("mean", x, dim, keepdim)
    if x.dtype.name == "float64":
        return _on_host("mean", x, dim, keepdim)
    return _reduced("mean", _core.copy(x, "float32"), dim, keepdim).to(x.dtype if x.is_floating_point() else "float32")


@rule("reduce_mean")
def _mean(node, g):
    shape, dims, _ = node.meta
    count = _product(shape) // max(_product(_kept(shape, dims)), 1)
    return _spread(node, g / float(max(count, 1)))


@method
def prod(x: Tensor, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The product over the axes dim; 1 over nothing. Its gradient is the product of the other elements. Integers and
    bool give int64."""
    dim = _axes(dim)
    if dtype is not None:
        x = tensor_only(x, "prod").to(dtype)
    if tensor_only(x, "prod").dtype.name != "float32":
        if _own(x):
            return prod(_core.copy(x, "float32"), dim, keepdim).to(x.dtype)
        out = _on_host("prod", x, dim, keepdim, None if x.is_floating_point() else "int64")
        return out if dtype is None else out.to(dtype)
    out = _core.reduce(_OP["prod"], x, dim, keepdim)
    return _core.record(out, "reduce_prod", (x,), (x, out), (x.shape, dim, keepdim))


@rule("reduce_prod")
def _prod(node, g):
    x, out = node.saved
    zero = x.detach() == 0.0
    if _core.reduce(_OP["sum"], zero.float()).item() == 0.0:
        return _spread(node, g * out) / x
    dims = node.meta[1]
    if _core.is_grad_enabled():
        return _spread(node, g) * _others(x, dims)
    from pyengine.ops.rounding import where

    # a lone 0 gets the product of the others; beside a 0 all other gradients are 0
    others = where(zero, 1.0, x)
    zeros, product = sum(zero.float(), dims, True), _core.reduce(_OP["prod"], others, dims, True)
    return _spread(node, g) * where(zero, where(zeros == 1.0, product, 0.0), where(zeros == 0.0, product, 0.0) / others)


def _others(x: Tensor, dims) -> Tensor:
    """At each element the product of the others along dims, in products that can be differentiated again."""
    from pyengine.ops.scan import _running

    kept = _kept(x.shape, dims)
    order = [i for i, n in enumerate(kept) if n != 1 or x.shape[i] == 1]
    order += [i for i in range(x.ndim) if i not in order]
    moved = _core.permute(x, order)
    rows = _core.reshape(moved, (_product(kept), -1))
    n = rows.shape[1]
    one = _core.full((rows.shape[0], 1), 1.0, "float32")
    from pyengine.ops.shape import cat

    before = cat([one, _running(rows, 1, lambda a, b: a * b)[:, : n - 1]], 1)
    after = cat([_running(rows, 1, lambda a, b: a * b, backwards=True)[:, 1:], one], 1)
    others = _core.reshape(before * after, moved.shape)
    return _core.permute(others, [order.index(i) for i in range(x.ndim)])


def _extreme(name: str, x: Tensor, dim, keepdim: bool) -> Tensor:
    dim = _axes(dim)
    if not _own(tensor_only(x, name)):
        if 0 in [n for n, k in zip(x.shape, _kept(x.shape, dim, name), strict=True) if n != k]:
            raise IndexError(f"{name}: nothing to choose from in a tensor of shape {x.shape}")
        return _on_host(name, x, dim, keepdim)
    if x.dtype.name != "float32":
        return _extreme(name, _core.copy(x, "float32"), dim, keepdim).to(x.dtype)
    out = _core.reduce(_OP[name], x, dim, keepdim)
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


def _place(x: Tensor, dim: int | None, keepdim: bool, minimum: bool) -> Tensor:
    name = "argmin" if minimum else "argmax"
    if dim is None:
        flat = _place(_core.reshape(tensor_only(x, name).detach(), (-1,)), 0, False, minimum)
        return _core.reshape(flat, (1,) * x.ndim) if keepdim else flat
    if tensor_only(x, name).dtype.name == "float32":
        return _core.argmax(x, dim, keepdim, minimum)
    if _own(x):
        return _core.argmax(_core.copy(x.detach(), "float32"), dim, keepdim, minimum)
    import numpy

    kept = _kept(x.shape, dim, name)
    if 0 in x.shape and kept.count(0) < x.shape.count(0):
        raise IndexError(f"{name}: axis {dim} of a tensor of shape {x.shape} has no elements")
    values = x.detach().numpy().reshape(x.shape or (1,))
    found = _core.from_numpy(numpy.array(getattr(numpy, name)(values, axis=dim), numpy.int64))
    return _core.reshape(found, kept if keepdim else tuple(numpy.delete(x.shape, dim).tolist()) if x.ndim else ())


@method
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first maximum along axis dim, or of the flattened tensor."""
    return _place(x, dim, keepdim, False)


@method
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first minimum along axis dim, or of the flattened tensor."""
    return _place(x, dim, keepdim, True)


def _correction(dim, unbiased, correction, keepdim) -> tuple:
    """torch's two forms: var(x, unbiased) and var(x, dim, unbiased or correction=..., keepdim)."""
    if isinstance(dim, bool):
        dim, correction = None, int(dim)
    if unbiased is not None:
        correction = int(unbiased)
    return _axes(dim), 1 if correction is None else correction, keepdim


def _var_mean(what: str, x: Tensor, dim, correction, keepdim: bool) -> tuple[Tensor, Tensor]:
    if not tensor_only(x, what).is_floating_point():
        raise RuntimeError(f"{what}: floats are needed, got {x.dtype.name} of shape {x.shape}")
    count = _product(x.shape) // max(_product(_kept(x.shape, dim, what)), 1)
    middle = mean(x, dim, keepdim=True)
    centred = x - middle
    spread = sum(centred * centred, dim, keepdim) / float(count - correction if count > correction else 0)
    return spread, middle if keepdim else _core.reshape(middle, spread.shape)


def _root(square: Tensor) -> Tensor:
    """The square root with gradient 0 at 0, as lengths and deviations have it."""
    if not (square.requires_grad and _core.is_grad_enabled()):
        return square.sqrt()
    from pyengine.ops.rounding import where

    positive = square > 0.0
    return where(positive, where(positive, square, 1.0).sqrt(), square * 0.0)


@method
def var(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction=None) -> Tensor:
    """The variance over the axes dim: sum((x - mean)^2) / (n - correction); the correction is 1 if not given."""
    return _var_mean("var", x, *_correction(dim, unbiased, correction, keepdim))[0]


@method
def std(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction=None) -> Tensor:
    """The standard deviation over the axes dim, the root of `var`."""
    return _root(_var_mean("std", x, *_correction(dim, unbiased, correction, keepdim))[0])


def var_mean(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction=None):
    """(variance, mean) over the axes dim."""
    return _var_mean("var_mean", x, *_correction(dim, unbiased, correction, keepdim))


def std_mean(x: Tensor, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction=None):
    """(standard deviation, mean) over the axes dim."""
    spread, middle = _var_mean("std_mean", x, *_correction(dim, unbiased, correction, keepdim))
    return _root(spread), middle
