"""The compiled core: storage, tensor, tape and the binding to the C kernels."""

from pyengine._core._core import *
from pyengine._core._core import __version__
