# Operations with a structure of their own: reductions, products, softmax, losses, optimizer steps.
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
        axis = axis_of(d, x.view.ndim, what)
        if axes >> axis & 1:
            raise ValueError(f"{what}: axis {axis} is named twice in {dims}")
        axes |= 1u << axis
    return axes


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
    cdef int axis = axis_of(dim, x.view.ndim, "argmax")
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


# ---- products --------------------------------------------------------------------

cdef Tensor gemm(const pe_tensor *a, const pe_tensor *b, const pe_tensor *bias, pe_tensor *layout, int activation):
    """act(a b + bias) in a new tensor; layout has the batch axes, this sets the rest."""
    cdef pe_gemm_args args
    cdef pe_error err
    cdef pe_status status
    layout.dtype = PE_FLOAT32
    fill_row_major(layout, "matmul")
    cdef Tensor out = new_tensor(layout)
    memset(&args, 0, sizeof(args))
    args.a, args.b, args.bias, args.c = a, b, bias, &out.view
    args.activation, args.accumulate = activation, 0
    with nogil:
        status = pe_gemm(context, &args, &err)
    check(status, &err)
    return out


def matmul(a, b):
    """The product of the last two axes, broadcast over the others; vectors as NumPy's matmul treats them."""
    cdef Tensor x = as_tensor(a, -1, "matmul"), y = as_tensor(b, -1, "matmul")
    cdef pe_tensor p = x.view, q = y.view, c
    cdef int i, lead
    if p.ndim == 0 or q.ndim == 0:
        raise ValueError(f"matmul: both need an axis, got shapes {x.shape} and {y.shape}")
    float_only(x, "matmul", "the first operand")
    float_only(y, "matmul", "the second operand")
    if p.ndim == 1:
        return drop_first(matmul(reshape(x, (1, -1)), y), x, y)
    if q.ndim == 1:
        out = matmul(x, reshape(y, (-1, 1)))
        return reshape(out, out.shape[:-1])
    if p.shape[p.ndim - 1] != q.shape[q.ndim - 2]:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape} do not fit: "
                         f"{p.shape[p.ndim - 1]} columns against {q.shape[q.ndim - 2]} rows")
    c.ndim = max(p.ndim, q.ndim)
    for i in range(c.ndim - 2):
        c.shape[i] = batch_size(&p, &q, c.ndim - 3 - i, x, y)
    c.shape[c.ndim - 2], c.shape[c.ndim - 1] = p.shape[p.ndim - 2], q.shape[q.ndim - 1]
    return record(gemm(&p, &q, NULL, &c, PE_NO_ACTIVATION), "matmul", (x, y), (x, y))


cdef object drop_first(object product, Tensor x, Tensor y):
    if y.view.ndim == 1:
        return product
    return reshape(product, product.shape[:-2] + product.shape[-1:])


cdef int64_t batch_size(const pe_tensor *p, const pe_tensor *q, int from_end, Tensor x, Tensor y) except -1:
    cdef int i = p.ndim - 3 - from_end, j = q.ndim - 3 - from_end
    cdef int64_t m = p.shape[i] if i >= 0 else 1, n = q.shape[j] if j >= 0 else 1
    if m != n and m != 1 and n != 1:
        raise ValueError(f"matmul: the leading axes of shapes {x.shape} and {y.shape} do not broadcast")
    return n if m == 1 else m


def linear(input, weights, Tensor bias=None, int activation=PE_NO_ACTIVATION):
    """act(x weight^T + bias) for x (..., in), weight (out, in), bias (out); recorded when there is no activation."""
    cdef Tensor x = need(input, "linear", "input"), weight = need(weights, "linear", "weight")
    cdef pe_tensor w = weight.view, rows, c = x.view
    cdef Tensor flat, out
    float_only(x, "linear", "input")
    float_only(weight, "linear", "weight")
    if w.ndim != 2 or c.ndim < 1 or c.shape[c.ndim - 1] != w.shape[1]:
        raise ValueError(f"linear: input of shape {x.shape} does not fit weight of shape {weight.shape}: "
                         "the last axis must equal weight's second")
    if bias is not None and (bias.view.ndim != 1 or bias.view.shape[0] != w.shape[0]):
        raise ValueError(f"linear: bias of shape {bias.shape} does not fit weight of shape {weight.shape}")
    w.shape[0], w.shape[1] = weight.view.shape[1], weight.view.shape[0]
    w.strides[0], w.strides[1] = weight.view.strides[1], weight.view.strides[0]
    if c.ndim == 2:
        rows = x.view
    else:  # all leading axes are rows of one product
        flat = reshape(alias(x), (-1 if numel(&x.view) else numel(&x.view) // max(c.shape[c.ndim - 1], 1),
                                  c.shape[c.ndim - 1]))
        rows = flat.view
    cdef pe_tensor product
    product.ndim, product.shape[0], product.shape[1] = 2, rows.shape[0], w.shape[1]
    out = gemm(&rows, &w, NULL if bias is None else &bias.view, &product, activation)
    if c.ndim != 2:
        c.shape[c.ndim - 1] = w.shape[1]
        fill_row_major(&c, "linear")
        c.data, c.dtype = out.view.data, PE_FLOAT32
        out.view = c
    if activation == PE_NO_ACTIVATION:
        record(out, "linear", (x, weight, bias), (x, weight))
    return out


# ---- softmax and cross entropy ---------------------------------------------------

def softmax(Tensor x, bint logarithm=False):
    """softmax or log_softmax along the last axis; recorded."""
    cdef pe_softmax_args args
    cdef pe_error err
    cdef pe_status status
    float_only(x, "softmax", "input")
    if x.view.ndim == 0:
        raise ValueError("softmax: the input needs an axis")
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
