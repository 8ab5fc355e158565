# Recurrent layers: all steps of one direction in a call. ops/recurrence.py puts directions together and records them.

cdef const int64_t *sizes_of(Tensor sizes, int64_t steps) except? NULL:
    """The rows of each step, in C's hands; NULL where there are none: all are alike."""
    if sizes is None:
        return NULL
    if sizes.view.dtype != PE_INT64 or sizes.view.ndim != 1 or sizes.view.shape[0] != steps \
            or not is_dense(&sizes.view):
        raise ValueError(f"recurrence: sizes must be dense int64 of shape ({steps},), got {sizes.dtype.name} of shape "
                         f"{sizes.shape}")
    return <const int64_t *>sizes.view.data


cdef PackedWeight find_recurrence_pack(Tensor weight, int gates, int64_t rows):
    """find_pack for the weight that meets the state: marked by minus its number of gates."""
    cdef PackedWeight p = known_pack(weight, -gates)
    cdef pe_error err
    cdef pe_status status
    cdef size_t nbytes
    if p is not None or weight.storage.has_pack:
        return p
    if rows > RECURRENCE_PACK_ROWS or weight.view.ndim != 2 or not packable(weight) or not second_use(weight):
        return None
    try:
        check(pe_recurrence_pack_bytes(context, &weight.view, gates, &nbytes, &err), &err)
        p = new_pack(weight, nbytes, -gates)
        with nogil:
            status = pe_recurrence_pack(context, &weight.view, gates, p.memory, &err)
        check(status, &err)
        return keep_pack(weight, p)
    except MemoryError:  # it is a luxury
        return None


cdef enum:
    RECURRENCE_PACK_ROWS = 8192  # of all steps: from there on packing is next to nothing


cdef Tensor like_where(Tensor x, bint wanted):
    return new_row_major(PE_FLOAT32, shape_of(&x.view), "recurrence") if wanted and x is not None else None


def recurrence(int mode, int gates, Tensor x, tuple weights, tuple state, int64_t steps, Tensor sizes or None,
               bint backwards, Tensor y, tuple last, bint keep):
    """Writes y and last as pe_recurrence says; weights is (w_ih, w_hh, b_ih, b_hh), state and last (h,) or (h, c).
    Returns what the derivative needs besides, two tensors or (None, None). Not recorded."""
    cdef pe_recurrence_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor w_ih, w_hh, b_ih, b_hh, activated = None, kept = None
    cdef PackedWeight packed_ih = None, packed_hh = None
    w_ih, w_hh, b_ih, b_hh = weights
    if keep:
        activated = new_row_major(PE_FLOAT32, (x.view.shape[0], w_hh.view.shape[0]), "recurrence")
        kept = new_row_major(PE_FLOAT32, shape_of(&y.view), "recurrence")
        forget_pack(w_ih)
        forget_pack(w_hh)
    else:
        packed_ih = find_pack(w_ih, x.view.shape[0])
        packed_hh = find_recurrence_pack(w_hh, gates, x.view.shape[0])
    memset(&args, 0, sizeof(args))
    args.mode, args.backwards, args.steps, args.sizes = mode, backwards, steps, sizes_of(sizes, steps)
    args.x, args.w_ih, args.w_hh = &x.view, &w_ih.view, &w_hh.view
    args.b_ih, args.b_hh, args.y = view_or_null(b_ih), view_or_null(b_hh), &y.view
    args.h0, args.h_n = &(<Tensor>state[0]).view, &(<Tensor>last[0]).view
    if len(state) > 1:
        args.c0, args.c_n = &(<Tensor>state[1]).view, &(<Tensor>last[1]).view
    args.gates, args.kept = view_or_null(activated), view_or_null(kept)
    args.packed_ih = NULL if packed_ih is None else packed_ih.memory
    args.packed_hh = NULL if packed_hh is None else packed_hh.memory
    with nogil:
        status = pe_recurrence(context, &args, &err)
    check(status, &err)
    return activated, kept


def recurrence_backward(int mode, Tensor x, tuple weights, tuple state, int64_t steps, Tensor sizes or None,
                        bint backwards, tuple outputs, tuple gradients, Tensor dx or None, bint add_dx, tuple begun,
                        bint wants_state, tuple wanted):
    """The gradients of weights, each where `wanted` says so, else None. outputs: (y, and what recurrence() returned);
    gradients: those of y, h_n and c_n, or None; dx (None: not asked for) is written or added to, begun, the gradients
    of the state, is written. Not recorded."""
    cdef pe_recurrence_backward_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor w_ih, w_hh, b_ih, b_hh, y, activated, kept, dy, dh_n, dc_n
    w_ih, w_hh, b_ih, b_hh = weights
    y, activated, kept = outputs
    dy, dh_n, dc_n = gradients
    cdef Tensor dw_ih = like_where(w_ih, wanted[0]), dw_hh = like_where(w_hh, wanted[1])
    cdef Tensor db_ih = like_where(b_ih, wanted[2]), db_hh = like_where(b_hh, wanted[3])
    memset(&args, 0, sizeof(args))
    args.mode, args.backwards, args.steps, args.sizes = mode, backwards, steps, sizes_of(sizes, steps)
    args.x, args.w_ih, args.w_hh, args.y = &x.view, &w_ih.view, &w_hh.view, &y.view
    args.h0, args.dh0 = &(<Tensor>state[0]).view, &(<Tensor>begun[0]).view
    if len(state) > 1:
        args.c0, args.dc0 = &(<Tensor>state[1]).view, &(<Tensor>begun[1]).view
    args.gates, args.kept = &activated.view, &kept.view
    args.dy, args.dh_n, args.dc_n = view_or_null(dy), view_or_null(dh_n), view_or_null(dc_n)
    args.dx, args.dw_ih, args.dw_hh = view_or_null(dx), view_or_null(dw_ih), view_or_null(dw_hh)
    args.db_ih, args.db_hh = view_or_null(db_ih), view_or_null(db_hh)
    args.wants_state, args.add_dx = wants_state, add_dx
    with nogil:
        status = pe_recurrence_backward(context, &args, &err)
    check(status, &err)
    return dw_ih, dw_hh, db_ih, db_hh
