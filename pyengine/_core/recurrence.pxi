# Recurrent layers: all steps of one direction in a call. ops/recurrence.py puts directions together and records them.

cdef const int64_t *sizes_of(Tensor sizes, int64_t steps) except? NULL:
    """The rows of each step, in C's hands; NULL where there are none: all are alike."""
    if sizes is None:
        return NULL
    if sizes.view.dtype != PE_INT64 or sizes.view.ndim != 1 or sizes.view.shape[0] != steps or not is_dense(&sizes.view):
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
    RECURRENCE_PACK_ROWS = 1024  # of all steps: from there on packing is next to nothing


def recurrence(int mode, int gates, Tensor inputs, Tensor weight, Tensor bias or None, Tensor h0, Tensor c0 or None, int64_t steps,
               Tensor sizes or None, bint backwards, Tensor y, Tensor h_n, Tensor c_n or None, bint keep):
    """Writes y, h_n and c_n as pe_recurrence says; inputs, the gates' part from the input, is written over. Returns
    what the derivative needs besides, or None. Not recorded."""
    cdef pe_recurrence_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor kept = None
    cdef PackedWeight packed = None
    if keep:
        kept = new_row_major(PE_FLOAT32, y.shape, "recurrence")
        forget_pack(weight)
    else:
        packed = find_recurrence_pack(weight, gates, inputs.view.shape[0])
    memset(&args, 0, sizeof(args))
    args.mode, args.backwards, args.steps, args.sizes = mode, backwards, steps, sizes_of(sizes, steps)
    args.gates, args.weight, args.bias = &inputs.view, &weight.view, view_or_null(bias)
    args.h0, args.c0, args.y, args.h_n = &h0.view, view_or_null(c0), &y.view, &h_n.view
    args.c_n, args.kept = view_or_null(c_n), view_or_null(kept)
    if packed is not None:
        args.packed = packed.memory
    with nogil:
        status = pe_recurrence(context, &args, &err)
    check(status, &err)
    return kept


def recurrence_backward(int mode, Tensor gates, Tensor weight, Tensor h0, Tensor c0 or None, int64_t steps, Tensor sizes or None,
                        bint backwards, Tensor y, Tensor kept or None, Tensor dy or None, Tensor dh_n or None, Tensor dc_n or None, Tensor dh0 or None,
                        Tensor dc0 or None, bint wants_state):
    """(gradient of the gates, of their part from the state); dh0 and dc0 are written. Not recorded."""
    cdef pe_recurrence_backward_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor dgates = new_row_major(PE_FLOAT32, gates.shape, "recurrence"), dstate = dgates
    memset(&args, 0, sizeof(args))
    args.mode, args.backwards, args.steps, args.sizes = mode, backwards, steps, sizes_of(sizes, steps)
    args.gates, args.weight, args.h0, args.c0 = &gates.view, &weight.view, &h0.view, view_or_null(c0)
    args.y, args.kept, args.dy, args.dh_n = &y.view, view_or_null(kept), view_or_null(dy), view_or_null(dh_n)
    args.dc_n, args.dgates, args.dh0, args.dc0 = view_or_null(dc_n), &dgates.view, view_or_null(dh0), view_or_null(dc0)
    args.wants_state = wants_state
    if mode == PE_GRU:
        dstate = new_row_major(PE_FLOAT32, gates.shape, "recurrence")
        args.dstate = &dstate.view
    with nogil:
        status = pe_recurrence_backward(context, &args, &err)
    check(status, &err)
    return dgates, dstate
