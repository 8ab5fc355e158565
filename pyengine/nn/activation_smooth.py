"""Smooth activations, gates, and softmaxes of other signs and axes."""

from . import functional as F
from .activation_hard import _InPlace
from .module import Module


class SELU(_InPlace):
    """1.0507 elu(x, 1.6733): activations settle at mean 0 and variance 1. (Klambauer et al. 2017)

    >>> import pyengine as pe
    >>> round(pe.nn.SELU()(pe.tensor([1.0])).item(), 4)
    1.0507
    """

    def forward(self, x):
        return F.selu(x, self.inplace)


class CELU(Module):
    """x where x > 0, else alpha (e^(x / alpha) - 1). (Barron 2017)

    >>> import pyengine as pe
    >>> round(pe.nn.CELU(2.0)(pe.tensor([-2.0])).item(), 4)
    -1.2642
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, x):
        return F.celu(x, self.alpha, self.inplace)

    def extra_repr(self):
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Mish(_InPlace):
    """x tanh(softplus(x)). (Misra 2019)

    >>> import pyengine as pe
    >>> round(pe.nn.Mish()(pe.tensor([1.0])).item(), 4)
    0.8651
    """

    def forward(self, x):
        return F.mish(x, self.inplace)


class Softsign(Module):
    """x / (1 + |x|).

    >>> import pyengine as pe
    >>> pe.nn.Softsign()(pe.tensor([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """

    def forward(self, x):
        return F.softsign(x)


class Tanhshrink(Module):
    """x - tanh(x).

    >>> import pyengine as pe
    >>> round(pe.nn.Tanhshrink()(pe.tensor([1.0])).item(), 4)
    0.2384
    """

    def forward(self, x):
        return F.tanhshrink(x)


class LogSigmoid(Module):
    """log(sigmoid(x)).

    >>> import pyengine as pe
    >>> round(pe.nn.LogSigmoid()(pe.zeros(1)).item(), 4)
    -0.6931
    """

    def forward(self, x):
        return F.logsigmoid(x)


class GLU(Module):
    """a sigmoid(b) with the halves a and b of axis dim. (Dauphin et al. 2017)

    >>> import pyengine as pe
    >>> pe.nn.GLU()(pe.tensor([4.0, 0.0])).tolist()
    [2.0]
    """

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.glu(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along axis dim.

    >>> import pyengine as pe
    >>> pe.nn.Softmin(dim=0)(pe.zeros(2)).tolist()
    [0.5, 0.5]
    """

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return F.softmin(x, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W).

    >>> import pyengine as pe
    >>> pe.nn.Softmax2d()(pe.zeros(4, 1, 1)).reshape(4).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    def forward(self, x):
        if x.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: input must have 3 or 4 axes, got shape {x.shape}")
        return F.softmax(x, -3)
