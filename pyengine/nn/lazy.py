"""Layers that take the size of their input from the first one they see, or from the first state_dict they are given."""

import pyengine as pe

from .batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .module import Module

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]


class _Lazy(Module):
    """A layer whose class says that it has no size yet: with the size it becomes an ordinary one."""

    becomes: type
    size_name: str  # the attribute that holds the size

    def __init__(self, *rest, **named):
        super().__init__(0, *rest, **named)
        self._rest = rest, named
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if tensor is not None and tensor.ndim:  # not num_batches_tracked
                tensor.data = pe.empty(0)
        self.register_load_state_dict_pre_hook(_size_by_state)

    def reset_parameters(self):
        """Nothing yet: there is nothing to draw."""

    reset_running_stats = reset_parameters

    def has_uninitialized_params(self):
        """True, until the size is known."""
        return True

    def initialize_parameters(self, *args, **kwargs):
        """Makes parameters and buffers for the input that a call with these arguments has."""
        given = [*args, *kwargs.values()]
        x = given[0] if given else None
        if not isinstance(x, pe.Tensor):
            raise TypeError(f"{type(self).__name__}: the input must be a Tensor, got {type(x).__name__}")
        self._become(x.shape[self._axis(x)])

    def _become(self, size):
        """Self as an ordinary layer. Its tensors stay the same objects, so that an optimizer may hold them already."""
        rest, named = self._rest
        made = self.becomes(size, *rest, **named)
        for own, new in ((self._parameters, made._parameters), (self._buffers, made._buffers)):
            for name, tensor in new.items():
                if tensor is not None and tensor.ndim:
                    own[name].data = tensor.detach().to(own[name].dtype)
        setattr(self, self.size_name, size)
        del self._rest
        self.__class__ = self.becomes

    def forward(self, *args, **kwargs):
        self.initialize_parameters(*args, **kwargs)
        return self.forward(*args, **kwargs)  # by now another class's

    def _axis(self, x):
        """Where an input's size stands."""
        raise NotImplementedError

    def _size_of(self, state, prefix):
        """The size that a state_dict's tensors have; None where they tell nothing."""
        raise NotImplementedError

    def _expect_rank(self, x, *ranks):
        """An error unless x has one of these numbers of axes."""
        if x.ndim not in ranks:
            wanted = " or ".join(map(str, ranks))
            raise ValueError(f"{type(self).__name__}: x of shape {x.shape} must have {wanted} axes")


def _size_by_state(module, state, prefix, *_):
    """Before load_state_dict looks: a layer without a size takes the state's, unless that has none either."""
    if isinstance(module, _Lazy):
        size = module._size_of(state, prefix)
        if size is not None:
            module._become(size)


def _shape(state, key):
    """The shape of a tensor with axes to tell by; None for a lazy layer's own placeholder, and where none is there."""
    shape = tuple(getattr(state.get(key), "shape", ()))
    return None if shape in ((), (0,)) else shape


class LazyLinear(_Lazy, Linear):
    """Linear that finds in_features at its first call: from then on it is a Linear, and says so.

    Arguments: out_features, bias. Before, its parameters have no elements; they are the same objects afterwards, so an
    optimizer may be made first. load_state_dict settles the size as well.
    Shape: as Linear's.

    >>> import pyengine as pe
    >>> layer = pe.nn.LazyLinear(2)
    >>> layer
    LazyLinear(in_features=0, out_features=2, bias=True)
    >>> layer(pe.zeros(4, 3)).shape, layer
    ((4, 2), Linear(in_features=3, out_features=2, bias=True))
    """

    becomes, size_name = Linear, "in_features"

    def _axis(self, x):
        if not x.ndim:
            raise ValueError(f"{type(self).__name__}: x must have an axis, got shape ()")
        return -1

    def _size_of(self, state, prefix):
        shape = _shape(state, prefix + "weight")
        return None if shape is None else shape[-1]


class _LazyConv(_Lazy):
    size_name = "in_channels"
    axes: int
    groups: int
    transposed: bool

    def _axis(self, x):
        self._expect_rank(x, self.axes + 1, self.axes + 2)
        return x.ndim - self.axes - 1

    def _size_of(self, state, prefix):
        shape = _shape(state, prefix + "weight")
        if shape is None or len(shape) != self.axes + 2:
            return None
        return shape[0] if self.transposed else shape[1] * self.groups


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d that finds in_channels at its first call; see LazyLinear. Arguments: Conv1d's from out_channels on.

    >>> import pyengine as pe
    >>> layer = pe.nn.LazyConv1d(4, 3, padding=1)
    >>> layer(pe.zeros(5, 2, 7)).shape, layer
    ((5, 4, 7), Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=(1,)))
    """

    becomes = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d that finds in_channels at its first call; see LazyConv1d."""

    becomes = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d that finds in_channels at its first call; see LazyConv1d."""

    becomes = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """ConvTranspose1d that finds in_channels at its first call; see LazyConv1d."""

    becomes = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """ConvTranspose2d that finds in_channels at its first call; see LazyConv1d."""

    becomes = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """ConvTranspose3d that finds in_channels at its first call; see LazyConv1d."""

    becomes = ConvTranspose3d


class _LazyNorm(_Lazy):
    size_name = "num_features"
    ranks: tuple[int, ...] = ()

    def _axis(self, x):
        self._expect_rank(x, *self.ranks)
        return 1

    def _size_of(self, state, prefix):
        shapes = [_shape(state, prefix + name) for name in ("weight", "running_mean")]
        return next((shape[0] for shape in shapes if shape is not None), None)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d that finds num_features at its first call; see LazyLinear. Arguments: BatchNorm1d's from eps on.

    >>> import pyengine as pe
    >>> layer = pe.nn.LazyBatchNorm1d()
    >>> layer(pe.randn(8, 3)).shape, layer.num_features
    ((8, 3), 3)
    """

    becomes, ranks = BatchNorm1d, BatchNorm1d.ranks


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d that finds num_features at its first call; see LazyBatchNorm1d."""

    becomes, ranks = BatchNorm2d, BatchNorm2d.ranks


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d that finds num_features at its first call; see LazyBatchNorm1d."""

    becomes, ranks = BatchNorm3d, BatchNorm3d.ranks


class _LazyInstanceNorm(_LazyNorm):
    unbatched: int

    def _axis(self, x):
        self._expect_rank(x, self.unbatched, self.unbatched + 1)
        return x.ndim - self.unbatched


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """InstanceNorm1d that finds num_features at its first call; see LazyBatchNorm1d."""

    becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """InstanceNorm2d that finds num_features at its first call; see LazyBatchNorm1d."""

    becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """InstanceNorm3d that finds num_features at its first call; see LazyBatchNorm1d."""

    becomes = InstanceNorm3d
