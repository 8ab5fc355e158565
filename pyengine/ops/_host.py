"""Rare operations in NumPy's arithmetic, on the tape where they have a derivative."""

from collections.abc import Callable
from typing import Any

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.fallback import _result_of, arrays_of


def pair(a, b, what: str) -> tuple[Tensor, Tensor]:
    """Two operands of which one at least is a tensor; a number becomes a tensor of the other's type."""
    if not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        raise TypeError(f"{what}: a Tensor is needed, got {type(a).__name__} and {type(b).__name__}")
    return beside(a, b, what), beside(b, a, what)


def beside(value, x, what: str) -> Tensor:
    """value as a tensor: a Python number in the type of x, or in float32 where it is a fraction and x is not."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{what}: a Tensor or a number is needed, got {type(value).__name__}")
    if isinstance(value, bool):
        return _core.full((), value, "bool")
    if isinstance(value, float):
        return _core.full((), value, x.dtype if x.is_floating_point() else "float32")
    return _core.full((), value, "int64" if x.dtype.name == "bool" else x.dtype)


def numpy_op(name: str, function: Callable[..., Any], *inputs: Tensor, recorded: bool = True) -> Tensor:
    """function of the inputs' arrays (shapes broadcast); the rule `name` finds the inputs and the result in saved."""
    import numpy

    for x in inputs:
        if recorded and x.requires_grad and _core.is_grad_enabled():
            inputs = tuple(y if y.dtype.name == "float32" else _core.copy(y, "float32") for y in inputs)
            break
    try:
        with numpy.errstate(all="ignore"):
            out = _result_of(function(*arrays_of(list(inputs))), list(inputs))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in inputs)
        raise RuntimeError(f"{name}: shapes {shapes} do not broadcast") from None
    except TypeError:
        types = " and ".join(x.dtype.name for x in inputs)
        raise TypeError(f"{name}: no operation for {types}") from None
    return _core.record(out, name, inputs, (*inputs, out)) if recorded else out


def pulled(node, *gradients):
    """Each gradient summed to the shape of its input, where that was broadcast."""
    return tuple(
        None if g is None else _core.sum_to(g, x.shape) for g, x in zip(gradients, node.saved[:-1], strict=True)
    )
