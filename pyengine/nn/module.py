"""Module: a layer, or a network of layers, and the tensors that belong to it."""

from pyengine import Tensor

from .module_convert import ConvertMethods
from .module_hooks import HookMethods, call_with_hooks
from .module_state import load_state_dict, save_state
from .parameter import Parameter

__all__ = ["Module", "Parameter"]

# where a Module keeps what belongs to it; __getattr__ looks through them in this order
_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Module(ConvertMethods, HookMethods):
    """The base of all layers: write __init__ and forward, assign parameters and layers to attributes.

    >>> import pyengine as pe
    >>> class Neuron(pe.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = pe.nn.Parameter(pe.tensor([0.8, 0.6]))
    ...         self.bias = pe.nn.Parameter(pe.tensor(0.2))
    ...     def forward(self, x):
    ...         return (x * self.weight).sum() + self.bias
    >>> round(Neuron()(pe.tensor([0.5, 0.3])).item(), 6)
    0.78
    """

    training: bool
    _parametrized: dict | None = None  # name -> what computes that tensor: see utils/parametrize.py

    def __init__(self):
        for registry in _REGISTRIES:
            object.__setattr__(self, registry, {})
        object.__setattr__(self, "_non_persistent_buffers", set())
        object.__setattr__(self, "training", True)

    def forward(self, *args, **kwargs):
        """What the layer computes; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args, **kwargs):
        hooks = self._hooks
        if hooks is not None and hooks.around_call:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # ---- attributes ----

    def __getattr__(self, name):
        # called only when the ordinary look-up has failed
        for registry in _REGISTRIES:
            entries = self.__dict__.get(registry)
            if entries is not None and name in entries:
                return entries[name]
        if self._parametrized and name in self._parametrized:
            return self._parametrized[name]()
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name, value):
        if self._parametrized and name in self._parametrized:
            self._parametrized[name].right_inverse(value)
        elif isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif name in self.__dict__.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a parameter: a Parameter or None can be assigned, "
                    f"not {type(value).__name__}"
                )
            self._parameters[name] = None
        elif name in self.__dict__.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a layer: a Module or None can be assigned, "
                    f"not {type(value).__name__}"
                )
            self._modules[name] = None
        elif name in self.__dict__.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent_buffers)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name):
        for registry in _REGISTRIES:
            if name in self.__dict__[registry]:
                del self.__dict__[registry][name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self):
        own = [name for registry in _REGISTRIES for name in self.__dict__[registry]]
        return sorted({*object.__dir__(self), *own})

    def register_parameter(self, name, parameter):
        """Makes parameter (a Parameter, or None as a placeholder) this module's own under this name."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter or None, got {type(parameter).__name__}")
        self._register("_parameters", name, parameter)

    def register_buffer(self, name, tensor, persistent=True):
        """Keeps a tensor that is not learned; persistent ones are part of state_dict()."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._register("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def add_module(self, name, module):
        """Makes module a child under this name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} must be a Module or None, got {type(module).__name__}")
        self._register("_modules", name, module)

    register_module = add_module

    def _register(self, registry, name, value):
        if registry not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{type(self).__name__}: {name!r} cannot be a name: no dots, not empty")
        for other in _REGISTRIES:
            if other != registry:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)
        self.__dict__[registry][name] = value

    # ---- walking the tree ----

    def named_children(self):
        """(name, module) of the direct children, each module once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self):
        """The direct children."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """(dotted name, module) of this module (named "") and all below it."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self):
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, parameter); a tied parameter appears once, under its first name."""
        yield from self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """All parameters, each once: what an optimizer takes."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, buffer)."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named_members(self, registry, prefix, recurse, remove_duplicate):
        owners = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        seen = set()
        for path, module in owners:
            for name, tensor in module.__dict__[registry].items():
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield _join(path, name), tensor

    def get_submodule(self, target):
        """The module with this dotted name; "" is the module itself."""
        module = self
        for name in target.split(".") if target else ():
            module = module._modules.get(name)
            if module is None:
                raise AttributeError(f"{type(self).__name__} has no module {target!r}: nothing is called {name!r}")
        return module

    def get_parameter(self, target):
        """The parameter with this dotted name."""
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    def get_buffer(self, target):
        """The buffer with this dotted name."""
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffer

    def set_submodule(self, target, module, strict=False):
        """Puts module in the place of the one with this dotted name; strict: only where there is one."""
        path, _, name = target.rpartition(".")
        if not name:
            raise ValueError("set_submodule: the name must not be empty")
        if not isinstance(module, Module):
            raise ValueError(f"set_submodule: a Module is needed, got {type(module).__name__}")
        parent = self.get_submodule(path)
        if strict and name not in parent._modules:
            raise AttributeError(f"{type(self).__name__} has no module {target!r}")
        setattr(parent, name, module)

    # ---- doing something to all ----

    def train(self, mode=True):
        """Sets training mode (dropout drops) for this module and all below it. Returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Sets evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Says for all parameters whether they are learned. Returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forgets all gradients, or with set_to_none=False fills them with zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            parameter.grad = None if set_to_none else parameter.grad.detach().zero_()

    def apply(self, fn):
        """Calls fn(module) for all below and for this module, children first. Returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---- saving and loading ----

    def get_extra_state(self):
        """What belongs into state_dict() beside tensors; a subclass that writes it writes set_extra_state too."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: get_extra_state is not written")

    get_extra_state.not_written = True  # type: ignore[attr-defined]

    def set_extra_state(self, state):
        """Takes what get_extra_state gave."""
        raise RuntimeError(f"{type(self).__name__} has an extra state to load, and set_extra_state is not written")

    def state_dict(self, prefix="", keep_vars=False, *, destination=None):
        """Dotted name -> tensor of all parameters and persistent buffers. The tensors share the model's memory."""
        state = {} if destination is None else destination
        save_state(self, state, prefix, keep_vars)
        return state

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copies the tensors of state_dict (or arrays) into this module, all or none; with assign=True the tensors
        themselves become the module's. What is tied stays tied.

        Errors: RuntimeError that names every missing and unexpected key (unless strict=False) and every
        tensor of another shape, with both shapes; then nothing has been changed.
        """
        return load_state_dict(self, state_dict, strict, assign)

    # ---- printing ----

    def extra_repr(self):
        """What stands between the brackets of this module's repr."""
        return ""

    def __repr__(self):
        head, lines = self.extra_repr(), []
        title = ("Parametrized" if self._parametrized else "") + type(self).__name__
        for name, module in self._modules.items():
            lines.append(f"({name}): " + repr(module).replace("\n", "\n  "))
        if not lines:
            return f"{title}({head})"
        if head:
            lines.insert(0, head)
        return f"{title}(\n  " + "\n  ".join(lines) + "\n)"


def _join(prefix, name):
    return f"{prefix}.{name}" if prefix else name
