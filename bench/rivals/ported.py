"""pyengine's own model files with torch in pyengine's place: one network, the same keys, the same weights."""

import importlib.util
import io
import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F
import torchlike

FOLDER = Path(torchlike.__file__).parent.parent / "models"


def conv_norm_act(x, conv, norm, activation=None, residual=None):
    """What pyengine fuses in inference, as torchvision writes it out."""
    y = conv(x) if norm is None else norm(conv(x))
    if residual is not None:
        y += residual
    return y if activation is None else activation(y)


def linear(x, weight, bias=None, activation=None, residual=None):
    """What pyengine does at the product's store, one after another."""
    y = F.linear(x, weight, bias)
    if activation is not None:
        y = F.gelu(y, approximate="tanh") if activation == "gelu_tanh" else getattr(F, activation)(y)
    return y if residual is None else y + residual


def attention(query, key, value, mask=None, dropout=0.0, causal=False, scale=None, grouped=False, **places):
    """torch's own, for whole sequences: nothing is cached, no window slides."""
    assert not places.get("query_start") and places.get("window") is None
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale=scale, enable_gqa=grouped)


class Instead(types.ModuleType):
    """A module of torch's with some names of pyengine's."""

    def __init__(self, module, **own):
        super().__init__(module.__name__)
        self.__dict__.update(own)
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, name)


FUNCTIONAL = Instead(F, scaled_dot_product_attention=attention)
NN = Instead(torch.nn, functional=FUNCTIONAL, GatedMLP=torch.nn.Module)
STAND_INS = {
    "pyengine": Instead(torch, nn=NN, linear=linear), "pyengine.nn": NN, "pyengine.nn.functional": FUNCTIONAL,
    "pyengine.nn.utils": torch.nn.utils, "pyengine.io": types.SimpleNamespace(load_model=None, load_state=None),
    "pyengine.nn.conv_norm": types.SimpleNamespace(conv_norm_act=conv_norm_act, add_to=lambda x, layers: x + layers(x)),
}  # fmt: skip


class Models:
    """pyengine.models, in whose files every `pyengine` is torch."""

    def __init__(self):
        spec = importlib.util.spec_from_file_location(
            "ported_models", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
        )
        self.package = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.package)

    def __getattr__(self, name):
        hidden = {key: sys.modules.get(key) for key in STAND_INS}
        sys.modules.update(STAND_INS)
        try:
            return getattr(importlib.import_module(f"ported_models.{self.package._MODULES[name]}"), name)
        finally:
            for key, module in hidden.items():
                sys.modules.pop(key)
                sys.modules.update({key: module} if module else {})


MODELS = Models()


def in_place(model):
    """Activations in place, as torchvision has them."""
    for layer in model.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = True
    return model


def as_onnx(p, make):
    """The network as the bytes of an ONNX file, and its images or tokens."""
    build = torchlike.text_network if "vocab_size" in p["options"] else torchlike.network
    model, x = build(torch, MODELS, p, make)
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamo=False, input_names=["x"], output_names=["y"])
    return file.getvalue(), x.numpy()
