# The engine: walks the tape backwards.

cdef Tensor accumulate(Tensor total, Tensor g):
    return g if total is None else <Tensor>binary(OP_ADD, total, g)


cdef Tensor owned(Tensor g, Tensor like, bint create_graph):
    """g as a .grad that nobody else holds, in like's memory format."""
    cdef Tensor out
    if create_graph:
        return g
    # one reference: the caller's variable
    if same_strides(&g.view, &like.view) and references(<PyObject *>g) == 1 \
            and references(<PyObject *>g.storage) == 1 and g.storage.owner is None:
        return g
    out = empty_like(&like.view, like.view.dtype)
    copy_into(&g.view, &out.view)
    return out


cdef list reachable(list roots, dict awaited):
    """All nodes below roots, latest first: every node comes before those it feeds on. awaited gets, for each leaf with
    hooks, how many gradients will come."""
    cdef Node node
    cdef Tensor leaf
    cdef set seen = set()
    cdef list stack = list(roots), found = []
    while stack:
        edge = stack.pop()
        if not isinstance(edge, Node):
            if edge is not None and (<Tensor>edge).hooks is not None:
                awaited[id(edge)] = awaited.get(id(edge), 0) + 1
            continue
        if edge in seen:
            continue
        node = <Node>edge
        seen.add(node)
        found.append(node)
        stack.extend(node.edges)
    found.sort(key=sequence_of, reverse=True)
    return found


cdef set leading_to(list nodes, dict wanted):
    """Those of nodes (latest first) through which a gradient reaches a wanted node or leaf: no other is run."""
    cdef set useful = set()
    cdef Node node
    for node in reversed(nodes):
        for edge in node.edges:
            if edge is not None and (edge in useful if isinstance(edge, Node) else False) or id(edge) in wanted:
                useful.add(node)
                break
    return useful


def sequence_of(Node node):
    """When the operation was recorded."""
    return node.sequence


cdef tuple node_backward(Node node, tuple grads):
    """Gradients of node's inputs from those of its outputs."""
    if node.released:
        raise RuntimeError(f"{node.name}: backward() ran through it already; pass retain_graph=True to run it again")
    if node.op >= 0:
        return elementwise_backward(node, <Tensor>grads[0])
    results = node.rule(node, grads if node.many else grads[0])
    if not isinstance(results, tuple):
        results = (results,)
    if len(results) != len(node.edges):
        raise RuntimeError(f"{node.name}: its rule gave {len(results)} gradients for {len(node.edges)} inputs")
    return results


cdef class Walk:
    """One walk backwards. wanted None: into the .grad of all leaves; else id of leaf or node -> None, filled with the
    gradients."""
    cdef dict pending   # Node -> list of its outputs' gradients so far
    cdef dict leaves    # id of a leaf -> [leaf, gradient so far]
    cdef dict awaited   # id of a leaf with hooks -> how many gradients are still to come
    cdef dict wanted
    cdef bint retain, create_graph
    cdef bint into_grad  # wanted leaves get it in .grad


cdef object run_engine(list outputs, list gradients, dict wanted, bint retain, bint create_graph,
                       bint leaves_accumulate=False):
    cdef Walk walk = Walk.__new__(Walk)
    cdef Tensor out, g
    cdef Node node
    cdef list entry, nodes
    cdef set useful = None
    walk.pending, walk.leaves, walk.awaited = {}, {}, {}
    walk.wanted, walk.retain, walk.create_graph = wanted, retain, create_graph
    walk.into_grad = leaves_accumulate
    nodes = reachable([out.node if out.node is not None else out for out in outputs], walk.awaited)
    if wanted is not None:
        useful = leading_to(nodes, wanted)
    for out, g in zip(outputs, gradients):
        deliver(out.node if out.node is not None else out, out.output, g, walk)
        if out.node is None:
            arrived(out, walk)
    g = None
    for node in nodes:
        run_node(node, walk, useful is None or node in useful)
        if walk.awaited:
            for edge in node.edges:
                if isinstance(edge, Tensor):
                    arrived(<Tensor>edge, walk)
    for entry in list(walk.leaves.values()):
        finish_leaf(entry, walk)
    return wanted


cdef bint added_in_place(Node node, Tensor g, Walk walk) except *:
    """True when node was a slice of something whose gradient so far nobody else holds: then g was added to its part.
    So n slices of a tensor cost as much as the tensor, not n times."""
    cdef list slot
    cdef Tensor total
    cdef int place
    if node.name != "slice" or node.released or node.hooks is not None or walk.create_graph or pe_anomaly:
        return False
    edge = node.edges[0]
    if isinstance(edge, Tensor):
        slot, place = walk.leaves.get(id(edge)), 1
    else:
        slot, place = walk.pending.get(edge), <int>node.edge_outputs[0]
    if slot is None or slot[place] is None:
        return False
    total = <Tensor>slot[place]
    # two references: the slot's and total
    if references(<PyObject *>total) > 2 or references(<PyObject *>total.storage) > 1 \
            or total.storage.owner is not None or total.view.dtype != g.view.dtype or not is_dense(&total.view):
        return False
    binary_into(OP_ADD, slice_view(total, node.meta[1]), g)
    return True


cdef int run_node(Node node, Walk walk, bint useful) except -1:
    cdef list slot = walk.pending.pop(node, None)
    cdef int i
    cdef bint wanted = walk.wanted is not None and id(node) in walk.wanted
    if slot is None or not (useful or wanted):
        return 0
    if node.hooks is not None:
        before_node(node, slot)
    if wanted:
        walk.wanted[id(node)] = list(slot)
    if not useful:
        return 0
    grads = tuple(slot)
    slot = None
    node.into_leaves = walk.wanted is None and not walk.create_graph and not pe_anomaly
    if added_in_place(node, <Tensor>grads[0], walk):
        results = (None,)
    elif node.hooks is None:
        results = node_backward(node, grads)
        if pe_anomaly:
            check_gradients(node, results)
    else:
        if node.hooks.before is not None:
            grads = run_node_hooks(node.hooks.before, grads, None, node.name)
        if node.hooks.post:
            node.into_leaves = False
        results = node_backward(node, grads)
        if pe_anomaly:
            check_gradients(node, results)
        if node.hooks.post is not None:
            results = run_node_hooks(node.hooks.post, results, grads, node.name)
    grads = None
    for i in range(len(node.edges)):
        edge = node.edges[i]
        if edge is not None and results[i] is not None:
            deliver(edge, <int>node.edge_outputs[i], <Tensor>results[i], walk)
    results = None
    if not walk.retain:
        node.saved, node.released = [], True
    return 0


cdef int arrived(Tensor leaf, Walk walk) except -1:
    """One of the operations that leaf fed has run: after the last of them its hooks may."""
    cdef object left = walk.awaited.get(id(leaf))
    if left is None:
        return 0
    walk.awaited[id(leaf)] = left - 1
    if left == 1 and id(leaf) in walk.leaves:
        finish_leaf(<list>walk.leaves.pop(id(leaf)), walk)
    return 0


cdef int finish_leaf(list entry, Walk walk) except -1:
    """All gradients of a leaf are summed: into its .grad, or to whom asked for it."""
    cdef Tensor leaf, g
    leaf, g = entry
    entry[1] = None
    if walk.wanted is not None and id(leaf) not in walk.wanted:
        return 0
    if leaf.hooks is not None and leaf.hooks.pre is not None:
        g = run_tensor_hooks(leaf.hooks.pre, g)
    if walk.wanted is not None and not walk.into_grad:
        walk.wanted[id(leaf)] = g
        return 0
    into_grad(leaf, g, walk.create_graph)
    return after_leaf(leaf)


cdef int into_grad(Tensor leaf, Tensor g, bint create_graph) except -1:
    cdef Tensor total
    if leaf.row_grad is not None:
        return into_rows(leaf, g, create_graph)
    if leaf.grad_ is not None:
        total = binary(OP_ADD, leaf.grad_, g)
        leaf.grad_ = owned(total, leaf, create_graph)
        return 0
    leaf.grad_ = owned(g, leaf, create_graph)
    return 0


cdef int deliver(object target, int output, Tensor g, Walk walk) except -1:
    cdef list slot
    if isinstance(target, Tensor):
        slot = walk.leaves.get(id(target))
        if slot is None:
            walk.leaves[id(target)] = [target, g]
        else:
            slot[1] = accumulate(<Tensor>slot[1], g)
        return 0
    slot = walk.pending.get(target)
    if slot is None:
        slot = [None] * (<Node>target).outputs
        walk.pending[target] = slot
    slot[output] = accumulate(<Tensor>slot[output], g)
    return 0


cdef list start_gradients(list outputs, list gradients, str what):
    cdef Tensor out, g
    cdef list result = []
    for each, given in zip(outputs, gradients):
        if not isinstance(each, Tensor):
            raise TypeError(f"{what}: outputs must be Tensors, got {type(each).__name__}")
        out = each
        if not out.requires_grad:
            raise RuntimeError(f"{what}: the tensor of shape {out.shape} does not require grad")
        if given is None:
            if numel(&out.view) != 1:
                raise RuntimeError(f"{what}: a gradient must be given for an output of shape {out.shape}; "
                                   "only one element has the default 1")
            g = full(out.shape, 1.0)
        elif isinstance(given, Tensor):
            g = given
        else:
            raise TypeError(f"{what}: gradient must be a Tensor or None, got {type(given).__name__}")
        if not same_shape(&g.view, &out.view) or g.view.dtype != out.view.dtype:
            raise RuntimeError(f"{what}: a gradient of shape {g.shape} and {g.dtype.name} does not fit an output of "
                             f"shape {out.shape} and {out.dtype.name}")
        result.append(g)
    return result


cdef list wanted_keys(inputs, str what):
    """(id of leaf or node, tensor) per input."""
    cdef Tensor x
    cdef list keys = []
    for given in [inputs] if isinstance(inputs, Tensor) else list(inputs):
        if not isinstance(given, Tensor):
            raise TypeError(f"{what}: inputs must be Tensors, got {type(given).__name__}")
        x = given
        if not x.requires_grad:
            raise RuntimeError(f"{what}: an input of shape {x.shape} does not require grad")
        keys.append((id(x) if x.node is None else id(x.node), x))
    return keys


cdef object gradient_of(dict wanted, object key, Tensor x):
    g = wanted[key]
    return g[x.output] if isinstance(g, list) else g


def backward(list outputs, list gradients, retain, bint create_graph=False, inputs=None):
    """Adds the gradients of outputs to the .grad of the leaves below, or of inputs alone."""
    cdef dict wanted = None
    cdef Tensor x
    cdef bint keep_graph = create_graph if retain is None else retain
    if inputs is not None:
        keys = wanted_keys(inputs, "backward")
        if not keys:
            raise RuntimeError("backward: inputs must not be empty")
        wanted = {key: None for key, _ in keys}
    gradients = start_gradients(outputs, gradients, "backward")
    was = set_grad_mode(create_graph)
    try:
        run_engine(outputs, gradients, wanted, keep_graph, create_graph, True)
        if inputs is not None:
            for key, x in keys:
                g = None if x.node is None else gradient_of(wanted, key, x)
                if g is not None:
                    into_grad(x, g, create_graph)
    finally:
        set_grad_mode(was)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, allow_unused=None,
         is_grads_batched=False, materialize_grads=False):
    """The gradients of outputs (one tensor or several) with respect to inputs, as a tuple; no .grad is touched.

    Arguments: grad_outputs, the outputs' own gradients, 1 where an output has one element; allow_unused, None for an
    input that the outputs do not use; materialize_grads, zeros for it. is_grads_batched is refused.
    Errors: RuntimeError for an input that is not used, or that requires no gradient.
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched is not built: call grad once for each gradient")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True needs allow_unused=True (or None)")
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise RuntimeError(f"grad: {len(grad_outputs)} grad_outputs for {len(outputs)} outputs")
    keys = wanted_keys(inputs, "grad")
    wanted = {key: None for key, _ in keys}
    starts = start_gradients(outputs, list(grad_outputs), "grad")
    was = set_grad_mode(create_graph)
    try:
        run_engine(outputs, starts, wanted, create_graph if retain_graph is None else retain_graph, create_graph)
    finally:
        set_grad_mode(was)
    results = []
    cdef Tensor x
    for key, x in keys:
        g = gradient_of(wanted, key, x)
        if g is None and materialize_grads:
            g = full(x.shape, 0.0, x.dtype)
        elif g is None and not allow_unused:
            raise RuntimeError("grad: an input is not used by the outputs; pass allow_unused=True to get None for it")
        results.append(g)
    return tuple(results)
