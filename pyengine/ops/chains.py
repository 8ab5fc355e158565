"""Products of several matrices: chains in the best order, powers, and the inverse."""

from itertools import pairwise

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import integer, tensors_only
from pyengine.ops._method import method, rule, tensor_only
from pyengine.ops.create import eye
from pyengine.ops.products import _need, _product
from pyengine.ops.rounding import where

__all__ = ["chain_matmul", "inverse", "matrix_power"]


def multi_dot(tensors) -> Tensor:
    """The product of several matrices, in the order of fewest multiplications; the first and the last may be vectors.
    (Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, section 15.2)"""
    parts = tensors_only(tensors, "multi_dot")
    if len(parts) < 2:
        raise RuntimeError(f"multi_dot: at least two tensors are needed, got {len(parts)}")
    first, last = parts[0].ndim == 1, parts[-1].ndim == 1
    parts[0] = _core.reshape(parts[0], (1, -1)) if first else parts[0]
    parts[-1] = _core.reshape(parts[-1], (-1, 1)) if last else parts[-1]
    _need("multi_dot", **{f"tensor {i}": (x, 2) for i, x in enumerate(parts)})
    for a, b in pairwise(parts):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(f"multi_dot: shapes {a.shape} and {b.shape} do not fit")
    sizes = [parts[0].shape[0], *[x.shape[1] for x in parts]]
    out = _chain(parts, _best_cuts(sizes), 0, len(parts) - 1)
    return _core.reshape(out, (() if first else out.shape[:1]) + (() if last else out.shape[1:]))


def _best_cuts(sizes: list[int]) -> dict:
    """Where to split the product of matrices i .. j so that the fewest multiplications are needed."""
    n = len(sizes) - 1
    cost, cuts = {(i, i): 0 for i in range(n)}, {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i, j], cuts[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return cuts


def _chain(parts: list[Tensor], cuts: dict, i: int, j: int) -> Tensor:
    if i == j:
        return parts[i]
    k = cuts[i, j]
    return _product(_chain(parts, cuts, i, k), _chain(parts, cuts, k + 1, j), "multi_dot")


def chain_matmul(*matrices) -> Tensor:
    """`multi_dot` of matrices."""
    parts = tensors_only(
        matrices[0] if len(matrices) == 1 and isinstance(matrices[0], list) else matrices, "chain_matmul"
    )
    if any(x.ndim != 2 for x in parts):
        raise RuntimeError(f"chain_matmul: matrices are needed, got shapes {[x.shape for x in parts]}")
    return parts[0] if len(parts) == 1 else multi_dot(parts)


@method
def inverse(input: Tensor) -> Tensor:
    """The inverses of square matrices, by NumPy; RuntimeError where there is none."""
    import numpy

    if tensor_only(input, "inverse").ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"inverse: square matrices are needed, got shape {input.shape}")
    if input.dtype.name not in ("float32", "float64"):
        raise RuntimeError(f"inverse: float32 or float64 is needed, got {input.dtype.name}")
    try:
        out = _core.from_numpy(numpy.linalg.inv(input.detach().numpy()))
    except numpy.linalg.LinAlgError as error:
        raise RuntimeError(f"inverse: {error}, shape {input.shape}") from None
    return _core.record(out, "inverse", (input,), (out,))


@rule("inverse")
def _inverse(node, g):
    (out,) = node.saved
    across = _core.transpose(out, -1, -2)
    return -(across @ g @ across)


@method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices times themselves n times, by squaring; n = 0 gives the identity, negative n powers of the
    inverse."""
    power = integer(n, "matrix_power", "n")
    if tensor_only(input, "matrix_power").ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"matrix_power: square matrices are needed, got shape {input.shape}")
    if power < 0:
        return matrix_power(inverse(input), -power)
    if power == 0:  # x takes part with a gradient of 0
        return where(_core.full(input.shape, True), eye(input.shape[-1], dtype=input.dtype), input)
    out = None
    for bit in reversed(f"{power:b}"):
        if bit == "1":
            out = input if out is None else _product(out, input, "matrix_power")
        if power > 1:
            input = _product(input, input, "matrix_power")
        power >>= 1
    assert out is not None
    return out
