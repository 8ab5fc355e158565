"""What is not hot and rests on NumPy: fancy indexing, and arithmetic of integers and float64."""

import numpy

from pyengine import _core
from pyengine._core import Tensor, from_numpy
from pyengine.ops._method import rule

_UFUNCS = {
    "add": numpy.add, "sub": numpy.subtract, "mul": numpy.multiply, "div": numpy.true_divide, "pow": numpy.power,
    "maximum": numpy.maximum, "minimum": numpy.minimum, "neg": numpy.negative, "abs": numpy.abs, "sign": numpy.sign,
    "square": numpy.square, "eq": numpy.equal, "ne": numpy.not_equal, "lt": numpy.less, "le": numpy.less_equal,
    "gt": numpy.greater, "ge": numpy.greater_equal, "where": numpy.where, "logical_not": numpy.logical_not,
    "logical_and": numpy.logical_and, "logical_or": numpy.logical_or, "logical_xor": numpy.logical_xor,
    "sqrt": numpy.sqrt, "exp": numpy.exp, "log": numpy.log, "floor": numpy.floor, "ceil": numpy.ceil,
}  # fmt: skip


def _arithmetic(name: str, operands: list[Tensor]) -> Tensor:
    """The row `name` for element types that it does not have; the result is off the tape."""
    types = " and ".join(x.dtype.name for x in operands)
    if name not in _UFUNCS or any(x.dtype.name in ("bfloat16", "float16") for x in operands):
        raise TypeError(f"{name}: no operation for {types}; use x.float()")
    with numpy.errstate(all="ignore"):
        result = _UFUNCS[name](*[x.detach().numpy() for x in operands])
    # an integer and a float32 meet in float32, as in torch; NumPy would say float64
    if result.dtype == numpy.float64 and not any(x.dtype.name == "float64" for x in operands):
        result = result.astype(numpy.float32)
    return from_numpy(numpy.array(result))


def _plain(index: tuple, what: str) -> tuple:
    """The index with tensors as arrays."""
    parts = tuple(p.detach().numpy() if isinstance(p, Tensor) else p for p in index)
    for part in parts:
        array = part if part is None or part is Ellipsis or isinstance(part, slice) else numpy.asarray(part)
        if isinstance(array, numpy.ndarray) and array.dtype.kind not in "iub":
            raise TypeError(f"{what}: indices must be integers or bool, got {array.dtype}")
    return parts


def _index(x: Tensor, index: tuple) -> Tensor:
    plain = _plain(index, "index")
    taken = x.detach().numpy()[plain]
    return _core.record(from_numpy(numpy.array(taken)), "index", (x,), (), (x.shape, plain))


@rule("index")
def _index_rule(node, g):
    return _index_add(g, *node.meta)


def _index_add(g: Tensor, shape: tuple, index: tuple) -> Tensor:
    """Zeros of `shape` plus g at `index`; an element named twice gets both."""
    total = numpy.zeros(shape, numpy.float32)
    numpy.add.at(total, index, g.detach().numpy())
    return _core.record(from_numpy(total), "index_add", (g,), (), index)


@rule("index_add")
def _index_add_rule(node, g):
    return _index(g, node.meta)


def _index_put(x: Tensor, index: tuple, value) -> None:
    if _core.is_grad_enabled() and (x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
        raise RuntimeError("index assignment is not recorded on the tape: use where, or assign under no_grad()")
    array = x.detach().numpy()
    if not array.flags.writeable:
        raise ValueError("index assignment: the tensor is read-only")
    array[_plain(index, "index assignment")] = value.detach().numpy() if isinstance(value, Tensor) else value


_core.set_fallback("arithmetic", _arithmetic)
_core.set_fallback("index", _index)
_core.set_fallback("index_put", _index_put)
