"""The specification: every operation in float64 NumPy, one line each.

DOMAIN gives the open interval that a row's inputs are drawn from where it is not (-4, 4)."""

import numpy as np
from scipy import special


def pool_reduce(f):
    """f over axes, with torch's names for its arguments."""
    return lambda x, dim=None, keepdim=False: f(x, axis=dim, keepdims=keepdim)


UNARY = {
    "identity": lambda x: x,
    "zero": lambda x: 0 * x,
    "neg": lambda x: -x,
    "abs": np.abs,
    "sign": np.sign,
    "square": lambda x: x * x,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "erf": special.erf,
    "erfc": special.erfc,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * special.expit(x),
    "sigmoid": special.expit,
    "logsigmoid": lambda x: -np.logaddexp(0, -x),
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}

BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "atan2": np.arctan2,
    "leaky_relu": lambda a, b: np.where(a > 0, a, b * a),
    "softshrink": lambda a, b: np.where(a > b, a - b, np.where(a < -b, a + b, 0 * a)),
    "hardshrink": lambda a, b: np.where(np.abs(a) <= b, 0, a),
    "elu": lambda a, b: np.where(a > 0, a, b * np.expm1(np.minimum(a, 0))),
}

COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
TEST = {"isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite}
LOGICAL = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logical_not": np.logical_not,
}
CHOICE = {"where": np.where}

REDUCTION = {
    "sum": pool_reduce(np.sum),
    "mean": pool_reduce(np.mean),
    "prod": pool_reduce(np.prod),
    "amax": pool_reduce(np.max),
    "amin": pool_reduce(np.min),
}

STRUCTURED = {
    "matmul": np.matmul,
    "linear": lambda x, w, b: x @ w.T + b,
    "softmax": lambda x, dim=-1: special.softmax(x, axis=dim),
    "log_softmax": lambda x, dim=-1: special.log_softmax(x, axis=dim),
    "cross_entropy": lambda x, t: -np.mean(special.log_softmax(x, axis=1)[np.arange(len(t)), t]),
    "mse_loss": lambda x, t: np.mean((x - t) ** 2),
    "l1_loss": lambda x, t: np.mean(np.abs(x - t)),
}


def attention(q, k, v, mask=0.0, scale=None):
    """softmax(q k^T scale + mask) v; zeros where a mask hides all."""
    scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + mask
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(special.softmax(scores, -1)) @ v


# where a row is smooth and defined
DOMAIN = {
    "sqrt": (0.1, 4), "rsqrt": (0.1, 4), "reciprocal": (0.2, 4), "log": (0.1, 4), "log2": (0.1, 4),
    "log10": (0.1, 4), "log1p": (-0.8, 4), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "tan": (-1.2, 1.2),
    "div": (0.3, 3), "pow": (0.3, 3), "atan2": (0.3, 3),
}  # fmt: skip

# points where the derivative jumps: random inputs stay 0.05 away from them
KINKS = {
    "abs": (0,), "sign": (0,), "relu": (0,), "relu6": (0, 6), "hardtanh": (-1, 1), "hardsigmoid": (-3, 3),
    "hardswish": (-3, 3), "softsign": (0,), "leaky_relu": (0,), "elu": (0,),
    **{name: tuple(range(-5, 6)) for name in ("floor", "ceil", "trunc")},
    "round": tuple(i + 0.5 for i in range(-5, 5)),
}  # fmt: skip


THRESHOLD = ("softshrink", "hardshrink")  # kinks where |a| = b


def draw(name: str, shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Random float32 inputs inside a row's domain and away from its kinks."""
    low, high = DOMAIN.get(name, (-4, 4))
    x = rng.uniform(low, high, shape)
    for kink in KINKS.get(name, ()):
        near = np.abs(x - kink) < 0.05
        x = np.where(near, kink + np.where(x >= kink, 0.07, -0.07), x)
    return x.astype(np.float32)


def slope(f, args: list[np.ndarray], i: int, step: float = 1e-5) -> np.ndarray:
    """The derivative of an elementwise f by its i-th argument, by central differences in float64
    (Richardson's extrapolation: the error is of order step^4)."""

    def difference(h: float) -> np.ndarray:
        up, down = list(args), list(args)
        up[i], down[i] = args[i] + h, args[i] - h
        return (f(*up) - f(*down)) / (2 * h)

    return (4 * difference(step) - difference(2 * step)) / 3
