# Windows: what convolution and pooling see of their input, as a view. No element is touched.

def windows(input, sizes, steps, spacings, str what="windows"):
    """x (..., L1 .. Ln) as its overlapping windows (..., O1 .. On, K1 .. Kn) with K of sizes: window o of an axis holds
    the elements o step + k spacing, and O = (L - spacing (K - 1) - 1) // step + 1. Not recorded."""
    cdef Tensor x = need(input, what)
    cdef int n = len(sizes), first = x.view.ndim - n, ndim = x.view.ndim + n, i
    cdef int64_t size, step, gap, length
    if first < 0 or ndim > PE_MAX_DIMS:
        raise ValueError(f"{what}: windows {tuple(sizes)} do not fit shape {x.shape} within {PE_MAX_DIMS} axes")
    cdef Tensor out = view_of(x)
    out.view.ndim = ndim
    for i in range(n):
        size, step, gap, length = sizes[i], steps[i], spacings[i], x.view.shape[first + i]
        if size < 1 or step < 1 or gap < 1:
            raise ValueError(f"{what}: sizes {tuple(sizes)}, steps {tuple(steps)} and spacings {tuple(spacings)} must "
                             "be positive")
        # length - 1 >= gap (size - 1), in an order that cannot overflow
        if length < 1 or (size > 1 and (length - 1) // (size - 1) < gap):
            raise RuntimeError(f"{what}: a window of {size} elements, {gap} apart, does not fit {length} elements of "
                               f"shape {x.shape}")
        out.view.shape[first + i] = (length - 1 - gap * (size - 1)) // step + 1
        # one window, or one element in it: no step is taken, and this one must not overflow
        out.view.strides[first + i] = x.view.strides[first + i] * (step if out.view.shape[first + i] > 1 else 1)
        out.view.shape[ndim - n + i] = size
        out.view.strides[ndim - n + i] = x.view.strides[first + i] * (gap if size > 1 else 1)
    check_size(&out.view, what)
    return out
