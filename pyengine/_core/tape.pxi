# The tape: recorded operations, and the engine that walks them backwards.
#
# A Node knows how to turn the gradient of its output into gradients of its inputs: a row of the
# elementwise table by the row's own derivative operations, everything else by a rule (a Python
# function in ops/, registered by name). Rules are written in operations on tensors, so with
# create_graph they are recorded like anything else.

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT"(PyObject *)  # of a pointer: an object would be counted once more

cdef extern from *:
    """
    static _Thread_local int pe_grad_mode_off;  /* per thread; 0: recording */
    """
    int pe_grad_mode_off

cdef uint64_t last_sequence = 0
cdef dict rules = {}


def set_rule(str name, function):
    """Registers the derivative of operation `name`: function(node, grad) -> one gradient (or None) per
    input. It may read node.saved, node.meta and node.needs(i)."""
    if name in rules:
        raise ValueError(f"operation {name} has a rule already")
    rules[name] = function


cdef inline bint grad_mode() noexcept nogil:
    return not pe_grad_mode_off


def is_grad_enabled():
    """True while operations are recorded in this thread."""
    return grad_mode()


def set_grad_mode(bint on):
    """Switches recording in this thread; returns what it was."""
    was = grad_mode()
    global pe_grad_mode_off
    pe_grad_mode_off = not on
    return was


@cython.final
@cython.freelist(256)
cdef class Saved:
    """A tensor kept for the backward pass, and the version that was meant."""
    cdef Tensor tensor
    cdef uint64_t version
    cdef bint is_output  # then `tensor` is an alias without node, so that no cycle keeps both alive


cdef inline Saved keep(Tensor x):
    cdef Saved s = Saved.__new__(Saved)
    s.tensor = x
    s.version = x.storage.version
    return s


cdef inline bint wants_grad1(Tensor x) noexcept:
    return not pe_grad_mode_off and (x.leaf_requires_grad or x.node is not None)


@cython.freelist(256)
@cython.final
cdef class Node:
    """A recorded operation."""

    @property
    def saved(self):
        """The tensors kept, in the order the operation kept them; checked against their versions."""
        if self.released:
            raise RuntimeError(f"{self.name}: its saved tensors are gone: backward() ran already; "
                               "pass retain_graph=True to run it again")
        return tuple([unpack(self, i) for i in range(len(self.saved))])

    @property
    def next_functions(self):
        """Per input the Node (or leaf tensor) its gradient goes to, or None."""
        return tuple(self.edges)

    def needs(self, int i):
        """True when input i wants a gradient."""
        return self.edges[i] is not None

    def __repr__(self):
        return f"<{self.name}>"


cdef Tensor unpack(Node node, int i):
    cdef Saved s = node.saved[i]
    if s is None:
        return None
    if s.tensor.storage.version != s.version:
        which = "its output" if s.is_output else f"saved tensor {i} of shape {s.tensor.shape}"
        raise RuntimeError(f"{node.name}: {which} was written in place after it was recorded (version "
                           f"{s.tensor.storage.version}, needed {s.version}); clone() it before writing")
    if not s.is_output or not grad_mode():
        return s.tensor
    cdef Tensor t = alias(s.tensor)  # under create_graph the output must be on the tape again
    t.node = node
    return t


cdef int add_edge(Node node, Tensor x) except -1:
    if x is None or not (x.leaf_requires_grad or x.node is not None):
        node.edges.append(None)
        node.edge_outputs.append(0)
        return 0
    if x.is_view and x.node is not None and x.seen_writes != x.storage.recorded_writes:
        raise RuntimeError(f"{node.name}: an input is a view of shape {x.shape} of a tensor that a recorded "
                           "in-place operation has changed since; make the view again")
    node.edges.append(x if x.node is None else x.node)
    node.edge_outputs.append(x.output)
    return 0


cdef Node new_node(str name, object meta):
    global last_sequence
    cdef Node node = Node.__new__(Node)
    last_sequence += 1
    node.name, node.meta, node.sequence = name, meta, last_sequence
    node.op, node.outputs = -1, 1
    node.edges, node.edge_outputs, node.saved = [], [], []
    return node


cdef int record1(Tensor out, str name, Tensor x, Tensor saved, object meta) except -1:
    """Puts out = name(x) on the tape."""
    cdef Node node = new_node(name, meta)
    node.rule = rules[name]
    add_edge(node, x)
    if saved is not None:
        node.saved.append(keep(saved))
    out.node = node
    return 0


def record(Tensor out, str name, tuple inputs, tuple saved=(), meta=None):
    """Puts out = name(inputs) on the tape, if recording is on and some input wants a gradient.
    `saved` are the tensors that the rule needs (out itself is allowed). Returns out."""
    if pe_grad_mode_off:
        return out
    cdef Tensor x
    cdef Node node
    for x in inputs:
        if x is not None and (x.leaf_requires_grad or x.node is not None):
            break
    else:
        return out
    node = new_node(name, meta)
    node.rule = rules[name]
    for x in inputs:
        add_edge(node, x)
    for x in saved:
        node.saved.append(None if x is None else keep_output(x) if x is out else keep(x))
    out.node = node
    return out


cdef Saved keep_output(Tensor out):
    cdef Saved s = keep(alias(out))
    s.is_output = True
    return s


# ---- in-place writes -------------------------------------------------------------

cdef int writable(Tensor x, str what) except -1:
    """Raises unless x may be written here and now."""
    if x.storage.readonly:
        raise ValueError(f"{what}: the tensor is read-only (it shares a read-only array); clone() it first")
    if grad_mode() and x.leaf_requires_grad and x.node is None:
        raise RuntimeError(f"{what}: a leaf tensor that requires grad is written in place; use no_grad()")
    if grad_mode() and x.is_view and x.node is not None:
        raise RuntimeError(f"{what}: a view that the tape needs is written in place; clone() it first")
    cdef int i
    for i in range(x.view.ndim):
        if x.view.strides[i] == 0 and x.view.shape[i] > 1:
            raise ValueError(f"{what}: the tensor is broadcast (a step of 0 along axis {i}); clone() it first")
    return 0


def copy_(Tensor x, source):
    """Writes source's values (broadcast, converted) into x. Not recorded: for use under no_grad()."""
    cdef Tensor s = as_tensor(source, -1)
    writable(x, "copy_")
    if grad_mode() and (x.requires_grad or s.requires_grad):
        raise RuntimeError("copy_: not recorded on the tape; use it under no_grad()")
    if overlaps(x, s):
        s = clone(s)
    copy_into(&s.view, &x.view)
    x.storage.version += 1
    return x


# ---- the engine ------------------------------------------------------------------

cdef Tensor accumulate(Tensor total, Tensor g):
    return g if total is None else <Tensor>binary(OP_ADD, total, g)


cdef Tensor owned(Tensor g, Tensor like, bint create_graph):
    """g as a .grad that nobody else holds, in like's memory format."""
    cdef int i
    cdef bint fits = True
    cdef Tensor out
    if create_graph:
        return g
    for i in range(g.view.ndim):
        if g.view.shape[i] > 1 and g.view.strides[i] != like.view.strides[i]:
            fits = False
    # one reference: the caller's variable
    if fits and references(<PyObject *>g) == 1 and references(<PyObject *>g.storage) == 1 and g.storage.owner is None:
        return g
    out = empty_like(&like.view, like.view.dtype)
    copy_into(&g.view, &out.view)
    return out


cdef list reachable(list roots):
    """All nodes below roots, latest first: every node comes before those it feeds on."""
    cdef Node node
    cdef set seen = set()
    cdef list stack = list(roots), found = []
    while stack:
        edge = stack.pop()
        if not isinstance(edge, Node) or edge in seen:
            continue
        node = <Node>edge
        seen.add(node)
        found.append(node)
        stack.extend(node.edges)
    found.sort(key=sequence_of, reverse=True)
    return found


def sequence_of(Node node):
    """When the operation was recorded."""
    return node.sequence


cdef tuple node_backward(Node node, tuple grads):
    """Gradients of node's inputs from those of its outputs."""
    if node.released:
        raise RuntimeError(f"{node.name}: backward() ran through it already; pass retain_graph=True to run it again")
    if node.op >= 0:
        return elementwise_backward(node, <Tensor>grads[0])
    results = node.rule(node, grads[0] if node.outputs == 1 else grads)
    if not isinstance(results, tuple):
        results = (results,)
    if len(results) != len(node.edges):
        raise RuntimeError(f"{node.name}: its rule gave {len(results)} gradients for {len(node.edges)} inputs")
    return results


cdef object run_engine(list outputs, list gradients, dict wanted, bint retain, bint create_graph):
    """Walks the tape from outputs. wanted None: into the leaves' .grad; else leaf/node id -> None,
    filled with the gradients."""
    cdef dict pending = {}  # Node -> list of its outputs' gradients so far
    cdef dict leaves = {}   # leaf Tensor id -> [leaf, gradient]
    cdef Tensor out, g, leaf
    cdef Node node
    cdef list slot, entry
    cdef int i
    for out, g in zip(outputs, gradients):
        deliver(out.node if out.node is not None else out, out.output, g, pending, leaves)
    g = None
    for node in reachable([out.node for out in outputs]):
        slot = pending.pop(node, None)
        if slot is None:
            continue
        if wanted is not None and id(node) in wanted:
            wanted[id(node)] = slot[0] if node.outputs == 1 else slot
        grads = tuple(slot)
        slot = None
        node.into_leaves = wanted is None and not create_graph
        results = node_backward(node, grads)
        grads = None
        for i in range(len(node.edges)):
            edge = node.edges[i]
            if edge is not None and results[i] is not None:
                deliver(edge, <int>node.edge_outputs[i], <Tensor>results[i], pending, leaves)
        results = None
        if not retain:
            node.saved, node.released = [], True
    for entry in leaves.values():
        leaf, g = entry
        entry[1] = None
        if wanted is None:
            if leaf.grad_ is None:
                leaf.grad_ = owned(g, leaf, create_graph)
            else:
                leaf.grad_ = binary(OP_ADD, leaf.grad_, g)
        elif id(leaf) in wanted:
            wanted[id(leaf)] = g
    return wanted


cdef int deliver(object target, int output, Tensor g, dict pending, dict leaves) except -1:
    cdef list slot
    if isinstance(target, Tensor):
        slot = leaves.get(id(target))
        if slot is None:
            leaves[id(target)] = [target, g]
        else:
            slot[1] = accumulate(<Tensor>slot[1], g)
        return 0
    slot = pending.get(target)
    if slot is None:
        slot = [None] * (<Node>target).outputs
        pending[target] = slot
    slot[output] = accumulate(<Tensor>slot[output], g)
    return 0


cdef list start_gradients(list outputs, list gradients, str what):
    cdef Tensor out, g
    cdef list result = []
    for out, given in zip(outputs, gradients):
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
            raise ValueError(f"{what}: a gradient of shape {g.shape} and {g.dtype.name} does not fit an output of "
                             f"shape {out.shape} and {out.dtype.name}")
        result.append(g)
    return result


cdef object backward(list outputs, list gradients, bint retain, bint create_graph):
    gradients = start_gradients(outputs, gradients, "backward")
    was = set_grad_mode(create_graph)
    try:
        run_engine(outputs, gradients, None, retain, create_graph)
    finally:
        set_grad_mode(was)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, allow_unused=False):
    """The gradients of outputs (one tensor or several) with respect to inputs, as a tuple; no .grad
    is touched. grad_outputs: the outputs' own gradients, 1 where an output has one element."""
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(grad_outputs)} grad_outputs for {len(outputs)} outputs")
    cdef Tensor x
    keys = []
    for given in inputs:
        if not isinstance(given, Tensor):
            raise TypeError(f"grad: inputs must be Tensors, got {type(given).__name__}")
        x = given
        if not x.requires_grad:
            raise RuntimeError(f"grad: an input of shape {x.shape} does not require grad")
        keys.append((id(x) if x.node is None else id(x.node), x.output, x.node))
    wanted = {key: None for key, _, _ in keys}
    starts = start_gradients(outputs, list(grad_outputs), "grad")
    was = set_grad_mode(create_graph)
    try:
        run_engine(outputs, starts, wanted, create_graph if retain_graph is None else retain_graph, create_graph)
    finally:
        set_grad_mode(was)
    results = []
    for key, output, node in keys:
        g = wanted[key]
        results.append(g[output] if isinstance(g, list) else g)
        if results[-1] is None and not allow_unused:
            raise RuntimeError("grad: an input is not used by the outputs; pass allow_unused=True to get None for it")
    return tuple(results)
