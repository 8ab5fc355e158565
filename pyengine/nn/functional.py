"""The layers' formulas as functions, under torch.nn.functional's names and arguments."""

from pyengine import ops
from pyengine.ops import (
    bilinear,
    channel_shuffle,
    cosine_similarity,
    flatten,
    linear,
    logsigmoid,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    sigmoid,
    tanh,
)
from pyengine.ops.attention import *
from pyengine.ops.channel_norm import batch_norm, instance_norm, local_response_norm
from pyengine.ops.conv import *
from pyengine.ops.counting import one_hot
from pyengine.ops.distance import normalize
from pyengine.ops.grid import affine_grid, grid_sample
from pyengine.ops.grouped import grouped_mm
from pyengine.ops.heads import *
from pyengine.ops.interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from pyengine.ops.pad import pad
from pyengine.ops.pool import *
from pyengine.ops.pool_adaptive import *
from pyengine.ops.pool_fractional import *
from pyengine.ops.row_norm import group_norm, layer_norm, rms_norm
from pyengine.ops.windows import fold, unfold

from .formulas import activation as _activation
from .formulas import classes as _classes
from .formulas import ctc as _ctc
from .formulas import drop as _drop
from .formulas import embedding as _embedding
from .formulas import margins as _margins
from .formulas import pairs as _pairs
from .formulas.activation import *
from .formulas.classes import *
from .formulas.ctc import *
from .formulas.drop import *
from .formulas.embedding import *
from .formulas.margins import *
from .formulas.pairs import *

__all__ = [
    "batch_norm",
    "cross_entropy",
    "dropout",
    "elu",
    "flatten",
    "gelu",
    "group_norm",
    "grouped_mm",
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
__all__ += ops.heads.__all__
__all__ += ops.conv.__all__
__all__ += ops.pool.__all__
__all__ += ops.pool_adaptive.__all__
__all__ += ops.pool_fractional.__all__
__all__ += ["affine_grid", "grid_sample"]
__all__ += ["bilinear", "channel_shuffle", "cosine_similarity", "pairwise_distance", "pdist", "pixel_shuffle"]
__all__ += [
    "fold",
    "interpolate",
    "normalize",
    "one_hot",
    "pad",
    "pixel_unshuffle",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
__all__ += _activation.__all__ + _classes.__all__ + _ctc.__all__ + _drop.__all__
__all__ += _embedding.__all__ + _margins.__all__ + _pairs.__all__


def gelu(input, approximate="none"):
    """x Phi(x), exactly ("none") or by the older formula with tanh ("tanh"). (Hendrycks & Gimpel 2016)"""
    if approximate == "none":
        return ops.gelu(input)
    if approximate == "tanh":
        return ops.gelu_tanh(input)
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta, and x where beta x > threshold: that is the same from 16 on, nothing overflows."""
    if not beta > 0:
        raise ValueError(f"softplus: beta must be positive, got {beta}")
    y = ops.softplus(input) if beta == 1 else ops.softplus(input * beta) / beta
    return y if threshold >= 16 else ops.where(input * beta > threshold, input, y)
