# The tape: recorded operations. (engine.pxi walks them backwards.)
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
    static _Thread_local int pe_saved_hooks;    /* per thread: how many saved_tensors_hooks are on */
    """
    int pe_grad_mode_off
    int pe_saved_hooks

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
    cdef object packed   # (what the pack hook gave, unpack hook, node, output) in place of tensor: see hooks.pxi


cdef inline Saved keep(Tensor x):
    cdef Saved s = Saved.__new__(Saved)
    s.tensor = x
    s.version = x.storage.version
    if pe_saved_hooks:
        pack_saved(s)
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

    @property
    def metadata(self):
        """A dict for whoever wants to note something here."""
        cdef NodeHooks hooks = hooks_of(self)
        if hooks.metadata is None:
            hooks.metadata = {}
        return hooks.metadata

    def register_hook(self, hook):
        """hook(grad_inputs, grad_outputs), two tuples, runs after this operation's derivative; what it returns (a tuple
        or None) takes the place of grad_inputs. Returns a handle."""
        cdef NodeHooks hooks = hooks_of(self)
        if hooks.post is None:
            hooks.post = {}
        return add_hook(hooks.post, hook, "register_hook")

    def register_prehook(self, hook):
        """hook(grad_outputs), a tuple, runs before this operation's derivative; what it returns (a tuple or None) takes
        the place of grad_outputs. Returns a handle."""
        cdef NodeHooks hooks = hooks_of(self)
        if hooks.before is None:
            hooks.before = {}
        return add_hook(hooks.before, hook, "register_prehook")

    def __repr__(self):
        return f"<{self.name}>"


cdef Tensor unpack(Node node, int i):
    cdef Saved s = node.saved[i]
    if s is None:
        return None
    if s.packed is not None:
        return unpacked(node, s)
    if s.tensor.storage.version != s.version:
        which = "its output" if s.is_output else f"saved tensor {i} of shape {s.tensor.shape}"
        raise RuntimeError(f"{node.name}: {which} was written in place after it was recorded (version "
                           f"{s.tensor.storage.version}, needed {s.version}); clone() it before writing")
    if not s.is_output or not grad_mode():
        return s.tensor
    cdef Tensor t = alias(s.tensor)  # under create_graph the output must be on the tape again
    t.node, t.output = node, s.tensor.output
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
    if pe_anomaly:
        hooks_of(node).trace = anomaly_hooks[0]()
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
    cdef Tensor bare = alias(out)
    bare.output = out.output
    cdef Saved s = keep(bare)
    s.is_output = True
    return s


def record_function(tuple outputs, str name, tuple inputs, tuple saved, rule, meta=None):
    """Puts outputs = name(inputs) on the tape with a rule of its own: rule(node, grads), a tuple with None where an
    output got no gradient, gives one gradient (or None) an input. `saved` may hold outputs. Returns the Node."""
    cdef Node node = new_node(name, meta)
    cdef Tensor x
    cdef int i
    node.rule, node.outputs, node.many = rule, len(outputs), True
    for x in inputs:
        add_edge(node, x)
    for i, x in enumerate(outputs):
        if x is None:
            continue
        if x.view.dtype != PE_FLOAT32:
            raise TypeError(f"{name}: output {i} has dtype {x.dtype.name}; only float32 has gradients: "
                            "mark_non_differentiable it")
        x.output = i
    for x in saved:
        if x is None:
            node.saved.append(None)
        else:
            node.saved.append(keep_output(x) if any([x is out for out in outputs]) else keep(x))
    for x in outputs:
        if x is not None:
            x.node = node
    return node


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
