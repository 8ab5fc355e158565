# What users hang on the tape: gradient hooks, hooks that pack what operations save, anomaly mode.

cdef extern from *:
    """
    static int pe_anomaly;  /* the process's: tapes cross threads */
    """
    int pe_anomaly

cdef uint64_t last_hook = 0
cdef list anomaly_hooks = [None, None]  # () -> text of the stack, (tensor) -> it holds a NaN
cdef bint anomaly_checks = True


class RemovableHandle:
    """What register_*hook returns: remove() takes the hook off again; a `with` block does so at its end."""

    __slots__ = ("hooks", "id")

    def __init__(self, hooks, key):
        self.hooks, self.id = hooks, key

    def remove(self):
        """Takes the hook off; a second time nothing happens."""
        self.hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


def add_hook(dict hooks, hook, str what, entry=None, bint first=False):
    """Puts hook (or `entry`, what is kept for it) last, or first, into hooks; the handle that removes it."""
    global last_hook
    if not callable(hook):
        raise TypeError(f"{what}: the hook must be callable, got {type(hook).__name__}")
    last_hook += 1
    hooks[last_hook] = hook if entry is None else entry
    if first:
        others = {key: value for key, value in hooks.items() if key != last_hook}
        own = hooks[last_hook]
        hooks.clear()
        hooks[last_hook] = own
        hooks.update(others)
    return RemovableHandle(hooks, last_hook)


cdef NodeHooks hooks_of(Node node):
    if node.hooks is None:
        node.hooks = NodeHooks.__new__(NodeHooks)
    return node.hooks


cdef LeafHooks leaf_hooks(Tensor x):
    if x.hooks is None:
        x.hooks = LeafHooks.__new__(LeafHooks)
    return x.hooks


cdef object tensor_hook(Tensor x, hook):
    """Tensor.register_hook."""
    cdef NodeHooks hooks
    if not x.requires_grad:
        raise RuntimeError(f"register_hook: the tensor of shape {x.shape} does not require grad")
    if x.node is None:
        if leaf_hooks(x).pre is None:
            x.hooks.pre = {}
        return add_hook(x.hooks.pre, hook, "register_hook")
    hooks = hooks_of(x.node)
    if hooks.pre is None:
        hooks.pre = {}
    return add_hook(hooks.pre.setdefault(x.output, {}), hook, "register_hook")


cdef Tensor run_tensor_hooks(dict hooks, Tensor g):
    """g after each of the hooks, which may replace it."""
    for hook in list(hooks.values()):
        given = hook(g)
        if given is None:
            continue
        if not isinstance(given, Tensor):
            raise TypeError(f"register_hook: a hook returned {type(given).__name__}, a Tensor or None is needed")
        if not same_shape(&(<Tensor>given).view, &g.view) or (<Tensor>given).view.dtype != g.view.dtype:
            raise RuntimeError(f"register_hook: a hook returned a gradient of shape {given.shape} and "
                               f"{given.dtype.name} for one of shape {g.shape} and {g.dtype.name}")
        g = <Tensor>given
    return g


cdef int before_node(Node node, list slot) except -1:
    """The hooks of node's outputs on their gradients; then .grad of those outputs that retain it."""
    cdef NodeHooks hooks = node.hooks
    cdef Tensor x
    if hooks.pre is not None:
        for output, given in hooks.pre.items():
            if slot[output] is not None and given:
                slot[output] = run_tensor_hooks(given, slot[output])
    if hooks.retained is not None:
        for output, reference in hooks.retained.items():
            x = reference()
            if x is not None and x.node is node and slot[output] is not None:
                x.grad_ = slot[output] if x.grad_ is None else binary(OP_ADD, x.grad_, slot[output])
    return 0


cdef tuple run_node_hooks(dict hooks, tuple grads, tuple others, str name):
    """grads after each hook(grads), or hook(grads, others)."""
    for hook in list(hooks.values()):
        given = hook(grads) if others is None else hook(grads, others)
        if given is None:
            continue
        given = given if isinstance(given, tuple) else (given,)
        if len(given) != len(grads):
            raise RuntimeError(f"{name}: a hook returned {len(given)} gradients in place of {len(grads)}")
        grads = given
    return grads


cdef int after_leaf(Tensor leaf) except -1:
    """The hooks that run when leaf.grad is complete."""
    if leaf.hooks is not None and leaf.hooks.post is not None:
        for hook in list(leaf.hooks.post.values()):
            hook(leaf)
    return 0


# ---- saved tensors in another form -------------------------------------------------

from _thread import _local
from _weakref import ref as _weak_reference

cdef object saved_hooks = _local()


def push_saved_hooks(pack_hook, unpack_hook):
    """From now on this thread's operations save pack_hook(tensor); the derivative gets unpack_hook of that."""
    global pe_saved_hooks
    if not hasattr(saved_hooks, "stack"):
        saved_hooks.stack = []
    saved_hooks.stack.append((pack_hook, unpack_hook))
    pe_saved_hooks += 1


def pop_saved_hooks():
    """Ends the latest push_saved_hooks."""
    global pe_saved_hooks
    saved_hooks.stack.pop()
    pe_saved_hooks -= 1


cdef int pack_saved(Saved s) except -1:
    """Leaves that require grad stay as they are: their memory lives anyway, and the tape must find them again."""
    global pe_saved_hooks
    cdef Tensor x = s.tensor
    cdef int depth = pe_saved_hooks
    if x.leaf_requires_grad and x.node is None:
        return 0
    pack_hook, unpack_hook = saved_hooks.stack[-1]
    pe_saved_hooks = 0  # the hook's own operations save as usual
    was = set_grad_mode(False)
    try:
        s.packed = (pack_hook(alias(x)), unpack_hook, x.node, x.output)
    finally:
        pe_saved_hooks = depth
        set_grad_mode(was)
    s.tensor = None
    return 0


cdef Tensor unpacked(Node node, Saved s):
    what, unpack_hook, source, output = s.packed
    given = unpack_hook(what)
    if not isinstance(given, Tensor):
        raise TypeError(f"{node.name}: the unpack hook returned {type(given).__name__}, a Tensor is needed")
    cdef Tensor t = alias(<Tensor>given)
    t.node, t.output = (node if s.is_output else source) if grad_mode() else None, output
    return t


# ---- anomaly mode --------------------------------------------------------------------

def set_anomaly(bint on, bint check_nan, stack, has_nan):
    """In anomaly mode every operation notes where it was recorded (stack()), and every gradient is looked at
    (has_nan(gradient)). Returns what was: (on, check_nan)."""
    global pe_anomaly, anomaly_checks
    was = bool(pe_anomaly), bool(anomaly_checks)
    anomaly_hooks[0], anomaly_hooks[1] = stack, has_nan
    pe_anomaly, anomaly_checks = on, check_nan
    return was


def anomaly_state():
    """(on, check_nan)."""
    return bool(pe_anomaly), bool(anomaly_checks)


cdef int check_gradients(Node node, tuple results) except -1:
    """Raises where node's derivative made a NaN."""
    if not anomaly_checks:
        return 0
    for i, g in enumerate(results):
        if g is not None and anomaly_hooks[1](g):
            where = None if node.hooks is None else node.hooks.trace
            where = "" if where is None else f"\nIt was recorded here:\n{where}"
            raise RuntimeError(f"Function '{node.name}' returned nan values in its {i}th output: the gradient of its "
                               f"input {i} of shape {g.shape}.{where}")
    return 0
