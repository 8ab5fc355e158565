"""Norms of matrices. Singular values come from NumPy; their first derivative is u v^T."""

import math

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import checked, rule, tensor_only
from pyengine.ops.norms import vector_norm
from pyengine.ops.reduction import amax, amin, sum
from pyengine.ops.shape import permute


@checked
def svdvals(A: Tensor) -> Tensor:
    """The singular values of matrices (..., m, n), largest first: (..., min(m, n)). Differentiable once."""
    import numpy

    if tensor_only(A, "svdvals").ndim < 2:
        raise RuntimeError(f"svdvals: matrices are needed, got shape {A.shape}")
    u, s, v = numpy.linalg.svd(A.detach().numpy(), full_matrices=False)
    kept = tuple(_core.from_numpy(numpy.ascontiguousarray(part)) for part in (u, v))
    return _core.record(_core.from_numpy(s), "svdvals", (A,), kept)


@rule("svdvals")
def _svdvals(node, g):
    u, v = node.saved
    if _core.is_grad_enabled():
        raise RuntimeError("svdvals: create_graph through singular values is not built")
    return _core.matmul(u * g.unsqueeze(-2), v)


def _axes(A: Tensor, dim) -> tuple:
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"matrix_norm: dim must be two axes, got {dim!r}")
    for d in dim:
        if not -A.ndim <= d < A.ndim:
            raise IndexError(f"matrix_norm: axis {d} is out of range for shape {A.shape}")
    rows, columns = (d % A.ndim for d in dim)
    if rows == columns:
        raise RuntimeError(f"matrix_norm: dim names axis {rows} twice")
    return rows, columns


@checked
def matrix_norm(A: Tensor, ord="fro", dim=(-2, -1), keepdim: bool = False, *, dtype=None) -> Tensor:
    """The norm of matrices over two axes: "fro"; "nuc", the sum of singular values; 2 and -2, the largest and smallest
    of them; 1 and -1, the largest and smallest sum of a column; inf and -inf, of a row."""
    A = tensor_only(A, "matrix_norm") if dtype is None else A.to(dtype)
    rows, columns = _axes(A, dim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        others = [i for i in range(A.ndim) if i not in (rows, columns)]
        values = svdvals(permute(A, *others, rows, columns))
        out = sum(values, -1) if ord == "nuc" else (amax if ord == 2 else amin)(values, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        added, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = sum(A.abs(), added, True)
        out = (amax if ord > 0 else amin)(sums, (added, left))
    else:
        raise ValueError(f"matrix_norm: ord {ord!r} is no norm of matrices")
    if not keepdim:
        return out
    return _core.reshape(out, tuple(1 if i in (rows, columns) else n for i, n in enumerate(A.shape)))


@checked
def linalg_norm(A: Tensor, ord=None, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """The vector norm over one axis, the matrix norm over two; with neither ord nor dim the 2-norm of all elements."""
    A = tensor_only(A, "norm") if dtype is None else A.to(dtype)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(f"norm: with ord a tensor of 1 or 2 axes is needed, or dim; got shape {A.shape}")
        dim = tuple(range(A.ndim))
    axes = dim if isinstance(dim, (tuple, list)) else (dim,)
    if len(axes) == 2:
        return matrix_norm(A, ord, axes, keepdim)
    return vector_norm(A, float(ord), axes, keepdim)
