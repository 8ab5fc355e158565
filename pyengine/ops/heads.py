"""Attention of many heads between two projections. (Vaswani et al., 2017)"""

from math import prod, sqrt

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.attention import attention_weights, scaled_dot_product_attention
from pyengine.ops.create import zeros
from pyengine.ops.product import linear, matmul
from pyengine.ops.random import dropout
from pyengine.ops.reduction import mean
from pyengine.ops.rounding import where
from pyengine.ops.shape import cat, expand, permute, reshape, transpose, unsqueeze
from pyengine.ops.softmax import softmax

__all__ = ["multi_head_attention_forward"]

_MINUS_INFINITY = float("-inf")


def _hidden(mask: Tensor | None, name: str) -> Tensor | None:
    """A mask of torch's layers, where True (other than above) hides a key, as what is added to scores."""
    if mask is None or tensor_only(mask, "multi_head_attention_forward", name).dtype.name == "float32":
        return mask
    if mask.dtype.name != "bool":
        raise RuntimeError(f"multi_head_attention_forward: {name} must be bool or float32, got {mask.dtype.name}")
    return where(mask, _core.full(mask.shape, _MINUS_INFINITY), 0.0)


def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads) -> bool:
    """True for a batch; AssertionError, as torch's, where ranks or shapes do not fit."""
    what = "multi_head_attention_forward"
    batched = tensor_only(query, what, "query").ndim == 3
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"{what}: query, key and value need 2 or 3 axes alike, got shapes {query.shape}, {key.shape}, {value.shape}"
        )
    if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
        raise AssertionError(f"{what}: key_padding_mask of shape {key_padding_mask.shape} needs {query.ndim - 1} axes")
    if attn_mask is not None and attn_mask.ndim not in (2, 3):
        raise AssertionError(f"{what}: attn_mask of shape {attn_mask.shape} needs 2 or 3 axes")
    if not batched and attn_mask is not None and attn_mask.ndim == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if attn_mask.shape != expected:
            raise AssertionError(f"{what}: attn_mask of shape {attn_mask.shape}, {expected} is expected")
    return batched


def _projected(query, key, value, packed, separate, bias) -> list[Tensor]:
    """Query, key and value times their weights."""
    embed = query.shape[-1]
    weights = separate if packed is None else [packed[i * embed : (i + 1) * embed] for i in range(3)]
    parts = [None] * 3 if bias is None else [bias[i * embed : (i + 1) * embed] for i in range(3)]
    return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, parts, strict=True)]


def _heads(x: Tensor, heads: int) -> Tensor:
    """(T, N, E) -> (N, heads, T, E / heads)."""
    steps, batch, embed = x.shape
    return permute(reshape(x, (steps, batch, heads, embed // heads)), (1, 2, 0, 3))


def _one_more(mask: Tensor | None) -> Tensor | None:
    """The mask for one more key, which is seen."""
    return mask if mask is None else cat([mask, zeros(*mask.shape[:-1], 1)], -1)


def _joined(attn_mask, key_padding_mask, batch: int, heads: int, lengths: tuple[int, int]) -> Tensor | None:
    """Both masks as one that broadcasts to (batch, heads, *lengths)."""
    what = "multi_head_attention_forward"
    if attn_mask is not None:
        expected = lengths if attn_mask.ndim == 2 else (batch * heads, *lengths)
        if attn_mask.shape != expected:
            raise RuntimeError(f"{what}: attn_mask of shape {attn_mask.shape}, {expected} is expected")
        if attn_mask.ndim == 3:
            attn_mask = reshape(attn_mask, (batch, heads, *lengths))
    if key_padding_mask is None:
        return attn_mask
    if key_padding_mask.shape != (batch, lengths[1]):
        raise AssertionError(
            f"{what}: key_padding_mask of shape {key_padding_mask.shape}, {(batch, lengths[1])} is expected"
        )
    padding = reshape(key_padding_mask, (batch, 1, 1, lengths[1]))
    return padding if attn_mask is None else attn_mask + padding


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
    key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention of many heads between two projections; see nn.MultiheadAttention.

    Shape: query (L, N, E), key (S, N, K), value (S, N, V), or all without N -> (L, N, E) and the weights (N, L, S), (N,
    heads, L, S) where they are not averaged, None where they are not needed. True in a bool mask hides a key.
    """
    what = "multi_head_attention_forward"
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = (unsqueeze(x, 1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else unsqueeze(key_padding_mask, 0)
    (length, batch, embed), steps = query.shape, key.shape[0]
    if embed != embed_dim_to_check or embed % num_heads:
        raise AssertionError(
            f"{what}: {embed_dim_to_check} features divisible by {num_heads} heads are expected, got "
            f"query of shape {query.shape}"
        )
    if key.shape[:2] != value.shape[:2] or (not use_separate_proj_weight and key.shape != value.shape):
        raise AssertionError(f"{what}: key of shape {key.shape} does not fit value of shape {value.shape}")
    if is_causal and attn_mask is None:
        raise RuntimeError(f"{what}: is_causal is a hint about attn_mask, which is missing")
    mask, padding = _hidden(attn_mask, "attn_mask"), _hidden(key_padding_mask, "key_padding_mask")
    mask = _joined(mask, padding, batch, num_heads, (length, steps))
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    q, k, v = _projected(
        query, key, value, None if use_separate_proj_weight else in_proj_weight, separate, in_proj_bias
    )
    if bias_k is not None and bias_v is not None:
        k, v = (cat([x, expand(extra, (1, batch, embed))]) for x, extra in ((k, bias_k), (v, bias_v)))
        mask = _one_more(mask)
    q, k, v = (_heads(x, num_heads) for x in (q, k, v))
    if static_k is not None:
        k = reshape(static_k, (batch, num_heads, -1, embed // num_heads))
    if static_v is not None:
        v = reshape(static_v, (batch, num_heads, -1, embed // num_heads))
    if add_zero_attn:
        k, v = (cat([x, zeros(batch, num_heads, 1, embed // num_heads)], 2) for x in (k, v))
        mask = _one_more(mask)
    if need_weights:
        weights = dropout(_shown_weights(q * (1.0 / sqrt(embed // num_heads)), k, mask), dropout_p, training)
        out, shown = matmul(weights, v), mean(weights, 1) if average_attn_weights else weights
    else:
        out, shown = scaled_dot_product_attention(q, k, v, mask, dropout_p if training else 0.0), None
    out = reshape(permute(out, (2, 0, 1, 3)), (length, batch, embed))
    out = linear(out, out_proj_weight, out_proj_bias)
    return (out, shown) if batched else (out[:, 0], None if shown is None else shown[0])


def _shown_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """As torch: where the weights are asked for, a query that sees no key has NaN for them."""
    if mask is None or prod(query.shape) == 0:
        return attention_weights(query, key, mask)
    return softmax(matmul(query, transpose(key, -1, -2)) + mask)
