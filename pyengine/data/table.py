"""Arrays in files: memory-mapped .npy, and tables of text."""

import csv
import gzip
import io
import os
import zlib


def open_npy(filename):
    """The array in a .npy file, memory-mapped: read where and when it is needed. (Do not shorten the file meanwhile.)

    Errors: FileNotFoundError; ValueError that names the file.
    """
    import numpy

    try:
        return numpy.load(filename, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError, SyntaxError) as error:
        raise ValueError(f"{os.fspath(filename)}: no .npy file of numbers: {error}") from None


def read_csv(filename, delimiter=",", header=True):
    """The columns of a table of text, by name (without a header by number): int64 where all cells are whole numbers,
    float32 where all are numbers or empty (NaN), else text. The file may be gzipped.

    Errors: FileNotFoundError; ValueError that names the file and the line that has another number of cells.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "table.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("size,price,town\\n1,2.5,Bonn\\n3,,Ulm\\n")
    ...     table = read_csv(path)
    >>> {name: column.tolist() for name, column in table.items()}
    {'size': [1, 3], 'price': [2.5, nan], 'town': ['Bonn', 'Ulm']}
    """
    where = os.fspath(filename)
    with open(filename, "rb") as file:
        rows = read_rows(file, where, delimiter)
    names = rows.pop(0) if rows and header else list(range(len(rows[0]) if rows else 0))
    if not rows or len(set(names)) != len(names):
        raise ValueError(f"{where}: {'a column name comes twice' if rows else 'no rows'}")
    return {name: _column(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}


def read_rows(file, where, delimiter=",", quoting=csv.QUOTE_MINIMAL):
    """The rows of a table of text in a binary file, gzipped or not, as equally long lists of text; empty lines are
    passed over. ValueError names `where` and the line."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    text = io.TextIOWrapper(gzip.GzipFile(fileobj=file) if packed else file, newline="", encoding="utf-8-sig")
    reader, rows = csv.reader(text, delimiter=delimiter, quoting=quoting), []
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise ValueError(f"{where}: line {reader.line_num} has {len(row)} cells, the first {len(rows[0])}")
            if row:
                rows.append(row)
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{where}: after line {reader.line_num}: {error}") from None
    return rows


def _column(cells):
    import numpy

    for kind, values in (("int64", cells), ("float32", [cell.strip() or "nan" for cell in cells])):
        try:
            return numpy.array([int(v) if kind == "int64" else float(v) for v in values], kind)
        except (ValueError, OverflowError):
            continue
    return numpy.array(cells)
