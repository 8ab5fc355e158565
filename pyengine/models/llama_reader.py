"""The short way through a Llama in inference: the same operations on the same tensors, without the modules around them.

A token of a small net takes milliseconds, of which walking through some hundred modules would be a fifth.
"""

from typing import NamedTuple

import pyengine as pe
from pyengine import Tensor, _core, nn

from .transformer_blocks import GatedFeedForward, causal_attention, check_tokens, is_plain, merge_heads


class LayerTensors(NamedTuple):
    """What one layer computes with."""

    before: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    behind: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None


def reader(net):
    """A LlamaReader of net, or net itself where a module is more than its formula (hooks, parametrizations, ...)."""
    from .transformer_llama import Llama

    outer = (
        (net, Llama),
        (net.model.embed_tokens, nn.Embedding),
        (net.model.norm, nn.RMSNorm),
        (net.lm_head, nn.Linear),
    )
    layers = [_tensors(layer) for layer in net.model.layers]
    return net if None in layers or not all(is_plain(*pair) for pair in outer) else LlamaReader(net, layers)


def _tensors(layer):
    from .transformer_llama import Attention, Layer

    attention, block = layer.self_attn, layer.mlp
    norms = [attention.q_norm, attention.k_norm]
    pairs = [(layer, Layer), (attention, Attention), (block, GatedFeedForward), (attention.o_proj, nn.Linear),
             (block.down_proj, nn.Linear), (layer.input_layernorm, nn.RMSNorm),
             (layer.post_attention_layernorm, nn.RMSNorm), *((norm, nn.RMSNorm) for norm in norms if norm)]  # fmt: skip
    heads, both = attention.together.whole(), block.together.whole()
    if heads is None or both is None or not all(is_plain(*pair) for pair in pairs):
        return None
    down = block.down_proj
    return LayerTensors(layer.input_layernorm.weight, *heads, attention.o_proj.weight,
                        layer.post_attention_layernorm.weight, *both, down.weight, down.bias,
                        *(norm.weight if norm else None for norm in norms))  # fmt: skip


class LlamaReader:
    """reader(ids, cache, last=True) -> logits, as the net itself, bit for bit; nothing is recorded."""

    def __init__(self, net, layers):
        first = net.model.layers[0] if layers else None
        self.net, self.layers = net, layers
        self.embedding, self.norm, self.head = net.model.embed_tokens, net.model.norm.weight, net.lm_head
        self.eps = net.model.norm.eps
        self.activation = getattr(pe, first.mlp.activation) if first else None
        self.heads = first.self_attn.heads if first else 0

    @pe.no_grad()
    def __call__(self, ids, cache, last=True):
        net, steps = self.net, ids.shape[1]
        check_tokens("Llama", ids, cache, net.longest)
        turn, x = net.turns(cache.length, cache.length + steps), self.embedding(ids)
        for number, layer in enumerate(self.layers):
            x = self._behind(layer, self._attended(layer, x, turn, cache, number))
        cache.advance(steps)
        return self.head(_core.rms_norm(x[:, -1:] if last else x, self.norm, self.eps)[0])

    def _attended(self, t, x, turn, cache, number):
        """x plus attention."""
        heads, both, size = self.heads, self.heads + self.net.kv_heads, self.net.head_dim
        qkv = _core.linear(_core.rms_norm(x, t.before, self.eps)[0], t.qkv, t.qkv_bias)
        parts = qkv.view(*x.shape[:2], -1, size).transpose(1, 2)
        if t.q_norm is None:
            turned = _core.rotary(parts[:, :both], *turn)
        else:
            q = _core.rms_norm(parts[:, :heads], t.q_norm, self.eps)[0]
            turned = _core.rotary(pe.cat([q, _core.rms_norm(parts[:, heads:both], t.k_norm, self.eps)[0]], 1), *turn)
        k, v = cache.append(number, turned[:, heads:], parts[:, both:])
        seen = causal_attention(turned[:, :heads], k, v, k.shape[2] - x.shape[1], self.net.window)
        return _core.linear(merge_heads(seen), t.out, None, -1, x)

    def _behind(self, t, x):
        """x plus the feed-forward block."""
        gate_up = _core.linear(_core.rms_norm(x, t.behind, self.eps)[0], t.gate_up, t.gate_up_bias)
        hidden = t.down.shape[1]
        inner = self.activation(gate_up[..., :hidden]) * gate_up[..., hidden:]
        return _core.linear(inner, t.down, t.down_bias, -1, x)
