# Convolutions and their two gradients: three functions of x, w and y, each of which makes one from the other two. None
# is recorded here; ops/conv.py does it. Sizes along the axes of space come as tuples, one number an axis.

cdef bint is_channels_last(const pe_tensor *v) noexcept:
    """Dense, with the channels (axis 1) fastest and the other axes in their order, and not row-major as well."""
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    cdef int i, axis
    if v.ndim < 3 or is_row_major(v):
        return False
    for i in range(v.ndim):
        axis = 1 if i == 0 else v.ndim - i if i < v.ndim - 1 else 0
        if v.shape[axis] != 1:
            if v.strides[axis] != step:
                return False
            step *= v.shape[axis]
    return True


cdef Tensor new_image(const pe_tensor *layout, bint channels_last, str what):
    """A new float32 tensor of layout's shape in one of the two memory formats."""
    cdef pe_tensor v = layout[0]
    cdef int64_t step
    cdef int i
    v.dtype = PE_FLOAT32
    fill_row_major(&v, what)
    if channels_last and numel(&v):
        step = sizeof(float)
        v.strides[1] = step
        step *= v.shape[1]
        for i in range(v.ndim - 1, 1, -1):
            v.strides[i] = step
            step *= v.shape[i]
        v.strides[0] = step
    return new_tensor(&v)


cdef int read_conv(pe_conv_args *args, steps, spacings, befores, int64_t groups, str what) except -1:
    cdef int i, n = len(steps)
    if n > 3:
        raise ValueError(f"{what}: at most 3 axes of space, got {n}")
    memset(args, 0, sizeof(pe_conv_args))
    args.groups, args.activation = groups, PE_NO_ACTIVATION
    for i in range(n):
        args.step[i], args.spacing[i], args.before[i] = steps[i], spacings[i], befores[i]
    return 0


cdef int need_axes(Tensor t, int axes, str what, str argument) except -1:
    float_only(t, what, argument)
    if t.view.ndim != axes:
        raise ValueError(f"{what}: {argument} must have {axes} axes, got shape {t.shape}")
    return 0


cdef int result_shape(pe_tensor *v, int64_t first, int64_t channels, sizes) except -1:
    cdef int i
    v.ndim = 2 + <int>len(sizes)
    v.shape[0], v.shape[1] = first, channels
    for i in range(v.ndim - 2):
        v.shape[2 + i] = sizes[i]
    return 0


cdef Tensor conv_bias(Tensor bias, str what):
    if bias is None or (bias.view.ndim == 1 and bias.view.strides[0] == sizeof(float)):
        return bias
    cdef Tensor dense = new_row_major(PE_FLOAT32, bias.shape, what)
    float_only(bias, what, "bias")
    copy_into(&bias.view, &dense.view)
    return dense


def conv(Tensor x, Tensor w, Tensor bias or None, steps, spacings, befores, sizes, int64_t groups,
         bint recorded=True):
    """y (N, O, sizes) of x (N, C, space) and w (O, C / groups, kernel), plus bias. y has its channels last where x or w
    has. recorded: the tape will hold it; else the weight may be packed for the next time."""
    cdef pe_conv_args args
    cdef pe_error err
    cdef pe_status status
    cdef pe_tensor layout
    cdef Tensor out, flat = conv_bias(bias, "conv")
    cdef PackedWeight packed = None
    cdef int axes = 2 + <int>len(sizes)
    read_conv(&args, steps, spacings, befores, groups, "conv")
    need_axes(x, axes, "conv", "input")
    need_axes(w, axes, "conv", "weight")
    result_shape(&layout, x.view.shape[0], w.view.shape[0], sizes)
    out = new_image(&layout, is_channels_last(&x.view) or is_channels_last(&w.view), "conv")
    args.x, args.w, args.y, args.bias = &x.view, &w.view, &out.view, view_or_null(flat)
    if recorded:
        forget_pack(w)
    else:
        packed = find_conv_pack(w, &args)
        if packed is not None:
            args.packed = packed.memory
    with nogil:
        status = pe_conv(context, &args, &err)
    check(status, &err)
    return out


def conv_input(Tensor y, Tensor w, Tensor bias or None, steps, spacings, befores, sizes, int64_t groups):
    """x (N, C, sizes) of y (N, O, places) and w (O, C / groups, kernel): what conv pulls back along x, plus bias. x has
    its channels last where y or w has."""
    cdef pe_conv_args args
    cdef pe_error err
    cdef pe_status status
    cdef pe_tensor layout
    cdef Tensor out, flat = conv_bias(bias, "conv_input")
    cdef int axes = 2 + <int>len(sizes)
    read_conv(&args, steps, spacings, befores, groups, "conv_input")
    need_axes(y, axes, "conv_input", "input")
    need_axes(w, axes, "conv_input", "weight")
    result_shape(&layout, y.view.shape[0], w.view.shape[1] * groups, sizes)
    out = new_image(&layout, is_channels_last(&y.view) or is_channels_last(&w.view), "conv_input")
    args.x, args.w, args.y, args.bias = &out.view, &w.view, &y.view, view_or_null(flat)
    with nogil:
        status = pe_conv_input(context, &args, &err)
    check(status, &err)
    return out


def conv_weight(Tensor x, Tensor y, steps, spacings, befores, sizes, int64_t groups, bint channels_last=False):
    """w (O, C / groups, sizes) of x (N, C, space) and y (N, O, places): what conv pulls back along w."""
    cdef pe_conv_args args
    cdef pe_error err
    cdef pe_status status
    cdef pe_tensor layout
    cdef Tensor out
    cdef int axes = 2 + <int>len(sizes)
    read_conv(&args, steps, spacings, befores, groups, "conv_weight")
    need_axes(x, axes, "conv_weight", "input")
    need_axes(y, axes, "conv_weight", "grad")
    result_shape(&layout, y.view.shape[1], x.view.shape[1] // groups if groups > 0 else 0, sizes)
    out = new_image(&layout, channels_last, "conv_weight")
    args.x, args.w, args.y = &x.view, &out.view, &y.view
    with nogil:
        status = pe_conv_weight(context, &args, &err)
    check(status, &err)
    return out


def has_channels_last(Tensor x):
    """True where x is dense with its channels (axis 1) fastest, and not row-major as well."""
    return is_channels_last(&x.view)
