"""Activations under torch.nn.functional's names and arguments. One row of the elementwise table each where it has one.

inplace=True writes the result into the input, on the tape too (at the price of a copy)."""

from collections.abc import Callable

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.elementwise import hardshrink as _hardshrink
from pyengine.ops.elementwise import hardsigmoid as _hardsigmoid
from pyengine.ops.elementwise import hardswish as _hardswish
from pyengine.ops.elementwise import hardtanh as _hardtanh
from pyengine.ops.elementwise import mish as _mish
from pyengine.ops.elementwise import relu6 as _relu6
from pyengine.ops.elementwise import softshrink as _softshrink
from pyengine.ops.elementwise import softsign as _softsign

__all__ = [
    "celu", "elu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_softmax", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "silu", "softmax", "softmin", "softshrink",
    "softsign", "tanhshrink", "threshold",
]  # fmt: skip

_ZERO, _ADD = _core.elementwise_op("zero"), _core.elementwise_op("add")
# the fixed point of mean 0 and variance 1 (Klambauer et al., 2017)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _applied(function: Callable[[Tensor], Tensor], x: Tensor, inplace: bool, name: str) -> Tensor:
    """function(x), written into x if inplace."""
    tensor_only(x, name, "input")
    if not inplace:
        return function(x)
    if not (_core.is_grad_enabled() and x.requires_grad):
        return x.copy_(function(x))
    y = function(x * 1.0)  # of a copy: what the gradient needs of x is kept
    return _core.elementwise_(_ADD, _core.elementwise_(_ZERO, x), y)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0). (Nair and Hinton, 2010)"""
    return ops.relu(input) if not inplace else tensor_only(input, "relu", "input").relu_()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return _applied(_relu6, input, inplace, "relu6")


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x held between min_val and max_val; the gradient is 0 at and beyond them."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} lies above max_val {max_val}")
    if (min_val, max_val) == (-1.0, 1.0):
        return _applied(_hardtanh, input, inplace, "hardtanh")

    def held(x: Tensor) -> Tensor:
        inside = ops.logical_and(x > min_val, x < max_val)
        return ops.where(inside, x, ops.clamp(x.detach(), float(min_val), float(max_val)))

    return _applied(held, input, inplace, "hardtanh")


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6. (Howard et al., 2019)"""
    return _applied(_hardsigmoid, input, inplace, "hardsigmoid")


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x). (Howard et al., 2019)"""
    return _applied(_hardswish, input, inplace, "hardswish")


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, and 0 where |x| <= lambd."""
    return _hardshrink(tensor_only(input, "hardshrink", "input"), float(lambd))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| <= lambd."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd must not be negative, got {lambd}")
    return _softshrink(tensor_only(input, "softshrink", "input"), float(lambd))


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return tensor_only(input, "tanhshrink", "input") - ops.tanh(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return _softsign(tensor_only(input, "softsign", "input"))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)). (Misra, 2019)"""
    return _applied(_mish, input, inplace, "mish")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish. (Elfwing, Uchibe and Doya, 2017)"""
    return _applied(ops.silu, input, inplace, "silu")


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope x. (Maas, Hannun and Ng, 2013)"""
    return _applied(lambda x: ops.leaky_relu(x, negative_slope), input, inplace, "leaky_relu")


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight x, with one learned weight, or one for each entry of axis 1. (He et al., 2015)"""
    tensor_only(input, "prelu", "input")
    count = 1
    for n in tensor_only(weight, "prelu", "weight").shape:
        count *= n
    if weight.ndim > 1 or (count != 1 and (input.ndim < 2 or input.shape[1] != count)):
        raise RuntimeError(f"prelu: weight of shape {weight.shape} does not fit axis 1 of input {input.shape}")
    slope = weight.reshape(count, *[1] * (input.ndim - 2)) if count != 1 else weight.reshape(())
    return ops.leaky_relu(input, slope)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where x > 0, else a x: in training each a is drawn from [lower, upper), else it is their middle.
    (Xu et al., 2015)"""
    if lower > upper:
        raise RuntimeError(f"rrelu: lower {lower} lies above upper {upper}")

    def leaky(x: Tensor) -> Tensor:
        slope = _core.empty(x.shape).uniform_(lower, upper) if training else (lower + upper) / 2
        return ops.leaky_relu(x, slope)

    return _applied(leaky, input, inplace, "rrelu")


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^x - 1). (Clevert, Unterthiner and Hochreiter, 2015)"""
    return _applied(lambda x: ops.elu(x, alpha), input, inplace, "elu")


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 elu(x, 1.6733): activations settle at mean 0 and variance 1. (Klambauer et al., 2017)"""
    return _applied(lambda x: ops.elu(x, SELU_ALPHA) * SELU_SCALE, input, inplace, "selu")


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^(x / alpha) - 1). (Barron, 2017)"""
    if alpha == 0:
        raise RuntimeError("celu: alpha must not be 0")
    return _applied(lambda x: ops.elu(x / alpha) * alpha, input, inplace, "celu")


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b) with the halves a and b of axis dim. (Dauphin et al., 2017)"""
    n = tensor_only(input, "glu", "input").ndim
    if n == 0:
        raise RuntimeError("glu: input must have an axis to halve, got shape ()")
    if not -n <= dim < n:
        raise IndexError(f"glu: axis {dim} is out of range for shape {input.shape}")
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(f"glu: axis {dim} of shape {input.shape} must have an even size")
    before = (slice(None),) * (dim % n)
    return input[(*before, slice(0, size // 2))] * ops.sigmoid(input[(*before, slice(size // 2, size))])


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value; NaN stays."""
    return _applied(lambda x: ops.where(x <= threshold, float(value), x), input, inplace, "threshold")


def _implicit(name: str, x: Tensor, dim: int | None) -> int:
    """torch's choice of the axis where none is named."""
    tensor_only(x, name, "input")
    return dim if dim is not None else 0 if x.ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """e^(x_i) / sum_j e^(x_j) along axis dim; dtype: the result's, computed in float32."""
    return ops.softmax(input, _implicit("softmax", input, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """x_i - log sum_j e^(x_j) along axis dim; dtype: the result's, computed in float32."""
    return ops.log_softmax(input, _implicit("log_softmax", input, dim), dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """softmax(-x)."""
    axis = _implicit("softmin", input, dim)
    return softmax(-input, axis, dtype=dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, generator=None
) -> Tensor:
    """A sample of softmax(logits), softened by the temperature tau: softmax((x + gumbel noise) / tau) along dim.
    hard: one-hot, with the soft sample's gradient. (Jang et al., 2017; Maddison et al., 2017)"""
    uniform = _core.empty(tensor_only(logits, "gumbel_softmax", "logits").shape).uniform_(generator=generator)
    waiting = ops.maximum(-ops.log1p(-uniform), 2.0**-25)  # exponential, never 0
    soft = ops.softmax((logits - ops.log(waiting)) / tau, dim)
    if not hard:
        return soft
    axis = dim % max(soft.ndim, 1)
    chosen = ops.argmax(soft, dim, True).float()
    places = ops.arange(soft.shape[axis] if soft.ndim else 1).float()
    one_hot = (chosen == places.reshape(-1, *[1] * (soft.ndim - 1 - axis)) if soft.ndim else chosen == 0.0).float()
    return one_hot - soft.detach() + soft
