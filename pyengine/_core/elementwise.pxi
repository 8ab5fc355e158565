# Elementwise rows: looked up by name once, called by number.

cdef int row(str name) except -2:
    return pe_elementwise_find(name.encode())


cdef int OP_ADD = row("add"), OP_SUB = row("sub"), OP_MUL = row("mul"), OP_DIV = row("div"), OP_POW = row("pow")
cdef int OP_NEG = row("neg"), OP_ABS = row("abs"), OP_EQ = row("eq"), OP_NE = row("ne"), OP_LT = row("lt")
cdef int OP_LE = row("le"), OP_GT = row("gt"), OP_GE = row("ge"), OP_NOT = row("logical_not")
cdef int OP_IDENTITY = row("identity"), OP_ZERO = row("zero")
cdef int OP_AND = row("logical_and"), OP_OR = row("logical_or"), OP_XOR = row("logical_xor")

cdef list ROW_NAMES = [pe_elementwise_name(i).decode() for i in range(pe_elementwise_count())]

# below this many elements a call is over before another thread could take the GIL
cdef enum:
    HOLD_GIL = 4096


def elementwise_rows():
    """The table as it is: one dict a row: op, name, inputs, keep ("none", "inputs", "output"), dtypes, backward."""
    cdef const pe_elementwise_info *info
    rows = []
    for op in range(pe_elementwise_count()):
        info = pe_elementwise_describe(op)
        rows.append({
            "op": op, "name": info.name.decode(), "inputs": info.inputs,
            "keep": ("none", "inputs", "output")[info.keep],
            "in_dtypes": tuple([DTYPE_NAMES[info.in_dtype[i]] for i in range(info.inputs)]),
            "out_dtype": DTYPE_NAMES[info.out_dtype],
            "backward": tuple([info.backward[i] for i in range(info.inputs)]),
        })
    return rows


def elementwise_op(str name):
    """The number of row `name`."""
    op = row(name)
    if op < 0:
        raise KeyError(f"no elementwise row is called {name}")
    return op


cdef int broadcast_shape(int n, tuple inputs, pe_tensor *out, int op) except -1:
    """out.ndim and out.shape by NumPy's rules."""
    cdef int i, k, ndim = 0, lead
    cdef const pe_tensor *v
    for i in range(n):
        ndim = max(ndim, (<Tensor>inputs[i]).view.ndim)
    out.ndim = ndim
    for k in range(ndim):
        out.shape[k] = 1
    for i in range(n):
        v = &(<Tensor>inputs[i]).view
        lead = ndim - v.ndim
        for k in range(v.ndim):
            if v.shape[k] == 1:
                continue
            if out.shape[lead + k] == 1:
                out.shape[lead + k] = v.shape[k]
            elif out.shape[lead + k] != v.shape[k]:
                shapes = " and ".join([str((<Tensor>inputs[j]).shape) for j in range(n)])
                raise ValueError(f"{ROW_NAMES[op]}: shapes {shapes} do not broadcast (axis {lead + k - ndim})")
    return 0


cdef int run_row(int op, int n, tuple inputs, Tensor out) except -1:
    cdef pe_elementwise_args args
    cdef pe_error err
    cdef pe_status status
    cdef int i
    args.op, args.inputs, args.out = op, n, &out.view
    for i in range(n):
        args.in_[i] = &(<Tensor>inputs[i]).view
    if numel(&out.view) < HOLD_GIL:
        status = pe_elementwise(context, &args, &err)
    else:
        with nogil:
            status = pe_elementwise(context, &args, &err)
    return check(status, &err)


cdef Tensor apply_row(int op, int n, tuple inputs):
    """A new tensor with op(inputs), recorded."""
    cdef const pe_elementwise_info *info = pe_elementwise_describe(op)
    cdef pe_tensor layout
    cdef Tensor first = <Tensor>inputs[0], x, out
    cdef bint wants = False
    cdef int i
    if n != info.inputs:
        raise TypeError(f"{ROW_NAMES[op]}: {info.inputs} inputs needed, got {n}")
    for i in range(n):
        x = <Tensor>inputs[i]
        if x.view.dtype != info.in_dtype[i]:
            return off_table(op, n, inputs)
        wants |= x.leaf_requires_grad or x.node is not None
    for i in range(1, n):
        if not same_shape(&first.view, &(<Tensor>inputs[i]).view):
            broadcast_shape(n, inputs, &layout, op)
            layout.dtype = info.out_dtype
            format_like(n, inputs, &layout)
            out = new_tensor(&layout)
            break
    else:
        for i in range(1 if first.view.ndim >= 3 and not is_channels_last(&first.view) else n, n):
            x = <Tensor>inputs[i]
            if is_channels_last(&x.view):  # beside a row-major one: the run of channels-last layers goes on
                first = x
                break
        out = empty_like(&first.view, info.out_dtype)
    run_row(op, n, inputs, out)
    if wants and not pe_grad_mode_off:
        record_row(op, n, inputs, out, info)
    return out


cdef int format_like(int n, tuple inputs, pe_tensor *layout) except -1:
    """The strides of an input of the output's shape: of the first with its channels last, else of the first dense
    one; else row-major."""
    cdef const pe_tensor *v
    cdef const pe_tensor *found = NULL
    cdef int64_t size
    cdef int i, k
    for i in range(n):
        v = &(<Tensor>inputs[i]).view
        if same_shape(v, layout) and is_dense(v) and numel(v):
            if is_channels_last(v):
                found = v
                break
            if found == NULL:
                found = v
    if found == NULL:
        return fill_row_major(layout, "elementwise")
    size = <int64_t>pe_dtype_size(found.dtype)
    for k in range(found.ndim):
        layout.strides[k] = found.strides[k] // size * <int64_t>pe_dtype_size(layout.dtype)
    return 0


cdef Tensor off_table(int op, int n, tuple inputs):
    """Element types without a row: float32 beside integers or bool is float32's row, as in torch; integers alone and
    float64 go to NumPy's arithmetic."""
    cdef const pe_elementwise_info *info = pe_elementwise_describe(op)
    cdef int i
    operands = [<Tensor>inputs[i] for i in range(n)]
    types = [(<Tensor>inputs[i]).view.dtype for i in range(n) if info.in_dtype[i] == PE_FLOAT32]
    if PE_FLOAT32 in types and not any([t <= PE_FLOAT16 and t != PE_FLOAT32 for t in types]) \
            and all([info.in_dtype[i] == PE_FLOAT32 or info.in_dtype[i] == (<Tensor>inputs[i]).view.dtype
                     for i in range(n)]):
        return apply_row(op, n, tuple([t if (<Tensor>t).view.dtype == info.in_dtype[i] else copy(t, "float32")
                                       for i, t in enumerate(operands)]))
    name = ROW_NAMES[op]
    if any([t.requires_grad for t in operands]) and grad_mode():
        types = ", ".join([t.dtype.name for t in operands])
        raise TypeError(f"{name}: gradients need float32 operands, got {types}")
    return fallbacks["arithmetic"](name, operands)


cdef int record_row(int op, int n, tuple inputs, Tensor out, const pe_elementwise_info *info) except -1:
    cdef Node node = new_node(ROW_NAMES[op], None)
    cdef Tensor x
    cdef int i, takes = 0
    cdef bint broadcast = False
    node.op = op
    for i in range(n):
        x = <Tensor>inputs[i]
        if info.backward[i] < 0:
            node.edges.append(None)
            node.edge_outputs.append(0)
        else:
            add_edge(node, x)
            if node.edges[i] is not None:
                takes |= info.backward_takes[i]
        broadcast |= not same_shape(&x.view, &out.view)
    for i in range(n):
        node.saved.append(keep(<Tensor>inputs[i]) if takes >> i & 1 else None)
    node.saved.append(keep_output(out) if takes & PE_TAKES_OUTPUT else None)
    if broadcast:
        node.shapes = tuple([shape_of(&(<Tensor>inputs[i]).view) for i in range(n)])
    out.node = node
    return 0


cdef tuple elementwise_backward(Node node, Tensor g):
    """The gradients of a row's inputs, by the row's own gradient operations."""
    cdef const pe_elementwise_info *info = pe_elementwise_describe(node.op)
    cdef int i, j, n = info.inputs
    cdef list held = [None if s is None else unpack(node, j) for j, s in enumerate(node.saved)]
    cdef list results = []
    cdef object r
    for i in range(n):
        if node.edges[i] is None:
            results.append(None)
            continue
        if info.backward[i] == OP_IDENTITY:
            r = g
        elif info.backward[i] == OP_ZERO:
            results.append(None)
            continue
        else:
            operands = [g]
            for j in range(n + 1):
                if (info.backward_takes[i] >> j & 1) if j < n else (info.backward_takes[i] & PE_TAKES_OUTPUT):
                    operands.append(held[j])
            r = call_row(info.backward[i], operands)
        if node.shapes is not None:
            r = sum_to(r, node.shapes[i])
        results.append(r)
    return tuple(results)


cdef object call_row(int op, list operands):
    return apply_row(op, len(operands), tuple(operands))


cdef Tensor operand(object x, object beside, int op):
    """A Python number becomes a tensor of the other operand's kind."""
    cdef int code
    if isinstance(x, Tensor):
        return <Tensor>x
    if isinstance(x, (int, float)) and isinstance(beside, Tensor):
        code = (<Tensor>beside).view.dtype
        if code > PE_FLOAT16 and (isinstance(x, float) or code == PE_BOOL):
            code = -1
            if isinstance(x, float):
                return scalar(x, PE_FLOAT32)
        return scalar(x, code)
    return as_tensor(x, -1, ROW_NAMES[op])


cdef object binary(int op, object a, object b):
    if not (isinstance(a, (Tensor, int, float)) and isinstance(b, (Tensor, int, float))) \
            and not (PyObject_CheckBuffer(a) and PyObject_CheckBuffer(b)):
        return NotImplemented
    return apply_row(op, 2, (operand(a, b, op), operand(b, a, op)))


cdef object binary_into(int op, Tensor x, object b):
    """x = op(x, b) in x's memory."""
    cdef Tensor y = operand(b, x, op), before
    cdef tuple inputs = (x, y)
    cdef pe_tensor shape
    cdef const pe_elementwise_info *info = pe_elementwise_describe(op)
    writable(x, ROW_NAMES[op] + "_")
    broadcast_shape(2, inputs, &shape, op)
    if not same_shape(&shape, &x.view):
        raise ValueError(f"{ROW_NAMES[op]}_: a result of shape {shape_of(&shape)} does not fit shape {x.shape} "
                         "in place")
    cdef bint recorded = grad_mode() and (x.requires_grad or y.requires_grad)
    if x.view.dtype != PE_FLOAT32 or y.view.dtype != PE_FLOAT32 or overlaps(x, y) \
            or (recorded and info.backward_takes[1] & 1):
        # the result first, then into x: x's old values stay on the tape
        return replace(x, apply_row(op, 2, inputs), ROW_NAMES[op])
    before = x
    if recorded:  # the node must feed on x's past, not on itself
        before = alias(x)
        before.node, before.output, before.leaf_requires_grad = x.node, x.output, x.leaf_requires_grad
        inputs = (before, y)
    run_row(op, 2, inputs, x)
    if recorded:
        record_row(op, 2, inputs, x, info)
        x.output = 0
        x.storage.recorded_writes += 1
        x.seen_writes = x.storage.recorded_writes
    x.storage.version += 1
    return x


cdef int kind(Tensor x) noexcept:
    """0: bool, 1: integers, 2: floats."""
    return 2 if x.view.dtype <= PE_FLOAT16 else x.view.dtype != PE_BOOL


def replace_(Tensor x, Tensor result, str name):
    """x in place becomes result, the value and the place on the tape of the operation `name` on a clone of x."""
    writable(x, name + "_")
    if not same_shape(&result.view, &x.view):
        raise RuntimeError(f"{name}_: a result of shape {result.shape} does not fit shape {x.shape} in place")
    return replace(x, result, name)


cdef Tensor replace(Tensor x, Tensor result, str name):
    """Puts result's values, and its place on the tape, into x."""
    if kind(result) > kind(x):
        raise TypeError(f"{name}_: a result of {result.dtype.name} does not fit {x.dtype.name} in place")
    if result.requires_grad and x.is_view:
        raise RuntimeError("a view is written in place by a recorded operation; clone() it first")
    copy_into(&result.view, &x.view)
    if result.requires_grad:
        x.node, x.output = result.node, result.output
        x.storage.recorded_writes += 1
        x.seen_writes = x.storage.recorded_writes
    x.storage.version += 1
    return x


cdef bint overlaps(Tensor x, Tensor y) noexcept:
    """They share memory without being the same view."""
    cdef int i
    cdef char *x_low
    cdef char *x_high
    cdef char *y_low
    cdef char *y_high
    if numel(&x.view) == 0 or numel(&y.view) == 0:
        return False
    extent(&x.view, &x_low, &x_high)
    extent(&y.view, &y_low, &y_high)
    if x_high <= y_low or y_high <= x_low:
        return False
    if x.view.data != y.view.data or x.view.dtype != y.view.dtype or not same_shape(&x.view, &y.view):
        return True
    for i in range(x.view.ndim):
        if x.view.strides[i] != y.view.strides[i]:
            return True
    return False


def elementwise(int op, *operands):
    """The table's operation number op on tensors and Python numbers, recorded on the tape."""
    cdef list inputs = []
    cdef object beside = None
    if op < 0 or op >= len(ROW_NAMES) or not 0 < len(operands) <= 4:
        raise ValueError(f"elementwise: no operation {op} of {len(operands)} inputs")
    if len(operands) == 1 and isinstance(operands[0], Tensor):  # the short way
        return apply_row(op, 1, operands)
    for x in operands:
        if isinstance(x, Tensor) and (<Tensor>x).view.dtype != PE_BOOL:
            beside = x
            break
    for x in operands:
        if isinstance(x, bool):
            inputs.append(scalar(x, PE_BOOL))
        else:
            inputs.append(operand(x, beside, op))
    return call_row(op, inputs)


def elementwise_(int op, Tensor x, *operands):
    """x = op(x, operands) in place."""
    if op < 0 or op >= len(ROW_NAMES):
        raise ValueError(f"elementwise_: no operation {op}")
    if len(operands) == 1:
        return binary_into(op, x, operands[0])
    writable(x, ROW_NAMES[op] + "_")
    return replace(x, elementwise(op, x, *operands), ROW_NAMES[op])
