"""Breast cancer, Wisconsin: measures of cell nuclei in 569 samples. (Street, Wolberg & Mangasarian, 1993)"""

from typing import NamedTuple

from .packages import Package

PACKAGE = Package("scikit-learn", "1.9.1", "sklearn")
CLASSES = ("malignant", "benign")
_MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
             "symmetry", "fractal dimension")  # fmt: skip
NAMES = (*(f"mean {name}" for name in _MEASURES), *(f"{name} error" for name in _MEASURES),
         *(f"worst {name}" for name in _MEASURES))  # fmt: skip


class Samples(NamedTuple):
    """NumPy arrays: features (569, 30) float32, the columns NAMES; labels (569) int64, 0 malignant, 1 benign."""

    features: object
    labels: object


def load_breast_cancer(path=None):
    """All 569 Samples, 212 of them malignant, of the file that scikit-learn carries.

    Arguments: path, scikit-learn's wheel, a folder with it, or breast_cancer.csv (None: it is installed).
    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    import numpy

    with PACKAGE.open("sklearn/datasets/data/breast_cancer.csv", path) as file:
        content = file.read()
    try:
        head, *lines = content.decode().splitlines() or [""]
        count, columns, *classes = head.split(",")
        table = numpy.array([line.split(",") for line in lines], "float64")
        if table.shape != (int(count), int(columns) + 1) or table.shape[1] != 31 or tuple(classes) != CLASSES:
            raise ValueError(f"{head!r} stands above {table.shape} numbers")
    except ValueError as error:
        raise ValueError(f"breast_cancer.csv: {error}") from None
    return Samples(table[:, :-1].astype("float32"), table[:, -1].astype("int64"))
