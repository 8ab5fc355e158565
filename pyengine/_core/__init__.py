"""The compiled core: storage, tensor, tape and the binding to the C kernels."""

from pyengine._core._core import *  # noqa: F403
from pyengine._core._core import __version__  # noqa: F401 (a star leaves underscores behind)
