# Attention and its gradients: scaled dot products of (batch, heads, rows, features), of which the first two may lack.


cdef int as_heads(const pe_tensor *from_, pe_tensor *to) except -1:
    """The view (N, heads, rows, features) of one of 2 to 4 axes: (rows, features), (N, rows, features)."""
    cdef int i, n = from_.ndim
    to[0] = from_[0]
    to.ndim = 4
    for i in range(2):
        to.shape[2 + i], to.strides[2 + i] = from_.shape[n - 2 + i], from_.strides[n - 2 + i]
        to.shape[i], to.strides[i] = 1, 0
    if n > 2:
        to.shape[0], to.strides[0] = from_.shape[0], from_.strides[0]
    if n > 3:
        to.shape[1], to.strides[1] = from_.shape[1], from_.strides[1]
    return 0


cdef Tensor with_dense_rows(Tensor x):
    """x, or a copy of it, with a last axis that steps by one element."""
    cdef int last = x.view.ndim - 1
    if x.view.shape[last] <= 1 or x.view.strides[last] == sizeof(float):
        return x
    cdef Tensor out = new_row_major(PE_FLOAT32, shape_of(&x.view), "scaled_dot_product_attention")
    copy_into(&x.view, &out.view)
    return out


cdef Tensor ordered_like(const pe_tensor *like, int64_t last):
    """A new dense float32 tensor of like's shape, its last axis of size `last` fastest, the others in the order that
    they have in like."""
    cdef pe_tensor v = like[0]
    cdef int order[8]
    cdef int i, j, n = v.ndim - 1
    cdef int64_t step = sizeof(float)
    v.dtype, v.shape[n], v.strides[n] = PE_FLOAT32, last, step
    step *= last if last > 0 else 1
    for i in range(n):
        j = i
        while j > 0 and like.strides[order[j - 1]] < like.strides[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    for i in range(n - 1, -1, -1):
        v.strides[order[i]] = step
        step *= v.shape[order[i]] if v.shape[order[i]] > 0 else 1
    check_size(&v, "scaled_dot_product_attention")
    return new_tensor(&v)


cdef int mask_view(Tensor mask, const pe_tensor *q, int axes, const pe_tensor *k, pe_tensor *to) except -1:
    """The mask broadcast to (N, heads, rows of q, rows of k)."""
    cdef int i, n = mask.view.ndim, axis
    cdef int64_t size
    to[0] = mask.view
    to.ndim = 4
    for i in range(4):
        to.shape[i], to.strides[i] = q.shape[i], 0
    to.shape[3] = k.shape[2]
    for i in range(n):  # from the right: of 3 axes the first is N
        axis = 3 - i if i < 2 or axes == 4 else 0
        size = mask.view.shape[n - 1 - i]
        if i >= axes or (size != 1 and size != to.shape[axis]):
            raise RuntimeError(f"scaled_dot_product_attention: attn_mask of shape {mask.shape} does not broadcast to "
                               f"{shape_of(to)[4 - axes if axes != 3 else 1:]}, the scores' shape")
        if size != 1:
            to.strides[axis] = mask.view.strides[n - 1 - i]
    return 0


cdef class AttentionCall:
    """The arguments of pe_attention, and what keeps them alive."""
    cdef pe_attention_args args
    cdef pe_tensor q, k, v, out, lse, mask
    cdef Tensor query, key, value

    def __cinit__(self, Tensor query, Tensor key, Tensor value, Tensor mask or None, tuple options,
                  Tensor lengths or None, Tensor slopes or None):
        memset(&self.args, 0, sizeof(pe_attention_args))
        self.query, self.key, self.value = with_dense_rows(query), with_dense_rows(key), with_dense_rows(value)
        as_heads(&self.query.view, &self.q)
        as_heads(&self.key.view, &self.k)
        as_heads(&self.value.view, &self.v)
        self.args.q, self.args.k, self.args.v = &self.q, &self.k, &self.v
        if mask is not None:
            mask_view(mask, &self.q, query.view.ndim, &self.k, &self.mask)
            self.args.mask = &self.mask
        self.args.lengths, self.args.slopes = view_or_null(lengths), view_or_null(slopes)
        self.args.scale, self.args.causal, self.args.query_start, self.args.window = options

    cdef int take(self, Tensor out, Tensor lse) except -1:
        as_heads(&out.view, &self.out)
        self.args.out = &self.out
        if lse is not None:
            self.args.lse = &lse.view
        return 0


def attention(Tensor query, Tensor key, Tensor value, Tensor mask or None, tuple options, Tensor lengths=None,
              Tensor slopes=None):
    """softmax(query key^T scale + ...) value of 2 to 4 axes, recorded; options = (scale, causal, query_start, window or
    0), mask bool or float32 without a gradient."""
    cdef pe_error err
    cdef pe_status status
    cdef AttentionCall call = AttentionCall(query, key, value, mask, options, lengths, slopes)
    cdef Tensor lse = None, out = ordered_like(&query.view, value.view.shape[value.view.ndim - 1])
    cdef bint recorded = wants_grad1(query) or wants_grad1(key) or wants_grad1(value)
    if recorded:
        lse = new_row_major(PE_FLOAT32, (call.q.shape[0], call.q.shape[1], call.q.shape[2]), "attention")
    call.take(out, lse)
    with nogil:
        status = pe_attention(context, &call.args, &err)
    check(status, &err)
    if recorded:
        record(out, "attention", (query, key, value), (query, key, value, out, lse, mask, lengths, slopes), options)
    return out


def attention_backward(Tensor query, Tensor key, Tensor value, Tensor out, Tensor lse, Tensor g, Tensor mask or None,
                       tuple options, Tensor lengths=None, Tensor slopes=None):
    """(dquery, dkey, dvalue) of attention; not recorded."""
    cdef pe_attention_backward_args args
    cdef pe_error err
    cdef pe_status status
    cdef pe_tensor gv, dq, dk, dv
    cdef AttentionCall call = AttentionCall(query, key, value, mask, options, lengths, slopes)
    cdef Tensor grad = with_dense_rows(g)
    cdef Tensor dquery = ordered_like(&query.view, query.view.shape[query.view.ndim - 1])
    cdef Tensor dkey = ordered_like(&key.view, key.view.shape[key.view.ndim - 1])
    cdef Tensor dvalue = ordered_like(&value.view, value.view.shape[value.view.ndim - 1])
    call.take(out, lse)
    as_heads(&grad.view, &gv)
    as_heads(&dquery.view, &dq)
    as_heads(&dkey.view, &dk)
    as_heads(&dvalue.view, &dv)
    args.forward, args.g, args.dq, args.dk, args.dv = &call.args, &gv, &dq, &dk, &dv
    with nogil:
        status = pe_attention_backward(context, &args, &err)
    check(status, &err)
    return dquery, dkey, dvalue
