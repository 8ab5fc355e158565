"""Weight files and checkpoints."""

from .checkpoint import load_checkpoint, save_checkpoint
from .gguf import GGUF
from .model import load_model, load_state, save_model
from .safetensors import load_file, save_file
from .torch_file import load_torch

__all__ = [
    "GGUF",
    "load_checkpoint",
    "load_file",
    "load_model",
    "load_state",
    "load_torch",
    "save_checkpoint",
    "save_file",
    "save_model",
]
