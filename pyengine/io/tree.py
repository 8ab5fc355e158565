"""Nested states (dicts, lists, numbers, tensors) as JSON beside tensors by name, and back, exactly."""

import math

from pyengine import Tensor

MARK = "$"  # the key of what JSON has no word for: {"$": kind, "of": content}


def pack(tree, tensors, path):
    """tree as JSON's types; its tensors are put into `tensors` under names that begin with path, each memory once.

    Errors: TypeError that names the place of what can be no part of a file.
    """
    return _Packing(tensors).pack(tree, path)


def unpack(packed, tensors):
    """What pack() was given; arrays come back as tensors. Errors: ValueError where it is nothing that pack() made."""
    try:
        return _unpack(packed, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a damaged state: {type(error).__name__}: {error}") from None


def place_of(tensor):
    """What two names of one tensor have in common; None for what has no memory."""
    if not hasattr(tensor, "data_ptr") or tensor.numel() == 0:
        return None
    return tensor.data_ptr, tensor.shape, tensor.stride(), tensor.dtype.name


class _Packing:
    def __init__(self, tensors):
        self.tensors = tensors
        self.names = {place_of(tensor): name for name, tensor in tensors.items()}

    def pack(self, value, path):
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {MARK: "float", "of": repr(value)}
        if isinstance(value, list):
            return self._each(value, path)
        if isinstance(value, tuple):
            return {MARK: "tuple", "of": self._each(value, path)}
        if isinstance(value, dict):
            return self._dict(value, path)
        if isinstance(value, Tensor) or getattr(value, "ndim", 0):
            return {MARK: "tensor", "of": self._name(value, path)}
        if hasattr(value, "dtype") and hasattr(value, "item"):  # NumPy's numbers
            return self.pack(value.item(), path)
        raise TypeError(f"{path}: {type(value).__name__} can be no part of a file: {value!r}")

    def _each(self, values, path):
        return [self.pack(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _dict(self, value, path):
        if MARK not in value and all(isinstance(key, str) for key in value):
            return {key: self.pack(entry, f"{path}.{key}") for key, entry in value.items()}
        return {MARK: "dict", "of": [[self.pack(key, path), self.pack(v, f"{path}.{key}")] for key, v in value.items()]}

    def _name(self, tensor, path):
        place = place_of(tensor) if isinstance(tensor, Tensor) else None
        if place in self.names and place is not None:
            return self.names[place]
        while path in self.tensors:
            path += "'"
        self.tensors[path], self.names[place] = tensor, path
        return path


def _unpack(packed, tensors):
    if isinstance(packed, list):
        return [_unpack(value, tensors) for value in packed]
    if not isinstance(packed, dict):
        return packed
    if MARK not in packed:
        return {key: _unpack(value, tensors) for key, value in packed.items()}
    kind, content = packed[MARK], packed["of"]
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_unpack(content, tensors))
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(value, tensors) for key, value in content}
    raise ValueError(f"kind {kind!r}")
