"""GPT-2."""

import pyengine as pe
from pyengine import nn

from .cache import KVCache
from .transformer_blocks import (
    activation_name,
    built,
    causal_attention,
    check_tokens,
    merge_heads,
    split_heads,
    without_prefix,
)


class Conv1D(nn.Module):
    """x weight + bias with weight (in, out): a linear layer whose weight lies the other way round."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(pe.empty(inputs, outputs))
        self.bias = nn.Parameter(pe.empty(outputs))
        nn.init.normal_(self.weight, 0.0, 0.02)
        nn.init.zeros_(self.bias)

    def forward(self, x, activation=None, residual=None):
        return pe.linear(x, self.weight.transpose(0, 1), self.bias, activation, residual)


class Attention(nn.Module):
    """Causal attention; one product makes queries, keys and values."""

    def __init__(self, width, heads):
        super().__init__()
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width)
        self.heads = heads

    def forward(self, x, dropout, keep):
        width = x.shape[-1]
        qkv = self.c_attn(x)
        q, k, v = (split_heads(qkv[..., i * width : (i + 1) * width], self.heads) for i in range(3))
        if keep is not None:
            k, v = keep(k, v)
        seen = causal_attention(q, k, v, k.shape[2] - q.shape[2], dropout=dropout)
        return merge_heads(seen)


class Block(nn.Module):
    """Attention, then two linear layers, each of the normalized input and added to it."""

    def __init__(self, width, hidden, heads, activation, eps, dropout):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = Conv1D(width, hidden), Conv1D(hidden, width)
        self.activation, self.dropout = activation, dropout

    def forward(self, x, keep=None):
        p = self.dropout if self.training else 0.0
        x = self._added(self.attn.c_proj, self.attn(self.ln_1(x), p, keep), x, p)
        return self._added(self.mlp.c_proj, self.mlp.c_fc(self.ln_2(x), self.activation), x, p)

    @staticmethod
    def _added(layer, inner, x, p):
        return pe.dropout(layer(inner), p) + x if p else layer(inner, None, x)


class GPT2(nn.Module):
    """The decoder with learned positions. (Radford et al. 2019, "Language models are unsupervised multitask learners")

    The state_dict's keys and layouts are those of Hugging Face's GPT2LMHeadModel, and so are the arguments' names;
    n_inner is 4 n_embd where it is None, dropout stands for all of its three.
    Shape: input_ids (B, T) -> logits (B, T, vocab_size), or (B, 1, vocab_size) with last=True. With a cache the tokens
    follow those that are in it, and are added to it.
    """

    def __init__(
        self, *, vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12, n_inner=None,
        activation_function="gelu_new", layer_norm_epsilon=1e-5, dropout=0.1,
    ):  # fmt: skip
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"GPT2: n_embd {n_embd} is not divisible by {n_head} heads")
        self.longest, self.heads, self.head_dim, self.dropout = n_positions, n_head, n_embd // n_head, dropout
        self.transformer = nn.Module()
        self.transformer.wte = nn.Embedding(vocab_size, n_embd)
        self.transformer.wpe = nn.Embedding(n_positions, n_embd)
        for table in (self.transformer.wte, self.transformer.wpe):
            nn.init.normal_(table.weight, 0.0, 0.02)
        hidden, activation = 4 * n_embd if n_inner is None else n_inner, activation_name(activation_function)
        self.transformer.h = nn.ModuleList(
            Block(n_embd, hidden, n_head, activation, layer_norm_epsilon, dropout) for _ in range(n_layer)
        )
        self.transformer.ln_f = nn.LayerNorm(n_embd, layer_norm_epsilon)
        self.lm_head = nn.Linear(n_embd, vocab_size, False)
        self.lm_head.weight = self.transformer.wte.weight

    def new_cache(self, batch=1, capacity=None):
        """A KVCache for batch rows of this net, of capacity tokens (as many as it has positions)."""
        capacity = self.longest if capacity is None else min(capacity, self.longest)
        return KVCache(len(self.transformer.h), batch, self.heads, capacity, self.head_dim)

    def forward(self, input_ids, cache=None, last=False):
        steps, start = check_tokens("GPT2", input_ids, cache, self.longest)
        inner = self.transformer
        x = inner.wte(input_ids) + inner.wpe.weight[start : start + steps]
        x = pe.dropout(x, self.dropout, self.training)
        for number, block in enumerate(inner.h):
            x = block(x, None if cache is None else lambda k, v, number=number: cache.append(number, k, v))
        if cache is not None:
            cache.advance(steps)
        return self.lm_head(inner.ln_f(x[:, -1:] if last else x))


def _named(state):
    """Files of GPT2LMHeadModel, or of the model without its head, whose names lack "transformer."."""
    state = without_prefix(state, "transformer.", (".attn.bias", ".attn.masked_bias"))
    return {name if name.startswith("lm_head.") else f"transformer.{name}": tensor for name, tensor in state.items()}


def gpt2(weights=None, **sizes):
    """GPT2 with the weights of a safetensors file or of one that torch.save wrote; sizes are GPT2's arguments, or those
    of a config.json beside the file.

    >>> net = gpt2(vocab_size=50, n_positions=16, n_embd=8, n_layer=1, n_head=2).eval()
    >>> net(pe.tensor([[1, 2, 3]])).shape
    (1, 3, 50)
    """
    return built(GPT2, weights, sizes, _named)
