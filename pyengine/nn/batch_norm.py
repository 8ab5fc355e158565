"""Layers that normalize each channel: over the batch, or in each image."""

import warnings

import pyengine as pe

from . import functional as F
from .module import Module
from .norm import _learned, _reset


class _ChannelNorm(Module):
    """Parameters and running statistics of num_features channels."""

    def __init__(self, num_features, eps, momentum, affine, track_running_stats, bias):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        _learned(self, (num_features,), affine, bias)
        tracked = track_running_stats
        self.register_buffer("running_mean", pe.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", pe.ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", pe.tensor(0) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self):
        """Sets the running mean to 0, the running variance to 1, and the count of batches to 0."""
        if self.track_running_stats:
            with pe.no_grad():
                self.running_mean.copy_(pe.zeros(self.num_features))
                self.running_var.copy_(pe.ones(self.num_features))
                self.num_batches_tracked.copy_(pe.tensor(0))

    def reset_parameters(self):
        """Sets weight to 1 and bias to 0, and the running statistics as they were."""
        self.reset_running_stats()
        _reset(self)

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _expect(self, x, *ranks):
        """An error unless x has one of these numbers of axes."""
        if not isinstance(x, pe.Tensor):
            raise TypeError(f"{type(self).__name__}: x must be a Tensor, got {type(x).__name__}")
        if x.ndim not in ranks:
            wanted = " or ".join(map(str, ranks))
            raise ValueError(f"{type(self).__name__}: x of shape {x.shape} must have {wanted} axes")


class _BatchNorm(_ChannelNorm):
    ranks: tuple[int, ...] = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x):
        self._expect(x, *self.ranks)
        share = 0.0 if self.momentum is None else self.momentum
        counting = self.training and self.track_running_stats and self.num_batches_tracked is not None
        if counting:
            seen = self.num_batches_tracked.item() + 1
            self.num_batches_tracked.copy_(pe.tensor(seen))
            if self.momentum is None:  # the plain average of all batches
                share = 1.0 / seen
        kept = self.running_mean, self.running_var
        by_batch = self.training or kept == (None, None)
        if self.training and not self.track_running_stats:
            kept = None, None
        return F.batch_norm(x, *kept, self.weight, self.bias, by_batch, share, self.eps)


class BatchNorm1d(_BatchNorm):
    """Each feature less its mean over the batch, divided by its deviation. (Ioffe & Szegedy 2015)

    Arguments: num_features; eps; momentum, how far the running statistics move at each batch in training (None: they
    are the average of all batches); affine (False: neither weight nor bias); track_running_stats (False: the batch's
    own statistics in evaluation too); bias.
    Shape: (N, C) or (N, C, L) -> the same. weight and bias (C) start at 1 and 0; buffers running_mean and running_var
    (C), and num_batches_tracked.

    >>> import pyengine as pe
    >>> layer = pe.nn.BatchNorm1d(3)
    >>> layer(pe.randn(8, 3)).shape, layer.num_batches_tracked.item()
    ((8, 3), 1)
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for images: (N, C, H, W)."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for volumes: (N, C, D, H, W)."""

    ranks = (5,)


class _InstanceNorm(_ChannelNorm):
    unbatched = 0  # how many axes one image has

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x):
        self._expect(x, self.unbatched, self.unbatched + 1)
        axis = x.ndim - self.unbatched
        if x.shape[axis] != self.num_features:
            told = f"{type(self).__name__}: x of shape {x.shape} has not num_features = {self.num_features} channels"
            if self.affine:
                raise ValueError(told)
            warnings.warn(told + ", which do not matter when affine is False", stacklevel=2)
        by_image = self.training or not self.track_running_stats
        batch = x if axis else x.unsqueeze(0)
        y = F.instance_norm(batch, self.running_mean, self.running_var, self.weight, self.bias, by_image,
                            0.0 if self.momentum is None else self.momentum, self.eps)  # fmt: skip
        return y if axis else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample with its own mean and variance. (Ulyanov, Vedaldi & Lempitsky 2016)

    Arguments: as BatchNorm1d's; by default without weight, bias and running statistics.
    Shape: (N, C, L) or (C, L) -> the same.
    """

    unbatched = 2


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for images: (N, C, H, W) or (C, H, W)."""

    unbatched = 3


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for volumes: (N, C, D, H, W) or (C, D, H, W)."""

    unbatched = 4
