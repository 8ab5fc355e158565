"""Products of ragged groups (csrc/gemm_groups.c): one call for the matrices of all experts."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only

__all__ = ["grouped_mm"]


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor) -> Tensor:
    """Products of groups of rows, each with a matrix of its own; all groups' tasks share the threads.

    mat_b (groups, k, n): out[r] = mat_a[r] mat_b[g] for the rows r of group g;
    mat_b (rows, n): out[g] = mat_a[:, rows of g] mat_b[rows of g, :], zeros where there are none.

    Arguments: offs (groups), where each group's rows end, int32 or int64, never falling, the last is all rows.
    Shape: (rows, k), (groups, k, n) -> (rows, n); (m, rows), (rows, n) -> (groups, m, n). The bits are matmul's.

    >>> import pyengine as pe
    >>> a, b = pe.tensor([[1.0], [2.0], [3.0]]), pe.tensor([[[10.0]], [[100.0]]])
    >>> pe.nn.functional.grouped_mm(a, b, offs=pe.tensor([1, 3])).tolist()
    [[10.0], [200.0], [300.0]]
    """
    for x, name in ((mat_a, "mat_a"), (mat_b, "mat_b"), (offs, "offs")):
        tensor_only(x, "grouped_mm", name)
    if offs.dtype.name not in ("int32", "int64"):
        raise TypeError(f"grouped_mm: offs must be int32 or int64, got {offs.dtype.name}")
    return _core.grouped_mm(mat_a, mat_b, offs.long())


@rule("grouped_mm")
def _grouped_mm(node, g):
    a, b, ends = node.saved
    da = db = None
    if b.ndim == 3:
        if node.needs(0):
            da = _core.grouped_mm(g, _core.transpose(b, 1, 2), ends)
        if node.needs(1):
            db = _core.add_groups(node, 1, _core.transpose(a, 0, 1), g, ends)
        return da, db
    if node.needs(0):
        da = _core.transpose(_core.grouped_mm(b, _core.transpose(g, 1, 2), ends), 0, 1)
    if node.needs(1):
        db = _core.grouped_mm(_core.transpose(a, 0, 1), g, ends)
    return da, db
