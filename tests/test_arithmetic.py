"""Element types, operands of any memory layout, and mixed types, against NumPy."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import same, strided

import pyengine as pe
from pyengine import _core

NAMES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"]


# ---- element types ----------------------------------------------------------------------


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
@given(data=st.data())
def test_conversion(source, target, data):
    """Values that the target holds; what lies outside is pyengine.h's rule and tested in C."""
    a = data.draw(strided(name=source))
    a = np.abs(a) if target == "uint8" else a
    same(pe.from_numpy(a).to(target), a.astype(target))


def bfloat16(a):
    """The nearest bfloat16, ties to even, in whole numbers."""
    bits = np.asarray(a, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(a), 0x7FC0 | bits >> 31 << 15, rounded).astype(np.uint16)


@given(hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32)))
def test_rounding_to_16_bits(a):
    x = pe.from_numpy(a)
    number = ~np.isnan(a)
    bits = np.asarray(x.to("bfloat16"))
    np.testing.assert_array_equal(bits[number], bfloat16(a)[number])
    back = x.to("bfloat16").float().numpy()
    np.testing.assert_array_equal(back[number], (bits.astype(np.uint32) << 16).view(np.float32)[number])
    assert np.isnan(back[~number]).all()
    with np.errstate(over="ignore"):
        half = a.astype(np.float16)
    np.testing.assert_array_equal(x.to("float16").numpy(), half)
    np.testing.assert_array_equal(pe.from_numpy(half).float().numpy(), half.astype(np.float32))


# ---- operands of any layout -------------------------------------------------------------

UNARY = ["neg", "exp", "gelu", "sqrt", "isnan", "floor"]
BINARY = ["add", "mul", "div", "maximum", "lt"]


@pytest.mark.parametrize("name", UNARY)
@given(a=strided(shape=None))
def test_unary_rows_on_any_layout(name, a):
    out = getattr(pe, name)(pe.from_numpy(a))
    plain = getattr(pe, name)(pe.from_numpy(a.copy(order="C")))
    assert np.asarray(out).tobytes() == np.asarray(plain).tobytes()


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_binary_rows_on_any_layout(name, data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4))
    arrays = [data.draw(strided(s)) for s in shapes.input_shapes]
    out = getattr(pe, name)(*map(pe.from_numpy, arrays))
    full = [np.broadcast_to(a, shapes.result_shape).copy(order="C") for a in arrays]
    plain = getattr(pe, name)(*map(pe.from_numpy, full))
    assert out.shape == plain.shape == shapes.result_shape
    assert np.asarray(out).tobytes() == np.asarray(plain).tobytes()


@pytest.mark.parametrize("name", ["sum", "amax", "argmax", "softmax"])
@given(data=st.data())
def test_reductions_on_any_layout(name, data):
    a = data.draw(strided(data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))))
    dim = data.draw(st.integers(-a.ndim, a.ndim - 1))
    out, plain = (getattr(pe, name)(pe.from_numpy(v), dim) for v in (a, a.copy(order="C")))
    assert np.asarray(out).tobytes() == np.asarray(plain).tobytes()


@given(st.data(), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_products_on_any_layout(data, m, k, n):
    a, b = data.draw(strided((m, k))), data.draw(strided((k, n)))
    out = pe.from_numpy(a) @ pe.from_numpy(b)
    plain = pe.from_numpy(a.copy(order="C")) @ pe.from_numpy(b.copy(order="C"))
    assert out.numpy().tobytes() == plain.numpy().tobytes()


IN_PLACE = {"add_": operator.iadd, "sub_": operator.isub, "mul_": operator.imul, "div_": operator.itruediv}


@pytest.mark.parametrize("name", IN_PLACE)
@given(data=st.data())
def test_in_place_on_any_layout(name, data):
    a = data.draw(strided().filter(lambda a: a.flags.writeable))
    shape = a.shape[data.draw(st.integers(0, a.ndim)) :]
    b = data.draw(strided(shape))
    c, memory = a.copy(), pe.from_numpy(a)
    with np.errstate(all="ignore"):
        expected = IN_PLACE[name](c, b)
    x = memory
    version = x.version
    x = IN_PLACE[name](x, pe.from_numpy(b))
    assert x is memory
    assert x.version == version + 1
    same(x, expected)
    np.testing.assert_array_equal(a, expected)


def test_in_place_with_a_view_of_itself():
    a = np.arange(16, dtype=np.float32).reshape(4, 4)
    x = pe.tensor(a)
    x += x.T
    same(x, a + a.T)
    x[1:] += x[:-1]
    expected = a + a.T
    expected[1:] += expected[:-1].copy()
    same(x, expected)


# ---- mixed element types ----------------------------------------------------------------

# as torch promotes: float above int above bool, within a kind the wider; a Python number gives its kind alone
PROMOTED = [
    ("int32", "int64", "int64"), ("int8", "uint8", "int16"), ("uint8", "int32", "int32"), ("bool", "int8", "int8"),
    ("bool", "float32", "float32"), ("int64", "float32", "float32"), ("int8", "float32", "float32"),
    ("float32", "float64", "float64"), ("int64", "float64", "float64"), ("int16", 1, "int16"), ("uint8", 2, "uint8"),
    ("int8", 1.5, "float32"), ("float32", 1, "float32"), ("float64", 1.5, "float64"), ("bool", 1, "int64"),
    ("int64", True, "int64"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "result"), PROMOTED)
def test_promotion(a, b, result):
    x = pe.tensor([0, 1, 1]).to(a)
    y = pe.tensor([1, 1, 0]).to(b) if isinstance(b, str) else b
    left, right = np.asarray(x), np.asarray(y)
    for out, expected in ((x + y, left + right), (y + x, left + right), (x * y, left * right)):
        assert out.dtype.name == result
        np.testing.assert_array_equal(np.asarray(out), expected.astype(result))
    assert (x == y).dtype is pe.bool_
    np.testing.assert_array_equal((x == y).numpy(), left == right)


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8"])
def test_integers_divide_and_take_roots_in_float32(name):
    x = pe.tensor([1, 4, 9]).to(name)
    assert (x / x).dtype is pe.float32
    assert (x / 2).tolist() == [0.5, 2.0, 4.5]
    assert (x.sqrt().dtype, x.sqrt().tolist()) == (pe.float32, [1.0, 2.0, 3.0])


IN_PLACE_KINDS = [("int64", 1.5), ("int8", "float32"), ("bool", 1), ("bool", "int8"), ("uint8", 0.5)]


@pytest.mark.parametrize(("name", "other"), IN_PLACE_KINDS)
def test_in_place_does_not_lose_the_fraction(name, other):
    x = pe.tensor([0, 1]).to(name)
    y = pe.tensor([1, 1]).to(other) if isinstance(other, str) else other
    with pytest.raises(TypeError, match=rf"add_: a result of \w+ does not fit {name} in place"):
        x += y
    assert x.tolist() == [0, 1]


def test_gradients_of_other_types_are_refused_by_name():
    x = pe.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="mul: gradients need float32 operands, got float32, float64"):
        x * pe.ones(2, dtype="float64")


def test_sixteen_bits_compute_in_float32():
    for name in ("bfloat16", "float16"):
        half = pe.tensor([1.0, 2.0]).to(name)
        assert pe.exp(half).dtype.name == name and (half + half).tolist() == [2.0, 4.0]
        assert (half * pe.tensor([3.0, 0.5])).dtype is pe.float32
        assert (half < pe.tensor([3.0, 0.5])).tolist() == [True, False]


def test_elementwise_rows_are_the_operators():
    a, b = pe.tensor([3.0, -2.0]), pe.tensor([2.0, 5.0])
    for symbol in ("add", "sub", "mul", "truediv", "pow", "eq", "ne", "lt", "le", "gt", "ge"):
        row = {"truediv": "div"}.get(symbol, symbol)
        f = getattr(operator, symbol)
        for p, q in ((a, b), (a, 2.0), (2.0, b)):
            out = _core.elementwise(_core.elementwise_op(row), p, q)
            np.testing.assert_array_equal(np.asarray(f(p, q)), np.asarray(out))
