# Optimizer steps: one C call over all the tensors of a parameter group. (optim_slots.pxi: what it walks.)

cdef int dense_floats(Tensor param, str rule, int i) except -1:
    if param.view.dtype != PE_FLOAT32 or not is_dense(&param.view):
        raise ValueError(f"{rule}: parameter {i} has shape {param.shape}, strides {param.stride()} and "
                         f"{param.dtype.name}; dense float32 is needed")
    if param.storage.readonly:
        raise ValueError(f"{rule}: parameter {i} of shape {param.shape} is read-only")
    return 0


cdef Tensor laid_like(Tensor x, Tensor param, str rule, str what, int i):
    """x in the memory layout of its dense parameter, so that both are walked as one run: a copy where it lies
    otherwise."""
    cdef Tensor out
    if x.view.dtype != PE_FLOAT32 or not same_shape(&x.view, &param.view):
        raise ValueError(f"{rule}: {what} {i} of shape {x.shape} and {x.dtype.name} does not fit a parameter of "
                         f"shape {param.shape} (float32 is needed)")
    if same_strides(&x.view, &param.view):
        return x
    out = empty_like(&param.view, PE_FLOAT32)
    copy_into(&x.view, &out.view)
    return out


def with_gradient(list params):
    """Those of params that have a dense gradient."""
    cdef Tensor p
    return [p for p in params if p is not None and p.grad_ is not None]


def gradients(list params):
    """The gradients of those of params that have one, off the tape; of a RowSparse its values."""
    cdef Tensor p
    cdef list found = []
    for p in params:
        if p is None:
            raise TypeError("gradients: a Tensor is needed, got None")
        if p.grad_ is not None:
            found.append(p.grad_ if p.grad_.node is None and not p.grad_.leaf_requires_grad else alias(p.grad_))
        elif p.row_grad is not None:
            found.append(p.row_grad.entries)
    return found


def forget_gradients(list params):
    """Every gradient of params becomes None."""
    cdef Tensor p
    for p in params:
        if p is not None:
            p.grad_ = p.row_grad = None


def clear_gradients(list params):
    """Fills the gradients of params with zeros; returns the parameters whose gradient has a place on the tape, is no
    dense float32 or is large: they are left as they are."""
    cdef Tensor p, g
    cdef list others = []
    cdef int64_t n
    for p in params:
        g = p.grad_ if p is not None else None
        if g is None and p is not None and p.row_grad is not None:
            others.append(p)
        if g is None:
            continue
        n = numel(&g.view)
        if g.node is not None or n > 65536 or g.view.dtype != PE_FLOAT32 or g.storage.readonly or not is_dense(&g.view):
            others.append(p)
            continue
        if n:
            memset(g.view.data, 0, <size_t>n * sizeof(float))
        g.storage.version += 1
    return others


@cython.final
cdef class Counted(list):
    """Parameters, and beside them their entries of the state, so that nobody looks these up again."""
    cdef list entries


def begun_and_fresh(list params, dict state, str name):
    """Two lists: those of params that have a state `name`, and those that do not yet."""
    cdef list fresh = []
    cdef Counted begun = Counted()
    cdef PyObject *entry
    begun.entries = []
    for p in params:
        entry = PyDict_GetItemWithError(state, p)
        if entry != NULL and PyDict_GetItemWithError(<object>entry, name) != NULL:
            begun.append(p)
            begun.entries.append(<dict?><object>entry)
        else:
            fresh.append(p)
    return begun, fresh


def count_steps(list params, dict state):
    """Counts one step in every parameter's state; returns step -> the parameters at that step."""
    cdef dict together = {}, entry
    cdef Counted chosen = None
    cdef object step = None, last = None, before
    cdef PyObject *found
    for p in params:
        found = PyDict_GetItemWithError(state, p)
        if found != NULL:
            entry = <dict?><object>found
        else:
            entry = state[p] = {}
        found = PyDict_GetItemWithError(entry, "step")
        before = <object>found if found != NULL else 0
        if chosen is None or (before is not last and before != last):  # mostly all are at the same
            step, last = before + 1, before
            chosen = together.get(step)
            if chosen is None:
                chosen = together[step] = Counted()
                chosen.entries = []
        PyDict_SetItem(entry, "step", step)
        chosen.append(p)
        chosen.entries.append(entry)
    return together


def optim_rules():
    """The rules of csrc/kernels/optim.def: name -> (number of states, names of the hyper-parameters in order)."""
    rules = {}
    cdef const pe_optim_info *info
    for i in range(pe_optim_count()):
        info = pe_optim_describe(i)
        rules[info.name.decode()] = (info.states, tuple([info.hyper[j].decode() for j in range(info.hypers)]))
    return rules


def optim_step(str rule, params, dict state, tuple names, tuple hyper, Slots kept=None):
    """One step of a row of optim.def over all parameters, which have gradients, in one call. state: parameter ->
    {name: tensor}, zeros where it is missing; names: of the row's states; hyper: numbers in the row's order
    (optim_rules()); kept: the slots of the step before, if the caller keeps them. Writes params and states in
    place."""
    if not isinstance(params, list):
        raise TypeError(f"{rule}: params must be a list, got {type(params).__name__}")
    cdef int number = pe_optim_find(rule.encode()), j, n = len(params)
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
    if kept is None or kept.busy:
        kept = Slots.__new__(Slots)
    cdef list gradients = []
    cdef pe_optim_slot *slots
    kept.busy = True
    try:
        slots = kept.take(rule, params, state, names, gradients)
        run_step(number, n, slots, values)
        kept.written(slots, n)
    finally:
        kept.busy = False


cdef int run_step(int number, int n, pe_optim_slot *slots, double *values) except -1:
    cdef pe_optim_args args
    cdef pe_error err
    cdef pe_status status
    args.rule, args.count, args.slots, args.hyper = number, n, slots, values
    with nogil:
        status = pe_optim_step(context, &args, &err)
    return check(status, &err)
