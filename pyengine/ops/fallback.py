"""What is not hot and rests on NumPy: fancy indexing, and arithmetic of integers and float64."""

from pyengine import _core
from pyengine._core import Tensor, from_numpy
from pyengine.ops._method import rule

# row -> NumPy's name for it; NumPy itself is imported at first use
_UFUNCS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "true_divide", "pow": "power", "maximum": "maximum",
    "minimum": "minimum", "neg": "negative", "abs": "abs", "sign": "sign", "square": "square", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "where": "where",
    "logical_not": "logical_not", "logical_and": "logical_and", "logical_or": "logical_or",
    "logical_xor": "logical_xor", "sqrt": "sqrt", "exp": "exp", "log": "log", "floor": "floor", "ceil": "ceil",
}  # fmt: skip


def _arithmetic(name: str, operands: list[Tensor]) -> Tensor:
    """The row `name` for element types that it does not have; the result is off the tape."""
    import numpy

    types = " and ".join(x.dtype.name for x in operands)
    if name not in _UFUNCS or any(x.dtype.name in ("bfloat16", "float16") for x in operands):
        raise TypeError(f"{name}: no operation for {types}; use x.float()")
    with numpy.errstate(all="ignore"):
        result = getattr(numpy, _UFUNCS[name])(*[x.detach().numpy() for x in operands])
    # an integer and a float32 meet in float32, as in torch; NumPy would say float64
    # (float64, or float16 for the root of an int8)
    if result.dtype.kind == "f" and not any(x.dtype.name == "float64" for x in operands):
        result = result.astype(numpy.float32)
    return from_numpy(numpy.array(result))


def _plain(index: tuple, what: str) -> tuple:
    """The index with tensors as arrays."""
    import numpy

    parts = tuple(p.detach().numpy() if isinstance(p, Tensor) else p for p in index)
    for part in parts:
        array = part if part is None or part is Ellipsis or isinstance(part, slice) else numpy.asarray(part)
        if isinstance(array, numpy.ndarray) and array.dtype.kind not in "iub":
            raise TypeError(f"{what}: indices must be integers or bool, got {array.dtype}")
    return parts


def _index(x: Tensor, index: tuple) -> Tensor:
    import numpy

    plain = _plain(index, "index")
    if x.dtype.name == "bfloat16":  # NumPy has it as uint16, which no tensor has
        return _index(x.float(), index).to("bfloat16")
    taken = x.detach().numpy()[plain]
    return _core.record(from_numpy(numpy.array(taken)), "index", (x,), (), (x.shape, plain))


@rule("index")
def _index_rule(node, g):
    return _index_add(g, *node.meta)


def _index_add(g: Tensor, shape: tuple, index: tuple) -> Tensor:
    """Zeros of `shape` plus g at `index`; an element named twice gets both."""
    import numpy

    total = numpy.zeros(shape, numpy.float32)
    numpy.add.at(total, index, g.detach().numpy())
    return _core.record(from_numpy(total), "index_add", (g,), (), index)


@rule("index_add")
def _index_add_rule(node, g):
    return _index(g, node.meta)


def _index_put(x: Tensor, index: tuple, value) -> None:
    if _core.is_grad_enabled() and (x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
        raise RuntimeError("index assignment is not recorded on the tape: use where, or assign under no_grad()")
    source = _core.as_tensor_(value, x.dtype)  # converted here: bfloat16 is uint16 to NumPy
    x.detach().numpy()[_plain(index, "index assignment")] = source.detach().numpy()


_core.set_fallback("arithmetic", _arithmetic)
_core.set_fallback("index", _index)
_core.set_fallback("index_put", _index_put)
