"""Arithmetic beyond the table's rows: quotients and remainders, products added up, powers, aliases."""

from pyengine import _core
from pyengine._core import Tensor, elementwise
from pyengine.ops._host import numpy_op, pair, pulled
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.elementwise import abs, add, mul, neg, pow, sub

_TRUE_DIV = _core.elementwise_op("div")


@method
def div(a: Tensor | float, b: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """a / b; with rounding_mode "trunc" rounded towards 0, with "floor" downwards. Shapes broadcast."""
    if rounding_mode is None:
        return elementwise(_TRUE_DIV, a, b)
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(f'div: rounding_mode must be None, "trunc" or "floor", got {rounding_mode!r}')
    a, b = pair(a, b, "div")
    if not (a.is_floating_point() or b.is_floating_point()):
        _no_zero(b, "div")
        return numpy_op("div_round", _floored if rounding_mode == "floor" else _truncated, a, b)
    return numpy_op("div_round", _floored if rounding_mode == "floor" else lambda x, y: _numpy().trunc(x / y), a, b)


def _numpy():
    import numpy

    return numpy


def _floored(x, y):
    return _numpy().floor_divide(x, y)


def _truncated(x, y):
    """Integers: downwards, and one up where that went past the exact quotient below 0."""
    quotient = x // y
    return quotient + ((quotient < 0) & (quotient * y != x))


def _no_zero(b: Tensor, what: str) -> None:
    if not b.detach().numpy().all():
        raise RuntimeError(f"{what}: an integer division by 0 (ZeroDivisionError)")


@rule("div_round")
def _div_round(node, g):
    return tuple(_core.sum_to(g * 0.0, x.shape) for x in node.saved[:-1])


@method
def divide(a: Tensor | float, b: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """`div` by another name."""
    return div(a, b, rounding_mode=rounding_mode)


@method
def true_divide(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a / b."""
    return div(a, b)


@method
def floor_divide(a: Tensor | float, b: Tensor | float) -> Tensor:
    """floor(a / b): `a // b`."""
    return div(a, b, rounding_mode="floor")


@method
def remainder(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b floor(a / b), with the sign of b: `a % b`. Shapes broadcast."""
    a, b = pair(a, b, "remainder")
    if not (a.is_floating_point() or b.is_floating_point()):
        _no_zero(b, "remainder")
    return numpy_op("remainder", lambda x, y: _numpy().remainder(x, y), a, b)


@rule("remainder")
def _remainder(node, g):
    a, b, _ = node.saved
    return pulled(node, g, -g * div(a, b, rounding_mode="floor") if node.needs(1) else None)


@method
def fmod(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b trunc(a / b), with the sign of a. Shapes broadcast."""
    a, b = pair(a, b, "fmod")
    if not (a.is_floating_point() or b.is_floating_point()):
        _no_zero(b, "fmod")
    return numpy_op("fmod", lambda x, y: _numpy().fmod(x, y), a, b)


@rule("fmod")
def _fmod(node, g):
    a, b, _ = node.saved
    return pulled(node, g, -g * div(a, b, rounding_mode="trunc") if node.needs(1) else None)


@method
def float_power(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a^b in floats, whatever the types; integers are taken as float32."""
    a, b = pair(a, b, "float_power")
    return pow(a if a.is_floating_point() else a.float(), b if b.is_floating_point() else b.float())


@method
def lerp(x: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """x + weight (end - x): from x at weight 0 to end at 1. Shapes broadcast."""
    step = tensor_only(end, "lerp", "end") - tensor_only(x, "lerp")
    return x + weight * step


@method
def addcmul(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 tensor2. Shapes broadcast."""
    product = tensor_only(tensor1, "addcmul", "tensor1") * tensor_only(tensor2, "addcmul", "tensor2")
    return add(tensor_only(x, "addcmul"), product, alpha=value)


@method
def addcdiv(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 / tensor2. Shapes broadcast."""
    for t, name in ((tensor1, "tensor1"), (tensor2, "tensor2")):
        tensor_only(t, "addcdiv", name)
    if not (tensor1.is_floating_point() or tensor2.is_floating_point()):
        raise RuntimeError("addcdiv: integers are not divided; use x + value * div(tensor1, tensor2)")
    return add(tensor_only(x, "addcdiv"), tensor1 / tensor2, alpha=value)


@method
def positive(x: Tensor) -> Tensor:
    """x itself; bool has no sign."""
    if tensor_only(x, "positive").dtype.name == "bool":
        raise RuntimeError("positive: bool tensors have no sign")
    return x


@method
def multiply(a: Tensor | float, b: Tensor | float) -> Tensor:
    """`mul` by another name."""
    return mul(a, b)


@method
def subtract(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """`sub` by another name."""
    return sub(a, b, alpha=alpha)


def rsub(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """b - alpha a."""
    return sub(b, a, alpha=alpha)


@method
def absolute(x: Tensor) -> Tensor:
    """`abs` by another name."""
    return abs(x)


@method
def negative(x: Tensor) -> Tensor:
    """`neg` by another name."""
    return neg(x)


@method
def hypot(a: Tensor, b: Tensor) -> Tensor:
    """sqrt(a^2 + b^2) without overflow. Shapes broadcast."""
    return numpy_op("hypot", lambda x, y: _numpy().hypot(x, y), *pair(a, b, "hypot"))


@rule("hypot")
def _hypot(node, g):
    a, b, y = node.saved
    return pulled(node, g * (a / y), g * (b / y))


@method
def copysign(a: Tensor | float, b: Tensor | float) -> Tensor:
    """|a| with the sign of b, -0.0 counting as negative. Shapes broadcast."""
    return numpy_op("copysign", lambda x, y: _numpy().copysign(x, y), *pair(a, b, "copysign"))


@rule("copysign")
def _copysign(node, g):
    a, _, y = node.saved
    return pulled(node, g * (a.detach().sign() * y.detach().sign()), g * 0.0)
