"""Rounding, bounds and choices."""

from pyengine import _core
from pyengine._core import Tensor, elementwise
from pyengine.ops._host import beside, numpy_op, pair
from pyengine.ops._method import method, recorded, tensor_only
from pyengine.ops.elementwise import isnan, maximum, minimum, sign, trunc

_WHERE, _ROUND = _core.elementwise_op("where"), _core.elementwise_op("round")
_LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308, "float16": 65504.0,
            "bfloat16": 3.3895313892515355e38}  # fmt: skip


@method
def round(x: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, or the nearest multiple of 10^-decimals, ties to even. Its gradient is 0."""
    if decimals == 0 or not tensor_only(x, "round").is_floating_point():
        return elementwise(_ROUND, x)
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    return elementwise(_ROUND, x * scale) / scale if decimals > 0 else elementwise(_ROUND, x / scale) * scale


def where(condition: Tensor, a: Tensor | float | None = None, b: Tensor | float | None = None):
    """a where condition (bool) is true, else b. Shapes broadcast. The side not taken gets gradient 0, even where its
    own derivative would be infinite. Without a and b: the indices of the true elements, one tensor an axis."""
    tensor_only(condition, "where", "condition")
    if a is None and b is None:
        return tuple(_core.from_numpy(i) for i in condition.detach().numpy().nonzero())
    if a is None or b is None:
        raise TypeError("where: both a and b are needed, or none of them")
    if condition.dtype.name != "bool":
        if condition.dtype.name != "uint8":
            raise RuntimeError(f"where: condition must be bool, got {condition.dtype.name}")
        condition = condition != 0
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        a, b = pair(a, b, "where")
    return elementwise(_WHERE, condition, a, b)


def _where_method(x: Tensor, condition: Tensor, other: Tensor | float) -> Tensor:
    """x where condition is true, else other."""
    return where(condition, x, other)


_core.add_method("where", _where_method)


@method
def clamp(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """x held between min and max; either may be None. Where they cross, max wins; where x meets one of them the
    gradient goes to x."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must not be None")
    bounds = [beside(b, tensor_only(x, "clamp"), "clamp") for b in (min, max) if b is not None]
    if not recorded(x, *bounds):
        if min is not None:
            x = maximum(x, min)
        return x if max is None else minimum(x, max)
    if min is not None:
        x = where((x >= min).logical_or(isnan(x)), x, min)
    return x if max is None else where((x <= max).logical_or(isnan(x)), x, max)


@method
def clip(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """`clamp` by another name."""
    return clamp(x, min, max)


@method
def clamp_min(x: Tensor, min: Tensor | float) -> Tensor:
    """x, and min where x is below it."""
    return clamp(x, min=min)


@method
def clamp_max(x: Tensor, max: Tensor | float) -> Tensor:
    """x, and max where x is above it."""
    return clamp(x, max=max)


def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else value. NaN stays."""
    return where((tensor_only(x, "threshold") > threshold).logical_or(isnan(x)), x, value)


@method
def frac(x: Tensor) -> Tensor:
    """x - trunc(x): the fraction, with x's sign."""
    return x - trunc(x)


@method
def fix(x: Tensor) -> Tensor:
    """`trunc` by another name."""
    return trunc(x)


@method
def sgn(x: Tensor) -> Tensor:
    """`sign` by another name, for real numbers."""
    return sign(x)


@method
def nan_to_num(x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with NaN as nan, inf as posinf and -inf as neginf (None: the largest and the least finite number)."""
    if not tensor_only(x, "nan_to_num").is_floating_point():
        return x.clone()
    largest = _LARGEST[x.dtype.name]
    y = where(isnan(x), float(nan or 0.0), x)
    y = where(x == float("inf"), largest if posinf is None else float(posinf), y)
    return where(x == -float("inf"), -largest if neginf is None else float(neginf), y)


@method
def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 where x < 0, values where x is 0, 1 where x > 0."""
    import numpy

    x, values = tensor_only(x, "heaviside"), tensor_only(values, "heaviside", "values")
    if x.dtype is not values.dtype:
        raise RuntimeError(f"heaviside: x is {x.dtype.name}, values are {values.dtype.name}")
    return numpy_op("heaviside", numpy.heaviside, x, values, recorded=False).to(x.dtype)


@method
def fmax(a: Tensor, b: Tensor) -> Tensor:
    """The larger of a and b; the other one where one is NaN. At a tie a gets the gradient. Shapes broadcast."""
    a, b = tensor_only(a, "fmax"), tensor_only(b, "fmax", "b")
    return where((a >= b).logical_or(isnan(b)), a, b)


@method
def fmin(a: Tensor, b: Tensor) -> Tensor:
    """The smaller of a and b; the other one where one is NaN. At a tie a gets the gradient. Shapes broadcast."""
    a, b = tensor_only(a, "fmin"), tensor_only(b, "fmin", "b")
    return where((a <= b).logical_or(isnan(b)), a, b)
