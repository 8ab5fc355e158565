"""Every operation by name. Most are methods of Tensor too. What is needed by everything is read at once; the modules
in catalog.py are read at the first use of one of their operations."""

from pyengine.ops import _later
from pyengine.ops.create import arange, clone, empty, eye, fill, full, ones, ones_like, to, zeros, zeros_like
from pyengine.ops.elementwise import *
from pyengine.ops.product import addmm, baddbmm, linear, matmul, pack
from pyengine.ops.random import dropout, manual_seed, rand, randn, randperm
from pyengine.ops.reduction import amax, amin, argmax, argmin, mean, prod, std, std_mean, sum, var, var_mean
from pyengine.ops.shape import cat, expand, flatten, permute, reshape, squeeze, stack, transpose, unsqueeze, view
from pyengine.ops.softmax import cross_entropy, l1_loss, log_softmax, mse_loss, softmax

TYPE_CHECKING = False
if TYPE_CHECKING:  # what type checkers follow instead of __getattr__
    from pyengine.ops.arithmetic import *
    from pyengine.ops.arrange import (
        flip,
        fliplr,
        flipud,
        moveaxis,
        movedim,
        repeat_interleave,
        roll,
        rot90,
        swapaxes,
        swapdims,
        tile,
    )
    from pyengine.ops.chains import chain_matmul, inverse, matrix_power
    from pyengine.ops.channel_norm import batch_norm, instance_norm, local_response_norm
    from pyengine.ops.compare import *
    from pyengine.ops.contraction import einsum
    from pyengine.ops.conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
    from pyengine.ops.counting import bincount, bucketize, histc, searchsorted, unique, unique_consecutive
    from pyengine.ops.diagonals import (
        diag,
        diag_embed,
        diagflat,
        diagonal,
        trace,
        tril,
        tril_indices,
        triu,
        triu_indices,
    )
    from pyengine.ops.distance import cdist, cosine_similarity, pairwise_distance, pdist
    from pyengine.ops.extremes import Max, Min, MinMax, all, aminmax, any, count_nonzero, max, min, nanmean, nansum
    from pyengine.ops.gathering import (
        argwhere,
        gather,
        index_select,
        masked_fill,
        masked_scatter,
        masked_select,
        nonzero,
        take,
        take_along_dim,
    )
    from pyengine.ops.join import (
        atleast_1d,
        atleast_2d,
        atleast_3d,
        block_diag,
        broadcast_shapes,
        broadcast_tensors,
        broadcast_to,
        cartesian_prod,
        column_stack,
        concat,
        concatenate,
        dstack,
        hstack,
        meshgrid,
        ravel,
        row_stack,
        vstack,
    )
    from pyengine.ops.like import empty_like, full_like, linspace, logspace
    from pyengine.ops.norms import dist, logsumexp, norm, renorm, vector_norm
    from pyengine.ops.pixels import channel_shuffle, pixel_shuffle, pixel_unshuffle
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
    from pyengine.ops.products import (
        addbmm,
        addmv,
        addr,
        bilinear,
        bmm,
        cross,
        dot,
        ger,
        inner,
        kron,
        mm,
        mv,
        outer,
        tensordot,
        vdot,
    )
    from pyengine.ops.quant import QuantizedWeight, int8_matmul, quantize_dynamic, quantized_linear
    from pyengine.ops.rotary import rotary_embedding, rotary_tables
    from pyengine.ops.rounding import *
    from pyengine.ops.row_norm import group_norm, layer_norm, rms_norm
    from pyengine.ops.row_sparse import RowSparse
    from pyengine.ops.sample import bernoulli, multinomial, normal, rand_like, randint, randint_like, randn_like
    from pyengine.ops.scan import Cummax, Cummin, cummax, cummin, cumprod, cumsum, diff, logcumsumexp
    from pyengine.ops.scattering import (
        index_add,
        index_copy,
        index_fill,
        index_put,
        scatter,
        scatter_add,
        scatter_reduce,
        select_scatter,
    )
    from pyengine.ops.sorting import argsort, kthvalue, msort, sort, topk
    from pyengine.ops.special import (
        acosh,
        arccos,
        arccosh,
        arcsin,
        arcsinh,
        arctan,
        arctan2,
        arctanh,
        asinh,
        atanh,
        deg2rad,
        digamma,
        erfinv,
        expit,
        lgamma,
        logaddexp,
        logaddexp2,
        logit,
        rad2deg,
        sinc,
        xlogy,
    )
    from pyengine.ops.splitting import (
        chunk,
        dsplit,
        hsplit,
        narrow,
        select,
        split,
        tensor_split,
        unbind,
        unflatten,
        vsplit,
    )
    from pyengine.ops.statistics import Median, corrcoef, cov, median, nanmedian, quantile
    from pyengine.ops.windows import as_strided

NOW = {  # the functions that are here already, not the modules that hold them
    name: value
    for name, value in globals().items()
    if not name.startswith("_")
    and getattr(value, "__module__", "").startswith("pyengine.ops.")
    and "._" not in value.__module__
}
__all__ = sorted([*NOW, *_later.PLACES])


def __getattr__(name: str):
    if name not in _later.PLACES:
        raise AttributeError(f"module 'pyengine.ops' has no attribute {name!r}")
    value = globals()[name] = _later.function(name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})
