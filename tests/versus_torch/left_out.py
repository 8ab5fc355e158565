"""What of torch's operation and module samples is not asked of this engine, each line with its reason (a regular
expression on whole names). Everything else that fails, or that the engine has not, counts as failed."""

OUTSIDE = {
    # other fields of mathematics than the plan of operations names
    r"fft\..*|stft|istft": "Fourier transforms",
    r"signal\..*": "windows of signal processing",
    r"special\..*|i0|igamma.*|mvlgamma|polygamma|lgamma|digamma": "special functions beyond erf",
    r"sparse\..*|to_sparse|masked\..*|_segment_reduce": "sparse and masked tensors",
    r"linalg\.(?!vector_norm|norm|multi_dot|matrix_power|cross|vecdot|diagonal).*": "decompositions and solvers",
    r".*cholesky.*|geqrf|ormqr|qr|svd.*|pca_lowrank|lu|lu_.*|logdet|pinverse|matrix_exp|triangular_solve": "the same",
    r".*complex.*|cdouble|cfloat|chalf|conj.*|angle|polar|imag|real|isreal|resolve_.*|mH|H": "complex numbers",
    r"geometric|exponential|log_normal|uniform|normal|cauchy": "in-place fillers with random numbers",
    r"hash_tensor|histogram.*|.*trapezoid|trapz|gradient|frexp|ldexp|nextafter|mode|nanquantile|isin": "rare",
    r"combinations|put|index_reduce|nonzero_static|scalar_tensor": "rare",
    r"empty_permuted|empty_strided|new_empty_strided|resize_.*": "the choice of strides, and of storage sizes",
    # torch's inner names
    r"jiterator.*": "kernels compiled for another device",
    r"_(?!_).*|native_.*|torch\.ops\..*|unsafe_.*|constant_pad_nd|max_pool2d_with_indices_backward": "inner names",
    r"sum_to_size|rsub|split_with_sizes|__rdiv__|grid_sampler_.d": "inner names",
    r".*_copy|(?!masked).*_scatter": "copies instead of views, for compilers",
    r"byte|char|short|int|long|half|double|bool|bfloat16|float": "casts by name: held by the tests of types",
}

# Results are random numbers: shapes are compared, not values.
RANDOM = r".*dropout.*|.*rand.*|bernoulli|multinomial|empty.*|new_empty|nn\.functional\.(rrelu|fractional.*)|normal"
