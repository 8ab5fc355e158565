"""What lives in the modules of operations that are read at the first use of one, so that `import pyengine` takes
milliseconds. A new operation is named here (tests/test_catalog.py knows)."""

# module -> functions of pyengine
FUNCTIONS = {
    "arithmetic": (
        "absolute addcdiv addcmul copysign div divide float_power floor_divide fmod hypot lerp multiply negative "
        "positive remainder rsub subtract true_divide"
    ),
    "arrange": "flip fliplr flipud moveaxis movedim repeat_interleave roll rot90 swapaxes swapdims tile",
    "chains": "chain_matmul inverse matrix_power",
    "channel_norm": "batch_norm instance_norm local_response_norm",
    "compare": (
        "allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor equal greater "
        "greater_equal isclose isneginf isposinf isreal less less_equal logical_and logical_not logical_or "
        "logical_xor not_equal signbit"
    ),
    "contraction": "einsum",
    "conv": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "counting": "bincount bucketize histc searchsorted unique unique_consecutive",
    "diagonals": "diag diag_embed diagflat diagonal trace tril tril_indices triu triu_indices",
    "distance": "cdist cosine_similarity pairwise_distance pdist",
    "extremes": "Max Min MinMax all aminmax any count_nonzero max min nanmean nansum",
    "gathering": "argwhere gather index_select masked_fill masked_scatter masked_select nonzero take take_along_dim",
    "join": (
        "atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors broadcast_to "
        "cartesian_prod column_stack concat concatenate dstack hstack meshgrid ravel row_stack vstack"
    ),
    "like": "empty_like full_like linspace logspace",
    "norms": "dist logsumexp norm renorm vector_norm",
    "pixels": "channel_shuffle pixel_shuffle pixel_unshuffle",
    "pool": "avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d max_pool1d max_pool2d max_pool3d",
    "pool_adaptive": (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d max_unpool1d max_unpool2d max_unpool3d"
    ),
    "pool_fractional": "fractional_max_pool2d fractional_max_pool3d",
    "products": "addbmm addmv addr bilinear bmm cross dot ger inner kron mm mv outer tensordot vdot",
    "quant": "QuantizedWeight int8_matmul quantize_dynamic quantized_linear",
    "rotary": "rotary_embedding rotary_tables",
    "rounding": "clamp clamp_max clamp_min clip fix fmax fmin frac heaviside nan_to_num round sgn threshold where",
    "row_norm": "group_norm layer_norm rms_norm",
    "row_sparse": "RowSparse",
    "sample": "bernoulli multinomial normal rand_like randint randint_like randn_like",
    "scan": "Cummax Cummin cummax cummin cumprod cumsum diff logcumsumexp",
    "scattering": "index_add index_copy index_fill index_put scatter scatter_add scatter_reduce select_scatter",
    "sorting": "argsort kthvalue msort sort topk",
    "special": (
        "acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asinh atanh deg2rad digamma erfinv expit "
        "lgamma logaddexp logaddexp2 logit rad2deg sinc xlogy"
    ),
    "splitting": "chunk dsplit hsplit narrow select split tensor_split unbind unflatten vsplit",
    "statistics": "Median corrcoef cov median nanmedian quantile",
    "windows": "as_strided",
}

# module -> methods of Tensor
METHODS = {
    "arithmetic": (
        "absolute addcdiv addcmul copysign div divide float_power floor_divide fmod hypot lerp multiply negative "
        "positive remainder subtract true_divide"
    ),
    "arrange": "flip fliplr flipud moveaxis movedim repeat repeat_interleave roll rot90 swapaxes swapdims tile",
    "chains": "inverse matrix_power",
    "compare": (
        "allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor equal greater "
        "greater_equal isclose isneginf isposinf isreal less less_equal logical_and logical_not logical_or "
        "logical_xor not_equal signbit"
    ),
    "counting": "bincount histc unique unique_consecutive",
    "diagonals": "diag diag_embed diagflat diagonal trace tril triu",
    "extremes": "all aminmax any count_nonzero max min nanmean nansum",
    "gathering": "argwhere gather index_select masked_fill masked_scatter masked_select nonzero take take_along_dim",
    "join": "broadcast_to expand_as ravel reshape_as view_as",
    "like": "new_empty new_full new_ones new_tensor new_zeros type_as",
    "mutations": (
        "abs_ absolute_ acos_ acosh_ add_ addcdiv_ addcmul_ arccos_ arccosh_ arcsin_ arcsinh_ arctan2_ "
        "arctan_ arctanh_ asin_ asinh_ atan2_ atan_ atanh_ bitwise_and_ bitwise_left_shift_ bitwise_not_ "
        "bitwise_or_ bitwise_right_shift_ bitwise_xor_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ copysign_ "
        "cos_ cosh_ cumprod_ cumsum_ deg2rad_ digamma_ div_ divide_ eq_ erf_ erfc_ erfinv_ exp2_ exp_ expm1_ "
        "fix_ float_power_ floor_ floor_divide_ fmod_ frac_ ge_ greater_ greater_equal_ gt_ heaviside_ hypot_ "
        "index_add_ index_copy_ index_fill_ index_put_ le_ lerp_ less_ less_equal_ lgamma_ log10_ log1p_ "
        "log2_ log_ logical_and_ logical_not_ logical_or_ logical_xor_ logit_ lt_ masked_fill_ "
        "masked_scatter_ mul_ multiply_ nan_to_num_ ne_ neg_ negative_ not_equal_ pow_ rad2deg_ reciprocal_ "
        "relu_ remainder_ renorm_ round_ rsqrt_ scatter_ scatter_add_ scatter_reduce_ sgn_ sigmoid_ sign_ "
        "sin_ sinc_ sinh_ sqrt_ square_ sub_ subtract_ tan_ tanh_ tril_ triu_ true_divide_ trunc_ xlogy_"
    ),
    "norms": "dist logsumexp norm renorm",
    "products": "addbmm addmv addr bmm cross dot ger inner kron mm mv outer vdot",
    "rounding": "clamp clamp_max clamp_min clip fix fmax fmin frac heaviside nan_to_num round sgn where",
    "sample": "bernoulli multinomial",
    "scan": "cummax cummin cumprod cumsum diff logcumsumexp",
    "scattering": "index_add index_copy index_fill index_put scatter scatter_add scatter_reduce select_scatter",
    "sorting": "argsort kthvalue msort sort topk",
    "special": (
        "acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asinh atanh deg2rad digamma erfinv lgamma "
        "logaddexp logaddexp2 logit rad2deg sinc xlogy"
    ),
    "splitting": "chunk dsplit hsplit narrow select split tensor_split unbind unflatten vsplit",
    "statistics": "corrcoef cov median nanmedian quantile",
    "windows": "as_strided unfold",
}
