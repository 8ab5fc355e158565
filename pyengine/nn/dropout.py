"""Dropout."""

from . import functional as F
from .module import Module


class Dropout(Module):
    """In training each element is 0 with probability p, else x / (1 - p); in evaluation y = x.

    Arguments: p, from 0 to 1. Shape: any, kept. (Srivastava et al. 2014)

    >>> import pyengine as pe
    >>> layer = pe.nn.Dropout(0.5)
    >>> layer.eval()(pe.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p=0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, x):
        return F.dropout(x, self.p, self.training)

    def extra_repr(self):
        return f"p={self.p}"
