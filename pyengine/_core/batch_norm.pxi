# Batch normalization. None of it is recorded here; ops/channel_norm.py does it. Everything but images is (C), dense.

cdef int moved(Tensor running) except -1:
    if running is not None:
        writable(running, "batch_norm")
        running.storage.version += 1
    return 0


cdef int need_channels(Tensor x, str what) except -1:
    float_only(x, what, "input")
    if x.view.ndim < 2:
        raise ValueError(f"{what}: input of shape {x.shape} must have two axes or more")
    return 0


def batch_norm(Tensor x, Tensor weight or None, Tensor bias or None, Tensor running_mean or None,
               Tensor running_var or None, bint training, float momentum, float eps):
    """(y, mean, reciprocal deviation) of x (N, C, ...); in training the running statistics are written."""
    cdef pe_batch_norm_args args
    cdef pe_error err
    cdef pe_status status
    need_channels(x, "batch_norm")
    cdef tuple channels = (x.view.shape[1],)
    cdef Tensor image = as_image(x, "batch_norm", "input"), y = empty_like(&image.view, PE_FLOAT32)
    cdef Tensor mean = new_row_major(PE_FLOAT32, channels, "batch_norm")
    cdef Tensor rstd = new_row_major(PE_FLOAT32, channels, "batch_norm")
    args.x, args.y, args.mean, args.rstd = &image.view, &y.view, &mean.view, &rstd.view
    args.weight, args.bias = view_or_null(weight), view_or_null(bias)
    args.running_mean, args.running_var = view_or_null(running_mean), view_or_null(running_var)
    args.eps, args.momentum, args.training = eps, momentum, training
    if training:
        moved(running_mean)
        moved(running_var)
    with nogil:
        status = pe_batch_norm(context, &args, &err)
    check(status, &err)
    return y, mean, rstd


def batch_norm_backward(Tensor x, Tensor g, Tensor weight or None, Tensor mean, Tensor rstd, bint training,
                        bint wants_input, bint wants_weight, bint wants_bias):
    """(dx, dweight, dbias) of batch_norm, None where not wanted; dx has the memory format of x."""
    cdef pe_batch_norm_backward_args args
    cdef pe_error err
    cdef pe_status status
    need_channels(x, "batch_norm_backward")
    float_only(g, "batch_norm_backward", "grad")
    cdef tuple channels = (x.view.shape[1],)
    cdef Tensor image = as_image(x, "batch_norm_backward", "input"), dx = None, dweight = None, dbias = None
    cdef Tensor grad = in_format(g, is_channels_last(&image.view), "batch_norm_backward")
    if wants_input:
        dx = empty_like(&image.view, PE_FLOAT32)
    if wants_weight:
        dweight = new_row_major(PE_FLOAT32, channels, "batch_norm_backward")
    if wants_bias:
        dbias = new_row_major(PE_FLOAT32, channels, "batch_norm_backward")
    args.x, args.g, args.weight = &image.view, &grad.view, view_or_null(weight)
    args.mean, args.rstd, args.training = &mean.view, &rstd.view, training
    args.dx, args.dweight, args.dbias = view_or_null(dx), view_or_null(dweight), view_or_null(dbias)
    with nogil:
        status = pe_batch_norm_backward(context, &args, &err)
    check(status, &err)
    return dx, dweight, dbias
