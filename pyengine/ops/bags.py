"""Sums and maxima of bags of rows (csrc/bags.c): what EmbeddingBag and the outputs of experts are made of."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule
from pyengine.ops.row_sparse import RowSparse
from pyengine.ops.runs import bins_of, runs_of


def sum_bags(
    matrix: Tensor, index: Tensor, offsets: Tensor, weights: Tensor | None = None, skip: int | None = None,
    sparse: bool = False,
) -> Tensor:  # fmt: skip
    """out[b] = the sum of weights[e] matrix[index[e]] over e from offsets[b] to offsets[b + 1] - 1, in this order.
    Entries `skip` do not count. sparse: the matrix' gradient is a RowSparse."""
    out = _core.sum_bags(matrix.detach(), index, offsets, None if weights is None else weights.detach(), skip)
    kept = None if weights is None or not weights.requires_grad else matrix
    meta = (matrix.shape[0], skip, sparse)
    return _core.record(out, "sum_bags", (matrix, weights), (kept, index, offsets, weights), meta)


def bag_numbers(offsets: Tensor):
    """The bag of each entry, as an array."""
    import numpy

    ends = offsets.numpy()
    return numpy.repeat(numpy.arange(len(ends) - 1), numpy.diff(ends))


@rule("sum_bags")
def _sum_bags(node, g):
    matrix, index, offsets, weights = node.saved
    rows, skip, sparse = node.meta
    bags = bag_numbers(offsets)
    dmatrix = dweights = None
    if node.needs(0):
        dmatrix = _by_rows(node, g, index.numpy(), bags, weights, rows, skip, sparse)
    if node.needs(1):
        products = _core.take_rows(g, _core.from_numpy(bags)) * _core.take_rows(matrix, index, skip)
        dweights = products.sum(1)
    return dmatrix, dweights


def _by_rows(node, g, index, bags, weights, rows, skip, sparse):
    """The gradient by the matrix: bags of rows of g, one for each row of the matrix, or (sparse) for those in use."""
    import numpy

    if skip is not None:
        counted = numpy.flatnonzero(index != skip)
        index, bags, weights = index[counted], bags[counted], _taken(weights, counted)
    by_rows = sparse and _core.takes_rows(node, 0)
    numbers, order, starts = runs_of(index, rows) if by_rows else (None, *bins_of(index, rows))
    sums = sum_bags(g, _core.from_numpy(bags[order]), _core.from_numpy(starts), _taken(weights, order))
    if not by_rows:
        return sums
    _core.give_rows(node, 0, RowSparse._of(_core.from_numpy(numbers), sums, (rows, g.shape[1])))
    return None


def _taken(weights, places):
    """weights[places], recorded."""
    if weights is None:
        return None
    return _core.take_rows(weights.reshape(-1, 1), _core.from_numpy(places)).reshape(-1)
