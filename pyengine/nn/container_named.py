"""Modules and parameters under names, and parameters in a list."""

from pyengine import Tensor

from .module import Module
from .parameter import Parameter


class ModuleDict(Module):
    """A dict of modules whose parameters count; it computes nothing by itself.

    >>> import pyengine as pe
    >>> heads = pe.nn.ModuleDict({"a": pe.nn.Linear(2, 2), "b": pe.nn.ReLU()})
    >>> list(heads), "a" in heads, heads.b
    (['a', 'b'], True, ReLU())
    """

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        return self._modules[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        del self._modules[key]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def __contains__(self, key):
        return key in self._modules

    def clear(self):
        """Removes all."""
        self._modules.clear()

    def pop(self, key):
        """Removes the module of this name; returns it."""
        module = self[key]
        del self[key]
        return module

    def keys(self):
        """The names."""
        return self._modules.keys()

    def values(self):
        """The modules."""
        return self._modules.values()

    def items(self):
        """(name, module)."""
        return self._modules.items()

    def update(self, modules):
        """Adds or replaces modules: a dict, a ModuleDict or pairs."""
        for key, module in _pairs(modules, "ModuleDict.update"):
            self[key] = module


def _pairs(given, what):
    if hasattr(given, "items"):
        return list(given.items())
    try:
        pairs = [tuple(pair) for pair in given]
    except TypeError:
        raise TypeError(f"{what}: a dict or pairs of name and value are needed, got {type(given).__name__}") from None
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{what}: pairs of name and value are needed, got {len(pair)} values")
    return pairs


def _as_parameter(value):
    """A plain tensor is learned from now on; everything else stays as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _line(name, value):
    if isinstance(value, Tensor):
        kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
        sizes = "x".join(str(size) for size in value.shape)
        return f"({name}): {kind} containing: [{value.dtype.name} of size {sizes}]"
    return f"({name}): Object of type: {type(value).__name__}"


class ParameterList(Module):
    """A list of parameters that count. Plain tensors become parameters, other values are kept beside them.

    >>> import pyengine as pe
    >>> weights = pe.nn.ParameterList([pe.zeros(2), pe.ones(3)])
    >>> len(list(weights.parameters())), weights[-1].tolist()
    (2, [1.0, 1.0, 1.0])
    """

    def __init__(self, values=None):
        super().__init__()
        object.__setattr__(self, "_size", 0)
        if values is not None:
            self.extend(values)

    def _position(self, index):
        position = index.__index__()
        if not -self._size <= position < self._size:
            raise IndexError(f"ParameterList: index {position} is out of range for {self._size} values")
        return str(position % self._size)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(self._size)[index]])
        return getattr(self, self._position(index))

    def __setitem__(self, index, value):
        setattr(self, self._position(index), _as_parameter(value))

    def __len__(self):
        return self._size

    def __iter__(self):
        return iter([self[i] for i in range(self._size)])

    def __iadd__(self, values):
        return self.extend(values)

    def append(self, value):
        """Adds a value at the end. Returns self."""
        object.__setattr__(self, "_size", self._size + 1)
        self[self._size - 1] = value
        return self

    def extend(self, values):
        """Adds several values at the end. Returns self."""
        if isinstance(values, Tensor) or not hasattr(values, "__iter__"):
            raise TypeError(f"ParameterList.extend: several values are needed, got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def pop(self, index=-1):
        """Removes the value at index; returns it."""
        position = int(self._position(index))
        values = list(self)
        for i in range(position, self._size):
            delattr(self, str(i))
        object.__setattr__(self, "_size", position)
        self.extend(values[position + 1 :])
        return values[position]

    def extra_repr(self):
        return "\n  ".join(_line(i, value) for i, value in enumerate(self))


class ParameterDict(Module):
    """A dict of parameters that count. Plain tensors become parameters, other values are kept beside them.

    >>> import pyengine as pe
    >>> weights = pe.nn.ParameterDict({"left": pe.zeros(2)})
    >>> weights["right"] = pe.ones(3)
    >>> [name for name, _ in weights.named_parameters()]
    ['left', 'right']
    """

    def __init__(self, parameters=None):
        super().__init__()
        object.__setattr__(self, "_keys", {})
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key):
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key, value):
        if not isinstance(key, str):
            raise TypeError(f"ParameterDict: names are text, got {type(key).__name__}")
        if key not in self._keys and hasattr(type(self), key):
            raise KeyError(f"ParameterDict: {key!r} is a method and cannot be a name")
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key):
        del self._keys[key]
        delattr(self, key)

    def __len__(self):
        return len(self._keys)

    def __iter__(self):
        return iter(list(self._keys))

    def __reversed__(self):
        return reversed(list(self._keys))

    def __contains__(self, key):
        return key in self._keys

    def __or__(self, other):
        both = self.copy()
        both.update(other)
        return both

    def copy(self):
        """A ParameterDict of the same parameters."""
        return type(self)({key: self[key] for key in self})

    def clear(self):
        """Removes all."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key):
        """Removes the value of this name; returns it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Removes the latest (name, value); returns it."""
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key, default=None):
        """The value of this name, or default."""
        if key not in self:
            return default
        return self[key]

    def setdefault(self, key, default=None):
        """The value of this name; where there is none, default becomes it."""
        if key not in self:
            self[key] = default
        return self[key]

    def fromkeys(self, keys, default=None):
        """A ParameterDict with default under each of keys."""
        return type(self)(dict.fromkeys(keys, default))

    def keys(self):
        """The names."""
        return self._keys.keys()

    def values(self):
        """The values."""
        return [self[key] for key in self]

    def items(self):
        """(name, value)."""
        return [(key, self[key]) for key in self]

    def update(self, parameters):
        """Adds or replaces values: a dict, a ParameterDict or pairs."""
        for key, value in _pairs(parameters, "ParameterDict.update"):
            self[key] = value

    def extra_repr(self):
        return "\n  ".join(_line(key, value) for key, value in self.items())
