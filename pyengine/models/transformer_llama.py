"""Llama, and the decoders that are made as it is: SmolLM2, Mistral, Qwen."""

import pyengine as pe
from pyengine import nn

from .cache import KVCache
from .rope import RotaryPositions
from .transformer_blocks import (
    GatedFeedForward,
    SideBySide,
    activation_name,
    built,
    causal_attention,
    check_tokens,
    merge_heads,
    split_heads,
    with_state,
)


class Attention(nn.Module):
    """Grouped causal attention between projections, queries and keys turned by their positions."""

    def __init__(self, width, heads, kv_heads, size, bias, qk_norm, eps):
        super().__init__()
        self.q_proj = nn.Linear(width, heads * size, bias)
        self.k_proj = nn.Linear(width, kv_heads * size, bias)
        self.v_proj = nn.Linear(width, kv_heads * size, bias)
        self.o_proj = nn.Linear(heads * size, width, False)
        self.q_norm = nn.RMSNorm(size, eps) if qk_norm else None
        self.k_norm = nn.RMSNorm(size, eps) if qk_norm else None
        self.heads, self.kv_heads = heads, kv_heads
        self.together = SideBySide(self.q_proj, self.k_proj, self.v_proj)

    def forward(self, x, residual, turn, start, window, keep):
        q, k = split_heads(self.q_proj(x), self.heads), split_heads(self.k_proj(x), self.kv_heads)
        v = split_heads(self.v_proj(x), self.kv_heads)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = pe.rotary_embedding(q, *turn), pe.rotary_embedding(k, *turn)
        if keep is not None:
            k, v = keep(k, v)
        seen = causal_attention(q, k, v, k.shape[2] - q.shape[2] if keep is not None else 0, window)
        return pe.linear(merge_heads(seen), self.o_proj.weight, None, None, residual)


class Layer(nn.Module):
    """Attention, then a gated feed-forward block, each of the normalized input and added to it."""

    def __init__(self, width, hidden, activation, eps, mlp_bias, attention):
        super().__init__()
        self.self_attn = attention
        self.mlp = GatedFeedForward(width, hidden, activation, mlp_bias)
        self.input_layernorm = nn.RMSNorm(width, eps)
        self.post_attention_layernorm = nn.RMSNorm(width, eps)

    def forward(self, x, *places):
        x = self.self_attn(self.input_layernorm(x), x, *places)
        return self.mlp(self.post_attention_layernorm(x), x)


class Llama(nn.Module):
    """The decoder with RMSNorm, SwiGLU, rotary positions and grouped heads. (Touvron et al. 2023, "LLaMA: open and
    efficient foundation language models"; Ainslie et al. 2023, "GQA")

    The state_dict's keys are those of Hugging Face's LlamaForCausalLM, and so are the names of the arguments: sizes;
    head_dim, hidden_size / num_attention_heads where it is None; attention_bias (Qwen2's), of q, k and v; qk_norm
    (Qwen3's): RMSNorm of each head's queries and keys; sliding_window (Mistral's): how many of the last tokens each
    sees, itself among them; rope_parameters: how positions turn past the trained length ('linear', 'dynamic',
    'llama3', 'yarn'; rope.RotaryPositions tells its keys); rope_scale: short for 'linear' with this factor.
    Shape: input_ids (B, T) -> logits (B, T, vocab_size), or (B, 1, vocab_size) with last=True. With a cache the tokens
    follow those that are in it, and are added to it.
    """

    def __init__(
        self, *, vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=None, head_dim=None, max_position_embeddings=2048,
        rms_norm_eps=1e-6, rope_theta=10000.0, rope_scale=1.0, hidden_act="silu", attention_bias=False,
        rope_parameters=None, mlp_bias=False, qk_norm=False, sliding_window=None, tie_word_embeddings=False,
    ):  # fmt: skip
        super().__init__()
        heads = num_attention_heads
        kv_heads = heads if num_key_value_heads is None else num_key_value_heads
        if heads % kv_heads or (head_dim is None and hidden_size % heads):
            raise ValueError(f"Llama: {heads} heads do not divide by {kv_heads}, or hidden_size {hidden_size} by them")
        self.head_dim = hidden_size // heads if head_dim is None else head_dim
        if rope_parameters is None:
            rope_parameters = {"rope_type": "linear", "factor": rope_scale}
        self.turns = RotaryPositions(self.head_dim, rope_theta, max_position_embeddings, rope_parameters)
        self.kv_heads, self.longest, self.window = kv_heads, self.turns.longest, sliding_window
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocab_size, hidden_size)
        self.model.layers = nn.ModuleList(
            Layer(hidden_size, intermediate_size, activation_name(hidden_act), rms_norm_eps, mlp_bias,
                  Attention(hidden_size, heads, kv_heads, self.head_dim, attention_bias, qk_norm, rms_norm_eps))
            for _ in range(num_hidden_layers)
        )  # fmt: skip
        self.model.norm = nn.RMSNorm(hidden_size, rms_norm_eps)
        self.lm_head = nn.Linear(hidden_size, vocab_size, False)
        if tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, 0.0, 0.02)

    @staticmethod
    def from_config(config):
        """Hugging Face's configuration with our names for what is spelled otherwise there."""
        rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        for name in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):  # beside it, once
            if config.get(name) is not None:
                rope.setdefault(name, config[name])
        RotaryPositions(4, 10000.0, 2048, rope)  # refuses what cannot be read while the file's name is known
        window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
        family = config.get("model_type")
        return config | {
            "rope_parameters": rope, "sliding_window": window, "qk_norm": family == "qwen3",
            "attention_bias": config.get("attention_bias", family == "qwen2"),
        }  # fmt: skip

    def new_cache(self, batch=1, capacity=None):
        """A KVCache for batch rows of this net, of capacity tokens (as many as it has positions)."""
        capacity = self.longest if capacity is None else min(capacity, self.longest)
        return KVCache(len(self.model.layers), batch, self.kv_heads, capacity, self.head_dim, self.window)

    def reader(self):
        """What reads tokens for generate: this net, or a shorter way through it where all of its layers are plain."""
        from .llama_reader import reader

        return reader(self)

    def forward(self, input_ids, cache=None, last=False):
        steps, start = check_tokens("Llama", input_ids, cache, self.longest)
        turn, x = self.turns(start, start + steps), self.model.embed_tokens(input_ids)
        for number, layer in enumerate(self.model.layers):
            keep = None if cache is None else lambda k, v, number=number: cache.append(number, k, v)
            x = layer(x, turn, start, self.window, keep)
        if cache is not None:
            cache.advance(steps)
        return self.lm_head(self.model.norm(x[:, -1:] if last else x))


def llama(weights=None, **sizes):
    """Llama with the weights of a file: safetensors or torch.save's with Hugging Face's names, whose sizes are given as
    Llama's arguments; or GGUF, which brings its sizes.

    >>> net = llama(vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> net(pe.tensor([[1, 2, 3]])).shape
    (1, 3, 50)
    """
    if weights is not None and str(weights).endswith(".gguf"):
        from pyengine.nn.utils import skip_init

        from .gguf_llama import read_llama

        found, state = read_llama(weights)
        return with_state(skip_init(Llama, **(found | sizes)), state, weights)
    return built(Llama, weights, sizes)
