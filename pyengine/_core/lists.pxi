# Norms and updates of lists of tensors in place: gradient clipping, running averages.

cdef int plain(Tensor x, str what, int i) except -1:
    """x can be walked as one run of floats."""
    if x is None:
        raise TypeError(f"{what}: tensor {i} is None")
    if x.view.dtype != PE_FLOAT32 or not is_dense(&x.view):
        raise ValueError(f"{what}: tensor {i} has shape {x.shape}, strides {x.stride()} and {x.dtype.name}; "
                         "dense float32 is needed")
    return 0


def walks_as_floats(list tensors):
    """True when every one of tensors is dense float32 that may be written: norm2 and update_list take them."""
    cdef Tensor x
    for x in tensors:
        if x is None or x.view.dtype != PE_FLOAT32 or not is_dense(&x.view) or x.storage.readonly:
            return False
    return True


def norm2(list tensors):
    """The 2-norm of all elements of all tensors (dense float32) as one vector, in one call: a float."""
    return whole_and_each(tensors, False)


def norms(list tensors):
    """The 2-norm of each of tensors (dense float32), in one call: a list of floats."""
    return whole_and_each(tensors, True)


cdef object whole_and_each(list tensors, bint separate):
    cdef int i, n = len(tensors)
    cdef double out = 0
    cdef pe_norm_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor x
    cdef char *memory = <char *>pe_alloc(context, max(n, 1) * (sizeof(float *) + sizeof(int64_t) + sizeof(double)))
    if memory == NULL:
        raise MemoryError("norm2")
    cdef const float **starts = <const float **>memory
    cdef int64_t *sizes = <int64_t *>(memory + n * sizeof(float *))
    cdef double *each = <double *>(sizes + n)
    try:
        for i in range(n):
            x = tensors[i]
            plain(x, "norm2", i)
            starts[i], sizes[i] = <const float *>x.view.data, numel(&x.view)
        args.count, args.x, args.n, args.out, args.each = n, starts, sizes, &out, each if separate else NULL
        with nogil:
            status = pe_norm2(context, &args, &err)
        check(status, &err)
        return [each[i] for i in range(n)] if separate else out
    finally:
        pe_free(context, memory)


def update_list(str rule, list targets, list sources, tuple hyper):
    """A row of optim.def without states over pairs of tensors: targets[i] from sources[i] (which may be the same
    tensor), in place, in one call."""
    cdef int number = pe_optim_find(rule.encode()), i, n = len(targets)
    cdef double values[PE_OPTIM_HYPER]
    cdef Tensor p, g
    cdef list kept = []
    if number < 0 or pe_optim_describe(number).states or len(hyper) != pe_optim_describe(number).hypers:
        raise KeyError(f"no row without states and with {len(hyper)} hyper-parameters is called {rule}")
    if len(sources) != n:
        raise ValueError(f"{rule}: {n} targets, {len(sources)} sources")
    for i in range(len(hyper)):
        values[i] = hyper[i]
    cdef pe_optim_slot *slots = <pe_optim_slot *>pe_alloc(context, max(n, 1) * sizeof(pe_optim_slot))
    if slots == NULL:
        raise MemoryError(rule)
    try:
        memset(slots, 0, n * sizeof(pe_optim_slot))
        for i in range(n):
            p, g = targets[i], sources[i]
            dense_floats(p, rule, i)
            g = laid_like(g, p, rule, "source", i)
            kept.append(g)
            slots[i].param, slots[i].grad, slots[i].n = <float *>p.view.data, <float *>g.view.data, numel(&p.view)
        run_step(number, n, slots, values)
        for i in range(n):
            (<Tensor>targets[i]).storage.version += 1
    finally:
        pe_free(context, slots)
