"""A model's weights in a safetensors file: tied tensors are written once, and are tied again after loading."""

import os

from pyengine import Tensor

from .safetensors import load_file, save_file
from .tree import place_of

__all__ = ["load_model", "load_state", "save_model"]

_TORCH_ENDINGS = (".pt", ".pth")
_WRAPPINGS = ("state_dict", "model_state_dict", "model")  # under which name training scripts keep the weights


def save_model(model, filename, metadata=None):
    """Writes model.state_dict(); of names for one tensor only the first (in order of names) is written, the others
    stand in the header as metadata: name -> the name written. This is how the safetensors library does it.

    >>> import pyengine as pe, tempfile, os
    >>> net = pe.nn.Sequential(pe.nn.Linear(2, 2), pe.nn.Linear(2, 2))
    >>> net[1].weight = net[0].weight
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(net, os.path.join(folder, "net.safetensors"))
    ...     sorted(load_file(os.path.join(folder, "net.safetensors")))
    ['0.bias', '0.weight', '1.bias']
    """
    state = model.state_dict()
    metadata = dict(metadata or {})
    kept, first = {}, {}
    for name in sorted(state):
        place = place_of(state[name])
        if place in first:
            metadata.setdefault(name, first[place])
            continue
        if place is not None:
            first[place] = name
        kept[name] = state[name]
    save_file(kept, filename, metadata or None)


def load_model(model, filename, strict=True):
    """Loads a file of save_model, save_file or torch.save into model: (missing keys, unexpected keys).

    Both are empty if strict. A name that the file lacks is not missing where the model ties it to one that is there.
    Errors: RuntimeError that names what is missing, unexpected or of another shape; as load_state's.
    """
    given, own = load_state(filename), model.state_dict(keep_vars=True)
    known = {}
    for name, tensor in own.items():
        if name in given:
            known.setdefault(id(tensor), given[name])
    for name, tensor in own.items():
        if name not in given and id(tensor) in known:
            given[name] = known[id(tensor)]
    return model.load_state_dict(given, strict)


def load_state(filename):
    """The state_dict in a safetensors file or in one of torch.save, which the file itself tells: name -> Tensor.

    Errors: FileNotFoundError; ValueError that names the file and what is wrong with it.
    """
    from .torch_file import is_torch, load_torch

    with open(filename, "rb") as file:
        head = file.read(32)
    if not is_torch(head) and not os.fspath(filename).endswith(_TORCH_ENDINGS):
        return load_file(filename)
    found = load_torch(filename)
    for name in _WRAPPINGS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise ValueError(f"{os.fspath(filename)}: no state_dict, which has tensors by name")
    return found
