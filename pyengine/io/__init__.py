"""Weight files."""

from .safetensors import load_file, save_file

__all__ = ["load_file", "save_file"]
from .model import load_model, save_model

__all__ += ["load_model", "save_model"]
from .model import load_state
from .torch_file import load_torch

__all__ += ["load_state", "load_torch"]
