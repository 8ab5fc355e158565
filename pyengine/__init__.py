"""Neural networks on CPUs."""

from pyengine._core import __version__

__all__ = ["__version__"]
