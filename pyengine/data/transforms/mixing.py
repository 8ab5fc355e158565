"""Batches mixed with themselves, images and labels: MixUp, CutMix."""

import random

import numpy

from pyengine import randint

from .base import Transform, as_given, images_only


class MixUp(Transform):
    """Each sample mixed with the one before it in the batch, images and labels alike. (Zhang et al., 2018)

        x_i' = lam x_i + (1 - lam) x_(i-1),    lam from Beta(alpha, alpha), one a batch

    The loader shuffles, so the neighbour is any sample; the first one's is the last.

    Arguments: alpha; num_classes, where labels are whole numbers.
    Shape: x (N, ...) float32 and labels (N) of 0 .. num_classes - 1, or (N, num_classes) float32 -> x as before and
    labels (N, num_classes) float32, which nn.CrossEntropyLoss takes. Further parts are handed through.
    Errors: ValueError for labels of another shape or beyond num_classes.

    >>> x, y = MixUp(num_classes=3)(numpy.float32([[0.0], [1.0]]), numpy.array([0, 2]))
    >>> bool(x.sum() == 1.0), y.shape, y.sum(1).tolist()
    (True, (2, 3), [1.0, 1.0])
    """

    def __init__(self, alpha=1.0, num_classes=None):
        if not alpha > 0:
            raise ValueError(f"{type(self).__name__}: alpha must be positive, got {alpha}")
        self.alpha, self.num_classes = alpha, num_classes

    def __call__(self, x, labels, *others, generator=None):
        """The mixed x and labels, then others as they are."""
        array, known = self.array(x), self._shares(self.array(labels), len(x))
        if array.dtype != "float32":
            raise TypeError(f"{type(self).__name__}: float32 is needed, got {array.dtype} of shape {array.shape}")
        seed = int(randint(0, 1 << 48, (1,), generator=generator)[0].item())
        mixed, lam = self._mix(array, random.Random(seed))
        return (as_given(mixed, x), as_given(_weighted(known, lam), labels), *others)

    def _mix(self, x, source):
        lam = source.betavariate(self.alpha, self.alpha)
        return _weighted(x, lam), lam

    def _shares(self, labels, count):
        """(N, num_classes): how much of each class."""
        name, classes, kind = type(self).__name__, self.num_classes, labels.dtype.kind
        if kind == "f" and labels.ndim == 2 and labels.shape == (count, classes or labels.shape[1]):
            return labels.astype("float32", copy=False)
        if kind not in "iu" or labels.shape != (count,) or classes is None:
            raise ValueError(f"{name}: whole numbers ({count},) and num_classes, or floats ({count}, classes) are "
                             f"needed as labels, got {labels.dtype} of shape {labels.shape} and {classes}")  # fmt: skip
        if count and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"{name}: labels from {labels.min()} to {labels.max()} are not among {classes} classes")
        return numpy.eye(classes, dtype="float32")[labels]


class CutMix(MixUp):
    """A rectangle of each image taken from the image before it in the batch; labels are mixed by area. (Yun et al.,
    2019)

    The rectangle, one a batch, has the share 1 - lam of the image before the border cuts it, lam from Beta(alpha,
    alpha); its centre is any pixel. Arguments, shapes (x is (N, C, H, W)) and errors: MixUp's.

    >>> black_and_white = numpy.stack([numpy.zeros((1, 4, 4), "float32"), numpy.ones((1, 4, 4), "float32")])
    >>> x, y = CutMix(num_classes=2)(black_and_white, numpy.arange(2))
    >>> bool((x.mean((1, 2, 3)) == y[:, 1]).all())
    True
    """

    def _mix(self, x, source):
        height, width = images_only(x, "CutMix").shape[2:]
        half = 0.5 * (1.0 - source.betavariate(self.alpha, self.alpha)) ** 0.5
        rows, columns = (
            slice(max(0, centre - int(half * size)), centre + int(half * size))
            for size, centre in ((height, source.randrange(height)), (width, source.randrange(width)))
        )
        mixed = x.copy()
        mixed[:, :, rows, columns] = numpy.roll(x, 1, 0)[:, :, rows, columns]
        return mixed, 1.0 - x[:1, 0, rows, columns].size / (height * width)


def _weighted(x, lam):
    """lam of each sample, the rest of the one before it."""
    lam = numpy.float32(lam)
    return x * lam + numpy.roll(x, 1, 0) * (1 - lam)
