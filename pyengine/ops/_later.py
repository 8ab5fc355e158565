"""Operations that are read at their first use: catalog.py says where they are."""

from importlib import import_module

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.catalog import FUNCTIONS, METHODS

PLACES = {name: module for module, names in FUNCTIONS.items() for name in names.split()}


def function(name: str):
    """The operation of this name, from its module."""
    return getattr(import_module(f"pyengine.ops.{PLACES[name]}"), name)


def _stand_in(name: str, module: str):
    """A method that reads the module, which puts the method itself in this one's place, and calls that."""

    def call(x, *args, **kwargs):
        import_module(f"pyengine.ops.{module}")
        return getattr(Tensor, name)(x, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.stands_in = module  # type: ignore[attr-defined]
    return call


def _fallback(kind: str):
    """Reads fallback.py, which puts its function in this one's place, and calls that."""

    def call(*args):
        return getattr(import_module("pyengine.ops.fallback"), f"_{kind}")(*args)

    return call


def _operator(name: str, a, b):
    """What the operators `//`, `%`, `<<` and `>>` of Tensor call."""
    if not all(isinstance(x, (Tensor, bool, int, float)) for x in (a, b)):
        return NotImplemented
    return function(name)(a, b)


for _kind in ("arithmetic", "index", "index_put"):
    _core.set_fallback(_kind, _fallback(_kind))
_core.set_fallback("operator", _operator)
for _module, _names in METHODS.items():
    for _name in _names.split():
        _core.add_method(_name, _stand_in(_name, _module))
