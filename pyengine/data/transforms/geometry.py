"""Where the pixels of a batch of images (N, C, H, W) go: crops, mirrors, rotations."""

import numpy
from numpy.lib.stride_tricks import sliding_window_view

from pyengine import rand, randint

from .base import Transform, images_only, pair, share

_MODES = ("constant", "edge", "reflect", "symmetric")


class RandomCrop(Transform):
    """A part of size (h, w) of each image, from a place of its own; every place is as likely as any other.

    Arguments: size, one number or (h, w); padding around the images before, one number, (left and right, top and
    bottom) or (left, top, right, bottom); pad_if_needed, pads images that are smaller than size; fill and
    padding_mode, what the padding is: "constant", "edge", "reflect", "symmetric".
    Shape: (N, C, H, W) -> (N, C, h, w), any dtype.
    Errors: ValueError for images smaller than size.

    >>> RandomCrop(28, padding=4)(numpy.ones((2, 1, 28, 28), "float32")).shape
    (2, 1, 28, 28)
    """

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        self.size, self.pad_if_needed, self.fill = pair(size, "RandomCrop", "size"), pad_if_needed, fill
        around = (padding or 0,) if isinstance(padding or 0, int) else tuple(padding)
        if len(around) not in (1, 2, 4) or not all(isinstance(n, int) and n >= 0 for n in around):
            raise ValueError(f"RandomCrop: padding must be one, two or four whole numbers from 0, got {padding!r}")
        if padding_mode not in _MODES:
            raise ValueError(f"RandomCrop: padding_mode must be one of {_MODES}, got {padding_mode!r}")
        left, top, right, bottom = around * (4 // len(around))
        self.padding, self.padding_mode = ((0, 0), (0, 0), (top, bottom), (left, right)), padding_mode

    def apply(self, x, generator):
        x = self._padded(images_only(x, "RandomCrop"), self.padding)
        if self.pad_if_needed:
            short = [max(0, size - given) for size, given in zip(self.size, x.shape[2:], strict=True)]
            x = self._padded(x, ((0, 0), (0, 0), *((n, n) for n in short)))
        count, _, height, width = x.shape
        if height < self.size[0] or width < self.size[1]:
            raise ValueError(f"RandomCrop: parts of {self.size} are larger than the images of shape {x.shape}")
        top = randint(0, height - self.size[0] + 1, (count,), generator=generator).numpy()
        left = randint(0, width - self.size[1] + 1, (count,), generator=generator).numpy()
        return sliding_window_view(x, self.size, (2, 3))[numpy.arange(count), :, top, left]

    def _padded(self, x, widths):
        if not any(map(any, widths)):
            return x
        fill = {"constant_values": self.fill} if self.padding_mode == "constant" else {}
        return numpy.pad(x, widths, self.padding_mode, **fill)


class CenterCrop(Transform):
    """The middle of each image, of size (h, w); what an image is short of comes as zeros around it.

    Shape: (N, C, H, W) -> (N, C, h, w), any dtype. Where the rest is odd, it lies as torchvision's does.

    >>> CenterCrop((1, 2))(numpy.arange(12).reshape(1, 1, 3, 4)).tolist()
    [[[[5, 6]]]]
    """

    def __init__(self, size):
        self.size = pair(size, "CenterCrop", "size")

    def apply(self, x, generator):
        widths, at = [(0, 0), (0, 0)], []
        for size, given in zip(self.size, images_only(x, "CenterCrop").shape[2:], strict=True):
            short = max(0, size - given)
            widths.append((short // 2, (short + 1) // 2))
            start = round(max(0, given - size) / 2)
            at.append(slice(start, start + size))
        return (numpy.pad(x, widths) if any(map(any, widths)) else x)[:, :, at[0], at[1]]


class RandomHorizontalFlip(Transform):
    """Each image mirrored left to right with probability p.

    Shape: (N, C, H, W) -> (N, C, H, W), any dtype.

    >>> RandomHorizontalFlip(p=1.0)(numpy.arange(3).reshape(1, 1, 1, 3)).tolist()
    [[[[2, 1, 0]]]]
    """

    axis = -1

    def __init__(self, p=0.5):
        self.p = share(p, type(self).__name__)

    def apply(self, x, generator):
        mirrored = rand(len(images_only(x, type(self).__name__)), generator=generator).numpy() < self.p
        x = x.copy()
        x[mirrored] = numpy.flip(x[mirrored], self.axis)
        return x


class RandomVerticalFlip(RandomHorizontalFlip):
    """Each image mirrored top to bottom with probability p.

    Shape: (N, C, H, W) -> (N, C, H, W), any dtype.

    >>> RandomVerticalFlip(p=1.0)(numpy.arange(3).reshape(1, 1, 3, 1)).tolist()
    [[[[2], [1], [0]]]]
    """

    axis = -2


class RandomRotation(Transform):
    """Each image turned counter-clockwise around its centre by an angle of its own, uniform on degrees.

    The pixel at p reads the image at c + R (p - c), where c is the centre and R turns clockwise.

    Arguments: degrees, (least, most) or d for (-d, d); interpolation, "nearest" or "bilinear"; fill, what lies around
    the image.
    Shape: (N, C, H, W) -> (N, C, H, W), float32.

    >>> RandomRotation((90, 90))(numpy.float32([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """

    def __init__(self, degrees, interpolation="nearest", *, fill=0.0):
        self.degrees = (-degrees, degrees) if isinstance(degrees, (int, float)) else tuple(degrees)
        if len(self.degrees) != 2 or not self.degrees[0] <= self.degrees[1]:
            raise ValueError(f"RandomRotation: degrees must be (least, most) or one number from 0, got {degrees!r}")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"RandomRotation: interpolation is 'nearest' or 'bilinear', got {interpolation!r}")
        self.interpolation, self.fill = interpolation, fill

    def apply(self, x, generator):
        count, channels, height, width = images_only(x, "RandomRotation", floats=True).shape
        least, most = self.degrees
        angle = numpy.deg2rad(least + (most - least) * rand(count, 1, generator=generator).numpy().astype("float64"))
        down, right = numpy.indices((height, width)).reshape(2, 1, -1) - [[[(height - 1) / 2]], [[(width - 1) / 2]]]
        sin, cos = numpy.sin(angle), numpy.cos(angle)
        rows = right * sin + down * cos + (height - 1) / 2
        columns = right * cos - down * sin + (width - 1) / 2
        if self.interpolation == "nearest":
            rows, columns = numpy.rint(rows), numpy.rint(columns)
        rows, columns = rows.clip(-1, height), columns.clip(-1, width)  # what lies further out is fill as well
        row, column = numpy.floor(rows), numpy.floor(columns)
        below, beside = (rows - row).astype("float32"), (columns - column).astype("float32")
        line = width + 3  # a border of fill on either side, and what lies to the right of the right one
        first = ((row + 1) * line + column + 1).astype("int64") + numpy.arange(count)[:, None] * ((height + 3) * line)
        turned = numpy.empty_like(x)
        for channel in range(channels):
            pixels = numpy.pad(x[:, channel], ((0, 0), (1, 2), (1, 2)), constant_values=self.fill).reshape(-1)
            upper = numpy.take(pixels, first)
            if self.interpolation == "bilinear":
                upper += (numpy.take(pixels, first + 1) - upper) * beside
                lower = numpy.take(pixels, first + line)
                lower += (numpy.take(pixels, first + line + 1) - lower) * beside
                upper += (lower - upper) * below
            turned[:, channel] = upper.reshape(count, height, width)
        return turned
