"""RowSparse: a gradient that has a few rows of a large table."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only
from pyengine.ops.gathering import in_range
from pyengine.ops.runs import runs_of

__all__ = ["RowSparse"]


class RowSparse:
    """The rows `values` (n, ...) of a tensor of shape `size` at `indices` (n); all other rows are 0.

    Coalesced from the start: indices ascend and rows of equal ones are added, in their order, so that the bits depend
    on the arguments alone. Layers with sparse=True give such a gradient; the names are those of torch's sparse tensors
    with one sparse axis (indices() has the shape (1, n)).

    >>> import pyengine as pe
    >>> g = pe.RowSparse(pe.tensor([2, 0, 2]), pe.tensor([[1.0], [2.0], [3.0]]), (4, 1))
    >>> g.indices().tolist(), g.values().tolist()
    ([[0, 2]], [[2.0], [4.0]])
    >>> g.to_dense().tolist()
    [[2.0], [0.0], [4.0], [0.0]]
    """

    is_sparse = True
    requires_grad = False

    def __init__(self, indices: Tensor, values: Tensor, size: tuple):
        index = tensor_only(indices, "RowSparse", "indices").reshape(-1).long()
        shape, count = tuple(size), index.shape[0]
        if tensor_only(values, "RowSparse", "values").shape != (count, *shape[1:]) or not shape:
            raise ValueError(f"RowSparse: values {values.shape} are not {count} rows of a tensor of shape {shape}")
        in_range(index.numpy(), shape[0], "RowSparse", IndexError)
        numbers, order, starts = map(_core.from_numpy, runs_of(index.numpy(), shape[0]))
        rows = values.detach().reshape(count, values.numel() // count if count else 0)
        self._set(numbers, _core.sum_bags(rows, order, starts).reshape(-1, *shape[1:]) if count else values, shape)

    def _set(self, index: Tensor, entries: Tensor, shape: tuple):
        self.index, self.entries, self.shape = index, entries, shape
        return self

    @classmethod
    def _of(cls, index: Tensor, entries: Tensor, shape: tuple) -> "RowSparse":
        """Of numbers that ascend already."""
        return cls.__new__(cls)._set(index, entries, shape)

    def indices(self) -> Tensor:
        """The numbers of the rows, ascending: (1, n)."""
        return self.index.reshape(1, -1)

    def values(self) -> Tensor:
        """The rows: (n, ...). They are this gradient's memory, not a copy."""
        return self.entries

    _indices, _values = indices, values

    def _nnz(self) -> int:
        return self.index.shape[0]

    def coalesce(self) -> "RowSparse":
        """This, which is coalesced already."""
        return self

    def is_coalesced(self) -> bool:
        """True."""
        return True

    @property
    def dtype(self):
        """The element type of the rows."""
        return self.entries.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def size(self, dim: int | None = None):
        """The shape, or the size of an axis."""
        return self.shape if dim is None else self.shape[dim]

    def to_dense(self) -> Tensor:
        """All rows, with the zeros."""
        dense = _core.full(self.shape, 0.0, "float32")
        _core.add_to_rows(dense, self)
        return dense

    def detach(self) -> "RowSparse":
        """This: it is never on the tape."""
        return self

    def clone(self) -> "RowSparse":
        """A copy with memory of its own."""
        return RowSparse._of(self.index.clone(), self.entries.clone(), self.shape)

    def zero_(self) -> "RowSparse":
        """Forgets all rows, in place. Returns self."""
        return self._set(self.index[:0], self.entries[:0], self.shape)

    def plus(self, other: "RowSparse") -> "RowSparse":
        """The sum of two, of one shape."""
        from pyengine.ops.shape import cat

        return RowSparse(cat([self.index, other.index]), cat([self.entries, other.entries]), self.shape)

    def __getattr__(self, name: str):
        raise AttributeError(f"RowSparse of shape {self.__dict__.get('shape')} has no {name}: take to_dense() first")

    def __reduce__(self):
        return RowSparse._of, (self.index, self.entries, self.shape)

    def __repr__(self):
        return f"RowSparse({self._nnz()} rows of {self.shape}, indices={self.index.tolist()}, values={self.entries!r})"
