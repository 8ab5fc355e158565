"""Llama's sizes and weights in a GGUF file."""

import re

from pyengine.io.gguf import GGUF

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_IGNORED = ("rope_freqs.weight",)
_NAME = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", re.A)


def read_llama(filename):
    """(Llama's arguments, its state_dict in float32) of a GGUF file.

    Rows of q and k, which these files keep in the order of interleaved rotary pairs, are put back into halves.
    Errors: FileNotFoundError; ValueError that names the file and what does not fit.
    """
    file = GGUF(filename)
    try:
        sizes = _sizes(file)
        _check_layers(file, sizes["num_hidden_layers"])
        return sizes, _state(file, sizes)
    except _Misfit as error:
        raise ValueError(f"{file.filename}: {error}") from None


class _Misfit(Exception):
    """What does not fit."""


def _number(file, name, kind=int, default=None):
    value = file.metadata.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not 0 < value < 1 << 31:
        raise _Misfit(f"metadata {name!r} should be a positive number, got {value!r:.60}")
    return value


def _shape(file, name, axes=2):
    stored = file.tensors.get(name)
    if stored is None or len(stored.shape) != axes:
        raise _Misfit(f"tensor {name!r} of {axes} axes is missing")
    return stored.shape


def _sizes(file):
    """Sizes come from the tensors, which the file really has, and from metadata only what no tensor tells."""
    family = file.metadata.get("general.architecture")
    if family not in ARCHITECTURES:
        raise _Misfit(f"architecture {family!r:.60}; {', '.join(ARCHITECTURES)} are read")
    vocabulary, width = _shape(file, "token_embd.weight")
    heads = _number(file, f"{family}.attention.head_count")
    head_dim = _number(file, f"{family}.attention.key_length", default=max(width // heads, 1))
    inner, narrow = _shape(file, "blk.0.attn_q.weight")[0], _shape(file, "blk.0.attn_k.weight")[0]
    if inner != heads * head_dim or narrow % head_dim or head_dim % 2:
        raise _Misfit(f"{heads} heads of {head_dim} do not fit q and k of {inner} and {narrow} rows")
    if _number(file, f"{family}.rope.dimension_count", default=head_dim) != head_dim:
        raise _Misfit("heads that are turned in part are not read")
    if file.metadata.get(f"{family}.rope.scaling.type", "none") != "none":
        raise _Misfit("scaled rotary positions are not read")
    return {
        "vocab_size": vocabulary, "hidden_size": width, "num_attention_heads": heads, "head_dim": head_dim,
        "num_key_value_heads": narrow // head_dim, "intermediate_size": _shape(file, "blk.0.ffn_gate.weight")[0],
        "num_hidden_layers": _number(file, f"{family}.block_count"),
        "max_position_embeddings": _number(file, f"{family}.context_length"),
        "rms_norm_eps": _number(file, f"{family}.attention.layer_norm_rms_epsilon", float),
        "rope_theta": _number(file, f"{family}.rope.freq_base", float, 10000.0),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors, "qk_norm": "blk.0.attn_q_norm.weight" in file.tensors,
    }  # fmt: skip


def _check_layers(file, layers):
    """Every layer has the first one's tensors: a count alone makes no memory be asked for."""
    parts = {name.removeprefix("blk.0."): stored.shape for name, stored in file.tensors.items()
             if name.startswith("blk.0.")}  # fmt: skip
    expected = len(parts) * layers + sum(not name.startswith("blk.") for name in file.tensors)
    if layers > len(file.tensors) or expected != len(file.tensors):
        raise _Misfit(f"{len(file.tensors)} tensors are there, {layers} layers of {len(parts)} would make {expected}")
    for number in range(layers):
        for part, shape in parts.items():
            if _shape(file, f"blk.{number}.{part}", len(shape)) != shape:
                raise _Misfit(f"tensor 'blk.{number}.{part}' has another shape than 'blk.0.{part}'")


def _state(file, sizes):
    state = {}
    for name in file.tensors:
        if name in _IGNORED:
            continue
        found = _NAME.fullmatch(name)
        layer, place, kind = found.groups() if found else (None, None, None)
        known = _OUTER if layer is None else _INNER
        if place not in known:
            raise _Misfit(f"tensor {name!r:.100} is no part of this network")
        tensor = file.tensor(name)
        if place in ("attn_q", "attn_k") and file.metadata["general.architecture"] == "llama":
            tensor = _in_halves(tensor, sizes["head_dim"])
        full = known[place] if layer is None else f"model.layers.{layer}.{known[place]}"
        state[f"{full}.{kind}"] = tensor
    return state


def _in_halves(tensor, head_dim):
    """Rows 0 2 4 .. 1 3 5 .. of each head."""
    pairs = tensor.reshape(tensor.shape[0] // head_dim, head_dim // 2, 2, -1)
    return pairs.transpose(1, 2).reshape(tensor.shape)
