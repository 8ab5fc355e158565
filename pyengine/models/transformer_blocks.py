"""What transformers share: heads, attention behind a cache, feed-forward blocks, and sizes that files bring."""

import json
import os

import pyengine as pe
from pyengine import nn
from pyengine.io import load_state
from pyengine.nn import functional as F
from pyengine.nn.utils import skip_init


def split_heads(x, heads):
    """(B, T, heads D) -> (B, heads, T, D), a view."""
    batch, steps, width = x.shape
    return x.view(batch, steps, heads, width // heads).transpose(1, 2)


def merge_heads(x):
    """(B, heads, T, D) -> (B, T, heads D)."""
    batch, heads, steps, size = x.shape
    return x.transpose(1, 2).reshape(batch, steps, heads * size)


def causal_attention(query, key, value, start=0, window=None, scale=None):
    """Attention of T queries at positions start .. start + T - 1 to the keys up to their own position, of which window
    leaves the last ones (None: all); key and value may have fewer heads than query.

    Shape: query (B, H, T, D), key and value (B, H_kv, start + T, D) -> (B, H, T, D).
    """
    steps, known = query.shape[2], key.shape[2]
    grouped = query.shape[1] != key.shape[1]
    if start == 0 and window is None:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=grouped)
    mask = None
    if steps > 1 or (window is not None and known > window):
        place, other = pe.arange(start, start + steps).reshape(-1, 1), pe.arange(known)
        mask = other <= place if window is None else (other <= place) & (other > place - window)
    return F.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=grouped)


class GatedFeedForward(nn.Module):
    """down(activation(gate x) * (up x)): SwiGLU with "silu", GEGLU with "gelu" or "gelu_tanh". (Shazeer 2020)

    Shape: (..., width) -> (..., width). residual is added to the result.
    """

    def __init__(self, width, hidden, activation="silu", bias=False):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias)
        self.up_proj = nn.Linear(width, hidden, bias)
        self.down_proj = nn.Linear(hidden, width, bias)
        self.activation = activation

    def forward(self, x, residual=None):
        gate, up, down = self.gate_proj, self.up_proj, self.down_proj
        inner = pe.linear(x, gate.weight, gate.bias, self.activation) * pe.linear(x, up.weight, up.bias)
        return pe.linear(inner, down.weight, down.bias, None, residual)


def built(kind, weights, sizes, renamed=None):
    """A kind(**sizes), with the weights of a file where one is named: then nothing is drawn, and the file's tensors
    become the model's without another copy. Sizes that are not given are read from a config.json beside the file.

    Arguments: renamed, the state_dict of a file -> one with the model's own names. Errors: as load_model's.
    """
    if weights is None:
        return kind(**sizes)
    sizes = sizes_beside(weights, kind) | sizes
    state = load_state(weights)
    return with_state(skip_init(kind, **sizes), state if renamed is None else renamed(state), weights)


def sizes_beside(weights, kind):
    """The arguments of kind that the config.json in the folder of weights has; {} where there is none."""
    path = os.path.join(os.path.dirname(os.fspath(weights)), "config.json")
    if not os.path.exists(path):
        return {}
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read(1 << 20))
        config = getattr(kind, "from_config", dict)(config)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: no configuration of {kind.__name__}: {error}") from None
    known = kind.__init__.__kwdefaults__
    return {name: value for name, value in config.items() if name in known and value is not None}


def with_state(model, state, file):
    """model with the tensors of state as its own; what the model ties may be missing under its other names."""
    tied = {}
    own = model.state_dict(keep_vars=True)
    for name, tensor in own.items():
        if name in state:
            tied.setdefault(id(tensor), state[name])
    for name, tensor in own.items():
        if name not in state and id(tensor) in tied:
            state[name] = tied[id(tensor)]
    try:
        model.load_state_dict({name: _float32(tensor) for name, tensor in state.items()}, assign=True)
    except RuntimeError as error:
        raise RuntimeError(f"{os.fspath(file)}: {error}") from None
    return model


def _float32(tensor):
    return tensor if tensor.dtype.name in ("float32", "int64") else tensor.float()


def without_prefix(state, prefix, ignored=()):
    """state without the prefix that some files put before each name, and without entries that no parameter is."""
    cut = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in cut.items() if not name.endswith(tuple(ignored))}


def check_ids(what, ids, longest=None):
    """Whole numbers (B, T), T at most longest; ValueError else. Numbers out of range are the embedding's to refuse."""
    if not isinstance(ids, pe.Tensor) or ids.ndim != 2 or ids.is_floating_point():
        shown = f"{ids.dtype.name} {ids.shape}" if isinstance(ids, pe.Tensor) else type(ids).__name__
        raise ValueError(f"{what}: token ids (B, T) of whole numbers are needed, got {shown}")
    if ids.shape[1] == 0 or (longest is not None and ids.shape[1] > longest):
        limit = "at least one" if longest is None else f"1 to {longest}"
        raise ValueError(f"{what}: {limit} positions are needed, got ids of shape {ids.shape}")
    return ids
