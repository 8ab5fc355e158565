"""IDX files, as MNIST and its relatives are stored."""

import gzip
import math
import os
import struct
import zlib

# element types by their number in the header; all are big-endian
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_STEP = 1 << 20
_MOST_OF_DEFLATE = 1032  # bytes that one byte can stand for
MOST_BYTES = 1 << 31


def read_idx(filename, most_bytes=MOST_BYTES):
    """The array in an IDX file, plain or gzipped: two zero bytes, element type, number of axes; each axis' length in
    32 bits; the elements.

    Errors: FileNotFoundError; ValueError that names the file where its header promises another size than the file has,
    or more than most_bytes: nothing of that size is allocated before.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "two-bytes")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(path).tolist()
    [7, 9]
    """
    import numpy

    name = os.fspath(filename)
    with open(filename, "rb") as plain:
        packed = plain.peek(2)[:2] == b"\x1f\x8b"
        stored = os.fstat(plain.fileno()).st_size
        file = gzip.GzipFile(fileobj=plain) if packed else plain
        try:
            kind, shape = _header(file, name)
            size = numpy.dtype(kind).itemsize * math.prod(shape)
            most = stored * _MOST_OF_DEFLATE if packed else stored
            if size > min(most_bytes, most):
                raise ValueError(f"{name}: {shape} elements take {size} bytes, the file can hold at most "
                                 f"{min(most_bytes, most)} (truncated?)")  # fmt: skip
            content = _exactly(file, size, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name}: damaged gzip file: {error}") from None
    return numpy.frombuffer(content, kind).astype(numpy.dtype(kind).newbyteorder("="), copy=False).reshape(shape)


def _header(file, name):
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or start[3] > 8:
        raise ValueError(f"{name}: no IDX file: it begins with {start!r}")
    lengths = file.read(4 * start[3])
    if len(lengths) < 4 * start[3]:
        raise ValueError(f"{name}: the header ends after {4 + len(lengths)} bytes (truncated?)")
    return _TYPES[start[2]], struct.unpack(f">{start[3]}I", lengths)


def _exactly(file, size, name):
    content = bytearray()
    while len(content) < size and (part := file.read(min(_STEP, size - len(content)))):
        content += part
    if len(content) < size or file.read(1):
        found = len(content) if len(content) < size else "more"
        raise ValueError(f"{name}: its header promises {size} bytes of elements, the file has {found}")
    return content
