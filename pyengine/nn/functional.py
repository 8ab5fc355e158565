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
from pyengine.ops.channel_norm import batch_norm, instance_norm, local_response_norm
from pyengine.ops.row_norm import group_norm, layer_norm, rms_norm
from pyengine.ops.attention import *  # noqa: F403
from pyengine.ops.conv import *  # noqa: F403
from pyengine.ops.pool import *  # noqa: F403
from pyengine.ops.pool_adaptive import *  # noqa: F403
from pyengine.ops.pool_fractional import *  # noqa: F403

__all__ = [
    "batch_norm",
    "cross_entropy",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "group_norm",
    "instance_norm",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
__all__ += ops.attention.__all__
__all__ += ops.conv.__all__
__all__ += ops.pool.__all__
__all__ += ops.pool_adaptive.__all__
__all__ += ops.pool_fractional.__all__


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
