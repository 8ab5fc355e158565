"""Layers that normalize over features, groups of channels, or neighbouring channels."""

import pyengine as pe

from . import functional as F
from . import init
from .module import Module, Parameter


def _learned(module, shape, affine, bias):
    """weight of ones and bias of zeros, or None in their places."""
    for name, wanted in (("weight", affine), ("bias", affine and bias)):
        if wanted:
            setattr(module, name, Parameter(pe.empty(*shape)))
        else:
            module.register_parameter(name, None)


def _reset(module):
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) weight + bias over the last axes. (Ba, Kiros & Hinton 2016)

    Arguments: normalized_shape, the sizes of those axes (an int is one axis); eps; elementwise_affine (False: neither
    weight nor bias); bias (False: weight alone).
    Shape: (*, *normalized_shape) -> the same. weight and bias have the normalized_shape; they start at 1 and 0.

    >>> import pyengine as pe
    >>> layer = pe.nn.LayerNorm(8)
    >>> layer
    LayerNorm((8,), eps=1e-05, elementwise_affine=True, bias=True)
    >>> layer(pe.ones(2, 3, 8)).shape
    (2, 3, 8)
    """

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _learned(self, self.normalized_shape, elementwise_affine, bias)
        self.reset_parameters()

    def reset_parameters(self):
        """Sets weight to 1 and bias to 0."""
        _reset(self)

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) weight over the last axes. (Zhang & Sennrich 2019)

    Arguments: normalized_shape, as LayerNorm's; eps (None: float32's 2^-23); elementwise_affine (False: no weight).
    Shape: (*, *normalized_shape) -> the same. weight has the normalized_shape and starts at 1.
    """

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(pe.empty(*self.normalized_shape))
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Sets weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Each image's channels in groups, mean and variance over each group. (Wu & He 2018)

    Arguments: num_groups, which must divide num_channels; eps; affine (False: neither weight nor bias); bias.
    Shape: (N, C, *) -> the same. weight and bias (C) start at 1 and 0.
    """

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, *, bias=True):
        super().__init__()
        if num_groups < 1:  # torch divides by it
            error = ZeroDivisionError if num_groups == 0 else ValueError
            raise error(f"GroupNorm: num_groups must be at least 1, got {num_groups}")
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_groups} groups do not divide {num_channels} channels")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        _learned(self, (num_channels,), affine, bias)
        self.reset_parameters()

    def reset_parameters(self):
        """Sets weight to 1 and bias to 0."""
        _reset(self)

    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """x / (k + alpha mean(x^2))^beta, the mean over size neighbouring channels. (Krizhevsky et al. 2012)

    Shape: (N, C, *), three axes or more -> the same.
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x):
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
