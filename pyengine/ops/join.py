"""Several tensors to one, and shapes made to fit each other."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import integers, several, tensors_only
from pyengine.ops._method import method, sizes, tensor_only
from pyengine.ops.shape import cat

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cartesian_prod",
    "column_stack",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "meshgrid",
    "ravel",
    "row_stack",
    "vstack",
]


def concat(tensors, dim: int = 0) -> Tensor:
    """`cat`."""
    return cat(tensors, dim)


def concatenate(tensors, dim: int = 0) -> Tensor:
    """`cat`."""
    return cat(tensors, dim)


def _atleast(n: int, tensors: tuple, shape):
    single = len(tensors) == 1 and isinstance(tensors[0], Tensor)
    out = tuple(x if x.ndim >= n else _core.reshape(x, shape(x.shape)) for x in several(tensors, f"atleast_{n}d"))
    return out[0] if single else out


def atleast_1d(*tensors):
    """Tensors without axes get one."""
    return _atleast(1, tensors, lambda s: (1,))


def atleast_2d(*tensors):
    """Tensors with fewer than two axes get them in front."""
    return _atleast(2, tensors, lambda s: (1, *s) if s else (1, 1))


def atleast_3d(*tensors):
    """Tensors with fewer than three axes get them: (n) -> (1, n, 1), (m, n) -> (m, n, 1)."""
    return _atleast(3, tensors, lambda s: (*s, 1) if len(s) == 2 else (1, *s, 1) if s else (1, 1, 1))


def hstack(tensors) -> Tensor:
    """The tensors side by side: along axis 1, vectors along axis 0."""
    parts = [atleast_1d(x) for x in tensors_only(tensors, "hstack")]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors) -> Tensor:
    """The tensors as rows, along axis 0."""
    return cat([atleast_2d(x) for x in tensors_only(tensors, "vstack")], 0)


def row_stack(tensors) -> Tensor:
    """`vstack`."""
    return vstack(tensors)


def dstack(tensors) -> Tensor:
    """The tensors along axis 2."""
    return cat([atleast_3d(x) for x in tensors_only(tensors, "dstack")], 2)


def column_stack(tensors) -> Tensor:
    """The tensors side by side; vectors as columns."""
    parts = tensors_only(tensors, "column_stack")
    return cat([x if x.ndim > 1 else _core.reshape(x, (x.numel(), 1)) for x in parts], 1)


@method
def ravel(input: Tensor) -> Tensor:
    """x with one axis: a view where possible."""
    return _core.reshape(input, (tensor_only(input, "ravel").numel(),))


@method
def broadcast_to(input: Tensor, *size) -> Tensor:
    """`expand`."""
    return _core.expand(input, sizes(size))


def broadcast_shapes(*shapes) -> tuple[int, ...]:
    """The shape that tensors of these shapes broadcast to.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    out: list[int] = []
    for shape in shapes:
        shape = integers(shape, "broadcast_shapes", "shapes")
        if min(shape, default=0) < 0:
            raise RuntimeError(f"broadcast_shapes: sizes must not be negative, got {shape}")
        out = [1] * (len(shape) - len(out)) + out
        for i in range(-len(shape), 0):
            if shape[i] != 1 and out[i] not in (1, shape[i]):
                raise RuntimeError(f"broadcast_shapes: shapes {shapes} do not fit each other")
            out[i] = shape[i] if out[i] == 1 else out[i]
    return tuple(out)


def broadcast_tensors(*tensors) -> tuple[Tensor, ...]:
    """Views of the tensors in the shape that they broadcast to."""
    if not tensors or tensors == ([],):
        return ()
    tensors = tuple(several(tensors, "broadcast_tensors"))
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return tuple(_core.expand(x, shape) for x in tensors)


@method
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """x broadcast to other's shape."""
    return _core.expand(input, tensor_only(other, "expand_as", "other").shape)


@method
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """x's memory in other's shape."""
    return _core.view(input, tensor_only(other, "view_as", "other").shape)


@method
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """x in other's shape."""
    return _core.reshape(input, tensor_only(other, "reshape_as", "other").shape)


def meshgrid(*tensors, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of the grid that vectors span, one tensor each; "xy" exchanges the first two axes."""
    vectors = several(tensors, "meshgrid")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    if any(x.ndim > 1 for x in vectors):
        raise RuntimeError(f"meshgrid: vectors are needed, got shapes {[x.shape for x in vectors]}")
    if any(x.dtype is not vectors[0].dtype for x in vectors):
        raise RuntimeError(f"meshgrid: dtypes differ: {[x.dtype.name for x in vectors]}")
    swap = indexing == "xy" and len(vectors) > 1
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    n, shape = len(vectors), tuple(x.numel() for x in vectors)
    grids = [
        _core.expand(_core.reshape(x, [shape[i] if j == i else 1 for j in range(n)]), shape)
        for i, x in enumerate(vectors)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors) -> Tensor:
    """All combinations of the vectors' elements as rows, the last changing fastest; one vector as it is."""
    vectors = several(tensors, "cartesian_prod")
    if any(x.ndim != 1 for x in vectors):
        raise RuntimeError(f"cartesian_prod: vectors are needed, got shapes {[x.shape for x in vectors]}")
    if len(vectors) == 1:
        return vectors[0]
    return cat([_core.reshape(x, (x.numel(), 1)) for x in meshgrid(*vectors)], 1)


def block_diag(*tensors) -> Tensor:
    """The matrices along the diagonal of one of zeros; vectors count as rows."""
    from pyengine.ops.pad import pad

    parts = several(tensors, "block_diag")
    if any(x.ndim > 2 for x in parts):
        raise RuntimeError(f"block_diag: at most 2 axes, got shapes {[x.shape for x in parts]}")
    blocks = [atleast_2d(x) for x in parts]
    width, left, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(pad(x, (left, width - left - x.shape[1])))
        left += x.shape[1]
    return cat(rows, 0)
