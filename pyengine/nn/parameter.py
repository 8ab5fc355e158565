"""Parameter: a tensor that a Module counts as one of its own."""

from pyengine import Tensor


class _ParameterType(type):
    """isinstance(x, Parameter) asks the tensor: Tensor is final, so a parameter is a mark on it, not a subclass."""

    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor) and instance.is_parameter


class Parameter(metaclass=_ParameterType):
    """A tensor to be learned: assigned to an attribute of a Module, it appears in parameters().

    Arguments: data, a tensor (its memory is shared); requires_grad.

    >>> import pyengine as pe
    >>> weight = pe.nn.Parameter(pe.zeros(2, 3))
    >>> weight.requires_grad, isinstance(weight, pe.nn.Parameter), isinstance(weight, pe.Tensor)
    (True, True, True)
    """

    def __new__(cls, data, requires_grad=True):
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}")
        parameter = data.detach()
        parameter.is_parameter = True
        return parameter.requires_grad_(requires_grad)
