"""What the names in torch's pickles mean: storages, and tensors as views of them."""

import math

from pyengine import _core

from .pickle_machine import Global, Refused

DEEPEST = 100
MOST_VALUES = 10_000_000
MOST_TENSORS = 100_000
MOST_AXES = 8
MOST_COPIES = 8  # how often all elements of a storage may be copied for tensors that are no rows of it

_STORAGES = {
    "torch.FloatStorage": "float32", "torch.DoubleStorage": "float64", "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16", "torch.LongStorage": "int64", "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16", "torch.CharStorage": "int8", "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}  # fmt: skip
_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2}


class Storage:
    """The elements that tensors share: their type and number, and their bytes when they are known."""

    def __init__(self, dtype, count):
        self.dtype, self.count, self.size = dtype, count, count * _BYTES.get(dtype, 1)
        self.content, self.base, self.copied = None, None, 0

    def tensor(self):
        """All elements as one row, made once."""
        import numpy

        if self.base is None:
            stored = {"bfloat16": "uint16", "bool": "uint8"}.get(self.dtype, self.dtype)
            array = numpy.require(numpy.frombuffer(self.content, stored), requirements="A")
            array = array != 0 if self.dtype == "bool" else array  # a byte of 7 would be neither True nor False
            self.base = _core.from_pickle(array, self.dtype, False)
        return self.base


class View:
    """A tensor before its storage is read."""

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, storage, offset, size, stride):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def tensor(self):
        """A view of the storage where its elements stand side by side, in any order of axes; else a copy of them."""
        base, count = self.storage.tensor(), math.prod(self.size)
        order = sorted(range(len(self.size)), key=lambda axis: (-self.stride[axis], -self.size[axis]))
        rows = tuple(self.size[axis] for axis in order)
        steps = tuple(self.stride[axis] for axis in order)
        if 0 in rows or all(n == 1 or step == own for n, step, own in zip(rows, steps, _rows(rows), strict=True)):
            back = [order.index(axis) for axis in range(len(order))]
            return base[self.offset : self.offset + count].reshape(rows).permute(*back)
        self.storage.copied += count
        if self.storage.copied > MOST_COPIES * self.storage.count:
            raise Refused("too many tensors that are scattered parts of one storage")
        return base.as_strided(self.size, self.stride, self.offset)


def _rows(size):
    """The strides of a row-major tensor."""
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))


class Storages:
    """The storages that a pickle names, by key; find(key, bytes) gives a storage's bytes where they are known."""

    def __init__(self, find=None):
        self.find, self.known = find, {}

    def storage(self, identity):
        """The storage of a persistent id ("storage", type, key, device, number of elements[, None])."""
        if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] != "storage":
            raise Refused("what is stored outside of the pickle must be a storage")
        _, kind, key, _, count, *view = identity
        if not isinstance(kind, Global) or kind.name not in _STORAGES or not isinstance(key, str):
            raise Refused("a storage's type or key is none")
        if type(count) is not int or not 0 <= count < 1 << 60 or view not in ([], [None]):
            raise Refused(f"a storage's number of elements is none, or it is a part of another one (key {key[:80]})")
        storage = self.known.get(key)
        if storage is None:
            storage = self.known[key] = Storage(_STORAGES[kind.name], count)
            if self.find:
                storage.content = self.find(key, storage.size)
        if (storage.dtype, storage.count) != (_STORAGES[kind.name], count):
            raise Refused(f"storage {key[:80]} is named twice, with different types or sizes")
        return storage


def _view(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    """torch._utils._rebuild_tensor_v2"""
    if not isinstance(storage, Storage):
        raise Refused("a tensor without a storage")
    size, stride = _sizes(size, "size"), _sizes(stride, "stride")
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise Refused(f"a tensor of {len(size)} sizes and {len(stride)} strides, or with a wrong offset")
    if hooks:
        raise Refused("a tensor with hooks")
    reach = 0  # the last element's place, axis by axis from the narrowest stride
    if 0 not in size:
        for step, length in sorted((step, length) for step, length in zip(stride, size, strict=True) if length > 1):
            if step <= reach:
                raise Refused(f"elements of a tensor share memory: size {size}, stride {stride}")
            reach += step * (length - 1)
        reach += 1
    if offset + reach > storage.count:
        raise Refused(f"size {size}, stride {stride} at {offset} reach beyond a storage of {storage.count} elements")
    return View(storage, offset, size, stride)


def _sizes(value, what):
    value = value if isinstance(value, (tuple, list)) else (value,)
    if len(value) > MOST_AXES:  # before the copy: a hostile pickle could ask for it again and again
        raise Refused(f"a tensor of {len(value)} sizes, at most {MOST_AXES} are possible")
    if not all(type(number) is int and 0 <= number < 1 << 60 for number in value):
        raise Refused(f"a tensor's {what} is none")
    return tuple(value)


def _parameter(data, requires_grad=False, hooks=None):
    """torch._utils._rebuild_parameter"""
    if not isinstance(data, View) or hooks:
        raise Refused("a parameter without a tensor, or with hooks")
    return data


def _ordered():
    """collections.OrderedDict: a dict, which keeps its order too. With arguments it would copy as often as asked."""
    return {}


NAMES = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": lambda size=(): _sizes(size, "Size"),
    **dict.fromkeys(_STORAGES),
}


def resolve(value):
    """value with its tensors in place of views. Errors: Refused for circles, for what is no plain data, for nesting
    beyond DEEPEST, and for values that are shared so often that they would be MOST_VALUES when written out."""
    return _Resolver().copy(value, 0)[0]


class _Resolver:
    def __init__(self):
        self.tensors = 0
        self.done = {}  # by id: (the copy, how many values it is when written out); None while it is made

    def copy(self, value, depth):
        if value is None or isinstance(value, (str, int, float)):
            return value, 1
        if id(value) in self.done:
            if self.done[id(value)] is None:
                raise Refused("a value contains itself")
            return self.done[id(value)]
        if depth > DEEPEST:
            raise Refused(f"values are nested more than {DEEPEST} deep")
        self.done[id(value)] = None
        self.done[id(value)] = made = self._made(value, depth + 1)
        if made[1] > MOST_VALUES:
            raise Refused(f"more than {MOST_VALUES:,} values")
        return made

    def _made(self, value, depth):
        if isinstance(value, View):
            self.tensors += 1
            if self.tensors > MOST_TENSORS:
                raise Refused(f"more than {MOST_TENSORS:,} tensors")
            return value.tensor(), 1
        if isinstance(value, dict):
            parts = [self.copy(part, depth) for part in value.values()]
            made = dict(zip(value, (part for part, _ in parts), strict=True))
        elif isinstance(value, (list, tuple)):
            parts = [self.copy(part, depth) for part in value]
            made = type(value)(part for part, _ in parts)
        else:
            name = value.name if isinstance(value, Global) else type(value).__name__
            raise Refused(f"{name} stands where a value should")
        return made, 1 + sum(count for _, count in parts)
