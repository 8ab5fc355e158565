"""Gradients: recording on and off, gradients as values, operations of one's own, checks."""

from importlib import import_module as _import_module

from pyengine._core import grad

from .mode import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled

# name -> the file that defines it, read at first use
_LATER = {
    "Function": "function",
    "detect_anomaly": "anomaly",
    "is_anomaly_enabled": "anomaly",
    "is_anomaly_check_nan_enabled": "anomaly",
    "set_detect_anomaly": "anomaly",
    "gradcheck": "check",
    "gradgradcheck": "check",
    "GradcheckError": "check",
    "backward": "engine",
}
_FILES = ("anomaly", "check", "function", "functional", "graph")

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def __getattr__(name: str):
    if name in _LATER:
        value = getattr(_import_module(f"pyengine.autograd.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    if name in _FILES:
        return _import_module(f"pyengine.autograd.{name}")
    raise AttributeError(f"module 'pyengine.autograd' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER, *_FILES})
