"""Order: indices by NumPy, values by gather, so that gradients go where the values came from."""

from collections import namedtuple

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of, integer
from pyengine.ops._method import method
from pyengine.ops.gathering import gather

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]

Sorted = namedtuple("Sorted", ["values", "indices"])


def _order(x: Tensor, axis: int, descending: bool = False):
    """The indices that sort x along axis, equals in their order; NaN counts as the largest."""
    import numpy

    values = x.detach()
    values = (values.float() if values.dtype.name == "bfloat16" else values).numpy()
    if not descending:
        return numpy.argsort(values, axis=axis, kind="stable")
    back = numpy.argsort(numpy.flip(values, axis), axis=axis, kind="stable")
    return values.shape[axis] - 1 - numpy.flip(back, axis)


def _taken(x: Tensor, axis: int, order) -> Sorted:
    indices = _core.from_numpy(order.astype("int64", order="C"))
    return Sorted(gather(x, axis, indices), indices)


@method
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Sorted:
    """x sorted along axis dim, and the indices that sort it; equals always keep their order.

    >>> sort(pe.tensor([3, 1, 2])).indices.tolist()
    [1, 2, 0]
    """
    axis = axis_of(input, dim, "sort")
    if input.ndim == 0:
        return Sorted(_core.copy(input), _core.full((), 0, "int64"))
    return _taken(input, axis, _order(input, axis, bool(descending)))


@method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort x along axis dim."""
    return sort(input, dim, descending).indices


@method
def msort(input: Tensor) -> Tensor:
    """x sorted along axis 0."""
    return sort(input, 0).values


@method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """The k largest (or smallest) elements along axis dim, in order, and their indices."""
    axis, k = axis_of(input, dim, "topk"), integer(k, "topk", "k")
    if not 0 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError(f"topk: k = {k} does not fit axis {axis} of shape {input.shape}")
    if input.ndim == 0:
        return sort(input) if k else Sorted(_core.reshape(input, (1,))[:0], _core.full((0,), 0, "int64"))
    order = _order(input, axis, bool(largest))
    return _taken(input, axis, order[(*[slice(None)] * axis, slice(0, k))])


@method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Sorted:
    """The k-th smallest element along axis dim (k counts from 1), and its index."""
    axis, k = axis_of(input, dim, "kthvalue"), integer(k, "kthvalue", "k")
    if not 1 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError(f"kthvalue: k = {k} is out of range for axis {axis} of shape {input.shape}")
    if input.ndim == 0:
        return sort(input)
    found = _taken(input, axis, _order(input, axis)[(*[slice(None)] * axis, slice(k - 1, k))])
    if keepdim:
        return found
    shape = (*input.shape[:axis], *input.shape[axis + 1 :])
    return Sorted(*[_core.reshape(x, shape) for x in found])
