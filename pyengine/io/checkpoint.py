"""Checkpoints: all that a training run is, in one safetensors file, so that it goes on bit for bit.

The tensors have names like "model.0.weight" and "optimizer.state.3.exp_avg"; everything else stands as JSON in the
header's metadata.
"""

import json
import os
import sys

from pyengine import default_generator

from .safetensors import load_with_metadata, save_file
from .tree import pack, unpack

KEY = "pyengine.checkpoint"
VERSION = 1
_SHOWN = 8  # names of each kind in a diff


def save_checkpoint(path, /, **parts):
    """Writes parts, by name, and the state of the random numbers (ours, Python's, NumPy's) to one file.

    A part with a state_dict() (model, optimizer, schedule, DataLoader, ...) is saved by it; everything else as it is:
    numbers, text, tensors, and lists, tuples and dicts of them. The file is written whole or not at all: until it is
    complete and on the disk, an older file of this name stays.

    Errors: TypeError that names the place of what can be no part of a file; OSError (a full disk, a folder that may
    not be written to), which leaves the older file as it was.

    >>> import pyengine as pe, tempfile, os
    >>> net = pe.nn.Linear(2, 1)
    >>> optimizer = pe.optim.AdamW(net.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "last.safetensors")
    ...     save_checkpoint(path, model=net, optimizer=optimizer, epoch=3)
    ...     load_checkpoint(path, model=net, optimizer=optimizer)
    {'epoch': 3}
    """
    tensors, packed = {}, {}
    for name, part in {**parts, "random": _random_state()}.items():
        packed[name] = pack(part.state_dict() if hasattr(part, "state_dict") else part, tensors, name)
    save_file(tensors, path, {KEY: json.dumps({"version": VERSION, "parts": packed})})


def load_checkpoint(path, /, random=True, **parts):
    """Gives each of the parts what a file of save_checkpoint has under its name; a dict of what else is in the file.

    With random, the random numbers go on from where they were. Nothing has changed when it fails.

    Errors: FileNotFoundError; ValueError that names the file and what is wrong: damage, a missing part, or a model
    that is another one, with the keys and shapes that differ.
    """
    where = os.fspath(path)
    states = _states(path, where)
    for name, part in parts.items():
        if name not in states:
            raise ValueError(f"{where} has no {name!r}, only {', '.join(sorted(set(states) - {'random'}))}")
        if hasattr(part, "named_parameters"):
            check_model(where, name, states[name], part.state_dict())
    loaded = []
    try:
        # models last: they are checked already, and to bring an optimizer back costs nothing
        for name in sorted(parts, key=lambda name: hasattr(parts[name], "named_parameters")):
            loaded.append((parts[name], parts[name].state_dict()))
            parts[name].load_state_dict(states[name])
        if random:
            _set_random_state(states["random"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        for part, before in reversed(loaded):
            part.load_state_dict(before)
        raise ValueError(f"{where}: {name!r} does not fit: {error}") from None
    return {name: state for name, state in states.items() if name not in parts and name != "random"}


def _states(path, where):
    """name -> state of a checkpoint's parts."""
    tensors, metadata = load_with_metadata(path)
    if KEY not in metadata:
        raise ValueError(f"{where} is no checkpoint; weights alone are read by load_model")
    try:
        content = json.loads(metadata[KEY])
        version = content["version"]
        if version == VERSION:
            return {name: unpack(part, tensors) for name, part in content["parts"].items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: a damaged checkpoint: {error}") from None
    raise ValueError(f"{where}: a checkpoint of version {version!r}, this pyengine reads version {VERSION}")


def check_model(where, name, given, own):
    """Raises ValueError with the difference where given is no state of a model whose state is own."""
    if not isinstance(given, dict):
        raise ValueError(f"{where}: {name!r} is no model's state")
    shapes = [
        f"{key}: {_shape(given[key])} in the file, {_shape(own[key])} in the model"
        for key in own
        if key in given and _shape(given[key]) != _shape(own[key])
    ]
    lines = [
        f"\n  {title}: " + ", ".join(found[:_SHOWN]) + f", and {len(found) - _SHOWN} more" * (len(found) > _SHOWN)
        for title, found in (
            ("only in the model", [key for key in own if key not in given]),
            ("only in the file", [key for key in given if key not in own]),
            ("other shapes", shapes),
        )
        if found
    ]
    if lines:
        raise ValueError(f"{where} is a checkpoint of another model ({name}):{''.join(lines)}")


def _shape(value):
    return getattr(value, "shape", None)


def _random_state():
    """The state of every stream of random numbers that a program shares."""
    state = {"pyengine": default_generator.get_state()}
    if "random" in sys.modules:
        import random

        version, numbers, gauss = random.getstate()
        state["python"] = (version, list(numbers), gauss)
    if "numpy.random" in sys.modules:
        import numpy

        state["numpy"] = tuple(x.tolist() if hasattr(x, "tolist") else x for x in numpy.random.get_state())
    return state


def _set_random_state(state):
    if "python" in state:
        import random

        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))
    if "numpy" in state:
        import numpy

        numpy.random.set_state(state["numpy"])
    default_generator.set_state(state["pyengine"])
