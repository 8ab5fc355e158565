"""Layers whose parameters are not drawn."""

import inspect

from .. import init as nn_init
from ..module import Module

_DRAWING = [name for name in dir(nn_init) if name.endswith("_") and not name.startswith("_")]


def skip_init(module_cls, *args, **kwargs):
    """A module_cls(*args, **kwargs) whose parameters are left as memory had them: for weights that a file brings.

    Its initializers in nn.init do nothing meanwhile. Errors: TypeError for what is no Module class.

    >>> import pyengine as pe
    >>> skip_init(pe.nn.Linear, 3, 2)
    Linear(in_features=3, out_features=2, bias=True)
    """
    if not (inspect.isclass(module_cls) and issubclass(module_cls, Module)):
        raise TypeError(f"skip_init: a class of Module is needed, got {module_cls!r}")
    kwargs.pop("device", None)
    kept = {name: getattr(nn_init, name) for name in _DRAWING}
    try:
        for name in _DRAWING:
            setattr(nn_init, name, lambda tensor, *args, **kwargs: tensor)
        return module_cls(*args, **kwargs)
    finally:
        for name, function in kept.items():
            setattr(nn_init, name, function)
