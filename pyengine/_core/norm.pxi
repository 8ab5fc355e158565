# Layer and RMS normalization along the last axis, and rotary positions. Like structured.pxi: check, make the output,
# drop the GIL, call.

cdef Tensor row_vector(Tensor x, str what):
    """One float32 a row of x."""
    cdef int64_t rows = 1
    cdef int i
    if x.view.ndim == 0:
        raise ValueError(f"{what}: input of shape () has no axis to run along")
    for i in range(x.view.ndim - 1):
        rows *= x.view.shape[i]
    return new_row_major(PE_FLOAT32, (rows,), what)


cdef Tensor parameter_gradient(Tensor x, bint wanted, str what):
    return new_row_major(PE_FLOAT32, (x.view.shape[x.view.ndim - 1],), what) if wanted else None


cdef inline const pe_tensor *view_or_null(Tensor x) noexcept:
    return NULL if x is None else &x.view


def layer_norm(Tensor x, Tensor weight=None, Tensor bias=None, float eps=1e-5):
    """(result, mean per row, reciprocal deviation per row) along the last axis; not recorded."""
    cdef pe_layer_norm_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "layer_norm", "input")
    cdef Tensor mean = row_vector(x, "layer_norm"), rstd = row_vector(x, "layer_norm")
    cdef Tensor out = empty_like(&x.view, PE_FLOAT32)
    args.in_, args.out, args.mean, args.rstd = &x.view, &out.view, &mean.view, &rstd.view
    args.weight, args.bias, args.eps = view_or_null(weight), view_or_null(bias), eps
    with nogil:
        status = pe_layer_norm(context, &args, &err)
    check(status, &err)
    return out, mean, rstd


def layer_norm_backward(Tensor x, Tensor g, Tensor mean, Tensor rstd, Tensor weight=None,
                        bint wants_weight=False, bint wants_bias=False):
    """(dx, dweight or None, dbias or None) of layer_norm; not recorded."""
    cdef pe_layer_norm_backward_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "layer_norm_backward", "input")
    if x.view.ndim == 0:
        raise ValueError("layer_norm_backward: input of shape () has no axis to run along")
    cdef Tensor dx = empty_like(&x.view, PE_FLOAT32)
    cdef Tensor dweight = parameter_gradient(x, wants_weight, "layer_norm")
    cdef Tensor dbias = parameter_gradient(x, wants_bias, "layer_norm")
    args.in_, args.g, args.mean, args.rstd, args.dx = &x.view, &g.view, &mean.view, &rstd.view, &dx.view
    args.weight, args.dweight, args.dbias = view_or_null(weight), view_or_null(dweight), view_or_null(dbias)
    with nogil:
        status = pe_layer_norm_backward(context, &args, &err)
    check(status, &err)
    return dx, dweight, dbias


def rms_norm(Tensor x, Tensor weight=None, float eps=1e-5):
    """(result, reciprocal root of the mean square per row) along the last axis; not recorded."""
    cdef pe_rms_norm_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "rms_norm", "input")
    cdef Tensor rstd = row_vector(x, "rms_norm")
    cdef Tensor out = empty_like(&x.view, PE_FLOAT32)
    args.in_, args.out, args.rstd, args.weight, args.eps = &x.view, &out.view, &rstd.view, view_or_null(weight), eps
    with nogil:
        status = pe_rms_norm(context, &args, &err)
    check(status, &err)
    return out, rstd


def rms_norm_backward(Tensor x, Tensor g, Tensor rstd, Tensor weight=None, bint wants_weight=False):
    """(dx, dweight or None) of rms_norm; not recorded."""
    cdef pe_rms_norm_backward_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "rms_norm_backward", "input")
    if x.view.ndim == 0:
        raise ValueError("rms_norm_backward: input of shape () has no axis to run along")
    cdef Tensor dx = empty_like(&x.view, PE_FLOAT32)
    cdef Tensor dweight = parameter_gradient(x, wants_weight, "rms_norm")
    args.in_, args.g, args.rstd, args.dx = &x.view, &g.view, &rstd.view, &dx.view
    args.weight, args.dweight = view_or_null(weight), view_or_null(dweight)
    with nogil:
        status = pe_rms_norm_backward(context, &args, &err)
    check(status, &err)
    return dx, dweight


def rotary(Tensor x, Tensor cos, Tensor sin, bint neighbours=False, bint back=False):
    """Pairs of x's last axis turned by their position's angles, or back; recorded with regard to x alone."""
    cdef pe_rotary_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "rotary", "x")
    cdef Tensor out = empty_like(&x.view, PE_FLOAT32)
    args.x, args.cos, args.sin, args.y = &x.view, &cos.view, &sin.view, &out.view
    args.neighbours, args.back = neighbours, back
    with nogil:
        status = pe_rotary(context, &args, &err)
    check(status, &err)
    return record(out, "rotary", (x,), (cos, sin), (neighbours, back))
