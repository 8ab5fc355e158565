"""Data sets that ship with the package, and batches."""

from .augment import distort, shift_flip
from .digits import Digits, load_digits
from .fashion_mnist import Pictures, load_fashion_mnist
from .idx import read_idx
from .loader import batches
from .photo import load_photo
from .tokens import load_tokenizer

__all__ = [
    "Digits",
    "Pictures",
    "batches",
    "distort",
    "load_digits",
    "load_fashion_mnist",
    "load_photo",
    "load_tokenizer",
    "read_idx",
    "shift_flip",
]
