"""What the tensors of a file are."""

import math
from typing import NamedTuple

from .model import load_state

_RANKED = 1024  # the longest shorter side of a matrix whose rank is worked out
_FAR = 6  # standard deviations from the mean
_HEADS = ("tensor", "dtype", "shape", "least", "most", "norm", "zeros", "rank", "outliers", "remarks")


class TensorInfo(NamedTuple):
    """One tensor: its range and norm without what is not finite; zeros, a share; rank, of the matrix (first axis,
    others), or None where that is none or large; outliers, how many are over 6 standard deviations from the mean;
    bad, how many are NaN or infinite; twin, an earlier tensor with the same bytes."""

    name: str
    dtype: str
    shape: tuple
    least: float
    most: float
    norm: float
    zeros: float
    rank: int | None
    outliers: int
    bad: int
    twin: str | None


class FileInfo(list):
    """TensorInfos, which print as a table."""

    @property
    def count(self):
        """How many numbers there are in all."""
        return sum(math.prod(info.shape) for info in self)

    def table(self):
        """The names of the columns, and a tuple of texts a tensor."""
        return [_HEADS, *map(_row, self)]

    def __str__(self):
        rows = self.table()
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{len(self)} tensors, {self.count:,} numbers"])


def inspect_file(filename):
    """A FileInfo of the tensors in a safetensors file or one of torch.save. Errors: as load_state's."""
    return inspect_tensors(load_state(filename))


def inspect_tensors(tensors):
    """A FileInfo of tensors by name.

    >>> print(inspect_tensors({"a": pe.tensor([[1.0, 2.0], [2.0, 4.0]])}))
    tensor  dtype    shape  least  most  norm  zeros  rank    outliers  remarks
    a       float32  2x2    1      4     5     0.0%   1 of 2
    1 tensors, 4 numbers
    """
    import hashlib

    import numpy

    found, seen = FileInfo(), {}
    for name, tensor in tensors.items():
        stored = numpy.ascontiguousarray(tensor.detach().numpy())
        key = tensor.dtype.name, tensor.shape, hashlib.sha256(stored.tobytes()).digest()
        twin = seen.setdefault(key, name) if tensor.numel() else name
        with numpy.errstate(over="ignore", invalid="ignore"):  # at the end of float64 the norm is infinite
            found.append(_info(name, tensor, twin if twin != name else None))
    return found


def _info(name, tensor, twin):
    import numpy

    values = numpy.asarray(tensor.detach().double().numpy()).reshape(-1)
    finite = values[numpy.isfinite(values)]
    rank, shape = None, tensor.shape
    if len(shape) > 1 and 0 < len(finite) == len(values) and min(shape[0], len(values) // shape[0]) <= _RANKED:
        largest = abs(values).max() or 1.0  # what float32 cannot hold is no matrix for LAPACK
        rank = int(numpy.linalg.matrix_rank((values / largest).reshape(shape[0], -1).astype("float32")))
    far = abs(finite - finite.mean()) > _FAR * finite.std() if len(finite) else finite
    return TensorInfo(
        name, tensor.dtype.name, shape, *((finite.min(), finite.max()) if len(finite) else (math.nan, math.nan)),
        float(numpy.linalg.norm(finite)), float((values == 0).mean()) if len(values) else 0.0, rank,
        int(far.sum()), len(values) - len(finite), twin,
    )  # fmt: skip


def _row(info):
    full = None if info.rank is None else min(info.shape[0], math.prod(info.shape[1:]))
    remarks = [f"{info.bad} NaN or infinite"] * (info.bad > 0) + [f"same as {info.twin}"] * (info.twin is not None)
    rank = "" if full is None else str(info.rank) if info.rank == full else f"{info.rank} of {full}"
    numbers = [f"{value:.4g}" for value in (info.least, info.most, info.norm)]
    return (info.name, info.dtype, "x".join(map(str, info.shape)) or "()", *numbers, f"{info.zeros:.1%}", rank,
            str(info.outliers or ""), ", ".join(remarks))  # fmt: skip
