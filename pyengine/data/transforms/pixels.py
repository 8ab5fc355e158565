"""What the pixels of a batch of images (N, C, H, W) become: normalized, erased."""

import math

import numpy

from pyengine import rand, randint, randn

from .base import Transform, images_only, share

_TRIES = 10  # for a rectangle that fits, as torchvision


class Normalize(Transform):
    """(x - mean) / std, channel by channel.

    Arguments: mean and std, numbers or one a channel.
    Shape: (N, C, H, W) -> (N, C, H, W), float32.
    Errors: ValueError for a std of 0, and for another number of channels.

    >>> Normalize([1.0], [2.0])(numpy.full((1, 1, 1, 1), 5, "float32")).tolist()
    [[[[2.0]]]]
    """

    def __init__(self, mean, std):
        self.mean, self.std = (numpy.asarray(value, "float32").reshape(-1, 1, 1) for value in (mean, std))
        if not (numpy.isfinite(self.mean).all() and numpy.isfinite(self.std).all() and self.std.all()):
            raise ValueError(f"Normalize: mean and std must be finite and std not 0, got {mean} and {std}")

    def apply(self, x, generator):
        channels = images_only(x, "Normalize", floats=True).shape[1]
        if not {len(self.mean), len(self.std)} <= {1, channels}:
            raise ValueError(f"Normalize: {len(self.mean)} means and {len(self.std)} deviations do not fit the "
                             f"{channels} channels of shape {x.shape}")  # fmt: skip
        return (x - self.mean) / self.std


class RandomErasing(Transform):
    """A rectangle of each image erased with probability p. (Zhong et al., 2020)

    Its area is uniform on scale, as a share of the image's; the logarithm of its height / width is uniform on
    ratio's; its place is uniform. Where ten such rectangles do not fit, nothing is erased.

    Arguments: value, what is there then: a number, one a channel, or "random" for draws from N(0, 1).
    Shape: (N, C, H, W) -> (N, C, H, W), float32.

    >>> x = RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))(numpy.ones((1, 1, 8, 8), "float32"))
    >>> float(x.sum())
    48.0
    """

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0):
        self.p, self.value = share(p, "RandomErasing"), value
        self.scale, self.ratio = tuple(scale), tuple(ratio)
        if len(self.scale) != 2 or not 0.0 <= self.scale[0] <= self.scale[1] <= 1.0:
            raise ValueError(f"RandomErasing: scale must be (least, most) within [0, 1], got {scale!r}")
        if len(self.ratio) != 2 or not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"RandomErasing: ratio must be (least, most), positive, got {ratio!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value must be a number, one a channel or 'random', got {value!r}")

    def apply(self, x, generator):
        count, channels, height, width = images_only(x, "RandomErasing", floats=True).shape
        wanted, area, shape = rand(3, count, _TRIES, generator=generator).numpy().astype("float64")
        place = rand(2, count, generator=generator).numpy().astype("float64")
        area = (self.scale[0] + area * (self.scale[1] - self.scale[0])) * height * width
        low, high = map(math.log, self.ratio)
        ratio = numpy.exp(low + shape * (high - low))
        tall, wide = numpy.rint(numpy.sqrt(area * ratio)), numpy.rint(numpy.sqrt(area / ratio))
        fits = (tall < height) & (wide < width)
        first = fits.argmax(1)[:, None]
        tall, wide = (numpy.take_along_axis(sizes, first, 1)[:, 0] for sizes in (tall, wide))
        erased = fits.any(1) & (wanted[:, 0] < self.p)
        top, left = numpy.floor(place[0] * (height - tall + 1)), numpy.floor(place[1] * (width - wide + 1))
        within = box(x.shape, top, top + tall * erased, left, left + wide)
        if isinstance(self.value, str):
            return numpy.where(within, randn(*x.shape, generator=generator).numpy(), x)
        value = numpy.asarray(self.value, "float32").reshape(-1, 1, 1)
        if len(value) not in (1, channels):
            raise ValueError(f"RandomErasing: {len(value)} values for the {channels} channels of shape {x.shape}")
        return numpy.where(within, value, x)


class Cutout(Transform):
    """A square of each image set to value: its centre is any pixel, what lies beyond the border is cut off. (DeVries &
    Taylor, 2017)

    Arguments: size, the square's side in pixels.
    Shape: (N, C, H, W) -> (N, C, H, W), float32.

    >>> int((Cutout(1)(numpy.ones((1, 1, 3, 3), "float32")) == 0).sum())
    1
    """

    def __init__(self, size, value=0.0):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"Cutout: size must be a positive whole number, got {size!r}")
        self.size, self.value = size, value

    def apply(self, x, generator):
        count, _, height, width = images_only(x, "Cutout", floats=True).shape
        top = randint(0, height, (count,), generator=generator).numpy() - self.size // 2
        left = randint(0, width, (count,), generator=generator).numpy() - self.size // 2
        return numpy.where(box(x.shape, top, top + self.size, left, left + self.size), numpy.float32(self.value), x)


def box(shape, top, bottom, left, right):
    """True within the rectangle of each image, (N, 1, H, W)."""
    rows, columns = numpy.arange(shape[2]), numpy.arange(shape[3])
    down = (rows >= top[:, None]) & (rows < bottom[:, None])
    along = (columns >= left[:, None]) & (columns < right[:, None])
    return (down[:, :, None] & along[:, None, :])[:, None]
