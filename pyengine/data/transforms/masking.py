"""SpecAugment: bands of frequencies and stretches of time covered. (Park et al., 2019)"""

import numpy

from pyengine import rand

from .base import Transform, share


class TimeMasking(Transform):
    """A stretch of each spectrogram set to mask_value: length, from [0, time_mask_param), and place are uniform.

    Arguments: p, the greatest share of the frames that is covered.
    Shape: (N, ..., frequencies, frames) -> the same, float32; one stretch for all channels of a sample.

    >>> int((TimeMasking(3)(numpy.ones((1, 2, 8), "float32")) == 0).sum()) in (0, 2, 4)
    True
    """

    axis = -1

    def __init__(self, time_mask_param, *, p=1.0, mask_value=0.0):
        self.param, self.p = _width(time_mask_param, type(self).__name__), share(p, type(self).__name__)
        self.mask_value = mask_value

    def apply(self, x, generator):
        return numpy.where(self.covered(x, generator), numpy.float32(self.mask_value), x)

    def covered(self, x, generator):
        """True where the sample's mask lies, in a shape that broadcasts against x."""
        if x.ndim < 3 or x.dtype != "float32":
            raise ValueError(f"{type(self).__name__}: float32 of shape (N, ..., frequencies, frames) is needed, got "
                             f"{x.dtype} of shape {x.shape}")  # fmt: skip
        size = x.shape[self.axis]
        most = min(self.param, int(size * self.p))
        length, place = rand(2, len(x), 1, generator=generator).numpy().astype("float64")
        length = length * min(most, size)
        begin = numpy.floor(place * (size - length))
        at = numpy.arange(size)
        mask = (at >= begin) & (at < begin + numpy.floor(length))
        shape = [len(x)] + [1] * (x.ndim - 1)
        shape[self.axis] = size
        return mask.reshape(shape)


class FrequencyMasking(TimeMasking):
    """A band of each spectrogram set to mask_value: width, from [0, freq_mask_param), and place are uniform.

    Shape: (N, ..., frequencies, frames) -> the same, float32; one band for all channels of a sample.

    >>> int((FrequencyMasking(3)(numpy.ones((1, 8, 2), "float32")) == 0).sum()) in (0, 2, 4)
    True
    """

    axis = -2

    def __init__(self, freq_mask_param, *, mask_value=0.0):
        super().__init__(freq_mask_param, mask_value=mask_value)


class SpecAugment(Transform):
    """n_time_masks stretches and n_freq_masks bands of each spectrogram set to its mean, or with zero_masking to 0.

    Arguments: torchaudio's; p, the greatest share of the frames that one stretch covers.
    Shape: (N, ..., frequencies, frames) -> the same, float32.

    >>> SpecAugment(2, 10, 2, 8)(numpy.ones((4, 40, 100), "float32")).shape
    (4, 40, 100)
    """

    def __init__(self, n_time_masks, time_mask_param, n_freq_masks, freq_mask_param, *, p=1.0, zero_masking=False):
        self.masks = [*[TimeMasking(time_mask_param, p=p)] * _width(n_time_masks, "SpecAugment"),
                      *[FrequencyMasking(freq_mask_param)] * _width(n_freq_masks, "SpecAugment")]  # fmt: skip
        self.zero_masking = zero_masking

    def apply(self, x, generator):
        value = numpy.float32(0.0)
        if not self.zero_masking and x.size:
            value = x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        for mask in self.masks:
            x = numpy.where(mask.covered(x, generator), value, x)
        return x


def _width(value, what):
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{what}: whole numbers from 0 are needed, got {value!r}")
    return value
