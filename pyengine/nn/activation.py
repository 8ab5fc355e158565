"""Activations as layers. Each works element by element (the softmaxes along one axis) and keeps the shape."""

from . import functional as F
from .module import Module


class ReLU(Module):
    """max(x, 0). (Nair & Hinton 2010)

    >>> import pyengine as pe
    >>> pe.nn.ReLU()(pe.tensor([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, x):
        return F.relu(x, self.inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class GELU(Module):
    """x Phi(x) with the normal distribution function Phi. (Hendrycks & Gimpel 2016)

    Arguments: approximate, "none" (exact) or "tanh".

    >>> import pyengine as pe
    >>> round(pe.nn.GELU()(pe.tensor([1.0])).item(), 4)
    0.8413
    """

    def __init__(self, approximate="none"):
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x):
        return F.gelu(x, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x), also called swish. (Elfwing et al. 2018; Ramachandran et al. 2017)

    >>> import pyengine as pe
    >>> round(pe.nn.SiLU()(pe.tensor([1.0])).item(), 4)
    0.7311
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, x):
        return F.silu(x, self.inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """tanh(x).

    >>> import pyengine as pe
    >>> pe.nn.Tanh()(pe.zeros(1)).item()
    0.0
    """

    def forward(self, x):
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x).

    >>> import pyengine as pe
    >>> pe.nn.Sigmoid()(pe.zeros(1)).item()
    0.5
    """

    def forward(self, x):
        return F.sigmoid(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x. (Maas et al. 2013)

    >>> import pyengine as pe
    >>> pe.nn.LeakyReLU(0.25)(pe.tensor([-2.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, x):
        return F.leaky_relu(x, self.negative_slope, self.inplace)

    def extra_repr(self):
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1). (Clevert et al. 2016)

    >>> import pyengine as pe
    >>> round(pe.nn.ELU()(pe.tensor([-1.0])).item(), 4)
    -0.6321
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, x):
        return F.elu(x, self.alpha, self.inplace)

    def extra_repr(self):
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Softplus(Module):
    """log(1 + e^(beta x)) / beta, a smooth ReLU. (Dugas et al. 2001)

    Arguments: beta; threshold, accepted for PyTorch's sake and not needed.

    >>> import pyengine as pe
    >>> round(pe.nn.Softplus()(pe.zeros(1)).item(), 4)
    0.6931
    """

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        if not beta > 0:
            raise ValueError(f"Softplus: beta must be positive, got {beta}")
        self.beta = beta
        self.threshold = threshold

    def forward(self, x):
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """e^(x_i) / sum_j e^(x_j) along axis dim (None: torch's choice, axis 0 of 0, 1 or 3 axes, else axis 1).

    >>> import pyengine as pe
    >>> pe.nn.Softmax(dim=1)(pe.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.softmax(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x_i - log sum_j e^(x_j) along axis dim (None: torch's choice, axis 0 of 0, 1 or 3 axes, else axis 1).

    >>> import pyengine as pe
    >>> round(pe.nn.LogSoftmax(dim=1)(pe.zeros(1, 4))[0, 0].item(), 4)  # -log 4
    -1.3863
    """

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.log_softmax(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"
