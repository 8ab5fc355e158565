"""Linear layers, and layers that only rearrange."""

import math

import pyengine as pe

from . import functional as F
from . import init
from .module import Module, Parameter


class Linear(Module):
    """y = x W^T + b.

    Arguments: in_features, out_features, bias (False: no b).
    Shape: (..., in_features) -> (..., out_features). weight (out_features, in_features), bias (out_features).
    Both start uniform in +-1/sqrt(in_features), as PyTorch's do. In inference (no_grad) the weight is packed at its
    second use, with the same results: see `pyengine.pack`.

    >>> import pyengine as pe
    >>> layer = pe.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(pe.zeros(4, 5, 3)).shape
    (4, 5, 2)
    """

    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(size, int) or size < 0:
                raise ValueError(f"Linear: {name} must be an integer of at least 0, got {size!r}")
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(pe.empty(out_features, in_features))
        if bias:
            self.bias = Parameter(pe.empty(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws weight and bias anew."""
        # kaiming_uniform_ with a = sqrt(5) is the bound 1/sqrt(in_features)
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """y = x, whatever arguments it was made with.

    >>> import pyengine as pe
    >>> pe.nn.Identity(54, unused=True)(pe.zeros(2)).shape
    (2,)
    """

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input


class Flatten(Module):
    """The axes start_dim .. end_dim as one; by default all but the first.

    Shape: (N, C, H, W) -> (N, C H W).

    >>> import pyengine as pe
    >>> pe.nn.Flatten()(pe.zeros(5, 8, 8)).shape
    (5, 64)
    """

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
