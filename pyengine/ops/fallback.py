"""What is not hot and rests on NumPy: fancy indexing, and arithmetic of integers and float64."""

import math

from pyengine import _core
from pyengine._core import Tensor, from_numpy
from pyengine.ops._method import recorded, rule

# row -> NumPy's name for it; NumPy itself is imported at first use
_UFUNCS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "true_divide", "pow": "power", "maximum": "maximum",
    "minimum": "minimum", "neg": "negative", "abs": "abs", "sign": "sign", "square": "square", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "where": "where",
    "logical_not": "invert", "logical_and": "bitwise_and", "logical_or": "bitwise_or",
    "logical_xor": "bitwise_xor", "sqrt": "sqrt", "exp": "exp", "log": "log", "floor": "floor", "ceil": "ceil",
}  # fmt: skip


def float_type(operands: list[Tensor]) -> str:
    """The float type that torch gives to the result: the widest of the floats among them, where those without axes
    count only if no other does; float32 of integers."""
    floats = [x for x in operands if x.is_floating_point()]
    names = {x.dtype.name for x in floats if x.ndim} or {x.dtype.name for x in floats}
    return "float64" if "float64" in names else names.pop() if len(names) == 1 else "float32"


def arrays_of(operands: list[Tensor]) -> list:
    """NumPy's arrays: 16-bit floats as float32; a number without axes in the type of a tensor of its kind."""
    arrays = [(x.float() if x.dtype.name in ("bfloat16", "float16") else x).detach().numpy() for x in operands]
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2}
    for i, a in enumerate(arrays):
        for b in arrays:
            if a.ndim == 0 and b.ndim and kinds[a.dtype.kind] <= kinds[b.dtype.kind] > 0:
                arrays[i] = a.astype(b.dtype)
    return arrays


def _result_of(values, operands: list[Tensor]) -> Tensor:
    """NumPy's result as a tensor of the type that torch gives it."""
    import numpy

    values = numpy.asarray(values)
    if values.dtype.kind != "f":
        return from_numpy(numpy.array(values))
    name = float_type(operands)
    return from_numpy(numpy.array(values, numpy.float64 if name == "float64" else numpy.float32)).to(name)


def _arithmetic(name: str, operands: list[Tensor]) -> Tensor:
    """The row `name` for element types that it does not have; the result is off the tape."""
    import numpy

    if name not in _UFUNCS:
        if any(x.dtype.name == "float64" for x in operands):
            if name not in _DOUBLES:
                raise TypeError(f"{name}: no operation for float64; use x.float()")
            return from_numpy(numpy.array(_DOUBLES[name](numpy, *[x.detach().numpy() for x in operands])))
        row = _core.elementwise(_core.elementwise_op(name), *[x.detach().to("float32") for x in operands])
        return row.to(float_type(operands))
    try:
        with numpy.errstate(all="ignore"):
            result = getattr(numpy, _UFUNCS[name])(*arrays_of(operands))
    except ValueError as error:  # an integer to a negative integer power
        raise RuntimeError(f"{name}: {error}") from None
    except TypeError:
        types = " and ".join(x.dtype.name for x in operands)
        raise TypeError(f"{name}: no operation for {types}") from None
    return _result_of(result, operands)


def _each(function):
    """function of Python's math on every element of a float64 array."""
    return lambda numpy, x: numpy.array([function(v) for v in x.ravel()], numpy.float64).reshape(x.shape)


_DOUBLES = {
    "rsqrt": lambda numpy, x: 1 / numpy.sqrt(x), "sigmoid": lambda numpy, x: 1 / (1 + numpy.exp(-x)),
    "relu": lambda numpy, x: numpy.maximum(x, 0), "erf": _each(math.erf), "erfc": _each(math.erfc),
}  # fmt: skip


def _plain(index: tuple, what: str) -> tuple:
    """The index with tensors as arrays."""
    import numpy

    parts = tuple(p.detach().numpy() if isinstance(p, Tensor) else p for p in index)
    for part in parts:
        array = part if part is None or part is Ellipsis or isinstance(part, slice) else numpy.asarray(part)
        if isinstance(array, numpy.ndarray) and array.dtype.kind not in "iub":
            raise TypeError(f"{what}: indices must be integers or bool, got {array.dtype}")
    return parts


def kept(index: tuple, *inputs: Tensor) -> tuple:
    """The index as a rule may read it later: its arrays and lists belong to nobody else. The index itself where nothing
    is recorded."""
    import numpy

    if not recorded(*inputs):
        return index
    return tuple(numpy.array(part) if isinstance(part, (numpy.ndarray, list)) else part for part in index)


def _index(x: Tensor, index: tuple) -> Tensor:
    import numpy

    plain = _plain(index, "index")
    if x.dtype.name == "bfloat16":  # NumPy has it as uint16, which no tensor has
        return _index(x.float(), index).to("bfloat16")
    taken = x.detach().numpy()[plain]
    return _core.record(from_numpy(numpy.array(taken)), "index", (x,), (), (x.shape, kept(plain, x)))


@rule("index")
def _index_rule(node, g):
    return _index_add(g, *node.meta)


def _index_add(g: Tensor, shape: tuple, index: tuple) -> Tensor:
    """Zeros of `shape` plus g at `index`; an element named twice gets both."""
    import numpy

    total = numpy.zeros(shape, numpy.float32)
    numpy.add.at(total, index, g.detach().numpy())
    return _core.record(from_numpy(total), "index_add", (g,), (), kept(index, g))


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
