# Operations with a structure of their own: reductions, softmax, losses. (Products: product.pxi.)
# Each def checks, makes the output, drops the GIL and calls one pe_* function; ops/ documents them
# and holds their derivatives.

cdef int float_only(Tensor x, str what, str argument) except -1:
    if x.view.dtype != PE_FLOAT32:
        raise TypeError(f"{what}: {argument} must be float32, got {x.dtype.name} of shape {x.shape}")
    return 0


# ---- reductions ------------------------------------------------------------------

cdef list REDUCTION_NAMES = [pe_reduce_name(i).decode() for i in range(pe_reduce_count())]


def reduction_op(str name):
    """The number of reduction `name`."""
    op = pe_reduce_find(name.encode())
    if op < 0:
        raise KeyError(f"no reduction is called {name}")
    return op


cdef uint32_t axes_of(Tensor x, object dims, str what) except? 0xffffffff:
    cdef uint32_t axes = 0
    cdef int axis
    if dims is None:
        return <uint32_t>((1 << x.view.ndim) - 1)
    for d in (dims,) if not isinstance(dims, (tuple, list)) else dims:
        axis = axis_or_scalars(d, x.view.ndim, what)
        if axes >> axis & 1:
            raise ValueError(f"{what}: axis {axis} is named twice in {dims}")
        axes |= 1u << axis
    return axes if x.view.ndim else 0


cdef Tensor reduced(Tensor x, uint32_t axes, int code):
    """An output for x with the axes in `axes` of size 1."""
    cdef pe_tensor v = x.view
    cdef int i
    v.dtype = code
    for i in range(v.ndim):
        if axes >> i & 1:
            v.shape[i] = 1
    fill_row_major(&v, "reduce")
    return new_tensor(&v)


cdef Tensor drop_axes(Tensor x, uint32_t axes):
    """A view of x without the axes in `axes`, which have size 1."""
    cdef Tensor out = alias(x)
    cdef int i, n = 0
    for i in range(x.view.ndim):
        if not axes >> i & 1:
            out.view.shape[n], out.view.strides[n] = x.view.shape[i], x.view.strides[i]
            n += 1
    out.view.ndim = n
    return out


def reduce(int op, Tensor x, dims=None, bint keepdim=False):
    """Reduction number op of x over the axes dims (None: all). Not recorded."""
    cdef pe_reduce_args args
    cdef pe_error err
    cdef pe_status status
    name = REDUCTION_NAMES[op]
    cdef uint32_t axes = axes_of(x, dims, name)
    float_only(x, name, "input")
    cdef Tensor out = reduced(x, axes, PE_FLOAT32)
    args.op, args.axes, args.in_, args.out = op, axes, &x.view, &out.view
    with nogil:
        status = pe_reduce(context, &args, &err)
    check(status, &err)
    return out if keepdim else drop_axes(out, axes)


def argmax(Tensor x, dim, bint keepdim=False, bint minimum=False):
    """The index of the first maximum (minimum) along axis dim, as int64."""
    cdef pe_argmax_args args
    cdef pe_error err
    cdef pe_status status
    cdef int axis = axis_or_scalars(dim, x.view.ndim, "argmax")
    if x.view.ndim == 0:
        return reshape(argmax(reshape(x, (1,)), 0), ())
    float_only(x, "argmax", "input")
    cdef Tensor out = reduced(x, 1u << axis, PE_INT64)
    args.axis, args.minimum, args.in_, args.out = axis, minimum, &x.view, &out.view
    with nogil:
        status = pe_argmax(context, &args, &err)
    check(status, &err)
    return out if keepdim else drop_axes(out, 1u << axis)


def sum_to(Tensor g, shape):
    """g summed over the axes along which a tensor of this shape was broadcast; recorded."""
    shape = tuple(shape)
    if shape_of(&g.view) == shape:
        return g
    cdef int lead = g.view.ndim - len(shape), i
    dims = [i for i in range(g.view.ndim) if i < lead or (shape[i - lead] == 1 and g.view.shape[i] != 1)]
    if not dims:
        return reshape(g, shape)
    cdef Tensor out = reduce(SUM, g, dims, True)
    if wants_grad1(g):
        record1(out, "sum", g, None, shape_of(&g.view))
    return reshape(out, shape)


cdef int SUM = pe_reduce_find(b"sum")


# ---- softmax and cross entropy ---------------------------------------------------

def softmax(Tensor x, bint logarithm=False):
    """softmax or log_softmax along the last axis; recorded."""
    cdef pe_softmax_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "softmax", "input")
    if x.view.ndim == 0:
        return reshape(softmax(reshape(x, (1,)), logarithm), ())
    cdef Tensor out = empty_like(&x.view, PE_FLOAT32)
    args.in_, args.out, args.logarithm = &x.view, &out.view, logarithm
    with nogil:
        status = pe_softmax(context, &args, &err)
    check(status, &err)
    return record(out, "log_softmax" if logarithm else "softmax", (x,), (out,))


def softmax_backward(Tensor y, Tensor g, bint logarithm=False):
    """The gradient of softmax's input from its output y and the gradient g; not recorded."""
    cdef pe_softmax_backward_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor dx = empty_like(&y.view, PE_FLOAT32)
    args.y, args.g, args.dx, args.logarithm = &y.view, &g.view, &dx.view, logarithm
    with nogil:
        status = pe_softmax_backward(context, &args, &err)
    check(status, &err)
    return dx


def cross_entropy(Tensor logits, Tensor target, int64_t ignore_index=-100, float label_smoothing=0.0):
    """(loss per row, log-sum-exp per row, rows not ignored) of logits (n, classes) and int64 target (n);
    not recorded."""
    cdef pe_cross_entropy_args args
    cdef pe_error err
    cdef pe_status status
    cdef int64_t counted = 0
    float_only(logits, "cross_entropy", "logits")
    if logits.view.ndim != 2 or target.view.ndim != 1 or logits.view.shape[0] != target.view.shape[0]:
        raise ValueError(f"cross_entropy: logits of shape {logits.shape} and target of shape {target.shape}: "
                         "(n, classes) and (n) are needed")
    cdef Tensor loss = new_row_major(PE_FLOAT32, (logits.view.shape[0],), "cross_entropy")
    cdef Tensor lse = new_row_major(PE_FLOAT32, (logits.view.shape[0],), "cross_entropy")
    args.logits, args.target, args.loss, args.lse = &logits.view, &target.view, &loss.view, &lse.view
    args.ignore_index, args.label_smoothing, args.counted = ignore_index, label_smoothing, &counted
    with nogil:
        status = pe_cross_entropy(context, &args, &err)
    check(status, &err)
    return loss, lse, counted


def cross_entropy_backward(Tensor logits, Tensor target, Tensor lse, Tensor g, float scale,
                           int64_t ignore_index=-100, float label_smoothing=0.0):
    """The gradient of logits; g (n) is the gradient of the losses, times scale. Not recorded."""
    cdef pe_cross_entropy_backward_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor dx = empty_like(&logits.view, PE_FLOAT32)
    args.logits, args.target, args.lse, args.g = &logits.view, &target.view, &lse.view, &g.view
    args.dx, args.scale = &dx.view, scale
    args.ignore_index, args.label_smoothing = ignore_index, label_smoothing
    with nogil:
        status = pe_cross_entropy_backward(context, &args, &err)
    check(status, &err)
    return dx
