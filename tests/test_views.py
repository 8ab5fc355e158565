"""Shapes, views and indices against NumPy, on operands that hypothesis lays out: any permutation, steps,
reversed and broadcast axes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import same, strided

import pyengine as pe


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
        images = [np.moveaxis(a, axis, -1).flags.c_contiguous for axis in (0, 1)] if a.ndim > 2 else []
        assert view.storage_ is x.storage_ or (any(images) and not np.shares_memory(a, a.reshape(factors)))


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
