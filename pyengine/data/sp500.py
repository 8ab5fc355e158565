"""The S&P 500 of each trading day from 1999 to 2018, of PyPI's arch."""

from typing import NamedTuple

from .packages import Package
from .table import read_rows

PACKAGE = Package("arch", "8.0.0", "arch")
_COLUMNS = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]


class Days(NamedTuple):
    """NumPy arrays, an entry a trading day, in order: dates datetime64[D]; open, high, low, close and adjusted (for
    dividends) float64; volume int64, in shares."""

    dates: object
    open: object
    high: object
    low: object
    close: object
    adjusted: object
    volume: object


def load_sp500(path=None):
    """The 5,031 Days from 4 January 1999 to 31 December 2018.

    Arguments: path, arch's wheel, a folder with it, or sp500.csv.gz (None: it is installed).
    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    import numpy

    with PACKAGE.open("arch/data/sp500/sp500.csv.gz", path) as file:
        head, *rows = read_rows(file, "sp500.csv.gz") or [None]
    if head != _COLUMNS or not rows:
        raise ValueError(f"sp500.csv.gz: rows under {_COLUMNS} are needed, got {head}")
    try:
        days, *prices, volume = zip(*rows, strict=True)
        months = [day.split("/") for day in days]
        dates = numpy.array([f"{year}-{month:0>2}-{day:0>2}" for month, day, year in months], "datetime64[D]")
        return Days(dates, *(numpy.array(column, "float64") for column in prices), numpy.array(volume, "int64"))
    except ValueError as error:
        raise ValueError(f"sp500.csv.gz: {error}") from None
