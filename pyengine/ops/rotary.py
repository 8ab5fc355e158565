"""Rotary position embedding: pairs of features turned by angles that grow with the position. (Su et al. 2021)"""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only

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
    Shape: x (..., T, E), cos and sin (T, D/2) -> (..., T, E); features from D on stay as they are. The gradient is x's;
    cos and sin are constants.

    >>> import pyengine as pe
    >>> x = pe.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> [round(v, 4) for v in rotary_embedding(x, *rotary_tables(2, 2))[1].tolist()]
    [0.5403, 0.8415]
    """
    for t, name in ((x, "x"), (cos, "cos"), (sin, "sin")):
        tensor_only(t, "rotary_embedding", name)
    return _core.rotary(x, cos, sin, interleaved)


@rule("rotary")
def _rotary(node, g):
    cos, sin = node.saved
    neighbours, back = node.meta
    return (_core.rotary(g, cos, sin, neighbours, not back),)
