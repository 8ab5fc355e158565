"""Dropout."""

from . import functional as F
from .module import Module


class _Dropout(Module):
    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be between 0 and 1, got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f"p={self.p}" + (", inplace=True" if self.inplace else "")


class Dropout(_Dropout):
    """In training each element is 0 with probability p, else x / (1 - p); in evaluation y = x.

    Arguments: p, from 0 to 1; inplace. Shape: any, kept. (Srivastava et al. 2014)

    >>> import pyengine as pe
    >>> layer = pe.nn.Dropout(0.5)
    >>> layer.eval()(pe.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def forward(self, x):
        return F.dropout(x, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L). (Tompson et al. 2015)"""

    def forward(self, x):
        return F.dropout1d(x, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Dropout of whole channels of (N, C, H, W). (Tompson et al. 2015)"""

    def forward(self, x):
        return F.dropout2d(x, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W). (Tompson et al. 2015)"""

    def forward(self, x):
        return F.dropout3d(x, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout to selu's lower bound, scaled so that mean and variance stay. (Klambauer et al. 2017)"""

    def forward(self, x):
        return F.alpha_dropout(x, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels."""

    def forward(self, x):
        return F.feature_alpha_dropout(x, self.p, self.training, self.inplace)
