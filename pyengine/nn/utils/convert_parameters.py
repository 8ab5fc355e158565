"""Parameters as one vector, and back."""

from pyengine import Tensor, cat, no_grad


def parameters_to_vector(parameters):
    """All elements of all parameters in one vector (recorded, as any operation).

    >>> import pyengine as pe
    >>> pe.nn.utils.parameters_to_vector([pe.ones(1, 2), pe.zeros(1)]).tolist()
    [1.0, 1.0, 0.0]
    """
    return cat([p.reshape(-1) for p in parameters], 0)


def vector_to_parameters(vec, parameters):
    """Copies vec, piece by piece, into parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    sizes = [p.numel() for p in parameters]
    if vec.ndim != 1 or vec.numel() < sum(sizes):
        raise RuntimeError(f"vector_to_parameters: a vector of shape {vec.shape} for {sum(sizes)} elements")
    at = 0
    with no_grad():
        for param, n in zip(parameters, sizes, strict=True):
            param.copy_(vec[at : at + n].reshape(param.shape))
            at += n
