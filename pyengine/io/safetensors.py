"""Tensors in safetensors files: a JSON header, and behind it the tensors' bytes, which are copied just once."""

import json
import math
import os

from pyengine import Tensor, as_tensor, empty
from pyengine._core import dtype_of

from .atomic import replace_file

# element types of the format: ours, and their bytes; widest first, as the format lays tensors out
_KINDS = {
    "I64": ("int64", 8),
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "I32": ("int32", 4),
    "BF16": ("bfloat16", 2),
    "F16": ("float16", 2),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_NAMES = {ours: theirs for theirs, (ours, _) in _KINDS.items()}
_LENGTH = 8  # bytes of the header's length
_LONGEST_HEADER = 100_000_000  # the format's own bound
_MOST_AXES = 8  # of a tensor


def save_file(tensors, filename, metadata=None):
    """Writes tensors (name -> Tensor or array) as one safetensors file.

    Arguments: metadata, text -> text, kept in the header. The order of names in either dict
    does not change the file's bytes.
    Errors: TypeError for what is no tensor; OSError when the disk is full, and then an older file of this name
    is still whole.

    >>> import pyengine as pe, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     save_file({"w": pe.ones(2)}, path)
    ...     load_file(path)["w"].tolist()
    [1.0, 1.0]
    """
    arrays = []
    for name in tensors:
        if not isinstance(name, str):
            raise TypeError(f"save_file: names must be text, got {name!r}")
        arrays.append((name, *_array(name, tensors[name])))
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save_file: metadata must be text for text, got {key!r}: {value!r}")
    order = list(_KINDS)
    arrays.sort(key=lambda entry: (order.index(entry[1]), entry[0]))
    header, position = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}, 0
    for name, kind, array in arrays:
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (position, position + array.nbytes)}
        position += array.nbytes
    try:
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"save_file: names and metadata must be valid text: {error}") from None
    text += b" " * (-len(text) % 8)
    replace_file(filename, len(text).to_bytes(_LENGTH, "little") + text, *(_bytes(array) for *_, array in arrays))


def _array(name, value):
    """(the format's name of the element type, row-major NumPy array) of value; bfloat16 as uint16."""
    import numpy

    if not isinstance(value, Tensor) and not hasattr(value, "__array__"):
        raise TypeError(f"save_file: {name!r} must be a tensor or an array, got {type(value).__name__}")
    tensor = as_tensor(value).detach()
    if tensor.dtype.name not in _NAMES:
        raise TypeError(f"save_file: {name!r} has dtype {tensor.dtype.name}, which the format does not hold")
    return _NAMES[tensor.dtype.name], numpy.ascontiguousarray(tensor.numpy()).reshape(tensor.shape)


def _bytes(array):
    """The memory of a row-major array, not a copy."""
    return memoryview(array.reshape(-1).view("uint8")) if array.size else b""


def load_file(filename):
    """Reads a safetensors file: name -> Tensor, each with memory of its own.

    Errors: FileNotFoundError; ValueError that names the file and what is wrong with it.
    """
    return load_with_metadata(filename)[0]


def load_with_metadata(filename):
    """(name -> Tensor, the header's metadata) of a safetensors file; as load_file."""
    with open(filename, "rb", buffering=0) as file:
        entries, metadata = _read_header(file, os.fspath(filename))
        found = {}
        for name, kind, shape in entries:
            found[name] = tensor = empty(shape, dtype=dtype_of(_KINDS[kind][0]))
            _fill(_bytes(tensor.numpy()), file, os.fspath(filename))
    return dict(sorted(found.items())), metadata


def read_header(filename):
    """([(name, element type as in the format, shape) in the order of the bytes], metadata); as load_file."""
    with open(filename, "rb", buffering=0) as file:
        return _read_header(file, os.fspath(filename))


def _read_header(file, name):
    size = os.fstat(file.fileno()).st_size
    try:
        return _checked(_json(file, size), size)
    except _Fault as fault:
        raise ValueError(f"{name}: no valid safetensors file: {fault}") from None


class _Fault(Exception):
    """What is wrong with a header."""


def _json(file, size):
    """(the header as JSON gives it, its length with the eight bytes before it)."""
    if size < _LENGTH:
        raise _Fault(f"it has {size} bytes, not even the {_LENGTH} of the header's length (truncated?)")
    length = int.from_bytes(file.read(_LENGTH), "little")
    if length > size - _LENGTH:
        raise _Fault(f"its header should have {length} bytes, the file ends after {size} (truncated, or no such file)")
    if length > _LONGEST_HEADER:
        raise _Fault(f"its header has {length} bytes, the format allows {_LONGEST_HEADER}")
    text = bytearray(length)
    _fill(memoryview(text), file, file.name)
    if not text.startswith(b"{"):
        raise _Fault("its header does not begin with {")
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_refuse), _LENGTH + length
    except (ValueError, RecursionError) as error:
        raise _Fault(f"its header is no JSON: {error}") from None


def _once(pairs):
    """A dict of pairs none of whose names comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set()
        raise _Fault(f"{next(name for name, _ in pairs if name in seen or seen.add(name))!r} is there twice")
    return found


def _refuse(constant):
    raise _Fault(f"{constant} in its header")


def _checked(found, size):
    """Entries and metadata; each entry's bytes begin where the one before ends, and the last ends with the file."""
    header, start = found
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _Fault("its metadata is not text for text")
    spans = sorted((*_span(name, entry), name) for name, entry in header.items())
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise _Fault(f"the bytes of {name!r} begin at {begin}, those before end at {end}")
        end = stop
    if start + end != size:
        truncated = " (truncated)" if start + end > size else ""
        raise _Fault(f"its header promises {start + end} bytes, the file has {size}{truncated}")
    return [(name, header[name]["dtype"], tuple(header[name]["shape"])) for *_, name in spans], metadata


def _span(name, entry):
    """(begin, end) of an entry whose fields are of the right kinds and fit each other."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _Fault(f"{name!r} needs dtype, shape and data_offsets, and no more")
    kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape):
        raise _Fault(f"{name!r} has no valid shape")
    if len(shape) > _MOST_AXES:
        raise _Fault(f"{name!r} has {len(shape)} axes, a tensor at most {_MOST_AXES}")
    if not _are_sizes(span) or len(span) != 2 or span[0] > span[1]:
        raise _Fault(f"{name!r} has no valid data_offsets")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _Fault(f"{name!r} has element type {kind!r}, which no tensor has")
    if math.prod(shape) * _KINDS[kind][1] != span[1] - span[0]:
        raise _Fault(f"{name!r} of shape {tuple(shape)} and type {kind} has {span[1] - span[0]} bytes")
    return span


def _are_sizes(values):
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _fill(memory, file, name):
    """Reads memory full; the file was as long as it should be before, so it may only be cut short meanwhile."""
    done = 0
    while done < len(memory):
        count = file.readinto(memory[done:])
        if not count:
            raise ValueError(f"{name}: no valid safetensors file: it became shorter while it was read (truncated)")
        done += count
