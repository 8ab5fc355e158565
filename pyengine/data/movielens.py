"""MovieLens 100k: what 943 people thought of 1,682 films, of PyPI's recbole. (Harper & Konstan, 2015)

GroupLens allows research and no redistribution: the files are read where the package is, never copied."""

import csv
from typing import NamedTuple

from .packages import Package
from .table import read_rows

PACKAGE = Package("recbole", "1.2.1", "recbole")
_FOLDER = "recbole/dataset_example/ml-100k/"
_INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
_ITEM = ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"]


class Ratings(NamedTuple):
    """NumPy arrays, an entry a rating: users, 0 to 942, and films, 0 to 1681 (the file's numbers less 1), int64;
    stars, 1 to 5, float32; times int64, seconds since 1970. titles: the films' names, a tuple of text."""

    users: object
    films: object
    stars: object
    times: object
    titles: tuple


def load_movielens(path=None):
    """All 100,000 Ratings, in the order of the file.

    Arguments: path, recbole's wheel, a folder with it, or the folder of ml-100k.inter and ml-100k.item (None: recbole
    is installed).
    Errors: FileNotFoundError that says what to install; ValueError that names the file.
    """
    import numpy

    rows = _rows("ml-100k.inter", _INTER, path)
    films = _rows("ml-100k.item", _ITEM, path)
    try:
        users, items, stars, times = (numpy.array(column, "float64") for column in zip(*rows, strict=True))
        users, items = users.astype("int64") - 1, items.astype("int64") - 1
        in_order = [int(row[0]) for row in films] == list(range(1, len(films) + 1))
        if not in_order or users.min() < 0 or not 0 <= items.min() <= items.max() < len(films):
            raise ValueError(f"users or films are numbered otherwise than from 1, films to {len(films)}")
    except ValueError as error:
        raise ValueError(f"ml-100k: {error}") from None
    return Ratings(users, items, stars.astype("float32"), times.astype("int64"), tuple(row[1] for row in films))


def _rows(name, columns, path):
    with PACKAGE.open(_FOLDER + name, path) as file:
        head, *rows = read_rows(file, name, "\t", csv.QUOTE_NONE) or [None]
    if head != columns or not rows:
        raise ValueError(f"{name}: rows under {columns} are needed, got {head}")
    return rows
