"""BasicMotions: a smart watch's accelerometer and gyroscope while its wearer stands, walks, runs or plays badminton."""

from typing import NamedTuple

from .packages import Package

PACKAGE = Package("aeon", "1.6.0", "aeon")
CLASSES = ("Standing", "Running", "Walking", "Badminton")
CHANNELS, STEPS = 6, 100


class Motions(NamedTuple):
    """NumPy arrays: series (n, 6, 100) float32, ten seconds of accelerations and turns along three axes each, ten
    numbers a second; labels (n) int64, the places in CLASSES."""

    series: object
    labels: object


def load_basic_motions(path=None):
    """(train, test) Motions, 40 and 40, ten a class.

    Arguments: path, aeon's wheel, a folder with it, or the folder of BasicMotions_TRAIN.ts and BasicMotions_TEST.ts
    (None: aeon is installed).
    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    return _part("TRAIN", path), _part("TEST", path)


def _part(part, path):
    import numpy

    name = f"BasicMotions_{part}.ts"
    with PACKAGE.open(f"aeon/datasets/data/BasicMotions/{name}", path) as file:
        content = file.read()
    try:
        lines = content.decode().splitlines()
        cases = [line.split(":") for line in lines if line and not line.startswith(("#", "@"))]
        labels = numpy.array([CLASSES.index(case[-1]) for case in cases], "int64")
        series = numpy.array([[channel.split(",") for channel in case[:-1]] for case in cases], "float32")
        if series.shape[1:] != (CHANNELS, STEPS):
            raise ValueError(f"series of {CHANNELS} x {STEPS} numbers are needed, got shape {series.shape}")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return Motions(series, labels)
