# Quantized products: bytes against bytes, packed int8 and int4 weights, rows of floats to bytes. None is recorded.

QUANT_KINDS = {"s8": PE_QUANT_S8, "u8": PE_QUANT_U8, "s4": PE_QUANT_S4, "u4": PE_QUANT_U4}


cdef class QPack:
    """Weights of shape (k, n) in the order in which the kernels read them."""

    cdef void *memory
    cdef size_t bytes
    cdef readonly int64_t k, n
    cdef readonly int bits

    def __dealloc__(self):
        pe_free(context, self.memory)

    @property
    def nbytes(self):
        return self.bytes


def quant_pack(Tensor weight, Tensor scale, Tensor zero=None, int group=0):
    """The pack of weight (n, k): int8 with scale (n) or None, or with a group uint8 of 0 .. 15 with scale and
    zero (n, k / group)."""
    cdef pe_qpack_args args
    cdef pe_error err
    cdef pe_status status
    cdef QPack pack = QPack.__new__(QPack)
    cdef pe_tensor b, s, z
    args.kind = PE_QPACK_INT4 if group else PE_QPACK_INT8
    args.group, args.scale, args.zero = group, NULL, NULL
    transposed(weight, &b)
    args.b = &b
    if scale is not None:
        s = scale.view
        if group:
            transposed(scale, &s)
        args.scale = &s
    if zero is not None:
        transposed(zero, &z)
        args.zero = &z
    check(pe_qpack_bytes(context, &args, &pack.bytes, &err), &err)
    pack.memory = pe_alloc(context, pack.bytes)
    if pack.memory == NULL:
        raise MemoryError(f"quantize: no memory for a pack of {pack.bytes} bytes")
    args.packed, args.bytes = pack.memory, pack.bytes
    with nogil:
        status = pe_qpack(context, &args, &err)
    check(status, &err)
    pack.k, pack.n, pack.bits = b.shape[0], b.shape[1], 4 if group else 8
    return pack


cdef int transposed(Tensor x, pe_tensor *view) except -1:
    if x.view.ndim != 2:
        raise ValueError(f"quantize: two axes are needed, got shape {x.shape}")
    view[0] = x.view
    view.shape[0], view.shape[1] = x.view.shape[1], x.view.shape[0]
    view.strides[0], view.strides[1] = x.view.strides[1], x.view.strides[0]
    return 0


def quant_unpack(QPack pack):
    """The float32 weight (n, k) that a pack stands for."""
    cdef pe_qunpack_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out = new_row_major(PE_FLOAT32, (pack.n, pack.k), "dequantize")
    cdef pe_tensor b
    transposed(out, &b)
    args.packed, args.bytes, args.out = pack.memory, pack.bytes, &b
    with nogil:
        status = pe_qunpack(context, &args, &err)
    check(status, &err)
    return out


def quantize_rows(Tensor x, str kind):
    """(q, scale, zero) of each row of x (rows, n); zero is int32, and constant for the symmetric kinds."""
    cdef pe_quantize_args args
    cdef pe_error err
    cdef pe_status status
    args.kind = QUANT_KINDS[kind]
    float_only(x, "quantize", "input")
    if x.view.ndim != 2:
        raise ValueError(f"quantize: the input needs two axes, got shape {x.shape}")
    cdef Tensor q = new_row_major(PE_INT8 if kind == "s8" else PE_UINT8, shape_of(&x.view), "quantize")
    cdef Tensor scale = new_row_major(PE_FLOAT32, (x.view.shape[0],), "quantize")
    cdef Tensor zero = new_row_major(PE_INT32, (x.view.shape[0],), "quantize")
    args.in_, args.out, args.scale, args.zero = &x.view, &q.view, &scale.view, &zero.view
    with nogil:
        status = pe_quantize(context, &args, &err)
    check(status, &err)
    return q, scale, zero


def int8_matmul(Tensor a, b):
    """a (m, k) int8 or uint8 times b (k, n), an int8 tensor or the pack of one, in int32."""
    cdef pe_qgemm_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out, dense
    cdef QPack pack
    memset(&args, 0, sizeof(args))
    if isinstance(b, QPack):
        pack = b
        if pack.bits != 8:
            raise TypeError("int8_matmul: weights of 8 bits are needed, got 4 bits: use quantized_linear")
        args.packed, args.packed_bytes = pack.memory, pack.bytes
        shape, kind = (pack.k, pack.n), "int8"
    else:
        dense = b
        args.b = &dense.view
        shape, kind = dense.shape, dense.dtype.name
    if a.view.ndim != 2 or len(shape) != 2 or a.view.shape[1] != shape[0]:
        raise ValueError(f"int8_matmul: shapes {a.shape} and {shape} do not fit: (m, k) and (k, n) are needed")
    if a.view.dtype not in (PE_INT8, PE_UINT8) or kind != "int8":
        raise TypeError(f"int8_matmul: int8 or uint8 times int8 is needed, got {a.dtype.name} and {kind}")
    out = new_row_major(PE_INT32, (a.view.shape[0], shape[1]), "int8_matmul")
    args.a, args.c, args.activation = &a.view, &out.view, PE_NO_ACTIVATION
    with nogil:
        status = pe_qgemm(context, &args, &err)
    check(status, &err)
    return out


def quantized_linear(Tensor x, QPack pack, Tensor bias=None, int activation=PE_NO_ACTIVATION):
    """act(x w^T + bias) for x (..., k) and the pack of w (n, k)."""
    cdef pe_qlinear_args args
    cdef pe_error err
    cdef pe_status status
    cdef pe_tensor c = x.view, rows
    cdef Tensor flat = x
    float_only(x, "quantized_linear", "input")
    if c.ndim < 1 or c.shape[c.ndim - 1] != pack.k:
        raise ValueError(f"quantized_linear: input of shape {x.shape} does not fit a weight of shape "
                         f"({pack.n}, {pack.k}): the last axis must equal weight's second")
    if bias is not None:
        float_only(bias, "quantized_linear", "bias")
        if bias.view.ndim != 1 or bias.view.shape[0] != pack.n:
            raise ValueError(f"quantized_linear: bias of shape {bias.shape} does not fit a weight of shape "
                             f"({pack.n}, {pack.k})")
    if c.ndim != 2:  # all leading axes are rows of one product
        flat = reshape(alias(x), (numel(&x.view) // pack.k if pack.k else product_of(&c), pack.k))
    rows = flat.view
    c.shape[c.ndim - 1], c.dtype = pack.n, PE_FLOAT32
    fill_row_major(&c, "quantized_linear")
    cdef Tensor out = new_tensor(&c)
    cdef pe_tensor target = out.view
    target.ndim, target.shape[0], target.shape[1] = 2, rows.shape[0], pack.n
    target.strides[0], target.strides[1] = pack.n * 4, 4
    args.x, args.packed, args.packed_bytes, args.out = &rows, pack.memory, pack.bytes, &target
    args.bias, args.activation = NULL if bias is None else &bias.view, activation
    with nogil:
        status = pe_qlinear(context, &args, &err)
    check(status, &err)
    return out


cdef int64_t product_of(const pe_tensor *v):
    cdef int64_t rows = 1
    cdef int i
    for i in range(v.ndim - 1):
        rows *= v.shape[i]
    return rows
