"""Modules made of modules."""

from .conv_norm import run
from .module import Module


class _Listed(Module):
    """Children named "0", "1", ... in order."""

    def _position(self, index):
        size = len(self._modules)
        position = index.__index__()
        if not -size <= position < size:
            raise IndexError(f"{type(self).__name__}: index {position} is out of range for {size} modules")
        return str(position % size)

    def _renumber(self, modules):
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def __setitem__(self, index, module):
        self.add_module(self._position(index), module)

    def append(self, module):
        """Adds a module at the end. Returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Adds several modules at the end. Returns self."""
        if not hasattr(modules, "__iter__"):
            raise TypeError(f"{type(self).__name__}.extend: several modules are needed, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index, module):
        """Puts module before position index, as list.insert does. Returns self."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}.insert: a Module is needed, got {type(module).__name__}")
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index):
        """Removes the module at index; returns it."""
        module = self[index]
        del self[index]
        return module

    def __iadd__(self, other):
        return self.extend(other)

    def __add__(self, other):
        if not hasattr(other, "__iter__"):
            return NotImplemented
        both = type(self)()
        return both.extend([*self, *other])


class Sequential(_Listed):
    """y = f_n(... f_2(f_1(x))): the modules one after another.

    Arguments: the modules, or one dict of name -> module.

    >>> import pyengine as pe
    >>> model = pe.nn.Sequential(pe.nn.Linear(2, 3), pe.nn.ReLU())
    >>> model(pe.zeros(5, 2)).shape
    (5, 3)
    """

    def __init__(self, *modules):
        super().__init__()
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], dict) else enumerate(modules)
        for name, module in named:
            self.add_module(str(name), module)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def __setitem__(self, index, module):
        self.add_module(self._name(index), module)

    def __delitem__(self, index):
        names = list(self._modules)[index] if isinstance(index, slice) else [self._name(index)]
        for name in names:
            del self._modules[name]
        if all(name.isdigit() for name in self._modules):
            self._renumber(list(self))

    def _name(self, index):
        return list(self._modules)[int(self._position(index))]

    def __mul__(self, times):
        if not isinstance(times, int):
            raise TypeError(f"Sequential: times must be an integer, got {type(times).__name__}")
        if times <= 0:
            raise ValueError(f"Sequential: times must be positive, got {times}")
        return type(self)(*[module for _ in range(times) for module in self])

    __rmul__ = __mul__

    def forward(self, x):
        return run(self._modules.values(), x)


class ModuleList(_Listed):
    """A list of modules whose parameters count; it computes nothing by itself.

    >>> import pyengine as pe
    >>> layers = pe.nn.ModuleList(pe.nn.Linear(4, 4) for _ in range(3))
    >>> len(list(layers.parameters()))
    6
    """

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[self._position(index)]

    def __delitem__(self, index):
        positions = range(len(self))[index] if isinstance(index, slice) else [self._position(index)]
        for position in positions:
            del self._modules[str(position)]
        self._renumber(list(self))
