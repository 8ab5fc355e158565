"""The layers' formulas as functions, under torch.nn.functional's names and arguments."""

from pyengine import ops
from pyengine.ops import (
    cross_entropy,
    dropout,
    elu,
    flatten,
    l1_loss,
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    mse_loss,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from pyengine.ops.attention import multi_head_attention_forward, scaled_dot_product_attention
from pyengine.ops.conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from pyengine.ops.pool import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from pyengine.ops.pool_adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from pyengine.ops.pool_fractional import fractional_max_pool2d, fractional_max_pool3d

__all__ = [
    "cross_entropy",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
__all__ += [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "multi_head_attention_forward",
    "scaled_dot_product_attention",
]


def gelu(input, approximate="none"):
    """x Phi(x), exactly ("none") or by the older formula with tanh ("tanh"). (Hendrycks & Gimpel 2016)"""
    if approximate == "none":
        return ops.gelu(input)
    if approximate == "tanh":
        return ops.gelu_tanh(input)
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta; threshold is accepted and not needed: the kernel does not overflow."""
    if beta == 1:
        return ops.softplus(input)
    if not beta > 0:
        raise ValueError(f"softplus: beta must be positive, got {beta}")
    return ops.softplus(input * beta) / beta
