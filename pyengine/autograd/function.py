"""Operations of one's own, with a derivative of one's own."""

import functools

from pyengine import _core
from pyengine._core import Tensor
from pyengine.autograd.mode import enable_grad, no_grad


class FunctionCtx:
    """What forward() hands on to backward(); any other attribute may be set on it too."""

    def __init__(self):
        self.needs_input_grad: tuple = ()
        self.to_save: tuple = ()
        self.materialize_grads = True
        self._constant: tuple = ()
        self._dirty: tuple = ()
        self._node = None

    def save_for_backward(self, *tensors):
        """Keeps tensors (inputs, outputs, others, or None) for ctx.saved_tensors; a write to one is noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward: only Tensors or None, got {type(tensor).__name__}")
        self.to_save = tensors

    @property
    def saved_tensors(self):
        """What save_for_backward was given; RuntimeError after they were freed or written in place."""
        if self._node is None:
            raise RuntimeError("saved_tensors: known in backward() only")
        return self._node.saved

    def mark_non_differentiable(self, *tensors):
        """Says of outputs that no gradient flows through them."""
        self._constant = tensors

    def mark_dirty(self, *tensors):
        """Says of inputs that forward() wrote them in place; they must be returned."""
        self._dirty = tensors

    def set_materialize_grads(self, value):
        """False: backward() gets None, not zeros, for an output without gradient."""
        self.materialize_grads = bool(value)


def _shapes(args):
    return tuple(x.shape if isinstance(x, Tensor) else None for x in args)


def _among(tensor, tensors):
    return any(tensor is other for other in tensors)


class Function:
    """The base of operations with a derivative of their own. Subclasses write, as static methods,

    forward(ctx, *args) -> a Tensor or a tuple, or forward(*args) and setup_context(ctx, inputs, output);
    backward(ctx, *grads) -> for each argument of forward its gradient, or None;

    and are called by `apply`. backward() written in operations on tensors can itself be differentiated.

    >>> import pyengine as pe
    >>> class Square(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2.0 * x * grad
    >>> x = pe.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad.tolist()
    [6.0]
    """

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__}: call {type(self).__name__}.apply(...), not the class")

    @staticmethod
    def forward(*args, **kwargs):
        """What the operation computes."""
        raise NotImplementedError("Function: a subclass must write forward")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Where forward takes no ctx: what is kept for backward."""
        raise NotImplementedError("Function: setup_context is not written")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The gradients of forward's arguments."""
        raise NotImplementedError("Function: a subclass must write backward (or vjp) to be differentiated")

    vjp = backward

    @classmethod
    def apply(cls, *args):
        """Calls forward(*args) and records it."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in args)
        record = _core.is_grad_enabled() and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                given = cls.forward(*args)
                cls.setup_context(ctx, args, given)
            else:
                given = cls.forward(ctx, *args)
        single = not isinstance(given, tuple)
        outputs = list((given,) if single else given)
        if record:
            outputs = _recorded(cls, ctx, args, outputs)
        return outputs[0] if single else tuple(outputs)


def _recorded(cls, ctx, args, outputs):
    """The outputs, on the tape."""
    tracked, shapes = [], []
    for i, x in enumerate(outputs):
        if not isinstance(x, Tensor):
            tracked.append(None)
            shapes.append(None)
            continue
        if _among(x, args) and not _among(x, ctx._dirty):
            outputs[i] = x.detach()  # an input handed through is another tensor outside
        constant = _among(x, ctx._constant) or not x.is_floating_point()
        if _among(x, ctx._dirty) and x.is_leaf and x.requires_grad:
            raise RuntimeError(f"{cls.__name__}: a leaf tensor that requires grad is written in place; use no_grad()")
        tracked.append(None if constant else outputs[i])
        shapes.append(x.shape)
    # an output that was saved is meant as it leaves: with its place on the tape
    inputs = tuple(x if isinstance(x, Tensor) else None for x in args)
    rule = functools.partial(_derivative, cls, ctx)
    _core.record_function(
        tuple(tracked), f"{cls.__name__}Backward", inputs, ctx.to_save, rule, (tuple(shapes), _shapes(args))
    )
    ctx.to_save = ()
    return outputs


def _derivative(cls, ctx, node, grads):
    """The rule of a Function: its backward(), checked."""
    if ctx.materialize_grads:
        grads = tuple(_core.full(shape, 0.0, "float32") if g is None and shape is not None else g
                      for g, shape in zip(grads, node.meta[0], strict=True))  # fmt: skip
    ctx._node = node
    try:
        function = cls.backward if cls.backward is not Function.backward else cls.vjp
        results = function(ctx, *grads)
    finally:
        ctx._node = None
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    count = len(ctx.needs_input_grad)
    while len(results) > count and results[-1] is None:
        results.pop()
    if len(results) != count:
        raise RuntimeError(f"{node.name}: backward returned {len(results)} gradients, forward took {count} arguments")
    return tuple(_fitting(node, i, g) for i, g in enumerate(results))


def _fitting(node, i, g):
    """The gradient g of argument i in that argument's shape."""
    target = node.next_functions[i]
    if g is None:
        return None
    if not isinstance(g, Tensor):
        raise TypeError(f"{node.name}: gradient {i} must be a Tensor or None, got {type(g).__name__}")
    shape = node.meta[1][i]
    if shape is None:
        raise RuntimeError(f"{node.name}: backward returned a gradient for argument {i}, which is no Tensor")
    if target is None or g.shape == shape:
        return g
    try:
        return _core.sum_to(g, shape)
    except (ValueError, RuntimeError):
        raise RuntimeError(
            f"{node.name}: backward returned a gradient of shape {g.shape} for argument {i} of shape {shape}"
        ) from None


def once_differentiable(function):
    """For a backward() that is not written in operations on tensors: it runs unrecorded, and differentiating its
    result is an error instead of a wrong 0."""

    @functools.wraps(function)
    def wrapped(ctx, *grads):
        with no_grad():
            results = function(ctx, *grads)
        inputs = tuple(g for g in grads if isinstance(g, Tensor) and g.requires_grad)
        if not _core.is_grad_enabled() or not inputs:
            return results
        many = results if isinstance(results, tuple) else (results,)
        outputs = tuple(r.detach() if isinstance(r, Tensor) else r for r in many)
        with enable_grad():
            tracked = tuple(r if isinstance(r, Tensor) else None for r in outputs)
            _core.record_function(tracked, "once_differentiable", inputs, (), _refuse)
        return outputs if isinstance(results, tuple) else outputs[0]

    return wrapped


def _refuse(node, grads):
    raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
