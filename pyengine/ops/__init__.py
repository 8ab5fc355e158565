"""Every operation by name. Most are methods of Tensor too."""

from pyengine.ops import fallback as _fallback
from pyengine.ops.arithmetic import *
from pyengine.ops.arrange import *
from pyengine.ops.chains import *
from pyengine.ops.channel_norm import batch_norm, instance_norm, local_response_norm
from pyengine.ops.compare import *
from pyengine.ops.conv import *
from pyengine.ops.counting import *
from pyengine.ops.create import arange, clone, empty, eye, full, ones, ones_like, zeros, zeros_like
from pyengine.ops.diagonals import *
from pyengine.ops.distance import *
from pyengine.ops.einsum import *
from pyengine.ops.elementwise import *
from pyengine.ops.extremes import *
from pyengine.ops.gather import *
from pyengine.ops.join import *
from pyengine.ops.like import *
from pyengine.ops.mutations import *
from pyengine.ops.norms import *
from pyengine.ops.pixels import *
from pyengine.ops.pool import *
from pyengine.ops.pool_adaptive import *
from pyengine.ops.pool_fractional import *
from pyengine.ops.product import addmm, baddbmm, linear, matmul, pack
from pyengine.ops.products import *
from pyengine.ops.quant import QuantizedWeight, int8_matmul, quantize_dynamic, quantized_linear
from pyengine.ops.random import dropout, manual_seed, rand, randn, randperm
from pyengine.ops.reduction import amax, amin, argmax, argmin, mean, prod, std, std_mean, sum, var, var_mean
from pyengine.ops.rounding import *
from pyengine.ops.row_norm import group_norm, layer_norm, rms_norm
from pyengine.ops.sample import *
from pyengine.ops.scan import *
from pyengine.ops.scatter import *
from pyengine.ops.shape import (
    cat,
    expand,
    flatten,
    permute,
    reshape,
    squeeze,
    stack,
    transpose,
    unsqueeze,
    view,
)
from pyengine.ops.softmax import cross_entropy, l1_loss, log_softmax, mse_loss, softmax
from pyengine.ops.sort import *
from pyengine.ops.special import *
from pyengine.ops.split import *
from pyengine.ops.statistics import *
from pyengine.ops.windows import *

__all__ = sorted(  # the functions, not the modules that hold them
    name
    for name, value in globals().items()
    if not name.startswith("_") and getattr(value, "__module__", "").startswith("pyengine.ops.")
    and "._" not in value.__module__
)
