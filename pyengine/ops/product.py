"""Products. Every element is one chain over k in ascending order, so the bits depend neither on threads nor on
the other rows of a batch."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import method, rule, tensor_only


@method
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b over the last two axes, broadcast over the others; vectors as in NumPy.

    Shape: (..., m, k) @ (..., k, n) -> (..., m, n). ValueError names both shapes where they do not fit.
    dtypes: float32, or both bfloat16 (not recorded; summed in float32 in the order of the instruction set, rounded to
    bfloat16 once); else TypeError.
    """
    return _core.matmul(a, b)


@rule("matmul")
def _matmul(node, g):
    (a, b), shapes = node.saved, node.meta
    da = _core.sum_to(_core.matmul(g, _core.transpose(b, -1, -2)), shapes[0]) if node.needs(0) else None
    db = _core.sum_to(_core.matmul(_core.transpose(a, -1, -2), g), shapes[1]) if node.needs(1) else None
    return da, db


def _activation(name: str | None) -> int:
    """The row of an activation by its name; -1 for None."""
    number = _ACTIVATIONS.get(name)
    if number is None:
        known = ", ".join(map(repr, _ACTIVATION_NAMES))
        raise ValueError(f"linear: activation must be None or one of {known}, got {name!r}")
    return number


_ACTIVATION_NAMES = (
    "relu", "relu6", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "hardtanh", "hardsigmoid",
)  # fmt: skip
_ACTIVATIONS: dict[str | None, int] = {None: -1, **{name: _core.elementwise_op(name) for name in _ACTIVATION_NAMES}}


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x weight^T + bias) + residual, in one pass where the gradient allows it; the bits are those of the
    steps one by one.

    Arguments: activation, None or the name of one ("relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", ...);
    residual, a tensor of the result's shape.
    Shape: x (..., in), weight (out, in), bias (out) -> (..., out). ValueError names both shapes.
    dtypes: float32, or x and weight bfloat16 (not recorded; all steps in float32, rounded once).
    Inference keeps a packed copy of a weight that is used again: see `pack`.

    >>> import pyengine as pe
    >>> x, w, b = pe.tensor([[0.5, 0.3]]), pe.tensor([[0.8, 0.6]]), pe.tensor([0.2])
    >>> round(linear(x, w, b).item(), 6)
    0.78
    >>> linear(-x, w, activation="relu").item()
    0.0
    """
    if activation is None:
        return _core.linear(x, weight, bias, -1, residual)
    return _core.linear(x, weight, bias, _activation(activation), residual)


@rule("linear")
def _linear(node, g):
    x, weight, *output = node.saved
    if output:  # of an activation whose derivative is written in its output
        g = _core.elementwise(node.meta, g, output[0])
    rows = _core.reshape(g, (-1, g.shape[-1])) if g.ndim != 2 else g
    dx = dw = db = None
    if node.needs(0):
        dx = _core.matmul(g, weight)
    if node.needs(1):
        flat = _core.reshape(x, (-1, x.shape[-1])) if x.ndim != 2 else x
        dw = _core.add_product(node, 1, _core.transpose(rows, 0, 1), flat)
    if node.needs(2):
        db = _core.sum_to(rows, (rows.shape[1],))
    return dx, dw, db, g


def pack(weight: Tensor):
    """Lays a weight (out, in) out now as the products of inference read it; returns the PackedWeight.

    `linear` does it by itself at the second use of a weight in a row while nothing is recorded, for inputs of at most
    256 rows. The copy is as large as the weight: `memory_stats()["packed"]` counts it, `trim()` gives it back, it goes
    with the weight and with any write to it. Results have the same bits. ValueError: the weight shares memory that
    others could write unseen (an array of NumPy's that lives), or is part of a larger tensor.

    >>> import pyengine as pe
    >>> pack(pe.zeros(512, 256)).shape
    (512, 256)
    """
    return _core.pack(tensor_only(weight, "pack", "weight"))


def _add_product(input, a, b, beta, alpha, axes, what, names):
    for x, name in zip((input, a, b), ("input", *names), strict=True):
        tensor_only(x, what, name)
    if a.ndim != axes or b.ndim != axes:
        raise ValueError(f"{what}: {names[0]} and {names[1]} need {axes} axes, got shapes {a.shape} and {b.shape}")
    if axes == 3 and a.shape[0] != b.shape[0]:
        raise ValueError(f"{what}: batches of shapes {a.shape} and {b.shape} differ")
    return _core.addmm(input, a, b, beta, alpha, what)


@method
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta input + alpha mat1 @ mat2, the sum at the product's store. beta = 0 leaves input out, NaN and all.

    Shape: (m, k), (k, n) and an input that broadcasts to (m, n) -> (m, n).

    >>> import pyengine as pe
    >>> addmm(pe.ones(2), pe.ones(2, 3), pe.ones(3, 2), beta=2, alpha=0.5).tolist()
    [[3.5, 3.5], [3.5, 3.5]]
    """
    return _add_product(input, mat1, mat2, beta, alpha, 2, "addmm", ("mat1", "mat2"))


@method
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta input + alpha batch1 @ batch2, one product for each index of the first axis.

    Shape: (b, m, k), (b, k, n) and an input that broadcasts to (b, m, n) -> (b, m, n).

    >>> import pyengine as pe
    >>> baddbmm(pe.zeros(1), pe.ones(2, 1, 3), pe.ones(2, 3, 1)).tolist()
    [[[3.0]], [[3.0]]]
    """
    return _add_product(input, batch1, batch2, beta, alpha, 3, "baddbmm", ("batch1", "batch2"))


@rule("addmm")
def _addmm(node, g):
    a, b = node.saved
    alpha, beta, shape = node.meta
    scaled = g if alpha == 1 else g * alpha
    dinput = da = db = None
    if node.needs(0):
        dinput = _core.sum_to(g if beta == 1 else g * beta, shape)
    if node.needs(1):
        da = _core.matmul(scaled, _core.transpose(b, -1, -2))
    if node.needs(2):
        db = _core.add_product(node, 2, _core.transpose(a, -1, -2), scaled)
    return dinput, da, db
