"""A module called with other tensors in the place of its own."""

from ..module_state import named_places


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with the tensors of a dict (dotted name -> Tensor) in place of its own; gradients flow to
    them. What is tied in the module is tied in the call (tie_weights). The module is as before afterwards.

    Arguments: args, one argument or a tuple of them; strict, every parameter and buffer must be given.

    >>> import pyengine as pe
    >>> layer, w = pe.nn.Linear(2, 1, bias=False), pe.tensor([[1.0, 2.0]], requires_grad=True)
    >>> functional_call(layer, {"weight": w}, pe.ones(1, 2)).tolist()
    [[3.0]]
    """
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    given = dict(parameters_and_buffers)
    slots, swapped = {}, []
    for prefix, part in named_places(module):
        for registry in (part._parameters, part._buffers):
            slots.update({prefix + name: (registry, name) for name in registry if registry[name] is not None})
    unknown = [name for name in given if name not in slots]
    if unknown:
        raise RuntimeError(f"functional_call: {type(module).__name__} has no parameter or buffer {unknown}")
    if tie_weights:
        _tie(given, slots)
    missing = [name for name in slots if name not in given]
    if strict and missing:
        raise RuntimeError(f"functional_call: not given: {missing}")
    try:
        for name, tensor in given.items():
            registry, key = slots[name]
            swapped.append((registry, key, registry[key]))
            registry[key] = tensor
        return module(*args, **(kwargs or {}))
    finally:
        for registry, key, own in reversed(swapped):
            registry[key] = own


def _tie(given, slots):
    """Gives what is tied to a given tensor that tensor too."""
    owners = {}
    for name in given:
        registry, key = slots[name]
        first = owners.setdefault(id(registry[key]), name)
        if given[first] is not given[name]:
            raise ValueError(f"functional_call: {first} and {name} are tied, two tensors were given")
    for name, (registry, key) in slots.items():
        if id(registry[key]) in owners:
            given.setdefault(name, given[owners[id(registry[key])]])
