"""How an operation becomes a method of Tensor: it is written once and used both ways."""

from __future__ import annotations

from functools import wraps

from pyengine import _core
from pyengine._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


def method(function: F) -> F:
    """Makes `function(x, ...)` callable as `x.function(...)` too."""
    _core.add_method(function.__name__, function)
    return function


def checked(function: F) -> F:
    """For operations made of others: what is no tensor at all is a TypeError that names the operation."""

    @wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except AttributeError as error:
            raise TypeError(f"{function.__name__}: {error}") from error

    return call  # type: ignore[return-value]


def composed(function: F) -> F:
    """checked, and a method of Tensor."""
    return method(checked(function))


def rule(name: str) -> Callable[[F], F]:
    """Registers the derivative of operation `name`: function(node, grad) gives one gradient an input.
    It is written in operations on tensors, so that it can be differentiated itself."""

    def register(function: F) -> F:
        _core.set_rule(name, function)
        return function

    return register


def recorded(*tensors: Tensor | None) -> bool:
    """True where the tape is on and one of these wants a gradient."""
    return _core.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def sizes(args: tuple) -> tuple:
    """f(2, 3) and f((2, 3)) mean the same shape."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


def tensor_only(x, what: str, argument: str = "x") -> Tensor:
    """x; TypeError naming the operation `what` where x is no Tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{what}: {argument} must be a Tensor, got {type(x).__name__}")
    return x
