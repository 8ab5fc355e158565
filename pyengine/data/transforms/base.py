"""What all transforms are: functions of a batch that draw their random numbers from a generator."""

import numpy

from pyengine import Tensor, from_numpy


class Transform:
    """The base of transforms: a subclass writes `apply(x, generator)`, a new batch of one, as NumPy arrays.

    Called with a batch's parts it changes the first and hands the others through; arrays give arrays, tensors
    tensors. Each sample of the batch is changed by draws of its own, from generator (else from pe.manual_seed's).

    >>> class Doubled(Transform):
    ...     def apply(self, x, generator):
    ...         return x * 2
    >>> Doubled()(numpy.ones(2), "labels")
    (array([2., 2.]), 'labels')
    """

    def apply(self, x, generator):
        """The changed x."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply")

    def __call__(self, x, *others, generator=None):
        """x changed; with others (labels) the tuple of x changed and of them as they are."""
        changed = as_given(self.apply(self.array(x), generator), x)
        return (changed, *others) if others else changed

    def array(self, x):
        """x as a NumPy array, which shares its memory."""
        if not isinstance(x, Tensor) and not hasattr(x, "__array__"):
            raise TypeError(f"{type(self).__name__}: an array or a tensor is needed, got {type(x).__name__}")
        if isinstance(x, Tensor) and x.dtype.name == "bfloat16":
            raise TypeError(f"{type(self).__name__}: NumPy has no bfloat16 (shape {x.shape}): float() first")
        return numpy.asarray(x.detach().numpy() if isinstance(x, Tensor) else x)


class Compose(Transform):
    """Transforms one after the other. Functions of the batch's parts may be among them; they draw as they like.

    >>> from pyengine.data.transforms import CenterCrop, Normalize
    >>> both = Compose([CenterCrop(2), Normalize(0.5, 0.5)])
    >>> both(numpy.ones((1, 1, 4, 4), "float32")).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(self, transforms):
        self.transforms = list(transforms)
        for step in self.transforms:
            if not callable(step):
                raise TypeError(f"Compose: transforms and functions are needed, got {type(step).__name__}")

    def __call__(self, *parts, generator=None):
        """What the last transform makes of what the others made of parts."""
        for step in self.transforms:
            parts = changed(step, parts, generator)
        return parts if len(parts) != 1 else parts[0]


def changed(step, parts, generator):
    """The tuple of what a transform, or a function of its own randomness, makes of a batch's parts."""
    result = step(*parts, generator=generator) if isinstance(step, Transform) else step(*parts)
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def as_given(result, x):
    """The array `result` as a tensor where x is one."""
    return from_numpy(result) if isinstance(x, Tensor) else result


def images_only(x, what, floats=False):
    """ValueError unless x is a batch of images (N, C, H, W); TypeError where floats are needed and missing."""
    if x.ndim != 4:
        raise ValueError(f"{what}: a batch of images (N, C, H, W) is needed, got shape {x.shape}")
    if floats and x.dtype != "float32":
        raise TypeError(f"{what}: images of float32 are needed, got {x.dtype} of shape {x.shape}")
    return x


def share(value, what, name="p"):
    """value, or ValueError where it is no probability."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{what}: {name} must lie in [0, 1], got {value}")
    return value


def pair(value, what, name):
    """(height, width) of one number or of two, positive whole ones."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or not all(isinstance(n, int) and n > 0 for n in both):
        raise ValueError(f"{what}: {name} must be one or two positive whole numbers, got {value!r}")
    return both
