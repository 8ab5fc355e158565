"""The compiled core: storage, tensor, tape and the binding to the C kernels."""

try:
    from pyengine._core._core import *
    from pyengine._core._core import __version__
except ModuleNotFoundError as error:
    if error.name != "pyengine._core._core":
        raise
    raise ImportError(
        "this folder holds pyengine's sources, which are not built in place: start Python in another folder to use "
        "the installed package, or run `pip install -e .`"
    ) from None
