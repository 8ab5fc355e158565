"""Recording on and off."""

import functools
from _thread import _local

from pyengine import _core

is_grad_enabled = _core.is_grad_enabled


class _Mode:
    """A context manager and decorator that sets the mode for its block; it may be entered again."""

    mode: bool

    def __init__(self) -> None:
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(_core.set_grad_mode(self.mode))

    def __exit__(self, *exc) -> None:
        _core.set_grad_mode(self.before.pop())

    def _again(self) -> "_Mode":
        """A new manager of the same kind: each call of a decorated function enters its own."""
        return type(self)()

    def __call__(self, function):
        import inspect  # milliseconds, at the first decorated function

        if inspect.isgeneratorfunction(function):
            return self._generator(function)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self._again():
                return function(*args, **kwargs)

        return wrapped

    def _generator(self, function):
        """The mode holds while the generator runs, not while its consumer does."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    try:
                        with self._again():
                            given = step(value)
                    except StopIteration as stop:
                        return stop.value
                    try:
                        step, value = generator.send, (yield given)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            finally:
                with self._again():
                    generator.close()

        return wrapped


class no_grad(_Mode):
    """Nothing is recorded inside: `with no_grad():`, `@no_grad()` or `@no_grad`.

    >>> import pyengine as pe
    >>> w = pe.ones(2, requires_grad=True)
    >>> with no_grad():
    ...     (w * 2).requires_grad
    False
    """

    mode = False

    def __new__(cls, function=None):
        made = super().__new__(cls)
        if function is None:
            return made
        made.before = []
        return made(function)

    def __init__(self, function=None) -> None:
        super().__init__()


class enable_grad(no_grad):
    """Recording is on inside, also within no_grad()."""

    mode = True


class set_grad_enabled(_Mode):
    """Switches recording in this thread: at once, or for a `with` block or a decorated function."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.first = _core.set_grad_mode(self.mode)
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(self.first)
        _core.set_grad_mode(self.mode)

    def _again(self):
        return set_grad_enabled(self.mode)

    def __call__(self, function):
        _core.set_grad_mode(self.first)  # it was meant for the function
        return super().__call__(function)


_inference = _local()


def is_inference_mode_enabled() -> bool:
    """True inside inference_mode() in this thread."""
    return getattr(_inference, "on", False)


class inference_mode(_Mode):
    """no_grad() under torch's other name: tensors made inside are ordinary ones here and may be recorded afterwards.

    Arguments: mode, False records inside.
    """

    def __new__(cls, mode=True):
        if callable(mode):
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode=True) -> None:
        super().__init__()
        self.inference = bool(mode)
        self.mode = not self.inference
        self.outer: list[bool] = []

    def _again(self):
        return inference_mode(self.inference)

    def __enter__(self) -> None:
        self.outer.append(is_inference_mode_enabled())
        _inference.on = self.inference
        super().__enter__()

    def __exit__(self, *exc) -> None:
        super().__exit__(*exc)
        _inference.on = self.outer.pop()
