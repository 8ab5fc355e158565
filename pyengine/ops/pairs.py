"""Functions of two or three tensors or numbers that are made of rows of the table. Shapes broadcast."""

import builtins
import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops import elementwise as ew
from pyengine.ops._method import composed, tensor_only
from pyengine.ops.elementwise import where
from pyengine.ops.functions import as_float


def _tensors(name: str, a, b) -> tuple:
    """Both operands, one of them a Tensor at least."""
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        raise TypeError(f"{name}: one operand must be a Tensor, got {type(a).__name__} and {type(b).__name__}")
    return a, b


def _whole(*operands) -> builtins.bool:
    """Only integers and bools."""
    return all(isinstance(x, int) or (isinstance(x, Tensor) and not x.is_floating_point()) for x in operands)


def _numpy(function: str, *operands) -> Tensor:
    """An operation that only integers take, through NumPy; off the tape."""
    import numpy

    arrays = [x.detach().numpy() if isinstance(x, Tensor) else x for x in operands]
    return _core.from_numpy(numpy.array(getattr(numpy, function)(*arrays)))


def _scaled(name: str, b, alpha):
    if isinstance(alpha, float) and _whole(b):
        raise RuntimeError(f"{name}: alpha must be an integer for integer operands, got {alpha}")
    return b if alpha == 1 else b * alpha


@composed
def add(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """a + alpha b."""
    return ew.add(a, _scaled("add", b, alpha))


@composed
def sub(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """a - alpha b."""
    return ew.sub(a, _scaled("sub", b, alpha))


@composed
def subtract(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """a - alpha b."""
    return sub(a, b, alpha=alpha)


@composed
def multiply(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a b."""
    return ew.mul(a, b)


@composed
def div(a: Tensor | float, b: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """a / b; rounding_mode "trunc" rounds it towards 0, "floor" downwards (integers then stay integers)."""
    if rounding_mode is None:
        return ew.div(a, b)
    if rounding_mode == "floor":
        return floor_divide(a, b)
    if rounding_mode != "trunc":
        raise RuntimeError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    if _whole(*_tensors("div", a, b)):
        down = floor_divide(a, b)
        short = ((down * b) != a) & (down < 0)
        return down + short.long()
    return ew.trunc(ew.div(a, b))


@composed
def divide(a: Tensor | float, b: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """div."""
    return div(a, b, rounding_mode=rounding_mode)


@composed
def true_divide(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a / b."""
    return ew.div(a, b)


@composed
def floor_divide(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The largest whole number not above a / b. Integers: ZeroDivisionError where b is 0."""
    if _whole(*_tensors("floor_divide", a, b)):
        if bool((ew.eq(b, 0)).any()) if isinstance(b, Tensor) else b == 0:
            raise ZeroDivisionError("floor_divide: an integer is divided by 0")
        return _numpy("floor_divide", a, b)
    return ew.floor(ew.div(a, b))


@composed
def remainder(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b floor(a / b), of b's sign, as Python's %."""
    if _whole(*_tensors("remainder", a, b)):
        if bool((ew.eq(b, 0)).any()) if isinstance(b, Tensor) else b == 0:
            raise ZeroDivisionError("remainder: an integer is divided by 0")
        return _numpy("remainder", a, b)
    return _modulo("remainder", a, b)


@composed
def fmod(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a - b trunc(a / b), of a's sign, as C's fmod."""
    if _whole(*_tensors("fmod", a, b)):
        return _numpy("fmod", a, b)
    return _modulo("fmod", a, b)


def _modulo(name: str, a, b) -> Tensor:
    """The value is exact (NumPy's); the gradients are 1 and minus the quotient."""
    exact = _numpy(name, *(x.detach().float() if isinstance(x, Tensor) else x for x in (a, b))).float()
    quotient = ew.div(a - exact if isinstance(a, Tensor) else ew.sub(a, exact), b).detach()
    whole = ew.round(quotient)
    linear = a - b * whole
    return linear + (exact - linear.detach())


def _numbers(name: str, a, b) -> tuple:
    """Both as float tensors or numbers."""
    return tuple(as_float(x, name) if isinstance(x, Tensor) else x for x in _tensors(name, a, b))


@composed
def copysign(a: Tensor | float, b: Tensor | float) -> Tensor:
    """|a| with the sign of b, -0.0 included."""
    a, b = _numbers("copysign", a, b)
    minus = b.signbit() if isinstance(b, Tensor) else math.copysign(1.0, b) < 0
    size = ew.abs(a) if isinstance(a, Tensor) else abs(a)
    if not isinstance(minus, Tensor):
        return -size if minus else size
    return where(minus, -size, size)


@composed
def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 where x < 0, values where x = 0, 1 where x > 0; NaN stays."""
    kept = where(x > 0, 1.0, where(x < 0, 0.0, values)) if x.is_floating_point() else None
    if kept is None:
        return _numpy("heaviside", x, values).to(x.dtype)
    return where(ew.isnan(x), math.nan, kept).detach()


@composed
def hypot(a: Tensor | float, b: Tensor | float) -> Tensor:
    """sqrt(a^2 + b^2), without overflow on the way."""
    a, b = _numbers("hypot", a, b)
    large = ew.maximum(ew.abs(a) if isinstance(a, Tensor) else abs(a), ew.abs(b) if isinstance(b, Tensor) else abs(b))
    large = large.detach()
    unit = where((large == 0.0) | (large == math.inf), 1.0, large)
    return ew.sqrt(ew.square(a / unit) + ew.square(b / unit)) * unit


@composed
def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b)."""
    a, b = _numbers("logaddexp", a, b)
    high = ew.maximum(a, b).detach()
    finite = where(ew.isfinite(high), high, 0.0)
    return ew.log(ew.exp(a - finite) + ew.exp(b - finite)) + finite


@composed
def logaddexp2(a: Tensor, b: Tensor) -> Tensor:
    """log2(2^a + 2^b)."""
    a, b = _numbers("logaddexp2", a, b)
    high = ew.maximum(a, b).detach()
    finite = where(ew.isfinite(high), high, 0.0)
    return ew.log2(ew.exp2(a - finite) + ew.exp2(b - finite)) + finite


@composed
def xlogy(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a log b; 0 where a is 0, unless b is NaN."""
    a, b = _numbers("xlogy", a, b)
    zero = ew.eq(a, 0.0) if isinstance(a, Tensor) else a == 0
    if not isinstance(zero, Tensor):
        return where(ew.isnan(b), math.nan, 0.0 * ew.sign(b)) if zero else a * ew.log(b)
    if not isinstance(b, Tensor):
        logarithm = math.log(b) if b > 0 else (-math.inf if b == 0 else math.nan)
        return where(zero, a * 0.0 if b == b else math.nan, where(zero, 1.0, a) * logarithm)
    nan = ew.isnan(b)
    return where(nan, b, where(zero, 0.0, a * ew.log(where(zero, 1.0, b))))


@composed
def fmax(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b; of a number and a NaN the number."""
    a, b = _tensors("fmax", a, b)
    return ew.maximum(a, b) if _whole(a, b) else where(ew.isnan(a) | (b > a), b, a)


@composed
def fmin(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b; of a number and a NaN the number."""
    a, b = _tensors("fmin", a, b)
    return ew.minimum(a, b) if _whole(a, b) else where(ew.isnan(a) | (b < a), b, a)


@composed
def float_power(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a^b in floating point, integers too (torch computes it in float64; here it is float32)."""
    return ew.pow(*_numbers("float_power", a, b))


@composed
def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """start + weight (end - start)."""
    return tensor_only(start, "lerp") + weight * (end - start)


@composed
def addcmul(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 tensor2."""
    return tensor_only(x, "addcmul") + _scaled("addcmul", tensor1 * tensor2, value)


@composed
def addcdiv(x: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 / tensor2."""
    if _whole(tensor1, tensor2):
        raise RuntimeError("addcdiv: integers are not divided; use div and add")
    return tensor_only(x, "addcdiv") + _scaled("addcdiv", tensor1 / tensor2, value)


@composed
def isclose(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """True where |a - b| <= atol + rtol |b|, or both are the same infinity, or both NaN if equal_nan."""
    if a.dtype != b.dtype:
        raise RuntimeError(f"isclose: dtypes {a.dtype.name} and {b.dtype.name} differ")
    if _whole(a, b):
        a, b = a.double(), b.double()
    same = ew.eq(a, b)
    if equal_nan:
        same = same | (ew.isnan(a) & ew.isnan(b))
    near = ew.le(ew.abs(a.detach() - b.detach()), ew.abs(b.detach()) * rtol + atol)
    return same | (near & ew.isfinite(a) & ew.isfinite(b))


@composed
def allclose(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> builtins.bool:
    """Whether isclose everywhere."""
    return bool(isclose(a, b, rtol, atol, equal_nan).all())


@composed
def equal(a: Tensor, b: Tensor) -> builtins.bool:
    """Whether shapes and all elements are equal."""
    return tensor_only(a, "equal").shape == tensor_only(b, "equal", "other").shape and bool(ew.eq(a, b).all())


def _bitwise(name: str, function: str):
    def operation(a, b):
        if not _whole(*_tensors(name, a, b)):
            raise TypeError(f"{name}: integers or bools are needed")
        return _numpy(function, a, b)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"NumPy's {function} of integers or bools."
    operation.__module__ = __name__
    return composed(operation)


bitwise_and = _bitwise("bitwise_and", "bitwise_and")
bitwise_or = _bitwise("bitwise_or", "bitwise_or")
bitwise_xor = _bitwise("bitwise_xor", "bitwise_xor")
bitwise_left_shift = _bitwise("bitwise_left_shift", "left_shift")
bitwise_right_shift = _bitwise("bitwise_right_shift", "right_shift")


@composed
def bitwise_not(x: Tensor) -> Tensor:
    """Every bit turned; of bools, not."""
    if not _whole(tensor_only(x, "bitwise_not")):
        raise TypeError(f"bitwise_not: integers or bools are needed, got {x.dtype.name}")
    return _numpy("invert", x)


for _name in ("greater", "greater_equal", "less", "less_equal", "not_equal"):
    _core.add_method(_name, getattr(ew, {"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
                                         "not_equal": "ne"}[_name]))  # fmt: skip
