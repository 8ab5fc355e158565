"""Anomaly mode: which operation made the NaN, and where it was recorded."""

import traceback

from pyengine import _core


def _stack():
    return "".join(traceback.format_stack()[:-1])


def _has_nan(gradient):
    total = gradient.detach().sum()  # a NaN, or infinities of both signs, show in the sum: then each is looked at
    if total.item() == total.item():
        return False
    return bool((gradient.detach() != gradient.detach()).float().sum().item())


def is_anomaly_enabled():
    """True in anomaly mode."""
    return _core.anomaly_state()[0]


def is_anomaly_check_nan_enabled():
    """True when anomaly mode looks for NaN in gradients."""
    return _core.anomaly_state()[1]


class set_detect_anomaly:
    """Switches anomaly mode for all threads: at once, or until the end of a `with` block. It costs time: for debugging.

    In anomaly mode each operation notes where it was recorded, and backward() raises a RuntimeError that names the
    first operation whose derivative gives a NaN. Arguments: mode; check_nan, False only notes.
    """

    def __init__(self, mode, check_nan=True):
        self.before = _core.set_anomaly(mode, check_nan, _stack, _has_nan)

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        _core.set_anomaly(*self.before, _stack, _has_nan)


class detect_anomaly:
    """`with detect_anomaly():` anomaly mode inside, see set_detect_anomaly.

    >>> import pyengine as pe
    >>> with detect_anomaly():
    ...     x = pe.tensor([0.0], requires_grad=True)
    ...     y = (x.sqrt() * 0.0).sum()
    ...     try:
    ...         y.backward()
    ...     except RuntimeError as error:
    ...         print(str(error).splitlines()[0])
    Function 'sqrt' returned nan values in its 0th output: the gradient of its input 0 of shape (1,).
    """

    def __init__(self, check_nan=True):
        self.check_nan = check_nan
        self.before = []

    def __enter__(self):
        self.before.append(_core.set_anomaly(True, self.check_nan, _stack, _has_nan))

    def __exit__(self, *exc):
        _core.set_anomaly(*self.before.pop(), _stack, _has_nan)
