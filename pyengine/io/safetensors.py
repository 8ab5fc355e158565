"""Tensors in safetensors files, by the safetensors library."""

import json
import os

from pyengine import Tensor, _core, as_tensor

from .atomic import replace_file

# element types of the format and ours; NumPy has no bfloat16, its bytes travel as uint16
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_HEADER_SIZE_BYTES = 8


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
    arrays = {}
    for name in sorted(tensors):
        if not isinstance(name, str):
            raise TypeError(f"save_file: names must be text, got {name!r}")
        arrays[name] = _array(name, tensors[name])
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save_file: metadata must be text for text, got {key!r}: {value!r}")
    from safetensors import serialize

    content = serialize({name: _entry(*pair) for name, pair in arrays.items()}, metadata)
    replace_file(filename, _in_order(content) if metadata and len(metadata) > 1 else content)


def _in_order(content):
    """The same file with its metadata sorted: the library writes it in an order that changes with every call."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text + b" " * (-len(text) % 8)
    return len(padded).to_bytes(8, "little") + padded + content[8 + length :]


def _array(name, value):
    """(name of the element type, row-major NumPy array) of value; bfloat16 as uint16."""
    import numpy

    if not isinstance(value, Tensor) and not hasattr(value, "__array__"):
        raise TypeError(f"save_file: {name!r} must be a tensor or an array, got {type(value).__name__}")
    tensor = as_tensor(value).detach()
    if tensor.dtype.name not in _DTYPES.values():
        raise TypeError(f"save_file: {name!r} has dtype {tensor.dtype.name}, which the format does not hold")
    return tensor.dtype.name, numpy.ascontiguousarray(tensor.numpy()).reshape(tensor.shape)


def _entry(dtype, array):
    """What safetensors.serialize takes for one tensor; since version 0.8 the address of its bytes."""
    try:
        from safetensors import TensorSpec
    except ImportError:
        return {"dtype": dtype, "shape": array.shape, "data": array.tobytes()}
    return TensorSpec(dtype=dtype, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes)


def load_file(filename):
    """Reads a safetensors file: name -> Tensor, each with memory of its own.

    Errors: FileNotFoundError; ValueError that names the file and what is wrong with it.
    """
    from safetensors import SafetensorError, deserialize

    with open(filename, "rb") as file:
        content = file.read()
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(filename)}: no valid safetensors file: {_fault(content, error)}") from None
    return {name: _tensor(filename, name, entry) for name, entry in sorted(entries)}


def _fault(content, error):
    """What is wrong, in words that say how much of the file is there."""
    size = len(content)
    if size < _HEADER_SIZE_BYTES:
        return f"it has {size} bytes, not even the {_HEADER_SIZE_BYTES} of the header's length (truncated?)"
    header = int.from_bytes(content[:_HEADER_SIZE_BYTES], "little")
    if header > size - _HEADER_SIZE_BYTES:
        return f"its header should have {header} bytes, the file ends after {size} (truncated, or another format)"
    expected = _expected_size(content, header)
    if expected is not None and expected != size:
        truncated = " (truncated)" if expected > size else ""
        return f"its header promises {expected} bytes, the file has {size}{truncated}"
    return str(error)


def _expected_size(content, header):
    """The size the file should have by its header, or None where that cannot be read."""
    start = _HEADER_SIZE_BYTES + header
    try:
        entries = json.loads(content[_HEADER_SIZE_BYTES:start])
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        return start + max(ends, default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _tensor(filename, name, entry):
    import numpy

    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"{os.fspath(filename)}: {name!r} has element type {entry['dtype']}, which no tensor has")
    stored = "uint16" if dtype == "bfloat16" else dtype
    try:
        array = numpy.frombuffer(entry["data"], stored).reshape(entry["shape"])
        return _core.from_pickle(array, dtype, False)
    except ValueError as error:  # more axes than a tensor has
        raise ValueError(f"{os.fspath(filename)}: {name!r} of shape {tuple(entry['shape'])}: {error}") from None
