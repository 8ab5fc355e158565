"""Products. Every element is one chain over k in ascending order, so the bits depend neither on threads nor on
the other rows of a batch."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import method, rule


@method
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b over the last two axes, broadcast over the others; vectors as in NumPy.

    Shape: (..., m, k) @ (..., k, n) -> (..., m, n). ValueError names both shapes where they do not fit.
    """
    return _core.matmul(a, b)


@rule("matmul")
def _matmul(node, g):
    a, b = node.saved
    da = _core.sum_to(_core.matmul(g, _core.transpose(b, -1, -2)), a.shape) if node.needs(0) else None
    db = _core.sum_to(_core.matmul(_core.transpose(a, -1, -2), g), b.shape) if node.needs(1) else None
    return da, db


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias.

    Shape: x (..., in), weight (out, in), bias (out) -> (..., out). ValueError names both shapes.

    >>> import pyengine as pe
    >>> x, w, b = pe.tensor([[0.5, 0.3]]), pe.tensor([[0.8, 0.6]]), pe.tensor([0.2])
    >>> round(linear(x, w, b).item(), 6)
    0.78
    """
    return _core.linear(x, weight, bias)


@rule("linear")
def _linear(node, g):
    x, weight = node.saved
    rows = _core.reshape(g, (-1, g.shape[-1])) if g.ndim != 2 else g
    dx = dw = db = None
    if node.needs(0):
        dx = _core.matmul(g, weight)
    if node.needs(1):
        flat = _core.reshape(x, (-1, x.shape[-1])) if x.ndim != 2 else x
        dw = _core.matmul(_core.transpose(rows, 0, 1), flat)
    if node.needs(2):
        db = _core.sum_to(rows, (rows.shape[1],))
    return dx, dw, db
