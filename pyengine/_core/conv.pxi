# Convolutions and their two gradients: three functions of x, w and y, each of which makes one from the other two. None
# is recorded here; ops/conv.py does it. Sizes along the axes of space come as tuples, one number an axis.

cdef enum:
    FEW_CHANNELS = 8


cdef bint wants_channels_last(const pe_tensor *source, last, int64_t channels, const pe_tensor *w, int64_t groups):
    """The one rule of layout: an image that a convolution makes has its channels last where there are 8 or more,
    whatever its input's layout: networks run channels-last behind their first layer. Few channels, and those of a
    depthwise convolution, lie as `last` says, None: as the source's do."""
    cdef bint depthwise = groups > 1 and w.shape[1] == 1
    return (channels >= FEW_CHANNELS and not depthwise) or (is_channels_last(source) if last is None else last)


cdef Tensor new_image(const pe_tensor *like, bint channels_last, str what):
    """A new float32 tensor of like's shape in one of the two formats."""
    cdef pe_tensor layout = like[0]
    layout.dtype = PE_FLOAT32
    lay_out(&layout, channels_last, what)
    return new_tensor(&layout)


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


cdef Tensor set_residual(pe_conv_args *args, Tensor residual, Tensor out):
    """act(sum + bias + residual): the sums start at it where an activation follows, and without one it is added to
    them at the end. What comes back must live as long as args."""
    cdef Tensor laid = residual
    if not same_shape(&residual.view, &out.view) or residual.view.dtype != PE_FLOAT32:
        raise ValueError(f"conv: residual of shape {residual.shape} and {residual.dtype.name} does not fit a float32 "
                         f"result of shape {out.shape}")
    if args.activation != PE_NO_ACTIVATION:
        copy_into(&residual.view, &out.view)
        args.accumulate = True
        return residual
    if not same_strides(&residual.view, &out.view):
        laid = empty_like(&out.view, PE_FLOAT32)
        copy_into(&residual.view, &laid.view)
    args.residual = &laid.view
    return laid


cdef Tensor convolve(pe_conv_args *args, const pe_tensor *result, Tensor x, Tensor w, Tensor bias, bint recorded,
                     last, Tensor residual):
    """conv() with steps, spacings, befores, groups and activation in args, and the result's shape."""
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out, flat = conv_bias(bias, "conv")
    cdef PackedWeight packed = None
    need_axes(x, result.ndim, "conv", "input")
    need_axes(w, result.ndim, "conv", "weight")
    out = new_image(result, wants_channels_last(&x.view, last, w.view.shape[0], &w.view, args.groups), "conv")
    args.x, args.w, args.y, args.bias = &x.view, &w.view, &out.view, view_or_null(flat)
    if residual is not None:
        residual = set_residual(args, residual, out)
    if recorded:
        forget_pack(w)
    else:
        packed = find_conv_pack(w, args)
        if packed is not None:
            args.packed = packed.memory
    with nogil:
        status = pe_conv(context, args, &err)
    check(status, &err)
    return out


def conv(Tensor x, Tensor w, Tensor bias or None, steps, spacings, befores, sizes, int64_t groups,
         bint recorded=True, last=None, int activation=-1, Tensor residual=None):
    """y (N, O, sizes) of x (N, C, space) and w (O, C / groups, kernel), plus bias. recorded: the tape will hold it; or
    the weight may be packed for the next time. last: whether y's channels lie last where that is free.
    With activation (a row of one input) and residual y is act(sums + bias + residual), the sums starting at it."""
    cdef pe_conv_args args
    cdef pe_tensor result
    read_conv(&args, steps, spacings, befores, groups, "conv")
    args.activation = activation
    need_axes(x, 2 + <int>len(sizes), "conv", "input")
    need_axes(w, 2 + <int>len(sizes), "conv", "weight")
    result_shape(&result, x.view.shape[0], w.view.shape[0], sizes)
    return convolve(&args, &result, x, w, bias, recorded, last, residual)


def conv_input(Tensor y, Tensor w, Tensor bias or None, steps, spacings, befores, sizes, int64_t groups,
               last=None):
    """x (N, C, sizes) of y (N, O, places) and w (O, C / groups, kernel): what conv pulls back along x, plus bias. last:
    whether x's channels lie last where that is free, None: as y's do."""
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
    out = new_image(&layout, wants_channels_last(&y.view, last, layout.shape[1], &w.view, groups), "conv_input")
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
