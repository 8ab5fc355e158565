"""Rows of a matrix by number (csrc/take_rows.c): what embeddings, bags and labels are made of."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8")


def whole_numbers(index: Tensor, what: str, argument: str) -> Tensor:
    """index as int64; RuntimeError, as in torch, where it holds no integers."""
    if tensor_only(index, what, argument).dtype.name not in _INTEGERS:
        raise RuntimeError(f"{what}: {argument} must hold integers, got {index.dtype.name} of shape {index.shape}")
    return index if index.dtype.name == "int64" else index.long()


def labelled(x: Tensor, labels: Tensor, ignore_index: int | None = None) -> Tensor:
    """x[i, labels[i]] of x (n, classes), 0 where the label is ignore_index; a gradient that stores one number a row."""
    n, classes = x.shape
    if n and not classes:
        raise IndexError(f"labels for no classes: x of shape {x.shape}")
    return _core.take_rows(x.reshape(n * classes, 1), labels, ignore_index, classes if n else 0).reshape(n)


@rule("take_rows")
def _take_rows(node, g):
    (index,) = node.saved
    return _core.add_rows(g, index, *node.meta)


@rule("add_rows")
def _add_rows(node, g):
    (index,) = node.saved
    return _core.take_rows(g, index, *node.meta)


def lookup(weight: Tensor, index: Tensor, padding_idx: int | None = None, sparse: bool = False) -> Tensor:
    """weight[index] along the first axis of a matrix; the row padding_idx gets no gradient, which with sparse is a
    RowSparse."""
    out = _core.take_rows(weight.detach(), index)
    return _core.record(out, "lookup", (weight,), (index,), (weight.shape[0], padding_idx, sparse))


@rule("lookup")
def _lookup(node, g):
    (index,) = node.saved
    rows, padding_idx, sparse = node.meta
    if not (sparse and _core.takes_rows(node, 0)):
        return _core.add_rows(g, index, rows, padding_idx)
    from pyengine.ops.row_sparse import RowSparse

    if padding_idx is not None:
        counted = _core.from_numpy((index.numpy() != padding_idx).nonzero()[0])
        g, index = _core.take_rows(g, counted), _core.from_numpy(index.numpy()[counted.numpy()])
    _core.give_rows(node, 0, RowSparse(index, g, (rows, g.shape[1])))
    return None
