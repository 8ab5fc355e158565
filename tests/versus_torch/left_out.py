"""What of torch's operation and module samples is not asked of this engine, each line with its reason (regular
expressions on whole names). Everything else that fails, or that the engine has not, counts as failed."""

OUTSIDE = {
    # not named by the plan of operations: other fields of mathematics
    r"fft\..*|stft|istft": "Fourier transforms",
    r"signal\..*": "windows of signal processing",
    r"special\..*|i0|igamma.*|mvlgamma|polygamma|lgamma|digamma": "special functions beyond erf",
    r"sparse\..*|to_sparse|masked\..*|_segment_reduce": "sparse and masked tensors",
    r"linalg\.(?!vector_norm|norm|multi_dot|matrix_power|cross|vecdot|diagonal).*|.*cholesky.*|geqrf|ormqr|qr|svd|"
    r"svd_lowrank|pca_lowrank|lu.*|logdet|pinverse|matrix_exp|triangular_solve": "decompositions and solvers",
    r".*complex.*|cdouble|cfloat|chalf|conj.*|angle|polar|imag|real|isreal|resolve_.*|mH|H|view_as_real|cauchy": "complex numbers",
    r"jiterator.*": "kernels compiled for another device",
    r"(geometric|exponential|log_normal|uniform|normal)": "in-place random fillers of distributions",
    r"hash_tensor|histogram.*|cumulative_trapezoid|trapezoid|trapz|gradient|frexp|ldexp|nextafter|mode|nanquantile|isin|"
    r"combinations|put|index_reduce|nonzero_static|empty_permuted|empty_strided|new_empty_strided|resize_.*|"
    r"scalar_tensor": "rare, and not in the plan of operations",
    # torch's own inner names
    r"_.*(?<!__)|native_.*|torch\.ops\..*|.*_copy|unsafe_.*|constant_pad_nd|max_pool2d_with_indices_backward|"
    r"jvp.*|alias|sum_to_size|rsub|split_with_sizes|.*_scatter(?<!masked_scatter)|__rdiv__|grid_sampler_.d": "torch's inner names, or views of writes",
    r"byte|char|short|int|long|half|double|cfloat|bool|bfloat16|float": "casts by name: tested with the types",
}

# results of random numbers: shapes and types are compared, not values
RANDOM = (
    r".*dropout.*|.*rand.*|bernoulli|multinomial|empty.*|new_empty|nn\.functional\.(rrelu|fractional.*)|normal|"
    r".*scaled_dot_product_attention_dropout"
)
