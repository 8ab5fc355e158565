"""Rotary position embedding: pairs of features turned by angles that grow with the position. (Su et al. 2021)"""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.shape import cat, reshape, stack

__all__ = ["rotary_embedding", "rotary_tables"]


def rotary_tables(length: int, dim: int, base: float = 10000.0, start: int = 0, scale: float = 1.0):
    """cos and sin of position / (scale base^(2 i / dim)), each (length, dim / 2): what `rotary_embedding` takes.

    Arguments: length, positions start .. start + length - 1; dim, features that are turned; scale, linear scaling of
    positions. Angles are worked out in float64. ValueError: dim is odd, or a size is negative.

    >>> cos, sin = rotary_tables(3, 4)
    >>> cos.shape, sin[0].tolist()
    ((3, 2), [0.0, 0.0])
    """
    import numpy

    if dim < 2 or dim % 2 or length < 0:
        raise ValueError(f"rotary_tables: an even dim and a length are needed, got dim {dim} and length {length}")
    speed = float(base) ** (-numpy.arange(0, dim, 2, dtype=numpy.float64) / dim) / scale
    angle = numpy.arange(start, start + length, dtype=numpy.float64)[:, None] * speed
    return tuple(_core.from_pickle(f(angle).astype(numpy.float32), "float32", False) for f in (numpy.cos, numpy.sin))


def rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """(a cos - b sin, b cos + a sin) for each pair (a, b) of features.

    Arguments: cos and sin, as `rotary_tables` makes them, one row a position; interleaved, where the pairs are: False,
    feature i with i + D/2 (NeoX, Hugging Face); True, feature 2i with 2i + 1 (GPT-J, GGUF).
    Shape: x (..., T, E), cos and sin (T, D/2) -> (..., T, E); features from D on stay as they are.

    >>> import pyengine as pe
    >>> x = pe.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> [round(v, 4) for v in rotary_embedding(x, *rotary_tables(2, 2))[1].tolist()]
    [0.5403, 0.8415]
    """
    what = "rotary_embedding"
    half = tensor_only(cos, what, "cos").shape[-1] if cos.ndim else 0
    if tensor_only(x, what, "x").ndim < 2 or cos.shape != tensor_only(sin, what, "sin").shape:
        raise ValueError(f"{what}: x {x.shape}, cos {cos.shape} and sin {sin.shape} do not fit")
    if cos.ndim != 2 or cos.shape[0] != x.shape[-2] or not 0 < 2 * half <= x.shape[-1]:
        raise ValueError(f"{what}: x of shape {x.shape} needs cos and sin (T, D/2), got {cos.shape}")
    turned = x if 2 * half == x.shape[-1] else x[..., : 2 * half]
    if interleaved:
        pairs = reshape(turned, (*turned.shape[:-1], half, 2))
        a, b = pairs[..., 0], pairs[..., 1]
        turned = reshape(stack([a * cos - b * sin, b * cos + a * sin], -1), turned.shape)
    else:
        a, b = turned[..., :half], turned[..., half:]
        turned = cat([a * cos - b * sin, b * cos + a * sin], -1)
    return turned if turned.shape == x.shape else cat([turned, x[..., 2 * half :]], -1)
