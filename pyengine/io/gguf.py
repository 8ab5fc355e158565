"""Tensors and metadata in GGUF files, versions 2 and 3; no number is believed that the file's size contradicts.

The file is streamed, not mapped: one that another process cuts short is an error, not a signal.
"""

import os
import struct
from typing import NamedTuple

from pyengine import empty

from .gguf_blocks import FORMATS, decode

MAGIC = b"GGUF"
LONGEST_NAME = 1 << 16
MOST_AXES = 4
DEFAULT_ALIGNMENT = 32
SMALLEST_ENTRY, SMALLEST_TENSOR = 13, 33  # bytes of a shortest one: what bounds the counts
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STEP = 1 << 14  # blocks decoded at a time: what is between the file and the tensor stays below 20 MB


class Stored(NamedTuple):
    """Where a tensor lies: row-major shape, format, first byte in the file, bytes."""

    shape: tuple[int, ...]
    format: int
    start: int
    nbytes: int


class GGUF:
    """What a GGUF file holds: metadata (name -> number, text, bool or list) and tensors (name -> Stored).

    Errors: FileNotFoundError; ValueError that names the file and what is wrong with it. Counts, lengths, sizes and
    places are checked against the file's size before memory is asked for.
    """

    def __init__(self, filename):
        self.filename = os.fspath(filename)
        with open(filename, "rb") as file:
            reader = _Reader(file, os.fstat(file.fileno()).st_size)
            try:
                self.version, self.metadata, self.tensors = _read(reader)
            except _Refused as error:
                raise ValueError(f"{self.filename}: no valid GGUF file: {error} (at byte {reader.at})") from None

    def tensor(self, name):
        """The tensor of this name in float32, decoded where the file has it in blocks of fewer bits."""
        stored = self.tensors[name]
        out = empty(*stored.shape)
        flat = out.reshape(-1).numpy()
        kind = FORMATS[stored.format]
        with open(self.filename, "rb") as file:
            file.seek(stored.start)
            for at in range(0, stored.nbytes // kind.nbytes, STEP):
                count = min(STEP, stored.nbytes // kind.nbytes - at)
                content = file.read(count * kind.nbytes)
                if len(content) != count * kind.nbytes:
                    raise ValueError(f"{self.filename}: {name!r} is cut short: the file has changed while it was read")
                flat[at * kind.values : (at + count) * kind.values] = decode(kind, content)
        return out


class _Refused(Exception):
    """What is wrong with the file."""


class _Reader:
    """Numbers and texts of a file in order."""

    def __init__(self, file, size):
        self.file, self.size, self.at = file, size, 0

    def take(self, count):
        if count > self.size - self.at:
            raise _Refused(f"{count} bytes are announced, {self.size - self.at} are left (truncated?)")
        content = self.file.read(count)
        if len(content) != count:
            raise _Refused("the file ends before its size")
        self.at += count
        return content

    def number(self, form):
        size = struct.calcsize(form)
        return struct.unpack(form, self.take(size))[0]

    def text(self, longest=None):
        length = self.number("<Q")
        if longest is not None and not 0 < length <= longest:
            raise _Refused(f"a name of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise _Refused("a text is no UTF-8") from None

    def count(self, what, smallest):
        """How many of what follow, each of at least so many bytes."""
        count = self.number("<Q")
        if count * smallest > self.size - self.at:
            raise _Refused(f"{count} {what} are announced, {self.size - self.at} bytes are left")
        return count

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array()
        if kind not in SCALARS:
            raise _Refused(f"a value of the unknown type {kind}")
        return self.number("<" + SCALARS[kind])

    def array(self):
        kind = self.number("<I")
        if kind == STRING:
            return [self.text() for _ in range(self.count("texts", 8))]
        if kind not in SCALARS:
            raise _Refused("an array of arrays" if kind == ARRAY else f"an array of the unknown type {kind}")
        size = struct.calcsize("<" + SCALARS[kind])
        count = self.count("array elements", size)
        return list(struct.unpack(f"<{count}{SCALARS[kind]}", self.take(count * size)))


def _read(reader):
    """(version, metadata, tensors)."""
    if reader.take(4) != MAGIC:
        raise _Refused("it does not begin with GGUF")
    version = reader.number("<I")
    if version not in (2, 3):
        raise _Refused(f"version {version}; 2 and 3 are read")
    tensors, entries = reader.count("tensors", SMALLEST_TENSOR), reader.count("entries", SMALLEST_ENTRY)
    metadata = {}
    for _ in range(entries):
        name = reader.text(LONGEST_NAME)
        if name in metadata:
            raise _Refused(f"{name!r} is there twice")
        metadata[name] = reader.value(reader.number("<I"))
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 8 <= alignment <= 1 << 20 or alignment % 8:
        raise _Refused(f"an alignment of {alignment!r}")
    infos = {}
    for _ in range(tensors):
        name = reader.text(LONGEST_NAME)
        if name in infos:
            raise _Refused(f"tensor {name!r} is there twice")
        infos[name] = _info(reader, name)
    start = -(-reader.at // alignment) * alignment
    placed = {name: _placed(reader, name, start, alignment, *info) for name, info in infos.items()}
    _check_apart(placed)
    return version, metadata, placed


def _info(reader, name):
    """(shape, format, offset) of a tensor, as the file says."""
    axes = reader.number("<I")
    if not 1 <= axes <= MOST_AXES:
        raise _Refused(f"tensor {name!r} has {axes} axes")
    shape = tuple(reader.number("<Q") for _ in range(axes))[::-1]
    return shape, reader.number("<I"), reader.number("<Q")


def _placed(reader, name, start, alignment, shape, code, offset):
    kind = FORMATS.get(code)
    if kind is None:
        known = ", ".join(known.name for known in FORMATS.values())
        raise _Refused(f"tensor {name!r} has format {code}, which is not read; {known} are")
    count = 1
    for size in shape:
        count *= size
    if count == 0 or shape[-1] % kind.values:
        raise _Refused(f"tensor {name!r} of shape {shape} holds no whole blocks of {kind.values}")
    nbytes = count // kind.values * kind.nbytes
    if offset % alignment or start + offset + nbytes > reader.size:
        raise _Refused(f"tensor {name!r} of {nbytes} bytes at {offset} does not fit the file of {reader.size} bytes")
    return Stored(shape, code, start + offset, nbytes)


def _check_apart(placed):
    """No two tensors share bytes: else a small file could ask for much memory."""
    end, before = 0, None
    for name, stored in sorted(placed.items(), key=lambda pair: pair[1].start):
        if stored.start < end:
            raise _Refused(f"tensors {before!r} and {name!r} overlap")
        end, before = stored.start + stored.nbytes, name
