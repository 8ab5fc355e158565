"""Deep learning to embed: hand-written CPU kernels under PyTorch's names."""

from importlib import import_module as _import_module

from pyengine._core import (
    Generator,
    Tensor,
    __version__,
    channels_last,
    channels_last_3d,
    contiguous_format,
    default_generator,
    dtype,
    from_dlpack,
    from_numpy,
    memory_format,
    pool_stats,
    preserve_format,
    set_flush_denormal,
    tensor,
)
from pyengine._core import as_tensor_ as as_tensor
from pyengine.autograd import (
    enable_grad,
    grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from pyengine.machine import (
    get_num_threads,
    memory_stats,
    num_threads,
    set_memory_cap,
    set_num_threads,
    show_config,
    trim,
)

from pyengine import _core as _core  # isort: skip
from pyengine import ops as ops  # isort: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.ops import *
globals().update(ops.NOW)

float32, float64, bfloat16, float16, int8, int16, int32, int64, uint8, bool_ = (
    _core.dtype_of(name)
    for name in ("float32", "float64", "bfloat16", "float16", "int8", "int16", "int32", "int64", "uint8", "bool")
)

# torch's other names of them, looked up by __getattr__: as globals they would hide Python's types in this file
_TYPE_NAMES = {"bool": "bool", "double": "float64", "float": "float32", "half": "float16", "int": "int32",
               "long": "int64", "short": "int16"}  # fmt: skip

# Imported at first use: `import pyengine` stays within milliseconds.
_LAZY = {"autograd", "data", "io", "linalg", "models", "nn", "optim", "train", "utils", "viz"}


def __getattr__(name: str):
    if name in _LAZY:
        return _import_module(f"pyengine.{name}")
    if name in ops.__all__:
        value = globals()[name] = getattr(ops, name)
        return value
    if name in _TYPE_NAMES:
        return _core.dtype_of(_TYPE_NAMES[name])
    if name == "summary":
        return _import_module("pyengine.nn.summary").summary
    raise AttributeError(f"module 'pyengine' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY, *_TYPE_NAMES, *ops.__all__})


def get_include() -> str:
    """The folder of pyengine.h (and what it includes), for C and Cython code that uses the engine.

    A module that calls its functions finds this process's engine when their symbols were made known before the module's
    first import: `ctypes.CDLL(pyengine._core._core.__file__, ctypes.RTLD_GLOBAL)`.
    """
    from pathlib import Path

    return str(Path(__file__).parent / "include")
