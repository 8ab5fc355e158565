# Gradients that are rows of a table: where they are kept, and steps that touch these rows alone. What they are is
# RowSparse in ops/row_sparse.py; a tensor has either such a gradient or a dense one.

def takes_rows(Node node, int i):
    """True where the rule of node may give the gradient of its input i as rows, by give_rows: in backward(), to a leaf
    without hooks, with nothing recorded."""
    edge = node.edges[i]
    return node.into_leaves and isinstance(edge, Tensor) and (<Tensor>edge).hooks is None and not grad_mode()


def give_rows(Node node, int i, rows):
    """Adds a RowSparse to the .grad of the leaf that is node's input i."""
    cdef Tensor leaf = <Tensor?>node.edges[i], grad
    if leaf.grad_ is None:
        leaf.row_grad = rows if leaf.row_grad is None else leaf.row_grad.plus(rows)
        return
    grad = own_grad(leaf)
    if grad is None or not is_row_major(&grad.view):
        grad = new_row_major(PE_FLOAT32, leaf.shape, "backward")
        copy_into(&leaf.grad_.view, &grad.view)
        leaf.grad_ = grad
    add_to_rows(grad, rows)


def add_to_rows(Tensor dense, rows):
    """Adds a RowSparse to a dense tensor of its shape, in place: the row sgd with the step -1."""
    step_rows("sgd", dense, rows.index, rows.entries, [], (-1.0, 0.0, 0.0))


cdef int into_rows(Tensor leaf, Tensor g, bint create_graph) except -1:
    """A dense gradient comes to a leaf whose gradient is rows: from now on it is dense."""
    rows, leaf.row_grad = leaf.row_grad, None
    if create_graph or not is_row_major(&leaf.view):
        leaf.grad_ = owned(binary(OP_ADD, g, rows.to_dense()), leaf, create_graph)
        return 0
    leaf.grad_ = owned(g, leaf, False)
    add_to_rows(leaf.grad_, rows)
    return 0


def with_row_gradient(list params):
    """Those of params whose gradient is a RowSparse."""
    cdef Tensor p
    return [p for p in params if p is not None and p.row_grad is not None]


def step_rows(str rule, Tensor param, Tensor index, Tensor values, list states, tuple hyper):
    """One step of a row of optim.def over param[index] alone, with the gradients values (count, ...); states: as many
    as the rule keeps, of param's shape. The numbers of index (int64) are all different. In place."""
    cdef int number = pe_optim_find(rule.encode()), j, k = len(states)
    cdef int64_t count = index.view.shape[0], rows = param.view.shape[0], n, i, row
    cdef const int64_t *at = <const int64_t *>index.view.data
    cdef double hypers[PE_OPTIM_HYPER]
    cdef pe_optim_slot *slots
    cdef Tensor t
    if number < 0 or pe_optim_describe(number).states != k or pe_optim_describe(number).hypers != len(hyper):
        raise KeyError(f"no row of {k} states and {len(hyper)} hyper-parameters is called {rule}")
    for t in (param, values, *states):
        if t.view.dtype != PE_FLOAT32 or not is_row_major(&t.view) or (t is not values and t.shape != param.shape):
            raise ValueError(f"{rule}: rows of shape {param.shape} need row-major float32, got {t.dtype.name} of shape "
                             f"{t.shape}, strides {t.stride()}")
        if t is not values and t.storage.readonly:
            raise ValueError(f"{rule}: a parameter of shape {param.shape} is read-only")
    if index.view.dtype != PE_INT64 or not is_row_major(&index.view) or index.view.ndim != 1 or count > 0x7fffffff \
            or values.shape != (count, *param.shape[1:]):
        raise ValueError(f"{rule}: index {index.shape} and values {values.shape} do not fit {param.shape}")
    for j in range(len(hyper)):
        hypers[j] = hyper[j]
    n = numel(&values.view) // count if count else 0
    slots = <pe_optim_slot *>pe_alloc(context, max(count, 1) * sizeof(pe_optim_slot))
    if slots == NULL:
        raise MemoryError(f"{rule}: no memory for {count} rows")
    try:
        for i in range(count):
            row = at[i]
            if row < 0 or row >= rows or (i and row <= at[i - 1]):
                raise IndexError(f"{rule}: index[{i}] is {row}, of {rows} rows in ascending order")
            slots[i].param, slots[i].grad = <float *>param.view.data + row * n, <float *>values.view.data + i * n
            slots[i].n = n
            for j in range(k):
                slots[i].state[j] = <float *>(<Tensor>states[j]).view.data + row * n
        run_step(number, <int>count, slots, hypers)
    finally:
        pe_free(context, slots)
    param.storage.version += 1
    for t in states:
        t.storage.version += 1
