"""Diagonals and triangles of matrices."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import axis_of, integer
from pyengine.ops._method import method, tensor_only
from pyengine.ops.arrange import movedim
from pyengine.ops.create import arange
from pyengine.ops.rounding import where
from pyengine.ops.shape import _placed

__all__ = ["diag", "diag_embed", "diagflat", "diagonal", "trace", "tril", "tril_indices", "triu", "triu_indices"]


def _two_axes(x: Tensor, dim1: int, dim2: int, what: str, extra: int = 0) -> tuple[int, int]:
    a, b = axis_of(x, dim1, what, extra), axis_of(x, dim2, what, extra)
    if a == b:
        raise RuntimeError(f"{what}: dim1 {dim1} and dim2 {dim2} are the same axis of shape {x.shape}")
    return a, b


def _steps(rows: int, columns: int, offset: int) -> tuple[int, slice]:
    """How long a diagonal of a matrix is, and where its elements lie in the flattened matrix."""
    length = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    first = offset if offset >= 0 else -offset * columns
    return length, slice(first, first + (length - 1) * (columns + 1) + 1, columns + 1) if length else slice(0, 0)


@method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices of two axes, as the last axis; offset moves it right (negative: down). A view where
    the matrices lie row-major."""
    a, b = _two_axes(input, dim1, dim2, "diagonal")
    x = movedim(input, (a, b), (-2, -1))
    *lead, rows, columns = x.shape
    length, at = _steps(rows, columns, integer(offset, "diagonal", "offset"))
    if not length or not x.numel():
        return _core.reshape(x[..., :0, :length], (*lead, length)) if not length else x[..., 0, :length]
    return _core.reshape(x, (*lead, rows * columns))[..., at]


@method
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros with the vectors of the last axis on the diagonal of new axes dim1 and dim2."""
    if tensor_only(input, "diag_embed").ndim == 0:
        raise RuntimeError("diag_embed: at least one axis is needed, got shape ()")
    a, b = _two_axes(input, dim1, dim2, "diag_embed", 1)
    offset = integer(offset, "diag_embed", "offset")
    size = input.shape[-1] + abs(offset)
    if size > 1 << 31:
        raise RuntimeError(f"diag_embed: offset {offset} is too large for shape {input.shape}")
    lead = input.shape[:-1]
    _, at = _steps(size, size, offset)
    out = _placed(input, (*lead, size * size), (Ellipsis, at if input.shape[-1] else slice(0, 0)))
    return movedim(_core.reshape(out, (*lead, size, size)), (-2, -1), (a, b))


@method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    if tensor_only(input, "diag").ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag: a vector or a matrix is needed, got shape {input.shape}")
    return _core.copy(_diagonal(input, diagonal))


_diagonal = diagonal


@method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements of x as its diagonal."""
    return diag_embed(_core.reshape(input, (tensor_only(input, "diagflat").numel(),)), offset)


@method
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if tensor_only(input, "trace").ndim != 2:
        raise RuntimeError(f"trace: a matrix is needed, got shape {input.shape}")
    return _diagonal(input).sum()


def _above(rows: int, columns: int, diagonal: int) -> Tensor:
    """True where column - row >= diagonal; exact for sizes below 2^24."""
    edge = max(min(diagonal, columns + 1), -rows - 1)
    down = _core.reshape(arange(rows).float() + float(edge), (rows, 1))
    return arange(columns).float() >= down


def _matrix(x: Tensor, what: str) -> None:
    if tensor_only(x, what).ndim < 2:
        raise RuntimeError(f"{what}: at least 2 axes are needed, got shape {x.shape}")


@method
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """x with 0 below a diagonal of the last two axes."""
    _matrix(input, "triu")
    keep = _above(input.shape[-2], input.shape[-1], integer(diagonal, "triu", "diagonal"))
    return where(keep, input, _core.full((), 0, input.dtype))


@method
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """x with 0 above a diagonal of the last two axes."""
    _matrix(input, "tril")
    drop = _above(input.shape[-2], input.shape[-1], integer(diagonal, "tril", "diagonal") + 1)
    return where(drop, _core.full((), 0, input.dtype), input)


def _triangle(row: int, col: int, offset: int, dtype, upper: bool) -> Tensor:
    import numpy

    what = "triu_indices" if upper else "tril_indices"
    row, col, offset = (integer(v, what, n) for v, n in ((row, "row"), (col, "col"), (offset, "offset")))
    if row < 0 or col < 0:
        raise RuntimeError(f"{what}: sizes must not be negative, got {row} and {col}")
    inside = numpy.tri(row, col, max(min(offset - upper, col), -row - 1), dtype=bool)
    return _core.from_numpy(numpy.stack(numpy.nonzero(~inside if upper else inside)).astype("int64")).to(dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype=None) -> Tensor:
    """Row and column (2, n) of the elements on and above a diagonal of a (row, col) matrix."""
    return _triangle(row, col, offset, dtype, True)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype=None) -> Tensor:
    """Row and column (2, n) of the elements on and below a diagonal of a (row, col) matrix."""
    return _triangle(row, col, offset, dtype, False)
