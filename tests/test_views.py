"""Shapes, views, indices, element types and arithmetic against NumPy, on operands that hypothesis lays out:
any permutation, steps, reversed and broadcast axes."""

import operator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pyengine as pe
from pyengine import _core

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NAMES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"]


@st.composite
def strided(draw, shape=None, name="float32"):
    """An array of the shape whose memory is permuted, stepped over, reversed or broadcast."""
    shape = draw(SHAPES) if shape is None else shape
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2, 0])) for _ in shape]
    large = [1 if steps[i] == 0 else shape[i] * abs(steps[i]) for i in order]
    size = int(np.prod(large, dtype=int))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    flat = rng.integers(0, 9, size) if name != "float32" else rng.normal(size=size)
    a = flat.astype(name).reshape(large).transpose(np.argsort(order)) if shape else flat.astype(name).reshape(())
    a = a[tuple(slice(None, None, s or None) for s in steps)] if shape else a
    return np.broadcast_to(a, shape) if 0 in steps else a


def same(x, a):
    assert x.shape == a.shape
    np.testing.assert_array_equal(np.asarray(x), a)


def both(function, numpy_function):
    """The same result on both sides, or an error on both."""
    try:
        expected = numpy_function()
    except (ValueError, IndexError, np.exceptions.AxisError):
        with pytest.raises((ValueError, IndexError)):
            function()
        return
    same(function(), expected)


# ---- shapes -----------------------------------------------------------------------------


@given(strided(), st.data())
def test_reshape(a, data):
    factors = data.draw(st.permutations(a.shape))
    if len(factors) > 1 and data.draw(st.booleans()):  # join two axes
        factors = [factors[0] * factors[1], *factors[2:]]
    if data.draw(st.booleans()) and a.size:
        factors.insert(data.draw(st.integers(0, len(factors))), 1)
    if factors and a.size and data.draw(st.booleans()):
        factors[data.draw(st.integers(0, len(factors) - 1))] = -1
    x = pe.from_numpy(a)
    out = x.reshape(*factors)
    same(out, a.reshape(factors))
    same(pe.reshape(x, tuple(factors)), a.reshape(factors))
    try:
        view = x.view(*factors)
    except ValueError as error:
        assert "use reshape" in str(error)
        assert a.size and not np.shares_memory(a, a.reshape(factors))
    else:
        same(view, a.reshape(factors))
        assert view.storage_ is x.storage_


@given(strided(), st.data())
def test_permute_transpose_and_t(a, data):
    x = pe.from_numpy(a)
    dims = data.draw(st.permutations(range(a.ndim)))
    dims = [d - a.ndim if data.draw(st.booleans()) else d for d in dims]
    same(x.permute(*dims), a.transpose(dims))
    same(x.permute(*dims).contiguous(), a.transpose(dims))
    if a.ndim:
        i, j = data.draw(st.lists(st.integers(-a.ndim, a.ndim - 1), min_size=2, max_size=2))
        same(x.transpose(i, j), a.swapaxes(i, j))
    if a.ndim <= 2:
        same(x.T, a.T)


@given(strided(), st.data())
def test_expand(a, data):
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    shape = [data.draw(st.integers(0, 4)) if n == 1 else n for n in a.shape]
    out = pe.from_numpy(a).expand(*lead, *[-1 if data.draw(st.booleans()) and n == m else n
                                           for n, m in zip(shape, a.shape, strict=True)])  # fmt: skip
    same(out, np.broadcast_to(a, (*lead, *shape)))


@given(strided(), st.integers(-6, 6))
def test_squeeze_and_unsqueeze(a, dim):
    x = pe.from_numpy(a)
    same(x.squeeze(), a.squeeze())
    both(lambda: x.unsqueeze(dim), lambda: np.expand_dims(a, dim))
    if -a.ndim <= dim < a.ndim:
        same(x.squeeze(dim), a.squeeze(dim) if a.shape[dim] == 1 else a)  # torch: other axes stay


@given(strided(), st.data())
def test_flatten(a, data):
    x = pe.from_numpy(a)
    same(x.flatten(), a.reshape(-1))
    assume(a.ndim)
    first = data.draw(st.integers(0, a.ndim - 1))
    last = data.draw(st.integers(first, a.ndim - 1))
    size = int(np.prod(a.shape[first : last + 1], dtype=int))
    same(x.flatten(first, last - a.ndim), a.reshape(*a.shape[:first], size, *a.shape[last + 1 :]))


@given(st.data(), st.integers(1, 4))
def test_cat_and_stack(data, count):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = [data.draw(strided(shape)) for _ in range(count)]
    tensors = [pe.from_numpy(a) for a in parts]
    same(pe.cat(tensors, axis), np.concatenate(parts, axis))
    same(pe.stack(tensors, axis), np.stack(parts, axis))


# ---- indices ----------------------------------------------------------------------------

BOUND = st.none() | st.integers(-7, 7)
BASIC = st.one_of(
    st.integers(-5, 4), st.just(None), st.just(Ellipsis),
    st.builds(slice, BOUND, BOUND, st.none() | st.integers(-3, 3).filter(bool)),
)  # fmt: skip


@given(strided(), st.lists(BASIC, max_size=5))
def test_basic_index(a, index):
    x, index = pe.from_numpy(a), tuple(index)
    both(lambda: x[index], lambda: a[index])


@given(strided(), st.lists(BASIC, max_size=4), st.data())
def test_assignment_to_basic_index(a, index, data):
    a, index = a.copy(), tuple(index)
    x = pe.tensor(a)
    try:
        place = a[index]
    except IndexError:
        with pytest.raises(IndexError):
            x[index] = 1.0
        return
    value = data.draw(strided(np.shape(place)))
    a[index], x[index] = value, pe.from_numpy(value)
    same(x, a)
    a[index], x[index] = 3, 3
    same(x, a)


@given(strided(), st.data())
def test_mask(a, data):
    x = pe.from_numpy(a)
    mask = data.draw(hnp.arrays(bool, a.shape[: data.draw(st.integers(0, a.ndim))]))
    same(x[pe.tensor(mask)], a[mask])
    same(x[mask], a[mask])
    b, y = a.copy(), x.clone()
    b[mask], y[pe.tensor(mask)] = -7, -7.0
    same(y, b)


@given(strided(), st.data())
def test_integer_arrays(a, data):
    assume(a.ndim and a.shape[0])
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))
    rows = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-a.shape[0], a.shape[0] - 1)))
    x = pe.from_numpy(a)
    same(x[pe.tensor(rows)], a[rows])
    same(x[pe.tensor(rows), ...], a[rows, ...])
    if a.ndim > 1 and a.shape[1]:
        columns = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, a.shape[1] - 1)))
        same(x[pe.tensor(rows), columns], a[rows, columns])
        same(x[:, pe.tensor(columns)], a[:, columns])
    with pytest.raises(IndexError):
        x[pe.tensor([a.shape[0]])]


@given(st.integers(2, 300), st.integers(1, 20), st.booleans())
def test_assignment_between_overlapping_views(n, shift, forward):
    shift = min(shift, n - 1)
    a = np.arange(n, dtype=np.float32)
    x, expected = pe.tensor(a), a.copy()
    if forward:
        x[shift:], expected[shift:] = x[:-shift], a[:-shift]
    else:
        x[:-shift], expected[:-shift] = x[shift:], a[shift:]
    same(x, expected)
    x[:] = x[::-1]
    same(x, expected[::-1])
    y = pe.tensor(a)
    y[shift:].copy_(y[:-shift])
    same(y[shift:], a[:-shift])


def test_extreme_indices():
    x = pe.tensor([1.0, 2.0, 3.0])
    assert x[:: 2**63 - 1].tolist() == x[:: 2**80].tolist() == [1.0]
    assert x[:: -(2**80)].tolist() == [3.0]
    assert x[-(2**80) : 2**80].tolist() == [1.0, 2.0, 3.0]
    assert x[(None,) * 7].shape == (1,) * 7 + (3,)
    for wrong in (3, -4, 2**80, (0, 0), (None,) * 8, (..., ...)):
        with pytest.raises(IndexError, match="index"):
            x[wrong]
    for wrong in (1.0, "a", {}, [1.5], pe.tensor([1.0])):
        with pytest.raises(TypeError, match="index"):
            x[wrong]
    with pytest.raises(ValueError, match="step"):
        x[::0]


def test_assignment_that_the_tape_would_miss_is_seen():
    """All three ways to write elements count as writes."""
    for index in (0, pe.tensor([0]), pe.tensor([True, False])):
        x = pe.tensor([1.0, 2.0], requires_grad=True)
        y = x * 2
        z = y * y
        with pe.no_grad():
            y[index] = 5.0
        with pytest.raises(RuntimeError, match="written in place"):
            z.sum().backward()


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
    with pytest.raises(TypeError, match="exp: no operation for bfloat16"):
        pe.exp(pe.ones(2, dtype="bfloat16"))


def test_elementwise_rows_are_the_operators():
    a, b = pe.tensor([3.0, -2.0]), pe.tensor([2.0, 5.0])
    for symbol in ("add", "sub", "mul", "truediv", "pow", "eq", "ne", "lt", "le", "gt", "ge"):
        row = {"truediv": "div"}.get(symbol, symbol)
        f = getattr(operator, symbol)
        for p, q in ((a, b), (a, 2.0), (2.0, b)):
            out = _core.elementwise(_core.elementwise_op(row), p, q)
            np.testing.assert_array_equal(np.asarray(f(p, q)), np.asarray(out))
