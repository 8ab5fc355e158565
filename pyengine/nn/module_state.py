"""state_dict: a module's tensors out and in, under their dotted names."""

from typing import NamedTuple

from pyengine import Tensor, as_tensor, no_grad

EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What load_state_dict(strict=False) could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def persistent_tensors(module):
    """(name, tensor) of the module's own parameters and persistent buffers."""
    for name, tensor in module._parameters.items():
        if tensor is not None:
            yield name, tensor
    for name, tensor in module._buffers.items():
        if tensor is not None and name not in module._non_persistent_buffers:
            yield name, tensor


def named_places(module, prefix=""):
    """(dotted prefix, module) of module and all below it, a shared module under each of its names."""
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from named_places(child, f"{prefix}{name}.")


def has_extra_state(module):
    """True where a subclass has written get_extra_state."""
    return not hasattr(type(module).get_extra_state, "not_written")


def save_state(module, state, prefix, keep_vars):
    """Adds the tensors of module and all below it to state."""
    hooks = module._hooks
    for hook in list(hooks.state_dict_pre.values()) if hooks else ():
        hook(module, prefix, keep_vars)
    for name, tensor in persistent_tensors(module):
        state[prefix + name] = tensor if keep_vars else tensor.detach()
    if has_extra_state(module):
        state[prefix + EXTRA] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            save_state(child, state, f"{prefix}{name}.", keep_vars)
    for hook in list(hooks.state_dict.values()) if hooks else ():
        hook(module, state, prefix, {})


class _Load:
    """One load_state_dict: everything is looked at before anything is changed."""

    def __init__(self, module, given, strict, assign):
        self.module, self.given, self.strict, self.assign = module, dict(given), strict, assign
        self.missing, self.unexpected, self.complaints = [], [], []
        self.copies, self.extras = [], []
        self.known = set()

    def look(self):
        """Finds out for each of the module's entries what it gets."""
        places = list(named_places(self.module))
        for prefix, module in places:
            for hook in list(module._hooks.load_state_dict_pre.values()) if module._hooks else ():
                hook(module, self.given, prefix, {}, self.strict, self.missing, self.unexpected, self.complaints)
        for prefix, module in places:
            for name, target in persistent_tensors(module):
                self._entry(prefix, module, name, target)
            if has_extra_state(module):
                self._extra(prefix, module)
        self.unexpected += [name for name in self.given if name not in self.known]
        if self.strict and self.unexpected:
            self.complaints.insert(0, "unexpected keys: " + ", ".join(self.unexpected))
        if self.strict and self.missing:
            self.complaints.insert(0, "missing keys: " + ", ".join(self.missing))

    def _extra(self, prefix, module):
        self.known.add(prefix + EXTRA)
        if prefix + EXTRA in self.given:
            self.extras.append((module, self.given[prefix + EXTRA]))
        else:
            self.missing.append(prefix + EXTRA)

    def _entry(self, prefix, module, name, target):
        key = prefix + name
        self.known.add(key)
        if key not in self.given:
            self.missing.append(key)
            return
        source = _tensor(self.given[key])
        if source is None:
            self.complaints.append(f"{key}: a tensor or array is needed, got {type(self.given[key]).__name__}")
        elif source.shape != target.shape:
            self.complaints.append(f"{key}: shape {source.shape} was given, the module's is {target.shape}")
        else:
            self.copies.append((module, name, target, source))

    def carry_out(self):
        """Copies, or with assign takes over, what was found."""
        with no_grad():
            for _, _, target, source in self.copies:
                if not self.assign:
                    target.copy_(source)
        if self.assign:
            self._take_over()
        for module, extra in self.extras:
            module.set_extra_state(extra)

    def _take_over(self):
        """The given tensors become the module's; what was tied stays tied."""
        from .parameter import Parameter

        taken = {}
        for module, name, target, source in self.copies:
            if id(target) not in taken:
                learned = isinstance(target, Parameter)
                taken[id(target)] = Parameter(source, target.requires_grad) if learned else source
            registry = module._parameters if name in module._parameters else module._buffers
            registry[name] = taken[id(target)]


def load_state_dict(module, given, strict, assign):
    """Copies given into module's tensors, all or none; the missing and the unexpected keys."""
    if not hasattr(given, "keys"):
        raise TypeError(f"load_state_dict: a dict of names and tensors is needed, got {type(given).__name__}")
    load = _Load(module, given, strict, assign)
    load.look()
    if load.complaints:
        raise RuntimeError(f"load_state_dict into {type(module).__name__}:\n  " + "\n  ".join(load.complaints))
    load.carry_out()
    result = IncompatibleKeys(load.missing, load.unexpected)
    for _, part in named_places(module):
        for hook in list(part._hooks.load_state_dict_post.values()) if part._hooks else ():
            if hook(part, result) is not None:
                raise TypeError("load_state_dict: a post hook must return None; it may change the lists in place")
    return result


def _tensor(value):
    """value as a detached tensor, or None when it is no array of numbers."""
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "detach"):  # another library's tensor, which may still be on its tape
        value = value.detach()
    try:
        return as_tensor(value)
    except (TypeError, ValueError):
        return None
