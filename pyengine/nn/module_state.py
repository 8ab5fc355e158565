"""state_dict: a module's tensors out and in, under their dotted names."""

from pyengine import Tensor, as_tensor, no_grad


def persistent_tensors(module):
    """(name, tensor) of the module's own parameters and persistent buffers."""
    for name, tensor in module._parameters.items():
        if tensor is not None:
            yield name, tensor
    for name, tensor in module._buffers.items():
        if tensor is not None and name not in module._non_persistent_buffers:
            yield name, tensor


def save_state(module, state, prefix, keep_vars):
    """Adds the tensors of module and all below it to state."""
    for name, tensor in persistent_tensors(module):
        state[prefix + name] = tensor if keep_vars else tensor.detach()
    for name, child in module._modules.items():
        if child is not None:
            save_state(child, state, f"{prefix}{name}.", keep_vars)


def load_state_dict(module, given, strict):
    """Copies given into module's tensors, all or none; the missing and the unexpected keys."""
    own = {}
    save_state(module, own, "", keep_vars=True)
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    complaints, copies = [], []
    if strict and missing:
        complaints.append("missing keys: " + ", ".join(missing))
    if strict and unexpected:
        complaints.append("unexpected keys: " + ", ".join(unexpected))
    for name, target in own.items():
        if name not in given:
            continue
        source = _tensor(given[name])
        if source is None:
            complaints.append(f"{name}: a tensor or array is needed, got {type(given[name]).__name__}")
        elif source.shape != target.shape:
            complaints.append(f"{name}: shape {source.shape} was given, the module's is {target.shape}")
        else:
            copies.append((target, source))
    if complaints:
        raise RuntimeError(f"load_state_dict into {type(module).__name__}:\n  " + "\n  ".join(complaints))
    with no_grad():
        for target, source in copies:
            target.copy_(source)
    return missing, unexpected


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
