"""Fashion-MNIST: 70,000 pictures of clothes. (Xiao, Rasul & Vollgraf 2017)"""

from pathlib import Path
from typing import NamedTuple

from .idx import read_idx

FOLDER = "/usr/share/datasets/fashion-mnist"
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MEAN, DEVIATION = 0.2860, 0.3530  # of the training images' pixels
PARTS = ("train", "t10k")


class Pictures(NamedTuple):
    """NumPy arrays: images (n, 1, 28, 28) float32 with mean 0 and deviation 1, labels (n) int64."""

    images: object
    labels: object


def load_fashion_mnist(folder=None):
    """(train, test) Pictures, 60,000 and 10,000, from the IDX files in folder (as Debian's dataset-fashion-mnist has
    them, gzipped or not).

    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    return tuple(_part(Path(FOLDER if folder is None else folder), part) for part in PARTS)


def _part(folder, part):
    import numpy

    pixels = read_idx(_file(folder, f"{part}-images-idx3-ubyte"))
    labels = read_idx(_file(folder, f"{part}-labels-idx1-ubyte"))
    if pixels.dtype != "uint8" or pixels.ndim != 3 or pixels.shape[1:] != (28, 28) or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{folder}: {part}: images of shape {pixels.shape} with labels of shape {labels.shape}")
    if labels.dtype != "uint8" or labels.max(initial=0) >= len(CLASSES):
        raise ValueError(f"{folder}: {part}: labels must be bytes below {len(CLASSES)}")
    levels = ((numpy.arange(256) / 255 - MEAN) / DEVIATION).astype("float32")
    return Pictures(levels[pixels][:, None], labels.astype("int64"))


def _file(folder, name):
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder / name}.gz is not there: apt install dataset-fashion-mnist, or name the folder "
                            "that has Fashion-MNIST's files (--data)")  # fmt: skip
