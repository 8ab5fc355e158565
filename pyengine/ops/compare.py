"""Comparison of whole tensors, logic on every type, bits of integers."""

from pyengine import _core
from pyengine._core import Tensor, elementwise
from pyengine.ops._host import numpy_op, pair
from pyengine.ops._method import method, tensor_only
from pyengine.ops.elementwise import eq, ge, gt, le, lt, ne

_LOGIC = {name: _core.elementwise_op(f"logical_{name}") for name in ("not", "and", "or", "xor")}


def _truth(x, what: str) -> Tensor:
    return x if tensor_only(x, what).dtype.name == "bool" else x != 0


@method
def logical_not(x: Tensor) -> Tensor:
    """True where x is 0 (False)."""
    return elementwise(_LOGIC["not"], _truth(x, "logical_not"))


@method
def logical_and(a: Tensor, b: Tensor) -> Tensor:
    """True where neither a nor b is 0. Shapes broadcast."""
    return elementwise(_LOGIC["and"], _truth(a, "logical_and"), _truth(b, "logical_and"))


@method
def logical_or(a: Tensor, b: Tensor) -> Tensor:
    """True where a or b is not 0. Shapes broadcast."""
    return elementwise(_LOGIC["or"], _truth(a, "logical_or"), _truth(b, "logical_or"))


@method
def logical_xor(a: Tensor, b: Tensor) -> Tensor:
    """True where exactly one of a and b is not 0. Shapes broadcast."""
    return elementwise(_LOGIC["xor"], _truth(a, "logical_xor"), _truth(b, "logical_xor"))


def _bits(name: str, ufunc: str, a, b) -> Tensor:
    import numpy

    a, b = pair(a, b, name)
    for x in (a, b):
        if x.is_floating_point():
            raise NotImplementedError(f"{name}: integers or bool needed, got {x.dtype.name}")
    return numpy_op(name, getattr(numpy, ufunc), a, b, recorded=False)


@method
def bitwise_and(a: Tensor | int, b: Tensor | int) -> Tensor:
    """The bits that both have: `a & b`. Shapes broadcast."""
    return _bits("bitwise_and", "bitwise_and", a, b)


@method
def bitwise_or(a: Tensor | int, b: Tensor | int) -> Tensor:
    """The bits that one of them has: `a | b`. Shapes broadcast."""
    return _bits("bitwise_or", "bitwise_or", a, b)


@method
def bitwise_xor(a: Tensor | int, b: Tensor | int) -> Tensor:
    """The bits that exactly one of them has: `a ^ b`. Shapes broadcast."""
    return _bits("bitwise_xor", "bitwise_xor", a, b)


@method
def bitwise_left_shift(a: Tensor | int, b: Tensor | int) -> Tensor:
    """a 2^b of integers: `a << b`. Shapes broadcast."""
    return _bits("bitwise_left_shift", "left_shift", a, b)


@method
def bitwise_right_shift(a: Tensor | int, b: Tensor | int) -> Tensor:
    """floor(a / 2^b) of integers: `a >> b`. Shapes broadcast."""
    return _bits("bitwise_right_shift", "right_shift", a, b)


@method
def bitwise_not(x: Tensor) -> Tensor:
    """Every bit turned: `~x`; not x of bool."""
    import numpy

    if tensor_only(x, "bitwise_not").is_floating_point():
        raise NotImplementedError(f"bitwise_not: integers or bool needed, got {x.dtype.name}")
    return numpy_op("bitwise_not", numpy.invert, x, recorded=False)


@method
def isclose(a: Tensor, b: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """|a - b| <= atol + rtol |b|, element by element."""
    import numpy

    a, b = tensor_only(a, "isclose"), tensor_only(b, "isclose", "b")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"isclose: {a.dtype.name} and {b.dtype.name} differ")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must not be negative, got {rtol} and {atol}")
    return numpy_op(
        "isclose", lambda x, y: numpy.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan), a, b, recorded=False
    )


@method
def allclose(a: Tensor, b: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """True when every element of `isclose` is."""
    return bool(isclose(a, b, rtol, atol, equal_nan).numpy().all())


@method
def equal(a: Tensor, b: Tensor) -> bool:
    """True when shapes and all elements are the same; NaN differs from itself."""
    a, b = tensor_only(a, "equal"), tensor_only(b, "equal", "b")
    return a.shape == b.shape and bool(eq(a.detach(), b.detach()).numpy().all())


@method
def isposinf(x: Tensor) -> Tensor:
    """True where x is inf."""
    return tensor_only(x, "isposinf") == float("inf")


@method
def isneginf(x: Tensor) -> Tensor:
    """True where x is -inf."""
    return tensor_only(x, "isneginf") == -float("inf")


@method
def isreal(x: Tensor) -> Tensor:
    """True everywhere: no tensor here is complex."""
    return _core.full(tensor_only(x, "isreal").shape, True, "bool")


@method
def signbit(x: Tensor) -> Tensor:
    """True where the sign is negative, also of -0.0."""
    import numpy

    x = tensor_only(x, "signbit")
    return numpy_op("signbit", numpy.signbit, x, recorded=False) if x.dtype.name != "bool" else x != x


@method
def greater(a: Tensor, b: Tensor | float) -> Tensor:
    """`gt` by another name."""
    return gt(a, b)


@method
def greater_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """`ge` by another name."""
    return ge(a, b)


@method
def less(a: Tensor, b: Tensor | float) -> Tensor:
    """`lt` by another name."""
    return lt(a, b)


@method
def less_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """`le` by another name."""
    return le(a, b)


@method
def not_equal(a: Tensor, b: Tensor | float) -> Tensor:
    """`ne` by another name."""
    return ne(a, b)
