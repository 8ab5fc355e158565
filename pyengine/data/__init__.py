"""Data sets that ship with the package, and batches."""

from .augment import distort
from .digits import Digits, load_digits
from .loader import batches

__all__ = ["Digits", "batches", "distort", "load_digits"]
