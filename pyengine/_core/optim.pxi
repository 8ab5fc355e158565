# Optimizer steps: one C call over all the tensors of a parameter group.

cdef int dense_floats(Tensor param, str rule, int i) except -1:
    if param.view.dtype != PE_FLOAT32 or not is_dense(&param.view):
        raise ValueError(f"{rule}: parameter {i} has shape {param.shape}, strides {param.stride()} and "
                         f"{param.dtype.name}; dense float32 is needed")
    if param.storage.readonly:
        raise ValueError(f"{rule}: parameter {i} of shape {param.shape} is read-only")
    return 0


cdef int fits(Tensor x, Tensor param, str rule, str what, int i) except -1:
    """x has the element type and memory layout of its dense parameter, so both can be walked as one run."""
    cdef int axis
    if x.view.dtype != PE_FLOAT32 or not same_shape(&x.view, &param.view):
        raise ValueError(f"{rule}: {what} {i} of shape {x.shape} and {x.dtype.name} does not fit a parameter of "
                         f"shape {param.shape} (float32 is needed)")
    for axis in range(x.view.ndim):
        if x.view.shape[axis] > 1 and x.view.strides[axis] != param.view.strides[axis]:
            raise ValueError(f"{rule}: {what} {i} has strides {x.stride()}, its parameter {param.stride()}")
    return 0


def with_gradient(list params):
    """Those of params that have a gradient."""
    cdef Tensor p
    return [p for p in params if p.grad_ is not None]


def forget_gradients(list params):
    """Every gradient of params becomes None."""
    cdef Tensor p
    for p in params:
        p.grad_ = None


def begun_and_fresh(list params, dict state, str name):
    """Two lists: those of params that have a state `name`, and those that do not yet."""
    cdef list begun = [], fresh = []
    cdef dict entry
    for p in params:
        entry = state.get(p)
        if entry is not None and name in entry:
            begun.append(p)
        else:
            fresh.append(p)
    return begun, fresh


def count_steps(list params, dict state):
    """Counts one step in every parameter's state; returns step -> the parameters at that step."""
    cdef dict together = {}, entry
    cdef list chosen = None
    cdef object step = None, before, last = None
    for p in params:
        entry = state.get(p)
        if entry is None:
            entry = state[p] = {}
        before = entry.get("step", 0)
        if chosen is None or (before is not last and before != last):  # mostly all are at the same
            step, last = before + 1, before
            chosen = together.setdefault(step, [])
        entry["step"] = step
        chosen.append(p)
    return together


cdef Tensor own_state(dict entry, Tensor param, str name):
    """entry[name], made of zeros where it is not there yet."""
    found = entry.get(name)
    cdef Tensor made
    if found is None:
        made = empty_like(&param.view, PE_FLOAT32)
        memset(made.view.data, 0, made.storage.nbytes)
        entry[name] = found = made
    return found


def optim_rules():
    """The rules of csrc/kernels/optim.def: name -> (number of states, names of the hyper-parameters in order)."""
    rules = {}
    cdef const pe_optim_info *info
    for i in range(pe_optim_count()):
        info = pe_optim_describe(i)
        rules[info.name.decode()] = (info.states, tuple([info.hyper[j].decode() for j in range(info.hypers)]))
    return rules


def optim_step(str rule, list params, dict state, tuple names, tuple hyper):
    """One step of a row of optim.def over all parameters, which have gradients, in one call. state: parameter ->
    {name: tensor}, zeros where it is missing; names: of the row's states; hyper: numbers in the row's order
    (optim_rules()). Writes params and states in place."""
    cdef int number = pe_optim_find(rule.encode()), i, j, n = len(params)
    cdef const pe_optim_info *info
    cdef double values[PE_OPTIM_HYPER]
    if number < 0:
        raise KeyError(f"no optimizer rule is called {rule}")
    info = pe_optim_describe(number)
    if len(names) != info.states:
        raise ValueError(f"{rule}: states {names} were given, the rule keeps {info.states} a parameter")
    if len(hyper) != info.hypers:
        raise ValueError(f"{rule}: {info.hypers} hyper-parameters needed, got {len(hyper)}")
    for j in range(len(hyper)):
        values[j] = hyper[j]
    cdef list touched = []  # also keeps the states alive
    cdef pe_optim_slot *slots = <pe_optim_slot *>pe_alloc(context, max(n, 1) * sizeof(pe_optim_slot))
    if slots == NULL:
        raise MemoryError(rule)
    try:
        for i in range(n):
            fill_slot(&slots[i], rule, params[i], state, names, i, touched)
        run_step(number, n, slots, values)
        for tensor in touched:
            (<Tensor>tensor).storage.version += 1
    finally:
        pe_free(context, slots)


cdef int fill_slot(pe_optim_slot *slot, str rule, Tensor p, dict state, tuple names, int i, list touched) except -1:
    cdef Tensor s, g
    cdef dict entry
    cdef int j
    if p is None or p.grad_ is None:
        raise ValueError(f"{rule}: parameter {i} has no gradient")
    g = p.grad_
    dense_floats(p, rule, i)
    fits(g, p, rule, "gradient", i)
    slot.param, slot.grad, slot.n = <float *>p.view.data, <float *>g.view.data, numel(&p.view)
    touched.append(p)
    if not names:
        return 0
    entry = state.get(p)
    if entry is None:
        entry = state[p] = {}
    for j in range(len(names)):
        s = own_state(entry, p, <str?>names[j])
        fits(s, p, rule, <str?>names[j], i)
        slot.state[j] = <float *>s.view.data
        touched.append(s)
    return 0


cdef int run_step(int number, int n, pe_optim_slot *slots, double *values) except -1:
    cdef pe_optim_args args
    cdef pe_error err
    cdef pe_status status
    args.rule, args.count, args.slots, args.hyper = number, n, slots, values
    with nogil:
        status = pe_optim_step(context, &args, &err)
    return check(status, &err)
