"""backward() of several tensors at once."""

from pyengine import _core
from pyengine._core import Tensor


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Adds the gradients of the sum of tensors, each times its grad_tensor (1 for a scalar), to the .grad of the leaves
    below, or only of `inputs`.

    >>> import pyengine as pe
    >>> x = pe.tensor([1.0, 2.0], requires_grad=True)
    >>> backward([x.sum(), (x * x).sum()])
    >>> x.grad.tolist()
    [3.0, 5.0]
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError("backward: grad_tensors and its old name grad_variables are both given")
        grad_tensors = grad_variables
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"backward: tensors must be Tensors, got {type(tensor).__name__}")
    if isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors]
    gradients = [None] * len(tensors) if grad_tensors is None else list(grad_tensors)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"backward: {len(gradients)} grad_tensors for {len(tensors)} tensors")
    _core.backward(tensors, gradients, retain_graph, create_graph, inputs)
