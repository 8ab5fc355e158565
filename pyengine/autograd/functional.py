"""Derivatives of functions as values: Jacobians, Hessians, and their products with vectors."""

from pyengine import _core
from pyengine._core import Tensor, grad
from pyengine.autograd.mode import enable_grad


def _tuple(x, what):
    """(x as a tuple of Tensors, whether x was one)."""
    single = isinstance(x, Tensor)
    parts = (x,) if single else tuple(x) if isinstance(x, (tuple, list)) else None
    if parts is None or not all(isinstance(part, Tensor) for part in parts):
        raise TypeError(f"{what}: a Tensor or a tuple of Tensors is needed, got {type(x).__name__}")
    return parts, single


def _fresh(inputs, create_graph):
    """Inputs to differentiate by: with create_graph they hang on the given ones, else they are leaves."""
    if create_graph:
        return tuple(x.view(x.shape) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _outputs(func, inputs, what):
    with enable_grad():
        return _tuple(func(*inputs), f"{what}: func's result")


def _zeros(x):
    return _core.full(x.shape, 0.0, "float32")


def _gradients(outputs, inputs, weights, create_graph, strict, what):
    """d sum(weights outputs) / d inputs; zeros for what is not reached (an error if strict)."""
    reached = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    if not reached:
        if strict:
            raise RuntimeError(f"{what}: the outputs do not depend on the inputs (strict=True)")
        return tuple(_zeros(x) for x in inputs)
    ys, ws = zip(*reached, strict=True)
    with enable_grad():
        given = grad(ys, inputs, list(ws), create_graph=create_graph, retain_graph=True, allow_unused=True)
    if strict and any(g is None for g in given):
        raise RuntimeError(f"{what}: the outputs do not depend on input {[g is None for g in given].index(True)} "
                           "(strict=True)")  # fmt: skip
    return tuple(_zeros(x) if g is None else g for g, x in zip(given, inputs, strict=True))


def _vectors(v, like, what):
    """v as a tuple that fits the tensors `like`; ones where v is None and there is one element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{what}: v must be given unless there is one tensor of one element")
        return (_core.full(like[0].shape, 1.0, "float32"),)
    vectors, _ = _tuple(v, f"{what}: v")
    if len(vectors) != len(like) or any(a.shape != b.shape for a, b in zip(vectors, like, strict=True)):
        raise RuntimeError(f"{what}: v of shapes {[a.shape for a in vectors]} does not fit {[b.shape for b in like]}")
    return vectors


def _given(results, single, create_graph):
    results = tuple(results) if create_graph else tuple(r.detach() for r in results)
    return results[0] if single else results


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T J): the product of a vector with the Jacobian, one backward pass.

    >>> import pyengine as pe
    >>> vjp(lambda x: x * x, pe.tensor([1.0, 2.0]), pe.tensor([1.0, 10.0]))[1].tolist()
    [2.0, 40.0]
    """
    given, single = _tuple(inputs, "vjp: inputs")
    xs = _fresh(given, create_graph)
    ys, one = _outputs(func, xs, "vjp")
    found = _gradients(ys, xs, _vectors(v, ys, "vjp"), create_graph, strict, "vjp")
    return _given(ys, one, create_graph), _given(found, single, create_graph)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), J v): the derivative in direction v, by differentiating w -> w^T J, which is linear, by w.

    >>> import pyengine as pe
    >>> jvp(lambda x: x * x, pe.tensor([1.0, 2.0]), pe.tensor([1.0, 10.0]))[1].tolist()
    [2.0, 40.0]
    """
    given, _ = _tuple(inputs, "jvp: inputs")
    xs = _fresh(given, create_graph)
    vectors = _vectors(v, xs, "jvp")
    ys, one = _outputs(func, xs, "jvp")
    weights = tuple(_zeros(y).requires_grad_() for y in ys)
    rows = _gradients(ys, xs, weights, True, strict, "jvp")
    found = _gradients(rows, weights, vectors, create_graph, False, "jvp")
    return _given(ys, one, create_graph), _given(found, one, create_graph)


def _row_by_row(y, xs, create_graph, strict):
    """For each x the Jacobian of y, of shape y.shape + x.shape."""
    from pyengine.ops import reshape, stack

    rows = []
    for j in range(y.numel()):
        seed = _zeros(y)
        _core.reshape(seed, (-1,))[j] = 1.0
        rows.append(_gradients((y,), xs, (seed,), create_graph, strict, "jacobian"))
    if not rows:
        return tuple(_core.full(y.shape + x.shape, 0.0, "float32") for x in xs)
    return tuple(reshape(stack([row[i] for row in rows]), y.shape + x.shape) for i, x in enumerate(xs))


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of func at inputs: for each output and input (tuples where they are tuples) a tensor of shape
    output.shape + input.shape. One backward pass an element; vectorize is accepted and does the same.

    >>> import pyengine as pe
    >>> jacobian(lambda x: x * x, pe.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    given, single = _tuple(inputs, "jacobian: inputs")
    xs = _fresh(given, create_graph)
    ys, one = _outputs(func, xs, "jacobian")
    parts = [_given(_row_by_row(y, xs, create_graph, strict), single, create_graph) for y in ys]
    return parts[0] if one else tuple(parts)


def _scalar(ys, one, what):
    if not one or ys[0].numel() != 1:
        raise RuntimeError(f"{what}: func must give one tensor of one element, got {[y.shape for y in ys]}")
    return ys[0].reshape(())


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The second derivatives of func, which gives one number: x.shape + x.shape (for a tuple a tuple of tuples).

    >>> import pyengine as pe
    >>> hessian(lambda x: (x * x * x).sum(), pe.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    given, single = _tuple(inputs, "hessian: inputs")

    def gradient(*xs):
        y = _scalar(*_outputs(func, xs, "hessian"), "hessian")
        return _gradients((y,), xs, (_core.full((), 1.0, "float32"),), True, strict, "hessian")

    blocks = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return blocks[0][0] if single else blocks


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T H): the product of a vector with the Hessian, two backward passes.

    >>> import pyengine as pe
    >>> vhp(lambda x: (x * x * x).sum(), pe.tensor([1.0, 2.0]), pe.tensor([1.0, 10.0]))[1].tolist()
    [6.0, 120.0]
    """
    given, single = _tuple(inputs, "vhp: inputs")
    xs = _fresh(given, create_graph)
    vectors = _vectors(v, xs, "vhp")
    y = _scalar(*_outputs(func, xs, "vhp"), "vhp")
    first = _gradients((y,), xs, (_core.full((), 1.0, "float32"),), True, strict, "vhp")
    found = _gradients(first, xs, vectors, create_graph, strict, "vhp")
    return _given((y,), True, create_graph), _given(found, single, create_graph)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), H v): H is symmetric, so it is vhp.

    >>> import pyengine as pe
    >>> hvp(lambda x: (x * x * x).sum(), pe.tensor([1.0, 2.0]), pe.tensor([1.0, 10.0]))[1].tolist()
    [6.0, 120.0]
    """
    return vhp(func, inputs, v, create_graph, strict)
