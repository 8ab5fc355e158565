"""New tensors: constants, ranges, copies."""

import builtins

from pyengine import _core
from pyengine._core import Tensor, dtype
from pyengine.ops._method import method, rule, sizes, tensor_only

_DTYPES = {"float32", "float64", "bfloat16", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"}


def zeros(*shape, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros (float32 unless dtype is given)."""
    return _core.full(sizes(shape), 0.0, dtype or "float32", "zeros").requires_grad_(requires_grad)


def ones(*shape, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones (float32 unless dtype is given)."""
    return _core.full(sizes(shape), 1.0, dtype or "float32", "ones").requires_grad_(requires_grad)


def empty(*shape, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor whose values are not set."""
    return _core.empty(sizes(shape), dtype).requires_grad_(requires_grad)


def full(shape, fill_value: float, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with every element equal to fill_value."""
    return _core.full(sizes((shape,)), fill_value, dtype).requires_grad_(requires_grad)


def zeros_like(x: Tensor, dtype: dtype | str | None = None) -> Tensor:
    """Zeros in x's shape and dtype."""
    return _core.full(tensor_only(x, "zeros_like").shape, 0, dtype or x.dtype)


def ones_like(x: Tensor, dtype: dtype | str | None = None) -> Tensor:
    """Ones in x's shape and dtype."""
    return _core.full(tensor_only(x, "ones_like").shape, 1, dtype or x.dtype)


def arange(start, end=None, step=1, dtype: dtype | str | None = None) -> Tensor:
    """start, start + step, ... below end; arange(end) starts at 0. int64 for integers, else float32."""
    import numpy

    if end is None:
        start, end = 0, start
    if step == 0:
        raise ValueError("arange: step must not be 0")
    whole = all(isinstance(v, int) for v in (start, end, step))
    values = numpy.arange(start, end, step, dtype=numpy.int64 if whole else numpy.float32)
    return _core.from_numpy(values).to(dtype)


def eye(n: int, m: int | None = None, *, dtype: dtype | str | None = None, requires_grad=False) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix of zeros."""
    import numpy

    if n < 0 or (m is not None and m < 0):
        raise ValueError(f"eye: sizes must not be negative, got {n} and {m}")
    out = _core.from_numpy(numpy.eye(n, m, dtype="float32")).to(dtype)
    return out.requires_grad_() if requires_grad else out


@method
def clone(x: Tensor) -> Tensor:
    """A copy with memory of its own; gradients flow through it."""
    return _core.copy(tensor_only(x, "clone"))


@rule("copy")
def _copy(node, g):
    return g


@method
def to(x: Tensor, *args, dtype: dtype | str | None = None, device=None, non_blocking=False, copy=False,
       memory_format=None) -> Tensor:  # fmt: skip
    """x in another dtype; x itself where it has that dtype already, unless copy is true. As in torch the dtype may come
    first, after a device, or with another tensor; the only device is "cpu"."""
    for place, value in enumerate((*args, device)):
        if isinstance(value, Tensor):
            dtype = value.dtype
        elif isinstance(value, _core.dtype) or (isinstance(value, str) and value in _DTYPES):
            dtype = value
        elif isinstance(value, builtins.bool) and place < len(args):
            copy = copy or (value and place >= 2)  # after dtype comes non_blocking, then copy
        elif value is not None and str(value) != "cpu":
            raise TypeError(f"to: {value!r} is neither a dtype nor the device 'cpu'")
    if not copy and (dtype is None or _core.dtype_of(dtype) is tensor_only(x, "to").dtype):
        return x
    return _core.copy(x, dtype)


@method
def float(x: Tensor) -> Tensor:
    """x as float32."""
    return to(x, "float32")


@method
def double(x: Tensor) -> Tensor:
    """x as float64 (for storage and exchange: gradients and kernels are float32)."""
    return to(x, "float64")


@method
def long(x: Tensor) -> Tensor:
    """x as int64; fractions are cut off."""
    return to(x, "int64")


@method
def bool(x: Tensor) -> Tensor:
    """True where x is not 0."""
    return to(x, "bool")


@method
def contiguous(x: Tensor) -> Tensor:
    """x where its elements lie row-major without gaps, else a copy that does."""
    if x.is_contiguous():
        return x
    return _core.reshape(_core.reshape(x, (-1,)), x.shape) if x.ndim > 1 else _core.copy(x)


@method
def fill(x: Tensor, value) -> Tensor:
    """A tensor like x with every element equal to value (a number, or a tensor without axes)."""
    if isinstance(value, Tensor) and value.requires_grad:
        return zeros_like(x) + value
    return clone(tensor_only(x, "fill").detach()).fill_(value)


@method
def fill_(x: Tensor, value) -> Tensor:
    """Every element = value. Not recorded."""
    return _core.copy_(x, value)


@method
def zero_(x: Tensor) -> Tensor:
    """Every element = 0. Not recorded."""
    return _core.copy_(x, 0.0)


method(_core.copy_)
