"""Quantized products: bytes against bytes exactly, and float rows against int8 or int4 weights. No gradient flows."""

from math import prod

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded, tensor_only
from pyengine.ops.create import ones

GROUPS = (32, 64, 128)


def _rows(x: Tensor) -> Tensor:
    if x.ndim == 0:
        raise ValueError("quantize_dynamic: the input needs an axis")
    return x if x.ndim == 2 else _core.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def quantize_dynamic(x: Tensor, symmetric: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """(q, scale, zero) of every row along the last axis by its own range, so that x is about scale (q - zero).

    Asymmetric: q in uint8, scale = (max - min) / 255 with 0 inside min .. max. Symmetric: q in int8 from -127 to
    127, scale = max|x| / 127, zero 0. Ties go to even. A row that holds a NaN or an infinity has the scale NaN.

    Shape: (..., n) -> q (..., n), scale (...) float32, zero (...) int32. TypeError when x is not float32.

    >>> import pyengine as pe
    >>> q, scale, zero = quantize_dynamic(pe.tensor([[-1.0, 0.0, 1.0, 1.55]]))
    >>> q.tolist(), round(scale.item(), 6), zero.tolist()
    ([[0, 100, 200, 255]], 0.01, [100])
    """
    x = tensor_only(x, "quantize_dynamic")
    q, scale, zero = _core.quantize_rows(_rows(x), "s8" if symmetric else "u8")
    return _core.reshape(q, x.shape), _core.reshape(scale, x.shape[:-1]), _core.reshape(zero, x.shape[:-1])


def int8_matmul(a: Tensor, b: "Tensor | QuantizedWeight") -> Tensor:
    """a @ b of bytes, exact in int32 (modulo 2^32, as NumPy's int32): the same bits on every machine.

    Shape: a (..., k) int8 or uint8, b (k, n) int8 -> (..., n) int32. A b that meets many a is packed once, as
    QuantizedWeight.from_int8(b.T): its bytes are what counts, not its scales. ValueError names both shapes, TypeError
    both types.

    >>> import pyengine as pe
    >>> a = pe.tensor([[255, 255]], dtype=pe.uint8)
    >>> int8_matmul(a, pe.tensor([[127], [127]], dtype=pe.int8)).item()
    64770
    """
    a = tensor_only(a, "int8_matmul")
    right = b._pack if isinstance(b, QuantizedWeight) else tensor_only(b, "int8_matmul", "b")
    if a.ndim in (0, 2):
        return _core.int8_matmul(a, right)
    rows = _core.reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
    return _core.reshape(_core.int8_matmul(rows, right), (*a.shape[:-1], b.shape[0 if right is not b else -1]))


class QuantizedWeight:
    """A weight (out, in) of a linear layer in 8 or 4 bits, packed for this machine's kernels.

    8 bits: one scale an output, symmetric, -127 .. 127. 4 bits: a scale and a zero for each `group` of inputs.

    >>> import pyengine as pe
    >>> w = QuantizedWeight.from_float(pe.tensor([[1.27, -0.5], [0.0, 2.54]]))
    >>> w
    QuantizedWeight((2, 2), bits=8)
    >>> [[round(x, 2) for x in row] for row in w.dequantize().tolist()]
    [[1.27, -0.5], [0.0, 2.54]]
    """

    def __init__(self, pack, group: int | None) -> None:
        self._pack = pack
        self.group = group

    @classmethod
    def from_float(cls, weight: Tensor, bits: int = 8, group: int = 64, symmetric: bool = False) -> "QuantizedWeight":
        """Rounds a float32 weight (out, in) to the nearest; ties to even.

        bits is 8 or 4. With 4, group (32, 64 or 128, a divisor of in) inputs share a scale, and a zero unless
        symmetric. ValueError tells what does not fit; a row or group with a NaN or an infinity becomes NaN.
        """
        weight = tensor_only(weight, "QuantizedWeight")
        if weight.ndim != 2:
            raise ValueError(f"QuantizedWeight: a weight has the shape (out, in), got {weight.shape}")
        if bits == 8:
            q, scale, _ = _core.quantize_rows(weight, "s8")
            return cls(_core.quant_pack(q, scale), None)
        if bits != 4:
            raise ValueError(f"QuantizedWeight: bits must be 8 or 4, got {bits}")
        outputs, inputs = weight.shape
        if group not in GROUPS or inputs % group:
            raise ValueError(
                f"QuantizedWeight: group must be 32, 64 or 128 and divide the {inputs} inputs of a weight of shape "
                f"{weight.shape}, got {group}"
            )
        parts = (outputs, inputs // group)
        q, scale, zero = _core.quantize_rows(
            _core.reshape(weight, (parts[0] * parts[1], group)), "s4" if symmetric else "u4"
        )
        zero = _core.reshape(_core.copy(zero, "float32"), parts)
        return cls(_core.quant_pack(_core.reshape(q, weight.shape), _core.reshape(scale, parts), zero, group), group)

    @classmethod
    def from_int8(cls, weight: Tensor, scale: Tensor | None = None) -> "QuantizedWeight":
        """Weights (out, in) that are int8 already, as they are. They stand for weight * scale (out), 1 by default.

        >>> import pyengine as pe
        >>> w = QuantizedWeight.from_int8(pe.tensor([[1, -2]], dtype=pe.int8), pe.tensor([0.5]))
        >>> w.dequantize().tolist()
        [[0.5, -1.0]]
        """
        weight = tensor_only(weight, "QuantizedWeight")
        if weight.ndim != 2 or weight.dtype.name != "int8":
            raise ValueError(
                f"QuantizedWeight: from_int8 needs an int8 weight of shape (out, in), got {weight.dtype.name} of shape "
                f"{weight.shape}"
            )
        scale = ones(weight.shape[0]) if scale is None else tensor_only(scale, "QuantizedWeight", "scale")
        if scale.shape != weight.shape[:1]:
            raise ValueError(
                f"QuantizedWeight: scale of shape {scale.shape} does not fit a weight of shape {weight.shape}: "
                f"({weight.shape[0]},) is expected"
            )
        return cls(_core.quant_pack(weight, scale.detach()), None)

    def dequantize(self) -> Tensor:
        """The float32 weight (out, in) that the numbers stand for."""
        return _core.quant_unpack(self._pack)

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)"""
        return self._pack.n, self._pack.k

    @property
    def bits(self) -> int:
        """8 or 4"""
        return self._pack.bits

    @property
    def nbytes(self) -> int:
        """Bytes of memory, scales and padding included."""
        return self._pack.nbytes

    def __repr__(self) -> str:
        grouped = f", group={self.group}" if self.group else ""
        return f"QuantizedWeight({self.shape}, bits={self.bits}{grouped})"


def quantized_linear(
    x: Tensor, weight: QuantizedWeight, bias: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """activation(x weight^T + bias) against a quantized weight, in one call.

    8 bits: each row of x is quantized as `quantize_dynamic` does, the sums are exact in int32, then
    float(sum) * (scale of the row * scale of the output) + bias. 4 bits: x stays float32, weights become floats in
    registers. activation names a one-input operation ("relu", "gelu", ...). The bits of a row depend neither on the
    other rows nor on threads.

    Shape: x (..., in), weight (out, in), bias (out) -> (..., out). ValueError names both shapes; RuntimeError when x
    or bias wants a gradient, since none would flow.

    >>> import pyengine as pe
    >>> w = QuantizedWeight.from_float(pe.tensor([[1.0, 2.0]]))
    >>> quantized_linear(pe.tensor([[0.0, 255.0]]), w, pe.tensor([0.5])).tolist()
    [[510.5]]
    """
    x = tensor_only(x, "quantized_linear")
    if not isinstance(weight, QuantizedWeight):
        raise TypeError(f"quantized_linear: weight must be a QuantizedWeight, got {type(weight).__name__}")
    if recorded(x, bias):
        raise RuntimeError("quantized_linear: no gradient flows through quantized weights; use no_grad() or detach()")
    if activation is None:
        return _core.quantized_linear(x, weight._pack, bias)
    return _core.quantized_linear(x, weight._pack, bias, _core.elementwise_op(activation))
