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


def causal_attention(query, key, value, start=0, window=None, scale=None, dropout=0.0):
    """Attention of T queries at positions start .. start + T - 1 to the keys up to their own position, of which window
    leaves the last ones (None: all); key and value may have fewer heads than query.

    Shape: query (B, H, T, D), key and value (B, H_kv, start + T, D) -> (B, H, T, D).
    """
    grouped = query.shape[1] != key.shape[1]
    if query.shape[2] == 1 and (window is None or key.shape[2] <= window):  # it sees all, in whatever order they lie
        return F.scaled_dot_product_attention(query, key, value, None, dropout, False, scale, grouped)
    return F.scaled_dot_product_attention(
        query, key, value, None, dropout, True, scale, grouped, query_start=start, window=window
    )


class SideBySide:
    """Linear layers of one input whose weights lie side by side in one piece of memory, so that inference needs one
    product for all. Keys, gradients and writes are the layers' own; a layer that gets another weight falls out of it
    until gather() is called."""

    def __init__(self, *layers):
        self.layers = layers
        self.weight = _joined([layer.weight for layer in layers])
        self.bias = None if layers[0].bias is None else _joined([layer.bias for layer in layers])
        for layer, name, part, own in self._parts():
            setattr(layer, name, nn.Parameter(part, own.requires_grad))
        for layer in layers:
            layer.reset_parameters()

    def _parts(self):
        """(layer, name, its part of the whole, its parameter now)."""
        for name in ("weight", "bias"):
            whole, start = getattr(self, name), 0
            for layer in self.layers if whole is not None else ():
                own = layer._parameters[name]
                yield layer, name, whole[start : start + own.shape[0]], own
                start += own.shape[0]

    def gather(self):
        """Brings the layers' numbers, which may have come from a file, into the one piece of memory."""
        for layer, name, part, own in self._parts():
            if part.data_ptr != own.data_ptr:
                with pe.no_grad():
                    part.copy_(own)
                setattr(layer, name, nn.Parameter(part, own.requires_grad))

    def whole(self):
        """(weight, bias) of all at once; None where they lie elsewhere, or a layer is more than its product."""
        together = all(is_plain(layer, nn.Linear) for layer in self.layers) and all(
            part.data_ptr == own.data_ptr and part.shape == own.shape for _, _, part, own in self._parts()
        )
        return (self.weight, self.bias) if together else None


def _joined(parts):
    return pe.empty(sum(part.shape[0] for part in parts), *parts[0].shape[1:])


def is_plain(module, kind):
    """A call of module is kind's forward and nothing else: no hooks, no parametrization, no forward of a subclass."""
    hooks = module._hooks
    return (
        type(module) is kind
        and (hooks is None or not hooks.around_call)
        and not module._parametrized
        and "forward" not in module.__dict__
    )


class GatedFeedForward(nn.GatedMLP):
    """A GatedMLP whose activation, by its name in linear, and residual are part of the products, and whose first two
    weights lie side by side."""

    def __init__(self, width, hidden, activation="silu", bias=False):
        super().__init__(width, hidden, activation, bias)
        self.together = SideBySide(self.gate_proj, self.up_proj)

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
    state.clear()  # what is gathered now need not be there twice
    for module in model.modules():
        if isinstance(module.__dict__.get("together"), SideBySide):
            module.together.gather()
    return model


def _float32(tensor):
    return tensor if tensor.dtype.name in ("float32", "int64") else tensor.float()


def without_prefix(state, prefix, ignored=()):
    """state without the prefix that some files put before each name, and without entries that no parameter is."""
    cut = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in cut.items() if not name.endswith(tuple(ignored))}


def activation_name(name):
    """The name that linear and pyengine have for one of Hugging Face's."""
    return {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}.get(name, name)


def check_tokens(what, ids, cache, longest):
    """(T, position of the first token) of ids (B, T) behind those of a cache; ValueError where they do not fit."""
    steps, start = check_ids(what, ids).shape[1], 0 if cache is None else cache.length
    if start + steps > longest:
        raise ValueError(f"{what}: {start + steps} tokens, the net has {longest} positions")
    if cache is not None:
        cache.reserve(steps)
    return steps, start


def check_ids(what, ids, longest=None):
    """Whole numbers (B, T), T at most longest; ValueError else. Numbers out of range are the embedding's to refuse."""
    if not isinstance(ids, pe.Tensor) or ids.ndim != 2 or ids.is_floating_point():
        shown = f"{ids.dtype.name} {ids.shape}" if isinstance(ids, pe.Tensor) else type(ids).__name__
        raise ValueError(f"{what}: token ids (B, T) of whole numbers are needed, got {shown}")
    if ids.shape[1] == 0 or (longest is not None and ids.shape[1] > longest):
        limit = "at least one" if longest is None else f"1 to {longest}"
        raise ValueError(f"{what}: {limit} positions are needed, got ids of shape {ids.shape}")
    return ids
