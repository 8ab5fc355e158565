"""Attention: softmax of scaled dot products, in blocks that never hold all scores. (Vaswani et al., 2017; Dao et al.,
2022; Press et al., 2022: slopes)"""

from math import sqrt

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded, rule, tensor_only
from pyengine.ops.product import matmul
from pyengine.ops.random import dropout
from pyengine.ops.reduction import amax
from pyengine.ops.reduction import sum as total
from pyengine.ops.rounding import where
from pyengine.ops.shape import expand, reshape, transpose
from pyengine.ops.softmax import softmax

__all__ = ["scaled_dot_product_attention"]

_WHAT = "scaled_dot_product_attention"
_MINUS_INFINITY = float("-inf")


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    query_start: int = 0,
    window: int | None = None,
    lengths: Tensor | None = None,
    slopes: Tensor | None = None,
) -> Tensor:
    """softmax(query key^T scale + mask) value, in memory that is linear in L and S.

    Arguments: attn_mask, broadcast to (..., L, S): bool (True takes part) or float32 (is added); dropout_p, of the
    weights; is_causal: query i sees the keys 0 .. query_start + i, the last `window` of them where that is given;
    scale, 1/sqrt(E) where it is None; enable_gqa: query has a multiple of the heads (axis -3) of key and value;
    lengths (N), int64: so many keys of each sample are seen, the rest is padding; slopes (heads): slopes
    |query_start + i - j| is subtracted from the score of key j (ALiBi). Memory stays linear but for dropout, and where
    attn_mask or slopes want a gradient.
    Shape: query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V). A query that sees no key gives zeros.
    RuntimeError names shapes that do not fit, IndexError a length beyond S.

    >>> import pyengine as pe
    >>> x = pe.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> scaled_dot_product_attention(x, x, x, is_causal=True)[0].tolist()
    [1.0, 0.0]
    """
    _check(query, key, value, attn_mask, is_causal, window)
    for x, name in ((lengths, "lengths"), (slopes, "slopes")):
        if x is not None:
            tensor_only(x, _WHAT, name)
    factor = float(scale) if scale is not None else 1.0 / sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    options = factor, bool(is_causal), query_start, 0 if window is None else window
    if dropout_p or recorded(attn_mask, slopes) or not _is_plain(query, key, value, enable_gqa):
        return _composed(query, key, value, attn_mask, dropout_p, options, enable_gqa, lengths, slopes)
    shape = query.shape
    if query.ndim > 4:
        attn_mask = None if attn_mask is None else _four_axes(expand(attn_mask, (*shape[:-1], key.shape[-2])))
        query, key, value = (_four_axes(x) for x in (query, key, value))
    try:
        out = _core.attention(query, key, value, attn_mask, options, lengths, slopes)
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"{_WHAT}: {error}") from None
    return out if len(shape) <= 4 else reshape(out, (*shape[:-1], value.shape[-1]))


def _check(query, key, value, attn_mask, is_causal, window) -> None:
    for x, name in ((query, "query"), (key, "key"), (value, "value")):
        if tensor_only(x, _WHAT, name).ndim < 2:
            raise RuntimeError(f"{_WHAT}: {name} needs 2 axes or more, got shape {x.shape}")
        if x.dtype is not query.dtype:
            raise RuntimeError(f"{_WHAT}: dtypes {query.dtype.name} of query and {x.dtype.name} of {name} differ")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(f"{_WHAT}: query {query.shape}, key {key.shape} and value {value.shape} do not fit")
    if attn_mask is not None:
        if is_causal:
            raise RuntimeError(f"{_WHAT}: attn_mask and is_causal exclude each other")
        if tensor_only(attn_mask, _WHAT, "attn_mask").dtype.name not in ("bool", "float32"):
            raise RuntimeError(f"{_WHAT}: attn_mask must be bool or float32, got {attn_mask.dtype.name}")
    if window is not None and (window < 1 or not is_causal):
        raise RuntimeError(f"{_WHAT}: a window of {window} keys needs is_causal and 1 key or more")


def _is_plain(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> bool:
    """True where no leading axis is broadcast and the kernel can do it."""
    q, k, v = query.shape, key.shape, value.shape
    if query.dtype.name != "float32" or not q[-1] or not v[-1] or k[:-2] != v[:-2]:
        return False
    if not enable_gqa:
        return q[:-2] == k[:-2]
    grouped = len(q) == len(k) > 2 and q[:-3] == k[:-3] and k[-3] > 0 and q[-3] % k[-3] == 0
    return grouped and (len(q) > 3 or q[-3] == k[-3])


def _four_axes(x: Tensor) -> Tensor:
    return reshape(x, (-1, *x.shape[-3:]))


@rule("attention")
def _attention(node, g):
    query, key, value, out, lse, mask, lengths, slopes = node.saved
    if not _core.is_grad_enabled():
        return _core.attention_backward(query, key, value, out, lse, g, mask, node.meta, lengths, slopes)
    # to be differentiated again: in operations that are recorded
    scale, heads = node.meta[0], key.shape[-3] if key.ndim > 2 else 1
    k, v = (_more_heads(x, query) if x.ndim > 3 else x for x in (key, value))
    weights = attention_weights(query * scale, k, _whole_mask(query, key, mask, node.meta, lengths, slopes))
    dweights = matmul(g, transpose(v, -1, -2))
    dscores = weights * (dweights - total(dweights * weights, -1, keepdim=True)) * scale
    dk, dv = matmul(transpose(dscores, -1, -2), query), matmul(transpose(weights, -1, -2), g)
    if query.ndim > 3 and heads != query.shape[-3]:
        dk, dv = (total(reshape(x, (x.shape[0], heads, -1, *x.shape[-2:])), 2) for x in (dk, dv))
    return matmul(dscores, k), dk, dv


# ---- composed of other operations ------------------------------------------------


def _composed(query, key, value, attn_mask, dropout_p, options, enable_gqa, lengths, slopes) -> Tensor:
    try:
        mask = _whole_mask(query, key, attn_mask, options, lengths, slopes)
        if enable_gqa:
            key, value = (_more_heads(x, query) for x in (key, value))
        weights = attention_weights(query * options[0], key, mask)
        return matmul(dropout(weights, dropout_p), value)
    except ValueError as error:
        if "broadcast" in str(error) or "fit" in str(error):
            raise RuntimeError(f"{_WHAT}: {error}") from None
        raise


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(query key^T + mask) over the keys; zeros for a query whose mask is -inf everywhere."""
    scores = matmul(query, transpose(key, -1, -2))
    if mask is None or scores.numel() == 0:
        return softmax(scores) if scores.numel() else scores
    blind = amax(mask.detach(), -1, keepdim=True) == _MINUS_INFINITY
    # the scores of a blind row are made finite first: its softmax would be NaN, and so would its gradient
    return where(blind, 0.0, softmax(scores + where(blind, 0.0, mask)))


def causal_mask(rows: int, columns: int, start: int = 0, window: int = 0) -> Tensor:
    """0 where row i sees column j, -inf elsewhere: start + i - window < j <= start + i, a window of 0 for none."""
    row, column = reshape(_places(rows, start), (rows, 1)), _places(columns)
    mask = where(row >= column, 0.0, _core.full((rows, columns), _MINUS_INFINITY))
    return where(column > row - float(window), mask, _MINUS_INFINITY) if window else mask


def _places(count: int, start: int = 0) -> Tensor:
    return _core.tensor([float(i) for i in range(start, start + count)])


def _whole_mask(query, key, attn_mask, options, lengths, slopes) -> Tensor | None:
    """All that is added to the scores, as one mask; None where that is nothing."""
    _, causal, start, window = options
    rows, columns = query.shape[-2], key.shape[-2]
    parts = [causal_mask(rows, columns, start, window)] if causal else []
    if attn_mask is not None:
        hidden = _core.full(attn_mask.shape, _MINUS_INFINITY)
        parts.append(where(attn_mask, 0.0, hidden) if attn_mask.dtype.name == "bool" else attn_mask)
    if lengths is not None:
        _check_lengths(query, columns, lengths)
        counts = reshape(lengths.float(), (lengths.shape[0], *(1,) * (query.ndim - 1)))
        seen = _places(columns) < counts
        parts.append(where(seen, 0.0, _core.full(seen.shape, _MINUS_INFINITY)))
    if slopes is not None:
        if slopes.shape != ((query.shape[-3],) if query.ndim > 3 else (1,)):
            raise RuntimeError(f"{_WHAT}: slopes of shape {slopes.shape} must hold one number a head of {query.shape}")
        row = reshape(_places(rows, start), (rows, 1))
        parts.append(-reshape(slopes, (-1, 1, 1)) * (row - _places(columns)).abs())
    whole = None
    for part in parts:
        whole = part if whole is None else whole + part
    return whole


def _check_lengths(query: Tensor, columns: int, lengths: Tensor) -> None:
    batch = query.shape[0] if query.ndim > 2 else 1
    if query.ndim > 4 or lengths.dtype.name != "int64" or lengths.shape != (batch,):
        raise RuntimeError(f"{_WHAT}: lengths of shape {lengths.shape} must hold {batch} int64, one a sample")
    for i, length in enumerate(lengths.tolist()):
        if not 0 <= length <= columns:
            raise IndexError(f"{_WHAT}: lengths[{i}] is {length}, expected 0 to {columns}")


def _more_heads(x: Tensor, query: Tensor) -> Tensor:
    """Each head of x as often as query has heads for one."""
    if query.ndim < 3 or x.ndim < 3 or x.shape[-3] == 0 or query.shape[-3] % x.shape[-3]:
        raise RuntimeError(f"{_WHAT}: enable_gqa needs a multiple of the heads, got shapes {query.shape} and {x.shape}")
    times = query.shape[-3] // x.shape[-3]
    lead, rest = x.shape[:-2], x.shape[-2:]
    wide = expand(reshape(x, (*lead, 1, *rest)), (*lead, times, *rest))
    return reshape(wide, (*lead[:-1], query.shape[-3], *rest))
