"""Products by name: each is `matmul` with its operands' axes checked and arranged."""

from math import prod as _count

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of, integer, integers
from pyengine.ops._method import method, tensor_only
from pyengine.ops.product import matmul

__all__ = [
    "addbmm",
    "addmv",
    "addr",
    "bilinear",
    "bmm",
    "cross",
    "dot",
    "ger",
    "inner",
    "kron",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]


def _need(what: str, **operands) -> None:
    """operands: name=(tensor, axes); RuntimeError where a tensor has not so many."""
    for name, (x, axes) in operands.items():
        if tensor_only(x, what, name).ndim != axes:
            raise RuntimeError(f"{what}: {name} needs {axes} axes, got shape {x.shape}")
    (first, _), *others = operands.values()
    for x, _ in others:
        if x.dtype is not first.dtype:
            raise RuntimeError(f"{what}: dtypes {first.dtype.name} and {x.dtype.name} differ")


def _product(a: Tensor, b: Tensor, what: str) -> Tensor:
    """a @ b; sizes that do not fit are a RuntimeError, as in torch; other element types go through NumPy."""
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise RuntimeError(f"{what}: shapes {a.shape} and {b.shape} do not fit")
    if a.dtype.name == "float64" or not a.is_floating_point():
        return _core.from_numpy((a.detach().numpy() @ b.detach().numpy()).reshape(_shape(a, b))).to(a.dtype)
    return matmul(a, b)


def _shape(a: Tensor, b: Tensor) -> tuple:
    if a.ndim == 1 or b.ndim == 1:
        return (*a.shape[:-1], *b.shape[1:])
    return (*a.shape[:-1], b.shape[-1])


@method
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _need("mm", input=(input, 2), mat2=(mat2, 2))
    return _product(input, mat2, "mm")


@method
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices: (b, m, k), (b, k, n) -> (b, m, n)."""
    _need("bmm", input=(input, 3), mat2=(mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(f"bmm: batches of shapes {input.shape} and {mat2.shape} differ")
    return _product(input, mat2, "bmm")


@method
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    _need("mv", input=(input, 2), vec=(vec, 1))
    return _product(input, vec, "mv")


@method
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements."""
    _need("dot", input=(input, 1), tensor=(tensor, 1))
    return _product(input, tensor, "dot")


@method
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot`."""
    return dot(input, other)


@method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over both last axes: (..., k), (*, k) -> (..., *); a number multiplies."""
    tensor_only(other, "inner", "other")
    if tensor_only(input, "inner").ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner: shapes {input.shape} and {other.shape} differ in the last axis")
    return tensordot(input, other, ([-1], [-1]))


@method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of two vectors' elements: (n), (m) -> (n, m)."""
    tensor_only(vec2, "outer", "vec2")
    if tensor_only(input, "outer").ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: vectors are needed, got shapes {input.shape} and {vec2.shape}")
    return _core.reshape(input, (input.numel(), 1)) * vec2


@method
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """`outer`."""
    return outer(input, vec2)


def _blend(input: Tensor, product: Tensor, beta, alpha, what: str) -> Tensor:
    """beta input + alpha product; beta = 0 leaves input out, NaN and all."""
    from pyengine.ops.join import broadcast_shapes

    if broadcast_shapes(tensor_only(input, what, "input").shape, product.shape) != product.shape:
        raise RuntimeError(f"{what}: input of shape {input.shape} does not broadcast to {product.shape}")
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


@method
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta=1, alpha=1) -> Tensor:
    """beta input + alpha mat @ vec."""
    return _blend(input, mv(mat, vec), beta, alpha, "addmv")


@method
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta=1, alpha=1) -> Tensor:
    """beta input + alpha outer(vec1, vec2)."""
    return _blend(input, outer(vec1, vec2), beta, alpha, "addr")


@method
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta=1, alpha=1) -> Tensor:
    """beta input + alpha times the sum of the products of two batches of matrices: one long product."""
    _need("addbmm", batch1=(batch1, 3), batch2=(batch2, 3))
    (b, m, k), (c, rows, n) = batch1.shape, batch2.shape
    if b != c or k != rows:
        raise RuntimeError(f"addbmm: shapes {batch1.shape} and {batch2.shape} do not fit")
    left = _core.reshape(_core.permute(batch1, (1, 0, 2)), (m, b * k))
    return _blend(input, _product(left, _core.reshape(batch2, (b * k, n)), "addbmm"), beta, alpha, "addbmm")


def tensordot(a: Tensor, b: Tensor, dims=2) -> Tensor:
    """Sums of products over the axes dims: the last dims of a and the first of b, or two lists of axes."""
    tensor_only(a, "tensordot", "a")
    tensor_only(b, "tensordot", "b")
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (tuple, list)):
        if len(dims) != 2:
            raise RuntimeError(f"tensordot: dims must be a number or two lists of axes, got {dims}")
        left, right = (integers(d, "tensordot", "dims") for d in dims)
    else:
        count = integer(dims, "tensordot", "dims")
        if count < 0 or count > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot: dims {count} does not fit shapes {a.shape} and {b.shape}")
        left, right = tuple(range(a.ndim - count, a.ndim)), tuple(range(count))
    if len(left) != len(right):
        raise RuntimeError(f"tensordot: {len(left)} axes of a for {len(right)} of b")
    left = tuple(axis_of(a, d, "tensordot") for d in left) if a.ndim else ()
    right = tuple(axis_of(b, d, "tensordot") for d in right) if b.ndim else ()
    if len(set(left)) < len(left) or len(set(right)) < len(right) or len(left) != len(right):
        raise RuntimeError(f"tensordot: dims {dims} name an axis twice, for shapes {a.shape} and {b.shape}")
    for i, (p, q) in enumerate(zip(left, right, strict=True)):
        if a.shape[p] != b.shape[q]:
            if 1 not in (a.shape[p], b.shape[q]):
                raise RuntimeError(f"tensordot: pair {i} of axes differs in shapes {a.shape} and {b.shape}")
            a = a if a.shape[p] == 1 else a.sum(p, keepdim=True)
            b = b if b.shape[q] == 1 else b.sum(q, keepdim=True)
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    shape = (*[a.shape[i] for i in rows], *[b.shape[i] for i in columns])
    k = m = n = 1
    for i in left:
        k *= a.shape[i]
    for i in rows:
        m *= a.shape[i]
    for i in columns:
        n *= b.shape[i]
    x = _core.reshape(_core.permute(a, [*rows, *left]), (m, k))
    y = _core.reshape(_core.permute(b, [*right, *columns]), (k, n))
    return _core.reshape(_product(x, y, "tensordot"), shape)


@method
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of x times all of other, as blocks."""
    n = max(tensor_only(input, "kron").ndim, tensor_only(other, "kron", "other").ndim)
    a, b = ((1,) * (n - x.ndim) + x.shape for x in (input, other))
    if 2 * n > 8:
        raise RuntimeError(f"kron: at most 4 axes, got shapes {input.shape} and {other.shape}")
    x = _core.reshape(input, [size for s in a for size in (s, 1)])
    y = _core.reshape(other, [size for s in b for size in (1, s)])
    return _core.reshape(x * y, [s * t for s, t in zip(a, b, strict=True)])


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T W_o x2 + b_o for every output o.

    Shape: (..., in1), (..., in2), weight (out, in1, in2), bias (out) -> (..., out).
    """
    for name, x in (("input1", input1), ("input2", input2), ("weight", weight)):
        tensor_only(x, "bilinear", name)
    if input1.ndim < 1 or input1.shape[:-1] != input2.shape[:-1] or weight.ndim != 3:
        raise RuntimeError(f"bilinear: shapes {input1.shape}, {input2.shape} and {weight.shape} do not fit")
    out, n1, n2 = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (n1, n2):
        raise RuntimeError(f"bilinear: shapes {input1.shape}, {input2.shape} and {weight.shape} do not fit")
    count = _count(input1.shape[:-1])
    x, y = _core.reshape(input1, (count, n1)), _core.reshape(input2, (count, n2))
    spread = matmul(x, _core.reshape(_core.permute(weight, (1, 0, 2)), (n1, out * n2)))  # (count, out * n2)
    both = matmul(_core.reshape(spread, (count, out, n2)), _core.reshape(y, (count, n2, 1)))
    if bias is not None and tensor_only(bias, "bilinear", "bias").shape != (out,):
        raise RuntimeError(f"bilinear: bias of shape {bias.shape} does not fit weight of shape {weight.shape}")
    result = _core.reshape(both, (*input1.shape[:-1], out))
    return result if bias is None else result + bias


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product of vectors of three along axis dim (None: the first axis of size 3)."""
    from pyengine.ops.join import broadcast_tensors
    from pyengine.ops.shape import stack

    if tensor_only(input, "cross").ndim != tensor_only(other, "cross", "other").ndim:
        raise RuntimeError(f"cross: shapes {input.shape} and {other.shape} need the same number of axes")
    a, b = broadcast_tensors(input, other)
    if dim is None:
        if 3 not in a.shape:
            raise RuntimeError(f"cross: no axis of size 3 in shape {a.shape}")
        dim = a.shape.index(3)
    axis = axis_of(a, dim, "cross")
    if a.ndim == 0 or input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(f"cross: axis {dim} of shapes {input.shape} and {other.shape} must have size 3")
    (a0, a1, a2), (b0, b1, b2) = a.unbind(axis), b.unbind(axis)
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis)


_core.add_method("cross", cross)


def vecdot(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The sums of the products along axis dim; the other axes broadcast."""
    product = tensor_only(input, "vecdot") * tensor_only(other, "vecdot", "other")
    if input.ndim == 0 or other.ndim == 0 or input.shape[dim] != other.shape[dim]:
        raise RuntimeError(f"vecdot: shapes {input.shape} and {other.shape} differ along axis {dim}")
    return product.sum(dim)
