# Products of ragged groups: what a mixture of experts is made of.

def grouped_mm(Tensor a, Tensor b, Tensor ends):
    """b (groups, k, n): out[r] = a[r] b[group of r]; b (rows, n): out[g] = a[:, rows of g] b[rows of g]. Group g has
    the rows from ends[g - 1] (0 for the first) up to ends[g], int64. Recorded."""
    cdef pe_gemm_groups_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor out
    float_only(a, "grouped_mm", "the first operand")
    float_only(b, "grouped_mm", "the second operand")
    if a.view.ndim != 2 or b.view.ndim < 2 or b.view.ndim > 3 or ends.view.ndim != 1:
        raise ValueError(f"grouped_mm: shapes {a.shape} and {b.shape} with offs {ends.shape}: a matrix against a "
                         "matrix or a stack of matrices, and a vector, are needed")
    if b.view.ndim == 3:
        out = new_row_major(PE_FLOAT32, (a.view.shape[0], b.view.shape[2]), "grouped_mm")
    else:
        out = new_row_major(PE_FLOAT32, (ends.view.shape[0], a.view.shape[0], b.view.shape[1]), "grouped_mm")
    memset(&args, 0, sizeof(pe_gemm_groups_args))
    args.a, args.b, args.c, args.ends = &a.view, &b.view, &out.view, &ends.view
    with nogil:
        status = pe_gemm_groups(context, &args, &err)
    check(status, &err)
    return record(out, "grouped_mm", (a, b), (a, b, ends))


def add_groups(Node node, int i, Tensor a, Tensor b, Tensor ends):
    """grouped_mm(a, b, ends), the gradient of the node's input i, of one matrix a group. In backward() it goes straight
    onto the .grad of a leaf as add_product's does, and None is returned."""
    cdef Tensor grad = grad_of_leaf(node, i)
    cdef pe_gemm_groups_args args
    cdef pe_error err
    cdef pe_status status
    if grad is None or grad.view.ndim != 3:
        return grouped_mm(a, b, ends)
    args.a, args.b, args.c, args.ends, args.accumulate = &a.view, &b.view, &grad.view, &ends.view, 1
    with nogil:
        status = pe_gemm_groups(context, &args, &err)
    check(status, &err)
    grad.storage.version += 1
    return None
