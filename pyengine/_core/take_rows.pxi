# Rows of a matrix by number: what embeddings, labels and bags are made of.

cdef int64_t NO_ROW = -(1 << 62)


def take_rows(Tensor matrix, Tensor index, skip=None, int64_t step=0):
    """matrix[index[i] + i step] of a float32 matrix (rows, n), int64 index (count); zeros for `skip`. Recorded."""
    cdef pe_rows_by_number_args args
    cdef pe_error err
    cdef pe_status status
    float_only(matrix, "take_rows", "matrix")
    if matrix.view.ndim != 2 or index.view.ndim != 1:
        raise ValueError(f"take_rows: a matrix and a vector are needed, got shapes {matrix.shape} and {index.shape}")
    cdef Tensor out = new_row_major(PE_FLOAT32, (index.view.shape[0], matrix.view.shape[1]), "take_rows")
    args.matrix, args.index, args.picked = &matrix.view, &index.view, &out.view
    args.step, args.skip = step, NO_ROW if skip is None else skip
    with nogil:
        status = pe_take_rows(context, &args, &err)
    check(status, &err)
    return record(out, "take_rows", (matrix,), (index,), (matrix.view.shape[0], skip, step))


def add_rows(Tensor picked, Tensor index, int64_t rows, skip=None, int64_t step=0):
    """Zeros (rows, n) plus picked[i] at row index[i] + i step, in the order of i; not for `skip`. Recorded."""
    cdef pe_rows_by_number_args args
    cdef pe_error err
    cdef pe_status status
    float_only(picked, "add_rows", "picked")
    if picked.view.ndim != 2 or index.view.ndim != 1:
        raise ValueError(f"add_rows: a matrix and a vector are needed, got shapes {picked.shape} and {index.shape}")
    cdef Tensor out = new_row_major(PE_FLOAT32, (rows, picked.view.shape[1]), "add_rows")
    args.matrix, args.index, args.picked = &out.view, &index.view, &picked.view
    args.step, args.skip = step, NO_ROW if skip is None else skip
    with nogil:
        status = pe_add_rows(context, &args, &err)
    check(status, &err)
    return record(out, "add_rows", (picked,), (index,), (skip, step))


def sum_bags(Tensor matrix, Tensor index, Tensor offsets, Tensor weights=None, skip=None):
    """out[b] = sum of weights[e] matrix[index[e]] over the entries e of bag b, offsets[b] to offsets[b+1], in their
    order; those that are `skip` left out. Not recorded: ops/bags.py does that."""
    cdef pe_bags_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out = bags_like(matrix, index, offsets, PE_FLOAT32, "sum_bags")
    args.matrix, args.index, args.offsets, args.out = &matrix.view, &index.view, &offsets.view, &out.view
    args.weights, args.place = NULL if weights is None else &weights.view, NULL
    args.skip = NO_ROW if skip is None else skip
    with nogil:
        status = pe_sum_bags(context, &args, &err)
    check(status, &err)
    return out


def max_bags(Tensor matrix, Tensor index, Tensor offsets, skip=None):
    """The maximum of each column over each bag, and the entry that it is from (-1: an empty bag). Not recorded."""
    cdef pe_bags_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out = bags_like(matrix, index, offsets, PE_FLOAT32, "max_bags")
    cdef Tensor place = bags_like(matrix, index, offsets, PE_INT64, "max_bags")
    args.matrix, args.index, args.offsets, args.out = &matrix.view, &index.view, &offsets.view, &out.view
    args.weights, args.place, args.skip = NULL, &place.view, NO_ROW if skip is None else skip
    with nogil:
        status = pe_max_bags(context, &args, &err)
    check(status, &err)
    return out, place


cdef Tensor bags_like(Tensor matrix, Tensor index, Tensor offsets, int code, str what):
    if matrix.view.ndim != 2 or index.view.ndim != 1 or offsets.view.ndim != 1 or offsets.view.shape[0] < 1:
        raise ValueError(f"{what}: a matrix and two vectors are needed, got shapes {matrix.shape}, {index.shape} and "
                         f"offsets {offsets.shape} (one more than bags)")
    return new_row_major(code, (offsets.view.shape[0] - 1, matrix.view.shape[1]), what)
