"""What the arguments of shape and indexing operations are checked with."""

from pyengine._core import Tensor
from pyengine.ops._method import tensor_only


def axis_of(x: Tensor, dim, what: str, extra: int = 0) -> int:
    """dim as 0 .. ndim-1 (a tensor without axes answers for axis 0); IndexError names the operation `what`."""
    n = tensor_only(x, what).ndim + extra
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{what}: an axis must be an integer, got {dim!r}")
    dim = dim.__index__()
    if not -max(n, 1) <= dim < max(n, 1):
        raise IndexError(f"{what}: axis {dim} is out of range for shape {x.shape}")
    return dim % max(n, 1)


def axes_of(x: Tensor, dims, what: str) -> list[int]:
    """Several axes, each named once; RuntimeError where one is named twice."""
    if not isinstance(dims, (tuple, list)):
        dims = (dims,)
    tensor_only(x, what)
    axes = [axis_of(x, d, what) for d in dims]
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"{what}: axes {tuple(dims)} name one twice in shape {x.shape}")
    return axes


def integer(value, what: str, name: str) -> int:
    """value as an int; TypeError names the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what}: {name} must be an integer, got {value!r}")
    return value.__index__()


def integers(values, what: str, name: str) -> tuple[int, ...]:
    """values (one, or a tuple or list) as a tuple of ints."""
    if not isinstance(values, (tuple, list)):
        values = (values,)
    return tuple(integer(v, what, name) for v in values)


def tensors_only(tensors, what: str) -> list[Tensor]:
    """The tensors of a tuple or list, or of f(a, b, c); at least one."""
    if isinstance(tensors, Tensor) or not hasattr(tensors, "__iter__"):
        raise TypeError(f"{what}: a tuple or list of Tensors is needed, got {type(tensors).__name__}")
    found = [tensor_only(x, what, "every entry of tensors") for x in tensors]
    if not found:
        raise RuntimeError(f"{what}: at least one tensor is needed")
    return found


def several(tensors: tuple, what: str) -> list[Tensor]:
    """f(a, b) and f([a, b]) mean the same tensors."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    return tensors_only(tensors, what)


def along(axis: int, part) -> tuple:
    """The index that takes `part` of one axis and all of the others."""
    return (*[slice(None)] * axis, part)
