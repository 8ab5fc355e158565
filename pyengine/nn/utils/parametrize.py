"""Parameters that are computed: module.weight = f(original), with what is learned kept below `parametrizations`."""

import contextlib

from pyengine import Tensor, no_grad

from ..container import ModuleList
from ..container_named import ModuleDict
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache: dict = {}  # id of a list -> (the list, the tensor it gave), inside cached()
_depth = 0


@contextlib.contextmanager
def cached():
    """Inside the block each parametrized tensor is computed once: for models that read it often.

    >>> import pyengine as pe
    >>> layer = pe.nn.utils.parametrizations.weight_norm(pe.nn.Linear(2, 2))
    >>> with cached():
    ...     layer.weight is layer.weight
    True
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


def _own(module, name, tensor):
    """tensor as parameter or buffer of module."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _fits(value, like, what):
    """Raises ValueError where value could not stand in for like."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must give a Tensor, got {type(value).__name__}")
    if value.shape != like.shape or value.dtype is not like.dtype:
        raise ValueError(
            f"{what} changes shape {like.shape} and {like.dtype.name} to {value.shape} and {value.dtype.name}; "
            "unsafe=True allows it"
        )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what it is computed from: `original`, or original0, original1, ... where
    the first one's right_inverse gives several tensors."""

    def __init__(self, modules, original, unsafe=False):
        if not modules:
            raise ValueError("ParametrizationList: at least one parametrization is needed")
        super().__init__(modules)
        self.unsafe = unsafe
        like = original.detach()
        with no_grad():
            start = _inverted(list(self), original)
        self.is_tensor = isinstance(start, Tensor)
        if self.is_tensor:
            if start.dtype is not original.dtype:
                raise ValueError(
                    f"right_inverse must keep dtype {original.dtype.name} of a single tensor, got {start.dtype.name}"
                )
            if start is not original:
                original.data = start.detach()  # the same parameter, for optimizers that hold it
            _own(self, "original", original)
            self.ntensors = 1
        elif isinstance(start, (tuple, list)) and all(isinstance(part, Tensor) for part in start):
            self.ntensors = len(start)
            for i, part in enumerate(start):
                part = part.detach().clone()
                _own(self, f"original{i}", Parameter(part, original.requires_grad)
                     if isinstance(original, Parameter) else part)  # fmt: skip
        else:
            raise ValueError(f"right_inverse must give a Tensor or several, got {type(start).__name__}")
        if not unsafe:
            with no_grad():
                _fits(self(), like, "a parametrization")

    @property
    def originals(self):
        """The tensors that are learned."""
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value):
        """Sets the originals so that the parametrized tensor becomes value."""
        for module in self:
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(f"parametrization {type(module).__name__} has no right_inverse: its tensor cannot "
                                   "be assigned")  # fmt: skip
        with no_grad():
            start = _inverted(list(self), value, strict=True)
            parts = [start] if isinstance(start, Tensor) else list(start)
            if len(parts) != self.ntensors:
                raise ValueError(f"right_inverse gave {len(parts)} tensors, {self.ntensors} are needed")
            for own, part in zip(self.originals, parts, strict=True):
                own.data = part.detach().clone()

    def forward(self):
        """The parametrized tensor."""
        first, *others = self
        value = first(*self.originals)
        for module in others:
            value = module(value)
        return value

    def __call__(self):
        if not _depth:
            return super().__call__()
        if id(self) not in _cache:
            _cache[id(self)] = self, super().__call__()
        return _cache[id(self)][1]


def _inverted(modules, value, strict=False):
    """value through the right inverses, the latest first; a missing one counts as the identity."""
    for module in reversed(modules):
        if hasattr(module, "right_inverse"):
            try:
                value = module.right_inverse(value)
            except NotImplementedError:
                if strict:
                    raise
    return value


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """From now on module.<tensor_name> is parametrization(original), computed at each use; what is learned is
    module.parametrizations.<tensor_name>.original. A second one is applied to the result of the first. Assigning to
    the tensor goes through the parametrization's right_inverse, where it has one. Returns module.

    Arguments: unsafe, the parametrization may change shape and dtype.
    Errors: ValueError where there is no such tensor, or the parametrization does not keep its shape and dtype.

    >>> import pyengine as pe
    >>> class Positive(pe.nn.Module):
    ...     def forward(self, x):
    ...         return x.exp()
    >>> layer = register_parametrization(pe.nn.Linear(2, 2), "weight", Positive())
    >>> [name for name, _ in layer.named_parameters()], bool(layer.weight.amin() > 0)
    (['bias', 'parametrizations.weight.original'], True)
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain = module.parametrizations[tensor_name]
        if not unsafe:
            _check_next(parametrization, getattr(module, tensor_name))
        chain.append(parametrization)
        chain.unsafe = chain.unsafe or unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(f"{type(module).__name__} has no parameter, buffer or parametrized tensor {tensor_name!r}")
    chain = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
        object.__setattr__(module, "_parametrized", {})
    module.parametrizations[tensor_name] = chain
    module._parametrized[tensor_name] = chain
    return module


def _check_next(parametrization, value):
    with no_grad():
        made = parametrization(value)
        _fits(made, value, "a parametrization")
        if hasattr(parametrization, "right_inverse"):
            with contextlib.suppress(NotImplementedError):
                _fits(parametrization.right_inverse(made), value, "right_inverse")


def is_parametrized(module, tensor_name=None):
    """True where a tensor of module (or the one of this name) is parametrized."""
    made = module._parametrized
    return bool(made) if tensor_name is None else bool(made) and tensor_name in made


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Makes the tensor an ordinary one again: with the value it has now, or (leave_parametrized=False, where there is
    one original) with its original's. Returns module."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrization of {tensor_name!r}")
    chain = module.parametrizations[tensor_name]
    if not chain.is_tensor and not leave_parametrized:
        raise ValueError(f"leave_parametrized=False: {tensor_name!r} is computed from several tensors")
    with no_grad():
        value = chain().detach().clone() if leave_parametrized else None
    if chain.is_tensor:
        tensor = chain.original
        if value is not None:
            tensor.data = value
    else:
        learned = any(part.requires_grad for part in chain.originals)
        tensor = Parameter(value) if learned else value
    del module._parametrized[tensor_name]
    del module.parametrizations[tensor_name]
    if not module._parametrized:
        del module.parametrizations
    _own(module, tensor_name, tensor)
    return module


def type_before_parametrizations(module):
    """The module's class: parametrizing does not change it here."""
    return type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Gives to_module the parametrizations of from_module (or of one tensor), and copies of what they compute from."""
    import copy

    if not is_parametrized(from_module):
        return to_module
    for name in [tensor_name] if tensor_name is not None else list(from_module._parametrized):
        chain = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            _own(to_module, name, Parameter(chain().detach().clone()))
        for i, parametrization in enumerate(chain):
            register_parametrization(to_module, name, copy.deepcopy(parametrization), unsafe=chain.unsafe or i > 0)
        target = to_module.parametrizations[name]
        for own, given in zip(target.originals, chain.originals, strict=True):
            own.data = given.detach().clone()
    return to_module
