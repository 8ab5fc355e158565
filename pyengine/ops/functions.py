"""Functions of one tensor that are made of rows of the table: their gradients, of any order, come with them."""

import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops import elementwise as ew
from pyengine.ops._method import composed, rule, tensor_only
from pyengine.ops.elementwise import where


def as_float(x: Tensor, name: str) -> Tensor:
    """x, in float32 if it holds integers or bools."""
    return x if tensor_only(x, name).is_floating_point() else _core.copy(x, "float32")


@composed
def positive(x: Tensor) -> Tensor:
    """x itself; TypeError for bool tensors."""
    if tensor_only(x, "positive").dtype.name == "bool":
        raise TypeError(f"positive: no bool tensor, got shape {x.shape}")
    return x


@composed
def absolute(x: Tensor) -> Tensor:
    """|x|: abs."""
    return ew.abs(x)


@composed
def negative(x: Tensor) -> Tensor:
    """-x: neg."""
    return ew.neg(x)


@composed
def sgn(x: Tensor) -> Tensor:
    """sign(x)."""
    return ew.sign(x)


@composed
def asinh(x: Tensor) -> Tensor:
    """The number whose hyperbolic sine is x."""
    x = as_float(x, "asinh")
    size = ew.abs(x)
    # log1p(a + a^2 / (1 + sqrt(1 + a^2))), exact near 0; for large a^2 overflows, and log a + log 2 is it
    small = where(size < 1e18, size, 1.0)
    near = ew.log1p(small + small * small / (1.0 + ew.sqrt(1.0 + small * small)))
    far = ew.log(where(size < 1e18, 1.0, size)) + math.log(2.0)
    return where(x < 0.0, -1.0, 1.0) * where(size < 1e18, near, far) + where(x == 0.0, x, 0.0)


@composed
def acosh(x: Tensor) -> Tensor:
    """The number >= 0 whose hyperbolic cosine is x; NaN for x < 1."""
    x = as_float(x, "acosh")
    small = where(x < 1e18, x, 2.0)
    above = small - 1.0
    near = ew.log1p(above + ew.sqrt(above) * ew.sqrt(small + 1.0))
    return where(x < 1e18, near, ew.log(where(x < 1e18, 1.0, x)) + math.log(2.0))


@composed
def atanh(x: Tensor) -> Tensor:
    """The number whose hyperbolic tangent is x; infinite at 1 and -1, NaN beyond."""
    x = as_float(x, "atanh")
    return 0.5 * (ew.log1p(x) - ew.log1p(-x))


@composed
def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x first held between eps and 1 - eps if eps is given."""
    x = as_float(x, "logit")
    if eps is not None:
        x = clamp(x, eps, 1.0 - eps)
    return ew.log(x / (1.0 - x))


@composed
def sinc(x: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    x = as_float(x, "sinc")
    angle = x * math.pi
    zero = x == 0.0
    safe = where(zero, 1.0, angle)
    return where(zero, 1.0 - angle * angle / 6.0, ew.sin(safe) / safe)


@composed
def erfinv(x: Tensor) -> Tensor:
    """The number whose erf is x: a first guess (Giles 2012) and two Newton steps."""
    x = as_float(x, "erfinv")
    inside = ew.abs(x) < 1.0
    u = where(inside, x, 0.0)
    guess = _erfinv_guess(u.detach())
    for _ in range(2):  # each in operations on the tape: the derivative sqrt(pi)/2 e^(y^2) comes out of the last
        guess = guess.detach()
        guess = guess - (_erf_error(guess, u)) * (math.sqrt(math.pi) / 2.0) * ew.exp(guess * guess)
    infinite = where(x == 1.0, math.inf, where(x == -1.0, -math.inf, math.nan))
    return where(inside, guess, infinite)


def _erf_error(y: Tensor, u: Tensor) -> Tensor:
    """erf(y) - u, by the complement where erf is near 1."""
    large = ew.abs(y) > 0.5
    side = where(y < 0.0, -1.0, 1.0)
    return where(large, side * ((1.0 - side * u) - ew.erfc(ew.abs(y))), ew.erf(y) - u)


def _erfinv_guess(u: Tensor) -> Tensor:
    w = -ew.log1p(-u * u)
    near, far = w - 2.5, ew.sqrt(where(w < 5.0, 5.0, w)) - 3.0
    a = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
         -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
    b = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682)  # fmt: skip
    return u * where(w < 5.0, _polynomial(a, near), _polynomial(b, far))


def _polynomial(coefficients: tuple, x: Tensor) -> Tensor:
    total = x * 0.0 + coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


@composed
def frac(x: Tensor) -> Tensor:
    """x - trunc(x), of x's sign."""
    return x - ew.trunc(tensor_only(x, "frac"))


@composed
def deg2rad(x: Tensor) -> Tensor:
    """Degrees as radians."""
    return as_float(x, "deg2rad") * (math.pi / 180.0)


@composed
def rad2deg(x: Tensor) -> Tensor:
    """Radians as degrees."""
    return as_float(x, "rad2deg") * (180.0 / math.pi)


@composed
def nan_to_num(x: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with NaN, inf and -inf replaced: by 0, the largest and the least finite number unless others are given."""
    if not tensor_only(x, "nan_to_num").is_floating_point():
        return x.clone()
    limit = 3.4028234663852886e38 if x.dtype.name != "float64" else 1.7976931348623157e308
    high, low = limit if posinf is None else posinf, -limit if neginf is None else neginf
    x = where(ew.isnan(x), 0.0 if nan is None else nan, x)
    return where(x == math.inf, high, where(x == -math.inf, low, x))


@composed
def isposinf(x: Tensor) -> Tensor:
    """True where x is inf."""
    return tensor_only(x, "isposinf") == math.inf if x.is_floating_point() else ew.ne(x, x)


@composed
def isneginf(x: Tensor) -> Tensor:
    """True where x is -inf."""
    return tensor_only(x, "isneginf") == -math.inf if x.is_floating_point() else ew.ne(x, x)


@composed
def signbit(x: Tensor) -> Tensor:
    """True where x's sign is minus, -0.0 and NaNs of that sign included."""
    import numpy

    return _core.from_numpy(numpy.array(numpy.signbit(tensor_only(x, "signbit").detach().numpy())))


def _held(x: Tensor, low, high) -> Tensor:
    x = x if low is None else ew.maximum(x, low)
    return x if high is None else ew.minimum(x, high)


@composed
def clamp(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """x held between min and max (numbers or tensors); either may be None. Where they cross, max wins.
    On the edge x keeps its gradient, as in torch."""
    if min is None and max is None:
        raise ValueError("clamp: min or max must be given")
    tensor_only(x, "clamp")
    tensors = [bound for bound in (min, max) if isinstance(bound, Tensor)]
    if tensors or x.dtype.name != "float32":
        return _held(x, min, max)
    out = _held(x.detach(), min, max)
    return _core.record(out, "clamp", (x,), (x,), (min, max))


@rule("clamp")
def _clamp(node, g):
    (x,), (low, high) = node.saved, node.meta
    x = x.detach()
    inside = x == x if low is None else x >= low
    return where(inside if high is None else inside & (x <= high), g, 0.0)


@composed
def clip(x: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """clamp."""
    return clamp(x, min, max)


@composed
def clamp_min(x: Tensor, min: Tensor | float) -> Tensor:
    """The larger of x and min."""
    return clamp(x, min, None)


@composed
def clamp_max(x: Tensor, max: Tensor | float) -> Tensor:
    """The smaller of x and max."""
    return clamp(x, None, max)


@composed
def round(x: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number, or multiple of 10^-decimals; halves go to the even one."""
    if decimals == 0:
        return ew.round(x)
    scale = 10.0 ** abs(decimals)
    return ew.round(x * scale) / scale if decimals > 0 else ew.round(x / scale) * scale
