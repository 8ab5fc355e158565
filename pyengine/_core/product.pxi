# Products: matmul, linear and what torch calls addmm; one pe_gemm each, what follows the sum done at its store.

cdef Tensor gemm(pe_gemm_args *args, pe_tensor *layout, str what):
    """The product that args describes, in a new tensor of the shape of layout and a's dtype; args.c is set here."""
    cdef pe_error err
    cdef pe_status status
    layout.dtype = args.a.dtype
    fill_row_major(layout, what)
    cdef Tensor out = new_tensor(layout)
    args.c = &out.view
    with nogil:
        status = pe_gemm(context, args, &err)
    check(status, &err)
    return out


cdef inline void clear(pe_gemm_args *args, const pe_tensor *a, const pe_tensor *b) noexcept:
    memset(args, 0, sizeof(pe_gemm_args))
    args.a, args.b, args.activation = a, b, PE_NO_ACTIVATION


cdef int product_shape(Tensor x, Tensor y, pe_tensor *c, str what) except -1:
    """c.ndim and c.shape of x @ y, both with two axes or more."""
    cdef const pe_tensor *p = &x.view
    cdef const pe_tensor *q = &y.view
    cdef int i
    if p.shape[p.ndim - 1] != q.shape[q.ndim - 2]:
        raise ValueError(f"{what}: shapes {x.shape} and {y.shape} do not fit: "
                         f"{p.shape[p.ndim - 1]} columns against {q.shape[q.ndim - 2]} rows")
    c.ndim = max(p.ndim, q.ndim)
    for i in range(c.ndim - 2):
        c.shape[i] = batch_size(p, q, c.ndim - 3 - i, x, y)
    c.shape[c.ndim - 2], c.shape[c.ndim - 1] = p.shape[p.ndim - 2], q.shape[q.ndim - 1]
    return 0


def matmul(a, b):
    """The product of the last two axes, broadcast over the others; vectors as NumPy's matmul treats them. Both float32,
    or both bfloat16: then sums are in float32 and rounded once."""
    cdef Tensor x = as_tensor(a, -1, "matmul"), y = as_tensor(b, -1, "matmul")
    cdef pe_gemm_args args
    cdef pe_tensor c
    if x.view.ndim == 0 or y.view.ndim == 0:
        raise ValueError(f"matmul: both need an axis, got shapes {x.shape} and {y.shape}")
    if x.view.dtype != PE_BFLOAT16 or y.view.dtype != PE_BFLOAT16:
        if PE_BFLOAT16 in (x.view.dtype, y.view.dtype):
            raise TypeError(f"matmul: the operands must have the same dtype, got {x.dtype} of shape {x.shape} and "
                            f"{y.dtype} of shape {y.shape}")
        float_only(x, "matmul", "the first operand")
        float_only(y, "matmul", "the second operand")
    if x.view.ndim == 1:
        return drop_first(matmul(reshape(x, (1, -1)), y), x, y)
    if y.view.ndim == 1:
        column = matmul(x, reshape(y, (-1, 1)))
        return reshape(column, column.shape[:-1])
    product_shape(x, y, &c, "matmul")
    clear(&args, &x.view, &y.view)
    return record(gemm(&args, &c, "matmul"), "matmul", (x, y), factors(x, y), (x.shape, y.shape))


cdef inline bint wants_grad(Tensor x) noexcept:
    return x is not None and (x.leaf_requires_grad or x.node is not None)


cdef inline tuple factors(Tensor a, Tensor b):
    """What the derivative of a b needs kept: each factor where the other one wants a gradient."""
    return (a if wants_grad(b) else None, b if wants_grad(a) else None)


cdef object drop_first(object product, Tensor x, Tensor y):
    if y.view.ndim == 1:  # one row against a vector gave one element along the row's axis
        return reshape(product, product.shape[:-1])
    return reshape(product, product.shape[:-2] + product.shape[-1:])


cdef int64_t batch_size(const pe_tensor *p, const pe_tensor *q, int from_end, Tensor x, Tensor y) except -1:
    cdef int i = p.ndim - 3 - from_end, j = q.ndim - 3 - from_end
    cdef int64_t m = p.shape[i] if i >= 0 else 1, n = q.shape[j] if j >= 0 else 1
    if m != n and m != 1 and n != 1:
        raise ValueError(f"matmul: the leading axes of shapes {x.shape} and {y.shape} do not broadcast")
    return n if m == 1 else m


def addmm(Tensor residual, Tensor a, Tensor b, float beta, float alpha, str what):
    """beta residual + alpha a b, residual broadcast to the product; recorded under the name addmm."""
    cdef pe_gemm_args args
    cdef pe_tensor c
    cdef Tensor out, added
    for x, name in ((residual, "input"), (a, "the first factor"), (b, "the second factor")):
        float_only(x, what, name)
    product_shape(a, b, &c, what)
    shape = shape_of(&c)
    clear(&args, &a.view, &b.view)
    if alpha != 1:
        args.scale = &alpha
    was = set_grad_mode(False)
    try:
        added = expand(residual if beta == 1 or beta == 0 else binary(OP_MUL, residual, beta), shape)
        if beta != 0:  # as torch: then not even its NaN counts
            args.residual = &added.view
        out = gemm(&args, &c, what)
    finally:
        set_grad_mode(was)
    return record(out, "addmm", (residual, a, b), factors(a, b), (alpha, beta, residual.shape))


# ---- linear ----------------------------------------------------------------------

cdef int check_linear(Tensor x, Tensor weight, Tensor bias) except -1:
    cdef const pe_tensor *w = &weight.view
    if x.view.dtype == PE_BFLOAT16 or w.dtype == PE_BFLOAT16:
        if x.view.dtype != w.dtype:
            raise TypeError(f"linear: input of dtype {x.dtype.name} does not fit weight of dtype {weight.dtype.name}")
    else:
        float_only(x, "linear", "input")
        float_only(weight, "linear", "weight")
    if w.ndim != 2 or x.view.ndim < 1 or x.view.shape[x.view.ndim - 1] != w.shape[1]:
        raise ValueError(f"linear: input of shape {x.shape} does not fit weight of shape {weight.shape}: "
                         "the last axis must equal weight's second")
    if bias is not None and (bias.view.ndim != 1 or bias.view.shape[0] != w.shape[0]):
        raise ValueError(f"linear: bias of shape {bias.shape} does not fit weight of shape {weight.shape}")
    return 0


cdef Tensor rows_of(Tensor x):
    """x as a matrix: all leading axes are rows of one product."""
    cdef int64_t columns = x.view.shape[x.view.ndim - 1]
    if x.view.ndim == 2:
        return x
    return reshape(alias(x), (numel(&x.view) // columns if columns else rows_without_columns(x), columns))


cdef int64_t rows_without_columns(Tensor x) noexcept:
    cdef int64_t n = 1
    cdef int i
    for i in range(x.view.ndim - 1):
        n *= x.view.shape[i]
    return n


cdef Tensor run_linear(Tensor x, Tensor weight, Tensor bias, int activation, Tensor residual, bint recorded):
    """The product alone, from a pack of the weight where there is one. Of bfloat16, what follows the sum is float32."""
    cdef pe_tensor w = weight.view, product, c = x.view
    cdef pe_gemm_args args
    cdef PackedWeight packed = None
    cdef Tensor rows = rows_of(x), added = None if residual is None else rows_of(residual), out
    bias, added = in_float32(bias), in_float32(added)
    w.shape[0], w.shape[1] = weight.view.shape[1], weight.view.shape[0]
    w.strides[0], w.strides[1] = weight.view.strides[1], weight.view.strides[0]
    clear(&args, &rows.view, &w)
    args.activation = activation
    args.bias = NULL if bias is None else &bias.view
    args.residual = NULL if added is None else &added.view
    if recorded:
        forget_pack(weight)
    else:
        packed = find_pack(weight, rows.view.shape[0])
        if packed is not None:
            args.b, args.packed = NULL, packed.memory
    product.ndim, product.shape[0], product.shape[1] = 2, rows.view.shape[0], w.shape[1]
    out = gemm(&args, &product, "linear")
    if c.ndim != 2:
        c.shape[c.ndim - 1] = w.shape[1]
        c.dtype = out.view.dtype
        fill_row_major(&c, "linear")
        c.data = out.view.data
        out.view = c
    return out


cdef inline Tensor in_float32(Tensor x):
    return x if x is None or x.view.dtype != PE_BFLOAT16 else convert(x, PE_FLOAT32)


cdef bint residual_fits(Tensor residual, Tensor x, Tensor weight) noexcept:
    cdef pe_tensor c = x.view
    c.shape[c.ndim - 1] = weight.view.shape[0]
    return same_shape(&c, &residual.view)


def linear(input, weights, Tensor bias=None, int activation=PE_NO_ACTIVATION, Tensor residual=None):
    """act(x weight^T + bias) + residual for x (..., in), weight (out, in), bias (out); recorded. Activations are
    numbers of elementwise rows."""
    cdef Tensor x = need(input, "linear", "input"), weight = need(weights, "linear", "weight"), out
    cdef bint recorded
    cdef const pe_elementwise_info *info
    check_linear(x, weight, bias)
    if residual is not None:
        if residual.view.dtype != x.view.dtype:
            raise TypeError(f"linear: residual must be {x.dtype.name} as the input, got {residual.dtype.name}")
        if not residual_fits(residual, x, weight):
            raise ValueError(f"linear: residual of shape {residual.shape} does not fit {x.shape[:-1]} rows of weight "
                             f"of shape {weight.shape}")
    recorded = not pe_grad_mode_off and (wants_grad(x) or wants_grad(weight) or wants_grad(bias)
                                         or wants_grad(residual))
    if not recorded:
        return run_linear(x, weight, bias, activation, residual, False)
    if x.view.dtype != PE_FLOAT32:
        raise TypeError("linear: bfloat16 has no gradient; use no_grad(), or float32 for what is trained")
    if activation == PE_NO_ACTIVATION:
        out = run_linear(x, weight, bias, activation, residual, True)
        return record(out, "linear", (x, weight, bias, residual), factors(x, weight))
    if activation < 0 or activation >= len(ROW_NAMES):
        raise ValueError(f"linear: no activation {activation}")
    # What the derivative needs decides. Of its output: one fused call, the output is kept. Of its input: that must be
    # stored anyway (to compute it again is a whole product), so the activation is a call of its own.
    info = pe_elementwise_describe(activation)
    if info.keep == PE_KEEP_OUTPUT and info.inputs == 1:
        out = run_linear(x, weight, bias, activation, None, True)
        record(out, "linear", (x, weight, bias, None), (*factors(x, weight), out), info.backward[0])
    else:
        out = run_linear(x, weight, bias, PE_NO_ACTIVATION, None, True)
        record(out, "linear", (x, weight, bias, None), factors(x, weight))
        out = elementwise(activation, out)
    return out if residual is None else binary(OP_ADD, out, residual)


# ---- gradients that go straight to where they are kept -----------------------------

cdef Tensor own_grad(Tensor leaf):
    """leaf.grad where nobody would notice that it is written in place of a new sum; else None."""
    cdef Tensor g = leaf.grad_
    # two references: the leaf's and g here
    if g is None or g.requires_grad or references(<PyObject *>g) > 2 or references(<PyObject *>g.storage) != 1:
        return None
    if g.storage.owner is not None or g.view.dtype != PE_FLOAT32 or not is_dense(&g.view):
        return None
    return g


cdef Tensor grad_of_leaf(Node node, int i):
    """The .grad that the rule of node may add its input i's gradient to by itself, or None."""
    return own_grad(<Tensor>node.edges[i]) if takes_rows(node, i) else None


def add_product(Node node, int i, Tensor a, Tensor b):
    """a b, the gradient of the node's input i. In backward() it goes straight onto the .grad of a leaf that has one
    and is its only owner (the chains then start at .grad's elements), and None is returned."""
    cdef Tensor grad = grad_of_leaf(node, i)
    cdef pe_gemm_args args
    cdef pe_error err
    cdef pe_status status
    if grad is None or a.view.ndim != 2 or b.view.ndim != 2 or grad.view.ndim != 2:
        return matmul(a, b)
    clear(&args, &a.view, &b.view)
    args.c, args.accumulate = &grad.view, 1
    with nogil:
        status = pe_gemm(context, &args, &err)
    check(status, &err)
    grad.storage.version += 1
    return None
