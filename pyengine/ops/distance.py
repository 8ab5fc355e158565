"""Lengths and distances of vectors."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of
from pyengine.ops._method import tensor_only
from pyengine.ops.elementwise import maximum
from pyengine.ops.norms import vector_norm

__all__ = ["cdist", "cosine_similarity", "pairwise_distance", "pdist"]


def _p(p, what: str) -> float:
    if not isinstance(p, (int, float)):
        raise TypeError(f"{what}: p must be a number, got {p!r}")
    if not p >= 0 and what in ("cdist", "pdist"):
        raise RuntimeError(f"{what}: p must not be negative, got {p}")
    return float(p)


def normalize(input: Tensor, p: float = 2.0, dim: int | tuple = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps) along axis dim."""
    tensor_only(input, "normalize", "input")
    for d in dim if isinstance(dim, (tuple, list)) else (dim,):
        axis_of(input, d, "normalize")
    return input / maximum(vector_norm(input, _p(p, "normalize"), dim, True), float(eps))


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along axis dim. Shapes broadcast."""
    from pyengine.ops.join import broadcast_tensors

    a, b = broadcast_tensors(tensor_only(x1, "cosine_similarity", "x1"), tensor_only(x2, "cosine_similarity", "x2"))
    axis = axis_of(a, dim, "cosine_similarity")
    eps = float(eps)
    a, b = (x / maximum(vector_norm(x, 2, axis, True), eps) for x in (a, b))
    return (a * b).sum(axis)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x1 - x2 + eps|_p over the last axis. Shapes broadcast."""
    difference = tensor_only(x1, "pairwise_distance", "x1") - tensor_only(x2, "pairwise_distance", "x2") + float(eps)
    return vector_norm(difference, _p(p, "pairwise_distance"), -1, keepdim)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """|a - b|_p of every row a of x1 and b of x2: (..., m, k), (..., n, k) -> (..., m, n). All differences are
    formed, for every p: no digits are lost where rows are close; compute_mode is accepted."""
    for name, x in (("x1", x1), ("x2", x2)):
        if tensor_only(x, "cdist", name).ndim < 2:
            raise RuntimeError(f"cdist: {name} needs at least 2 axes, got shape {x.shape}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"cdist: shapes {x1.shape} and {x2.shape} differ in the last axis")
    power = _p(p, "cdist")
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    return vector_norm(difference, power, -1)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """|x_i - x_j|_p of every pair of rows i < j, as a vector."""
    from pyengine.ops.diagonals import triu_indices

    if tensor_only(input, "pdist").ndim != 2:
        raise RuntimeError(f"pdist: a matrix is needed, got shape {input.shape}")
    power = _p(p, "pdist")
    i, j = triu_indices(input.shape[0], input.shape[0], 1)
    difference = input[i] - input[j]
    if 0 in difference.shape:
        return difference.sum(-1) if difference.ndim > 1 else _core.full((0,), 0.0)
    return vector_norm(difference, power, -1)
