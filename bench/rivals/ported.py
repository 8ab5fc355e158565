"""pyengine's own model files with torch in pyengine's place: one network, the same keys, the same weights."""

import importlib.util
import io
import sys
import types
from pathlib import Path

import torch
import torchlike

FOLDER = Path(torchlike.__file__).parent.parent / "models"


def models():
    """pyengine.models, where every `pyengine` is torch."""
    if "models" not in sys.modules:
        sys.modules |= {"pyengine": torch, "pyengine.io": types.SimpleNamespace(load_model=None)}
        spec = importlib.util.spec_from_file_location(
            "models", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        sys.modules["models"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["models"])
        for name, place in sys.modules["models"]._MODULES.items():
            module = importlib.import_module(f"models.{place}")
            setattr(sys.modules["models"], name, getattr(module, name))
    return sys.modules["models"]


def in_place(model):
    """Activations in place, as torchvision has them."""
    for layer in model.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = True
    return model


def as_onnx(p, make):
    """The network as the bytes of an ONNX file, and its images."""
    model, x = torchlike.network(torch, models(), p, make)
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamo=False, input_names=["x"], output_names=["y"])
    return file.getvalue(), x.numpy()
