"""New tensors like another one, and evenly spaced numbers."""

from pyengine import _core
from pyengine._core import Tensor, dtype, memory_format
from pyengine.ops._arguments import integer
from pyengine.ops._method import method, sizes, tensor_only

__all__ = ["empty_like", "full_like", "linspace", "logspace"]


def _steps(start, end, steps: int, what: str):
    import numpy

    for name, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor) and value.ndim:
            raise RuntimeError(f"{what}: {name} must be one number, got shape {value.shape}")
    steps = integer(steps, what, "steps")
    if steps < 0:
        raise RuntimeError(f"{what}: steps must not be negative, got {steps}")
    if steps > 1 << 40:
        raise RuntimeError(f"{what}: {steps} steps are too many")
    return numpy.linspace(float(start), float(end), steps)


def linspace(start: float, end: float, steps: int, dtype: dtype | str | None = None, requires_grad: bool = False):
    """`steps` numbers from start to end, both included.

    >>> linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    values = _core.from_numpy(_steps(start, end, steps, "linspace"))
    return values.to(dtype or "float32").requires_grad_(requires_grad)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, dtype: dtype | str | None = None,
    requires_grad: bool = False,
):  # fmt: skip
    """base to the power of `steps` numbers from start to end."""
    import numpy

    with numpy.errstate(all="ignore"):
        values = numpy.power(float(base), _steps(start, end, steps, "logspace"))
    return _core.from_numpy(values).to(dtype or "float32").requires_grad_(requires_grad)


def full_like(input: Tensor, fill_value, dtype: dtype | str | None = None, requires_grad: bool = False, *,
              memory_format: memory_format | None = None) -> Tensor:  # fmt: skip
    """One value in x's shape and dtype, and memory format unless one is given."""
    out = _core.new_like(tensor_only(input, "full_like"), fill_value, dtype, memory_format, "full_like")
    return out.requires_grad_(requires_grad)


def empty_like(input: Tensor, dtype: dtype | str | None = None, requires_grad: bool = False, *,
               memory_format: memory_format | None = None) -> Tensor:  # fmt: skip
    """A tensor in x's shape and dtype, and memory format unless one is given, whose values are not set."""
    out = _core.new_like(tensor_only(input, "empty_like"), None, dtype, memory_format, "empty_like")
    return out.requires_grad_(requires_grad)


@method
def new_zeros(input: Tensor, *size, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of x's dtype."""
    return _core.full(sizes(size), 0, dtype or tensor_only(input, "new_zeros").dtype).requires_grad_(requires_grad)


@method
def new_ones(input: Tensor, *size, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of x's dtype."""
    return _core.full(sizes(size), 1, dtype or tensor_only(input, "new_ones").dtype).requires_grad_(requires_grad)


@method
def new_empty(input: Tensor, *size, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of x's dtype whose values are not set."""
    return _core.empty(sizes(size), dtype or tensor_only(input, "new_empty").dtype).requires_grad_(requires_grad)


@method
def new_full(input: Tensor, size, fill_value, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """One value in a shape, of x's dtype."""
    kind = dtype or tensor_only(input, "new_full").dtype
    return _core.full(sizes((size,)), fill_value, kind).requires_grad_(requires_grad)


@method
def new_tensor(input: Tensor, data, dtype: dtype | str | None = None, requires_grad: bool = False) -> Tensor:
    """A copy of data in x's dtype."""
    return _core.tensor(data, dtype or tensor_only(input, "new_tensor").dtype, requires_grad)


@method
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """x in other's dtype."""
    return input.to(tensor_only(other, "type_as", "other").dtype)
