"""New tensors: constants, ranges, copies."""

import builtins

from pyengine import _core
from pyengine._core import Tensor, dtype, memory_format
from pyengine.ops._method import method, rule, sizes, tensor_only

_DTYPES = {"float32", "float64", "bfloat16", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"}


def zeros(*shape, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros (float32 unless dtype is given)."""
    return _core.full(sizes(shape), 0.0, dtype or "float32", "zeros").requires_grad_(requires_grad)


def ones(*shape, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones (float32 unless dtype is given)."""
    return _core.full(sizes(shape), 1.0, dtype or "float32", "ones").requires_grad_(requires_grad)


def empty(
    *shape,
    dtype: dtype | str | None = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """A tensor whose values are not set; row-major unless a memory_format is given."""
    return _core.empty(sizes(shape), dtype, memory_format).requires_grad_(requires_grad)


def full(shape, fill_value: float, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with every element equal to fill_value."""
    return _core.full(sizes((shape,)), fill_value, dtype).requires_grad_(requires_grad)


def zeros_like(x: Tensor, dtype: dtype | str | None = None, *, memory_format: memory_format | None = None) -> Tensor:
    """Zeros in x's shape and dtype, and memory format unless one is given."""
    return _core.new_like(tensor_only(x, "zeros_like"), 0, dtype, memory_format, "zeros_like")


def ones_like(x: Tensor, dtype: dtype | str | None = None, *, memory_format: memory_format | None = None) -> Tensor:
    """Ones in x's shape and dtype, and memory format unless one is given."""
    return _core.new_like(tensor_only(x, "ones_like"), 1, dtype, memory_format, "ones_like")


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
def clone(x: Tensor, *, memory_format: memory_format | None = None) -> Tensor:
    """A copy with memory of its own, in x's memory format unless one is given; gradients flow through it."""
    return _core.copy(tensor_only(x, "clone"), None, memory_format, "clone")


@rule("copy")
def _copy(node, g):
    return g


@method
def to(x: Tensor, *args, dtype: dtype | str | None = None, device=None, non_blocking=False, copy=False,
       memory_format: memory_format | None = None) -> Tensor:  # fmt: skip
    """x in another dtype or memory format; x itself where it has them already, unless copy is true. As in torch the
    dtype may come first, after a device, or with another tensor; the only device is "cpu"."""
    for place, value in enumerate((*args, device)):
        if isinstance(value, Tensor):
            dtype = value.dtype
        elif isinstance(value, _core.dtype) or (isinstance(value, str) and value in _DTYPES):
            dtype = value
        elif isinstance(value, builtins.bool) and place < len(args):
            copy = copy or (value and place >= 2)  # after dtype comes non_blocking, then copy
        elif value is not None and str(value) != "cpu":
            raise TypeError(f"to: {value!r} is neither a dtype nor the device 'cpu'")
    there = dtype is None or _core.dtype_of(dtype) is tensor_only(x, "to").dtype
    if there and not copy and (memory_format in (None, _core.preserve_format) or x.is_contiguous(memory_format)):
        return x
    return _core.copy(x, dtype, memory_format, "to")


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
def contiguous(x: Tensor, *, memory_format: memory_format = _core.contiguous_format) -> Tensor:
    """x where its elements lie without gaps, row-major or as the format says, else a copy that does.

    >>> import pyengine as pe
    >>> x = pe.zeros(2, 3, 4, 5).contiguous(memory_format=pe.channels_last)
    >>> x.shape, x.stride()
    ((2, 3, 4, 5), (60, 1, 15, 3))
    """
    if x.is_contiguous(memory_format):
        return x
    if memory_format is _core.preserve_format:
        raise RuntimeError("contiguous: preserve_format says nothing here; clone() preserves it")
    return _core.copy(x, None, memory_format, "contiguous")


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
