"""Elementwise operations: one row of csrc/kernels/elementwise.def each, gradients included."""

from pyengine import _core
from pyengine._core import Tensor, elementwise
from pyengine.ops._method import method as _method

# looked up once: the number of a row never changes in a process
_OP = {row["name"]: row["op"] for row in _core.elementwise_rows()}


@_method
def neg(x: Tensor) -> Tensor:
    """-x."""
    return elementwise(_OP["neg"], x)


@_method
def abs(x: Tensor) -> Tensor:
    """|x|. Its gradient at 0 is 0."""
    return elementwise(_OP["abs"], x)


@_method
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of x. Its gradient is 0 everywhere."""
    return elementwise(_OP["sign"], x)


@_method
def square(x: Tensor) -> Tensor:
    """x * x."""
    return elementwise(_OP["square"], x)


@_method
def sqrt(x: Tensor) -> Tensor:
    """The square root, correctly rounded; NaN for x < 0."""
    return elementwise(_OP["sqrt"], x)


@_method
def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return elementwise(_OP["rsqrt"], x)


@_method
def reciprocal(x: Tensor) -> Tensor:
    """1 / x."""
    return elementwise(_OP["reciprocal"], x)


@_method
def exp(x: Tensor) -> Tensor:
    """e^x."""
    return elementwise(_OP["exp"], x)


@_method
def exp2(x: Tensor) -> Tensor:
    """2^x."""
    return elementwise(_OP["exp2"], x)


@_method
def expm1(x: Tensor) -> Tensor:
    """e^x - 1, exact near 0."""
    return elementwise(_OP["expm1"], x)


@_method
def log(x: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below."""
    return elementwise(_OP["log"], x)


@_method
def log2(x: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return elementwise(_OP["log2"], x)


@_method
def log10(x: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return elementwise(_OP["log10"], x)


@_method
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), exact near 0."""
    return elementwise(_OP["log1p"], x)


@_method
def sin(x: Tensor) -> Tensor:
    """The sine of x in radians."""
    return elementwise(_OP["sin"], x)


@_method
def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians."""
    return elementwise(_OP["cos"], x)


@_method
def tan(x: Tensor) -> Tensor:
    """The tangent of x in radians."""
    return elementwise(_OP["tan"], x)


@_method
def sinh(x: Tensor) -> Tensor:
    """(e^x - e^-x) / 2."""
    return elementwise(_OP["sinh"], x)


@_method
def cosh(x: Tensor) -> Tensor:
    """(e^x + e^-x) / 2."""
    return elementwise(_OP["cosh"], x)


@_method
def tanh(x: Tensor) -> Tensor:
    """(e^x - e^-x) / (e^x + e^-x)."""
    return elementwise(_OP["tanh"], x)


@_method
def asin(x: Tensor) -> Tensor:
    """The angle in [-pi/2, pi/2] whose sine is x; NaN for |x| > 1."""
    return elementwise(_OP["asin"], x)


@_method
def acos(x: Tensor) -> Tensor:
    """The angle in [0, pi] whose cosine is x; NaN for |x| > 1."""
    return elementwise(_OP["acos"], x)


@_method
def atan(x: Tensor) -> Tensor:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return elementwise(_OP["atan"], x)


@_method
def erf(x: Tensor) -> Tensor:
    """The error function 2/sqrt(pi) int_0^x e^(-t^2) dt."""
    return elementwise(_OP["erf"], x)


@_method
def erfc(x: Tensor) -> Tensor:
    """1 - erf(x), exact for large x."""
    return elementwise(_OP["erfc"], x)


@_method
def floor(x: Tensor) -> Tensor:
    """The largest integer not above x. Its gradient is 0."""
    return elementwise(_OP["floor"], x)


@_method
def ceil(x: Tensor) -> Tensor:
    """The smallest integer not below x. Its gradient is 0."""
    return elementwise(_OP["ceil"], x)


@_method
def trunc(x: Tensor) -> Tensor:
    """x without its fraction. Its gradient is 0."""
    return elementwise(_OP["trunc"], x)


@_method
def relu(x: Tensor) -> Tensor:
    """max(x, 0). Its gradient at 0 is 0. (Nair and Hinton, 2010)"""
    return elementwise(_OP["relu"], x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return elementwise(_OP["relu6"], x)


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) with the normal distribution Phi, exactly: x/2 (1 + erf(x / sqrt(2))). (Hendrycks and Gimpel, 2016)"""
    return elementwise(_OP["gelu"], x)


def gelu_tanh(x: Tensor) -> Tensor:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the older approximation of gelu. (Hendrycks and Gimpel, 2016)"""
    return elementwise(_OP["gelu_tanh"], x)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), also called swish. (Elfwing, Uchibe and Doya, 2017)"""
    return elementwise(_OP["silu"], x)


@_method
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return elementwise(_OP["sigmoid"], x)


def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)) without overflow."""
    return elementwise(_OP["logsigmoid"], x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) without overflow. (Dugas et al., 2001)"""
    return elementwise(_OP["softplus"], x)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return elementwise(_OP["softsign"], x)


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)). (Misra, 2019)"""
    return elementwise(_OP["mish"], x)


def hardtanh(x: Tensor) -> Tensor:
    """min(max(x, -1), 1)."""
    return elementwise(_OP["hardtanh"], x)


def hardsigmoid(x: Tensor) -> Tensor:
    """min(max(x + 3, 0), 6) / 6. (Howard et al., 2019)"""
    return elementwise(_OP["hardsigmoid"], x)


def hardswish(x: Tensor) -> Tensor:
    """x hardsigmoid(x). (Howard et al., 2019)"""
    return elementwise(_OP["hardswish"], x)


@_method
def add(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """a + alpha b. Shapes broadcast."""
    return elementwise(_OP["add"], a, b if alpha == 1 else b * alpha)


@_method
def sub(a: Tensor | float, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """a - alpha b. Shapes broadcast."""
    return elementwise(_OP["sub"], a, b if alpha == 1 else b * alpha)


@_method
def mul(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a * b. Shapes broadcast."""
    return elementwise(_OP["mul"], a, b)


@_method
def pow(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a^b; NaN for a < 0 and b not an integer. Shapes broadcast."""
    return elementwise(_OP["pow"], a, b)


@_method
def maximum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The larger of a and b; NaN if either is NaN. At a tie each gets half of the gradient. Shapes broadcast."""
    return elementwise(_OP["maximum"], a, b)


@_method
def minimum(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The smaller of a and b; NaN if either is NaN. At a tie each gets half of the gradient. Shapes broadcast."""
    return elementwise(_OP["minimum"], a, b)


@_method
def atan2(a: Tensor | float, b: Tensor | float) -> Tensor:
    """The angle of the point (b, a): atan(a / b) in the right quadrant. Shapes broadcast."""
    return elementwise(_OP["atan2"], a, b)


@_method
def eq(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a == b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["eq"], a, b)


@_method
def ne(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a != b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["ne"], a, b)


@_method
def lt(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a < b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["lt"], a, b)


@_method
def le(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a <= b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["le"], a, b)


@_method
def gt(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a > b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["gt"], a, b)


@_method
def ge(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a >= b as bool; NaN compares false (ne: true). Shapes broadcast."""
    return elementwise(_OP["ge"], a, b)


@_method
def isnan(x: Tensor) -> Tensor:
    """True where x is NaN."""
    return elementwise(_OP["isnan"], x)


@_method
def isinf(x: Tensor) -> Tensor:
    """True where x is inf or -inf."""
    return elementwise(_OP["isinf"], x)


@_method
def isfinite(x: Tensor) -> Tensor:
    """True where x is neither infinite nor NaN."""
    return elementwise(_OP["isfinite"], x)


def leaky_relu(x: Tensor, negative_slope: Tensor | float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x; a tensor as the slope gets a gradient (PReLU).
    (Maas, Hannun and Ng, 2013)"""
    return elementwise(_OP["leaky_relu"], x, negative_slope)


def elu(x: Tensor, alpha: Tensor | float = 1.0) -> Tensor:
    """x where x > 0, else alpha (e^x - 1). (Clevert, Unterthiner and Hochreiter, 2015)"""
    return elementwise(_OP["elu"], x, alpha)


def softshrink(x: Tensor, lambd: Tensor | float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| <= lambd."""
    return elementwise(_OP["softshrink"], x, lambd)


def hardshrink(x: Tensor, lambd: Tensor | float = 0.5) -> Tensor:
    """x, and 0 where |x| <= lambd."""
    return elementwise(_OP["hardshrink"], x, lambd)
