"""Recording on and off, and gradients as values."""

import functools

from pyengine import _core
from pyengine._core import grad

__all__ = ["enable_grad", "grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]

is_grad_enabled = _core.is_grad_enabled


class set_grad_enabled:
    """Switches recording in this thread: at once, or for a `with` block or a decorated function."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.before = [_core.set_grad_mode(mode)]

    def __enter__(self) -> None:
        _core.set_grad_mode(self.mode)

    def __exit__(self, *exc) -> None:
        _core.set_grad_mode(self.before[0])


class _Mode:
    """A context manager and decorator that sets the mode for its block; it may be entered again."""

    mode: bool

    def __init__(self) -> None:
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(_core.set_grad_mode(self.mode))

    def __exit__(self, *exc) -> None:
        _core.set_grad_mode(self.before.pop())

    def __call__(self, function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_Mode):
    """Nothing is recorded inside: `with no_grad():` or `@no_grad()`."""

    mode = False


class enable_grad(_Mode):
    """Recording is on inside, also within no_grad()."""

    mode = True
