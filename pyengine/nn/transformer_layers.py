"""The layers of a transformer: attention, a feed-forward net, and a norm around each."""

from . import functional as F
from .attention import MultiheadAttention
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .norm import LayerNorm

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer"]


def _activation(activation):
    """The function for a name, or what was given."""
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"transformer layer: activation must be 'relu', 'gelu' or a function, got {activation!r}")
    return F.relu if activation == "relu" else F.gelu


class _Layer(Module):
    """What both layers are built of; the names and their order are torch's."""

    def _build(
        self,
        attentions,
        size,
        nhead,
        dim_feedforward,
        dropout,
        activation,
        eps,
        batch_first,
        norm_first,
        bias,
        device,
        dtype,
    ):
        for name in attentions:
            setattr(
                self,
                name,
                MultiheadAttention(size, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype),
            )
        self.linear1 = Linear(size, dim_feedforward, bias=bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, size, bias=bias)
        self.norm_first = norm_first
        for prefix in ("norm", "dropout"):
            for i in range(len(attentions) + 1):
                part = LayerNorm(size, eps, bias=bias) if prefix == "norm" else Dropout(dropout)
                setattr(self, f"{prefix}{i + 1}", part)
        self.activation = _activation(activation)

    def _blocks(self, x, *blocks):
        """x through the blocks, each with its norm: before it (norm_first), or after the sum."""
        for i, block in enumerate(blocks, 1):
            norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            x = x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))
        return x

    def _feed_forward(self, x):
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


def _attend(attention, x, memory, mask, padding, causal):
    """The attention's output alone. The hint that the mask is causal changes nothing: the mask itself is used."""
    if causal and mask is None:
        raise RuntimeError("transformer layer: is_causal is a hint about the mask, which is missing")
    return attention(x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0]


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward net, each with a residual and a norm. (Vaswani et al. 2017)

    Arguments: d_model, nhead, dim_feedforward, dropout, activation ("relu", "gelu" or a function), layer_norm_eps,
    batch_first, norm_first (Xiong et al. 2020), bias.
    Shape: (S, N, E), (N, S, E) with batch_first, or (S, E), kept. True in a bool mask hides a key.

    >>> import pyengine as pe
    >>> pe.nn.TransformerEncoderLayer(8, 2, 16)(pe.zeros(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self._build(
            ("self_attn",),
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        def attend(x):
            return _attend(self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal)

        return self._blocks(src, attend, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output and a feed-forward net, each with a residual and a norm.

    Arguments: as TransformerEncoderLayer's. Shape: tgt (T, N, E), memory (S, N, E) -> (T, N, E).
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self._build(
            ("self_attn", "multihead_attn"),
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=False,
        memory_is_causal=False,
    ):
        def attend(x):
            return _attend(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def attend_memory(x):
            return _attend(self.multihead_attn, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal)

        return self._blocks(tgt, attend, attend_memory, self._feed_forward)
