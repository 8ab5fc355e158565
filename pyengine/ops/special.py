"""Functions of mathematics that are rarer than the table's: composed of its rows, or in NumPy with a rule."""

import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._host import numpy_op, pair, pulled
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.elementwise import acos, asin, atan, atan2, exp, log, sigmoid, sin
from pyengine.ops.rounding import clamp, where


def _inverse(name: str, derivative):
    """numpy's function `name` on the tape; `derivative(x)` is its derivative in operations on tensors."""

    def apply(x: Tensor) -> Tensor:
        import numpy

        return numpy_op(name, getattr(numpy, name), tensor_only(x, name))

    rule(name)(lambda node, g: g * derivative(node.saved[0]))
    return apply


_asinh = _inverse("arcsinh", lambda x: (x * x + 1.0).rsqrt())
_acosh = _inverse("arccosh", lambda x: ((x - 1.0) * (x + 1.0)).rsqrt())
_atanh = _inverse("arctanh", lambda x: 1.0 / ((1.0 - x) * (1.0 + x)))


@method
def asinh(x: Tensor) -> Tensor:
    """The number whose sinh is x."""
    return _asinh(x)


@method
def acosh(x: Tensor) -> Tensor:
    """The number >= 0 whose cosh is x; NaN for x < 1."""
    return _acosh(x)


@method
def atanh(x: Tensor) -> Tensor:
    """The number whose tanh is x; NaN for |x| > 1."""
    return _atanh(x)


@method
def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b) without overflow. Shapes broadcast."""
    import numpy

    a, b = tensor_only(a, "logaddexp"), tensor_only(b, "logaddexp", "b")
    return numpy_op("logaddexp", numpy.logaddexp, a, b)


@rule("logaddexp")
def _logaddexp(node, g):
    a, b, _ = node.saved
    return pulled(node, g * _share(a, b), g * _share(b, a))


def _share(a: Tensor, b: Tensor) -> Tensor:
    """e^a / (e^a + e^b); a half where both are the same infinity."""
    return sigmoid(where((a == b).logical_and(a.detach().isinf()), 0.0, a - b))


@method
def logaddexp2(a: Tensor, b: Tensor) -> Tensor:
    """log2(2^a + 2^b) without overflow. Shapes broadcast."""
    return logaddexp(a * math.log(2), b * math.log(2)) * (1 / math.log(2))


@method
def xlogy(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a log(b), and 0 where a is 0 and b is not NaN. Shapes broadcast."""
    a, b = pair(a, b, "xlogy")
    dead = (a == 0.0).logical_and((b <= 0.0).logical_or(b == math.inf))
    return a * log(where(dead, 1.0, b))


@method
def sinc(x: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0. Near 0 it is its series, whose derivatives do not cancel."""
    angle = tensor_only(x, "sinc") * math.pi
    near = angle.abs() < 0.3
    q = where(near, angle * angle, 0.0)
    series = 1.0 - q * (1 / 6 - q * (1 / 120 - q * (1 / 5040 - q * (1 / 362880))))
    far = where(near, 1.0, angle)
    return where(near, series, sin(far) / far)


@method
def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), of x held between eps and 1 - eps where eps is given."""
    if eps is not None:
        x = clamp(x, eps, 1.0 - eps)
    return log(x / (1.0 - tensor_only(x, "logit")))


def expit(x: Tensor) -> Tensor:
    """`sigmoid` by another name."""
    return sigmoid(x)


@method
def deg2rad(x: Tensor) -> Tensor:
    """Degrees as radians."""
    return tensor_only(x, "deg2rad") * (math.pi / 180.0)


@method
def rad2deg(x: Tensor) -> Tensor:
    """Radians as degrees."""
    return tensor_only(x, "rad2deg") * (180.0 / math.pi)


def _each(name: str, function, x: Tensor) -> Tensor:
    """function of Python's numbers on every element, on the tape under `name`."""
    import numpy

    x = tensor_only(x, name)
    x = x if x.is_floating_point() else x.float()
    return numpy_op(name, lambda v: numpy.array([function(float(e)) for e in v.ravel()]).reshape(v.shape), x)


def _erfinv_one(x: float) -> float:
    from statistics import NormalDist

    if abs(x) < 1:
        return x * math.sqrt(math.pi) / 2 if abs(x) < 1e-8 else NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)
    return math.copysign(math.inf, x) if abs(x) == 1 else math.nan


@method
def erfinv(x: Tensor) -> Tensor:
    """The number whose error function is x; NaN for |x| > 1."""
    return _each("erfinv", _erfinv_one, x)


@rule("erfinv")
def _erfinv(node, g):
    y = node.saved[-1]
    return g * (math.sqrt(math.pi) / 2) * exp(y * y)


def _lgamma_one(x: float) -> float:
    if x != x or (x <= 0 and x == math.floor(x)) or math.isinf(x):
        return math.nan if x != x else math.inf
    return math.lgamma(x)


def _polygamma_one(n: int, x: float) -> float:
    """The n-th derivative of digamma (n = 0, 1, 2): the recurrence up to x >= 10, then Stirling's series."""
    if x == 0 or (x < 0 and x == math.floor(x)):
        return -math.copysign(math.inf, x) if n == 0 and x == 0 else math.nan if n != 1 else math.inf
    if math.isinf(x) or x != x:
        return math.nan if x != x or x < 0 else math.inf if n == 0 else 0.0
    total = 0.0
    while x < 10:
        total += (-1 / x, 1 / x**2, -2 / x**3)[n]
        x += 1
    numbers = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
    if n == 0:
        return total + math.log(x) - 0.5 / x - sum(b / (2 * k * x ** (2 * k)) for k, b in enumerate(numbers, 1))
    if n == 1:
        return total + 1 / x + 0.5 / x**2 + sum(b / x ** (2 * k + 1) for k, b in enumerate(numbers, 1))
    return total - 1 / x**2 - 1 / x**3 - sum(b * (2 * k + 1) / x ** (2 * k + 2) for k, b in enumerate(numbers, 1))


@method
def lgamma(x: Tensor) -> Tensor:
    """log |gamma(x)|."""
    return _each("lgamma", _lgamma_one, x)


@method
def digamma(x: Tensor) -> Tensor:
    """The derivative of lgamma."""
    return _each("digamma", lambda v: _polygamma_one(0, v), x)


def _trigamma(x: Tensor) -> Tensor:
    return _each("trigamma", lambda v: _polygamma_one(1, v), x)


@rule("lgamma")
def _lgamma(node, g):
    return g * digamma(node.saved[0])


@rule("digamma")
def _digamma(node, g):
    return g * _trigamma(node.saved[0])


@rule("trigamma")
def _trigamma_rule(node, g):
    if _core.is_grad_enabled():
        raise RuntimeError("trigamma: a fourth derivative of lgamma is not built")
    return g * _each("tetragamma", lambda v: _polygamma_one(2, v), node.saved[0].detach())


@rule("tetragamma")
def _tetragamma(node, g):
    raise RuntimeError("tetragamma: a fifth derivative of lgamma is not built")


def _alias(name: str, function):
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{function.__name__}` by another name."
    return method(call)


arcsin, arccos, arctan, arctan2 = (
    _alias(name, f) for name, f in (("arcsin", asin), ("arccos", acos), ("arctan", atan), ("arctan2", atan2))
)
arcsinh, arccosh, arctanh = (
    _alias(name, f) for name, f in (("arcsinh", asinh), ("arccosh", acosh), ("arctanh", atanh))
)
