"""Quantized products against NumPy: integers exactly, floats within the bound that rounding leaves."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import ops

EPS = 2.0**-24


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("left", [np.uint8, np.int8])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 7), (17, 130, 65), (1, 768, 300), (64, 64, 64), (5, 0, 4), (0, 3, 2)]
)
def test_int8_matmul_is_numpys(rng, left, shape):
    m, k, n = shape
    limits = np.iinfo(left)
    a = rng.integers(limits.min, limits.max + 1, (m, k)).astype(left)
    b = rng.integers(-128, 128, (k, n)).astype(np.int8)
    expected = a.astype(np.int32) @ b.astype(np.int32)
    assert np.array_equal(ops.int8_matmul(pe.tensor(a), pe.tensor(b)).numpy(), expected)
    turned = pe.tensor(np.ascontiguousarray(b.T)).transpose(0, 1)
    assert np.array_equal(ops.int8_matmul(pe.tensor(a), turned).numpy(), expected)


def test_int8_matmul_at_the_ends_of_the_types():
    a = pe.tensor(np.full((2, 70000), 255, np.uint8))
    b = pe.tensor(np.full((70000, 3), -128, np.int8))
    expected = np.full((2, 3), 70000 * 255 * -128, np.int64).astype(np.int32)  # wraps, as NumPy's int32 does
    assert np.array_equal(ops.int8_matmul(a, b).numpy(), expected)


@pytest.mark.parametrize("shape", [(1, 4, 1), (5, 37, 70), (70, 300, 33), (3, 0, 4), (0, 8, 8)])
def test_int8_matmul_takes_packed_bytes(rng, shape):
    m, k, n = shape
    a, b = rng.integers(0, 256, (2, m, k)).astype(np.uint8), rng.integers(-128, 128, (n, k)).astype(np.int8)
    packed = ops.QuantizedWeight.from_int8(pe.tensor(b))
    assert packed.shape == (n, k) and packed.bits == 8
    found = ops.int8_matmul(pe.tensor(a), packed)
    assert np.array_equal(found.numpy(), a.astype(np.int32) @ b.T.astype(np.int32))
    assert np.array_equal(ops.int8_matmul(pe.tensor(a.view(np.int8)), packed).numpy(),
                          a.view(np.int8).astype(np.int32) @ b.T.astype(np.int32))  # fmt: skip


def test_a_weight_of_bytes_stands_for_its_scales(rng):
    b, scale = rng.integers(-128, 128, (7, 12)).astype(np.int8), rng.random(7).astype(np.float32)
    weight = ops.QuantizedWeight.from_int8(pe.tensor(b), pe.tensor(scale))
    assert np.array_equal(weight.dequantize().numpy(), b * scale[:, None])
    assert np.array_equal(ops.QuantizedWeight.from_int8(pe.tensor(b)).dequantize().numpy(), b.astype(np.float32))
    x = pe.tensor(rng.normal(size=(3, 12)).astype(np.float32))
    close = x.numpy() @ (b * scale[:, None]).T
    assert np.abs(ops.quantized_linear(x, weight).numpy() - close).max() < 0.02 * np.abs(close).max()


def test_int8_matmul_folds_leading_axes(rng):
    a = rng.integers(-128, 128, (2, 3, 4, 9)).astype(np.int8)
    b = rng.integers(-128, 128, (9, 5)).astype(np.int8)
    expected = a.astype(np.int32) @ b.astype(np.int32)
    assert np.array_equal(ops.int8_matmul(pe.tensor(a), pe.tensor(b)).numpy(), expected)
    assert np.array_equal(ops.int8_matmul(pe.tensor(a[0, 0, 0]), pe.tensor(b)).numpy(), expected[0, 0, 0])


@pytest.mark.parametrize("symmetric", [False, True])
def test_quantize_dynamic_is_within_half_a_step(rng, symmetric):
    x = rng.normal(size=(4, 5, 33)).astype(np.float32)
    x[0, 0] = 0
    q, scale, zero = (t.numpy() for t in ops.quantize_dynamic(pe.tensor(x), symmetric))
    assert q.dtype == (np.int8 if symmetric else np.uint8) and q.shape == x.shape and scale.shape == x.shape[:-1]
    back = (q.astype(np.float64) - zero[..., None]) * scale[..., None]
    # half a step, and as much again where rounding zero moved the ends of the range
    assert (np.abs(back - x) <= scale[..., None] * (0.5 if symmetric else 1.0) * (1 + 1e-5)).all()
    if symmetric:
        assert (zero == 0).all() and np.abs(q).max() == 127


def test_rows_without_a_range_become_nan():
    x = np.ones((4, 8), np.float32)
    x[1, 3], x[2, 0], x[3, 7] = np.nan, np.inf, -np.inf
    _, scale, _ = ops.quantize_dynamic(pe.tensor(x))
    assert np.isnan(scale.numpy()).tolist() == [False, True, True, True]
    w = ops.QuantizedWeight.from_float(pe.tensor(np.ones((3, 8), np.float32)))
    y = ops.quantized_linear(pe.tensor(x), w).numpy()
    assert np.isnan(y).tolist() == [[False] * 3, [True] * 3, [True] * 3, [True] * 3]


def weights(rng, out, inputs):
    return rng.normal(size=(out, inputs)).astype(np.float32)


@pytest.mark.parametrize(
    ("bits", "group", "symmetric"), [(8, 64, False), (4, 32, False), (4, 64, True), (4, 128, False)]
)
def test_weights_come_back_within_half_a_step(rng, bits, group, symmetric):
    w = weights(rng, 70, 256)
    q = ops.QuantizedWeight.from_float(pe.tensor(w), bits=bits, group=group, symmetric=symmetric)
    parts = w.reshape(70, -1, group if bits == 4 else 256)
    if bits == 8 or symmetric:
        step, slack = np.abs(parts).max(-1, keepdims=True) / (127 if bits == 8 else 7), 0.5
    else:
        high, low = parts.max(-1, keepdims=True), parts.min(-1, keepdims=True)
        step, slack = (np.maximum(high, 0) - np.minimum(low, 0)) / 15, 1
    error = np.abs(q.dequantize().numpy().reshape(parts.shape) - parts)
    assert (error <= step * slack * (1 + 1e-5)).all()
    assert q.shape == (70, 256) and q.bits == bits
    assert q.nbytes < w.nbytes * (0.6 if bits == 8 else 0.45)  # 70 outputs are padded to whole panels
    assert repr(q) == f"QuantizedWeight((70, 256), bits={bits}" + (f", group={group})" if bits == 4 else ")")


@pytest.mark.parametrize("rows", [1, 2, 8, 33])
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_int8_linear_is_its_parts(rng, rows, activation):
    x, w = rng.normal(size=(rows, 300)).astype(np.float32), weights(rng, 90, 300)
    bias = rng.normal(size=90).astype(np.float32)
    weight = ops.QuantizedWeight.from_float(pe.tensor(w))
    y = ops.quantized_linear(pe.tensor(x), weight, pe.tensor(bias), activation)
    q, scale, zero = (t.numpy() for t in ops.quantize_dynamic(pe.tensor(x)))
    wq, ws, _ = (t.numpy() for t in ops.quantize_dynamic(pe.tensor(w), symmetric=True))
    sums = (q.astype(np.int32) - zero[:, None]) @ wq.astype(np.int32).T
    expected = pe.tensor(sums.astype(np.float32) * (scale[:, None] * ws) + bias)
    if activation:
        expected = getattr(ops, activation)(expected)
    assert np.array_equal(y.numpy(), expected.numpy())


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_int4_linear_is_near_float64(rng, rows):
    x, w = rng.normal(size=(rows, 512)).astype(np.float32), weights(rng, 90, 512)
    weight = ops.QuantizedWeight.from_float(pe.tensor(w), bits=4, group=32)
    y = ops.quantized_linear(pe.tensor(x), weight).numpy()
    exact = weight.dequantize().numpy().astype(np.float64)
    size = np.abs(x).astype(np.float64) @ np.abs(exact).T
    # 32 roundings in a group's chain, 16 in the chain of groups, 2 in dequantize; twice that without FMA
    assert (np.abs(y - x.astype(np.float64) @ exact.T) <= 2 * 50 * EPS * size).all()


def test_int8_linear_is_near_the_float_product(rng):
    x, w = rng.normal(size=(8, 512)).astype(np.float32), weights(rng, 64, 512)
    y = ops.quantized_linear(pe.tensor(x), ops.QuantizedWeight.from_float(pe.tensor(w))).numpy()
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    step_x = (np.maximum(x.max(1), 0) - np.minimum(x.min(1), 0))[:, None] / 255
    step_w = np.abs(w).max(1) / 127
    bound = 1.01 * (step_x * np.abs(w).sum(1) + 0.5 * step_w * (np.abs(x).sum(1)[:, None] + 512 * step_x))
    assert (np.abs(y - exact) <= bound).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_do_not_depend_on_their_neighbours(rng, bits):
    weight = ops.QuantizedWeight.from_float(pe.tensor(weights(rng, 100, 128)), bits=bits)
    x = rng.normal(size=(2, 3, 5, 128)).astype(np.float32)
    y = ops.quantized_linear(pe.tensor(x), weight)
    assert y.shape == (2, 3, 5, 100)
    assert np.array_equal(ops.quantized_linear(pe.tensor(x[1, 2, 4]), weight).numpy(), y.numpy()[1, 2, 4])
    wide = pe.tensor(np.repeat(x, 2, axis=-1))[..., ::2]
    assert np.array_equal(ops.quantized_linear(wide, weight).numpy(), y.numpy())
    assert ops.quantized_linear(pe.tensor(np.zeros((0, 128), np.float32)), weight).shape == (0, 100)


def tensor(*shape, dtype=np.float32):
    return pe.tensor(np.zeros(shape, dtype))


WEIGHT = ops.QuantizedWeight.from_float(tensor(6, 64))
BAD = [
    (ops.int8_matmul, (tensor(2, 3, dtype=np.int8), ops.QuantizedWeight.from_int8(tensor(5, 4, dtype=np.int8))),
     ValueError, r"\(2, 3\) and \(4, 5\)"),
    (ops.int8_matmul, (tensor(2, 32, dtype=np.int8), ops.QuantizedWeight.from_float(tensor(5, 32), 4, 32)),
     TypeError, "8 bits are needed"),
    (ops.int8_matmul, (tensor(2, 3, dtype=np.int8), 5), TypeError, "int8_matmul: b"),
    (ops.QuantizedWeight.from_int8, (tensor(2, 3),), ValueError, "float32 of shape"),
    (ops.QuantizedWeight.from_int8, (tensor(2, 3, dtype=np.int8), tensor(3)), ValueError, r"\(3,\) does not fit"),
    (ops.int8_matmul, (tensor(2, 3, dtype=np.int8), tensor(4, 5, dtype=np.int8)), ValueError, r"\(2, 3\) and \(4, 5\)"),
    (ops.int8_matmul, (tensor(2, 3), tensor(3, 5, dtype=np.int8)), TypeError, "got float32 and int8"),
    (ops.int8_matmul, (tensor(2, 3, dtype=np.int8), tensor(3, 5, dtype=np.uint8)), TypeError, "got int8 and uint8"),
    (ops.int8_matmul, (np.zeros((2, 3), np.int8), tensor(3, 5)), TypeError, "must be a Tensor"),
    (ops.quantize_dynamic, (tensor(3, dtype=np.float64),), TypeError, "float32, got float64"),
    (ops.quantize_dynamic, (pe.tensor(1.0),), ValueError, "needs an axis"),
    (ops.quantized_linear, (tensor(2, 63), WEIGHT), ValueError, r"\(2, 63\) does not fit a weight of shape \(6, 64\)"),
    (ops.quantized_linear, (tensor(2, 64), WEIGHT, tensor(5)), ValueError, r"bias of shape \(5,\)"),
    (ops.quantized_linear, (tensor(2, 64, dtype=np.int8), WEIGHT), TypeError, "float32"),
    (ops.quantized_linear, (tensor(2, 64), tensor(6, 64)), TypeError, "QuantizedWeight"),
    (ops.quantized_linear, (tensor(2, 64), WEIGHT, None, "add"), ValueError, "add must take one float32"),
    (ops.quantized_linear, (tensor(2, 64), WEIGHT, None, "nonsense"), KeyError, "nonsense"),
    (ops.QuantizedWeight.from_float, (tensor(6),), ValueError, r"\(out, in\), got \(6,\)"),
    (ops.QuantizedWeight.from_float, (tensor(6, 64), 5), ValueError, "8 or 4, got 5"),
    (ops.QuantizedWeight.from_float, (tensor(6, 80), 4, 64), ValueError, "divide the 80 inputs"),
    (ops.QuantizedWeight.from_float, (tensor(6, 64), 4, 16), ValueError, "32, 64 or 128"),
]


@pytest.mark.parametrize(("function", "args", "kind", "text"), BAD)
def test_bad_input_is_named(function, args, kind, text):
    with pytest.raises(kind, match=text):
        function(*args)


def test_a_gradient_that_would_be_lost_is_refused():
    x = tensor(2, 64).requires_grad_()
    with pytest.raises(RuntimeError, match="no gradient flows"):
        ops.quantized_linear(x, WEIGHT)
    with pe.no_grad():
        assert ops.quantized_linear(x, WEIGHT).shape == (2, 6)
