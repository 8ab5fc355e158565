"""The 1,797 handwritten digits of UCI's test set (digits.txt: source and licence)."""

from pathlib import Path
from typing import NamedTuple

EVERY_FIFTH = slice(0, None, 5)


class Digits(NamedTuple):
    """NumPy arrays: images (n, 8, 8) float32 from 0 to 1, labels (n) int64."""

    images: object
    labels: object


def load_digits(test=EVERY_FIFTH):
    """(train, test) Digits; the slice `test` names the test images, by default every fifth: 1,437 and 360.

    The order of the file seems to follow its 13 writers (neither source says so), so the default tests new digits
    by known hands. slice(1437, None), the end of the file, is harder: pyengine.train.jobs.digits reaches 99.0 % on the
    one and 97.6 % on the other (python -m bench digits).

    >>> train, test = load_digits()
    >>> train.images.shape, test.labels.shape
    ((1437, 8, 8), (360,))
    """
    import numpy

    with numpy.load(Path(__file__).with_name("digits.npz")) as file:
        images, labels = file["images"].astype("float32") / 16, file["labels"].astype("int64")
    is_test = numpy.zeros(len(labels), bool)
    is_test[test] = True
    return Digits(images[~is_test], labels[~is_test]), Digits(images[is_test], labels[is_test])
