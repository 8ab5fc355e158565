"""One axis as several."""

import math

from .module import Module


class Unflatten(Module):
    """Axis dim as several: the other way round from Flatten. One of the sizes may be -1.

    Shape: (..., prod(sizes), ...) -> (..., *sizes, ...).

    >>> import pyengine as pe
    >>> pe.nn.Unflatten(1, (2, 4))(pe.zeros(5, 8)).shape
    (5, 2, 4)
    """

    def __init__(self, dim, unflattened_size):
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"Unflatten: dim must be an integer, got {type(dim).__name__}")
        sizes = tuple(unflattened_size) if isinstance(unflattened_size, (tuple, list)) else None
        if sizes is None or not all(isinstance(size, int) for size in sizes):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of integers, got {unflattened_size!r}")
        self.dim = dim
        self.unflattened_size = sizes

    def forward(self, x):
        if not -x.ndim <= self.dim < x.ndim:
            raise IndexError(f"Unflatten: axis {self.dim} is out of range for shape {x.shape}")
        axis = self.dim % x.ndim
        sizes, size = self.unflattened_size, x.shape[axis]
        given = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) > 1 or (given != size if -1 not in sizes else given == 0 or size % given):
            raise RuntimeError(f"Unflatten: sizes {sizes} do not multiply to axis {self.dim} of shape {x.shape}")
        sizes = tuple(size // given if n == -1 else n for n in sizes)
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
