# Optimizer steps: one C call over all the tensors of a parameter group.

cdef int flat_like(Tensor x, Tensor param, str rule, str what) except -1:
    """x has param's element type and memory layout, so both can be walked as one run."""
    cdef int i
    if x.view.dtype != PE_FLOAT32 or not same_shape(&x.view, &param.view) or not is_dense(&x.view):
        raise ValueError(f"{rule}: {what} of shape {x.shape} and {x.dtype.name} does not fit a parameter of "
                         f"shape {param.shape} (dense float32 is needed)")
    for i in range(x.view.ndim):
        if x.view.shape[i] > 1 and x.view.strides[i] != param.view.strides[i]:
            raise ValueError(f"{rule}: {what} has strides {x.stride()}, its parameter {param.stride()}")
    return 0


def optim_rules():
    """The rules of csrc/kernels/optim.def: name -> (number of states, names of the hyper-parameters in order)."""
    rules = {}
    cdef const pe_optim_info *info
    for i in range(pe_optim_count()):
        info = pe_optim_describe(i)
        rules[info.name.decode()] = (info.states, tuple([info.hyper[j].decode() for j in range(info.hypers)]))
    return rules


def optim_step(str rule, list params, list grads, list states, hyper):
    """One step of a row of optim.def over all parameters in one call. states: one list of tensors per
    state of the rule (zeros before the first step); hyper: numbers in the row's order (optim_rules()).
    Writes params and states in place."""
    cdef int number = pe_optim_find(rule.encode()), i, j, n = len(params)
    cdef const pe_optim_info *info
    cdef pe_optim_args args
    cdef pe_error err
    cdef pe_status status
    cdef double values[PE_OPTIM_HYPER]
    cdef Tensor p, g, s
    cdef pe_optim_slot *slots
    if number < 0:
        raise KeyError(f"no optimizer rule is called {rule}")
    info = pe_optim_describe(number)
    if len(grads) != n or len(states) != info.states or any([len(state) != n for state in states]):
        raise ValueError(f"{rule}: {n} parameters, {len(grads)} gradients, {[len(s) for s in states]} states; "
                         f"the rule keeps {info.states} states a parameter")
    if len(hyper) != info.hypers:
        raise ValueError(f"{rule}: {info.hypers} hyper-parameters needed, got {len(hyper)}")
    for j in range(len(hyper)):
        values[j] = hyper[j]
    slots = <pe_optim_slot *>pe_alloc(context, max(n, 1) * sizeof(pe_optim_slot))
    if slots == NULL:
        raise MemoryError(rule)
    try:
        for i in range(n):
            p, g = params[i], grads[i]
            if p.storage.readonly:
                raise ValueError(f"{rule}: parameter {i} of shape {p.shape} is read-only")
            flat_like(p, p, rule, f"parameter {i}")
            flat_like(g, p, rule, f"gradient {i}")
            memset(&slots[i], 0, sizeof(pe_optim_slot))
            slots[i].param, slots[i].grad, slots[i].n = <float *>p.view.data, <float *>g.view.data, numel(&p.view)
            for j in range(len(states)):
                s = states[j][i]
                flat_like(s, p, rule, f"state {i}")
                slots[i].state[j] = <float *>s.view.data
        args.rule, args.count, args.slots, args.hyper = number, n, slots, values
        with nogil:
            status = pe_optim_step(context, &args, &err)
        check(status, &err)
        for tensors in (params, *states):
            for i in range(n):
                (<Tensor>tensors[i]).storage.version += 1
    finally:
        pe_free(context, slots)
