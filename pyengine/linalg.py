"""Linear algebra under torch.linalg's names."""

from pyengine.ops.chains import inverse as inv
from pyengine.ops.chains import matrix_power, multi_dot
from pyengine.ops.diagonals import diagonal as _diagonal
from pyengine.ops.matrix_norms import linalg_norm as norm
from pyengine.ops.matrix_norms import matrix_norm, svdvals
from pyengine.ops.norms import vector_norm
from pyengine.ops.product import matmul
from pyengine.ops.products import cross as _cross
from pyengine.ops.products import vecdot


def cross(input, other, *, dim=-1):
    """The vector product of vectors of three along axis dim."""
    return _cross(input, other, dim)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonal of matrices, as the last axis."""
    return _diagonal(A, offset, dim1, dim2)


__all__ = ["cross", "diagonal", "inv", "matmul", "matrix_norm", "matrix_power", "multi_dot", "norm", "svdvals",
           "vecdot", "vector_norm"]  # fmt: skip
