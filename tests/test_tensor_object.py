"""Copies of tensors, and what a tensor is as a Python object: printing, numbers, iteration, hash."""

import copy
import pickle

import numpy as np
import pytest

import pyengine as pe

NAMES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool", "bfloat16"]


# ---- copies -----------------------------------------------------------------------------

COPIES = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "deepcopy": copy.deepcopy,
    "clone": lambda x: x.clone().detach().requires_grad_(x.requires_grad),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", NAMES)
def test_copies_are_equal_and_apart(way, name):
    x = pe.tensor([n % 5 for n in range(24)]).to(name).reshape(4, 6).T[::2]
    y = COPIES[way](x)
    assert (y.dtype, y.shape, y.tolist()) == (x.dtype, x.shape, x.tolist())
    assert y.storage_ is not x.storage_
    y.zero_()
    assert any(v for row in x.tolist() for v in row)


@pytest.mark.parametrize("way", COPIES)
def test_copies_keep_requires_grad(way):
    x = pe.tensor([1.0, 2.0], requires_grad=True)
    y = COPIES[way](x)
    assert (y.requires_grad, y.is_leaf) == (True, True)
    (y * y).sum().backward()
    assert (y.grad.tolist(), x.grad) == ([2.0, 4.0], None)


def test_deepcopy_keeps_identity_and_refuses_the_tape():
    x = pe.ones(2, requires_grad=True)
    a, b = copy.deepcopy([x, x])
    assert a is b
    with pytest.raises(RuntimeError, match="only leaf"):
        copy.deepcopy(x * 2)


def test_pickle_that_lies_is_refused():
    from pyengine._core import from_pickle

    with pytest.raises(TypeError, match=r"from_pickle: .*uint8.*float64"):
        from_pickle(np.zeros(3, np.uint8), "float64", False)


# ---- as a Python object -----------------------------------------------------------------

PRINTED = [
    (lambda: pe.tensor([1.0, 2.5]), "tensor([1.0, 2.5])"),
    (lambda: pe.tensor(3), "tensor(3)"),
    (lambda: pe.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
    (lambda: pe.tensor([True, False]), "tensor([ True, False])"),
    (lambda: pe.tensor([1, 2], dtype="int8"), "tensor([1, 2], dtype=pyengine.int8)"),
    (lambda: pe.tensor([1.0], dtype="bfloat16"), "tensor([1.], dtype=pyengine.bfloat16)"),
    (lambda: pe.zeros(0, 3), "tensor([], size=(0, 3))"),
    (lambda: pe.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    (lambda: pe.tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<mul>)"),
    (lambda: pe.tensor([float("nan"), float("inf")]), "tensor([nan, inf])"),
]


@pytest.mark.parametrize(("make", "text"), PRINTED, ids=[text for _, text in PRINTED])
def test_printing(make, text):
    assert repr(make()) == str(make()) == text


def test_long_tensors_print_short():
    assert len(repr(pe.zeros(1000, 1000))) < 1000


def test_item_and_conversions():
    assert pe.tensor([[2.5]]).item() == 2.5
    assert type(pe.tensor(7).item()) is int
    assert pe.tensor(True).item() is True
    assert pe.tensor(2**62).item() == 2**62
    assert pe.tensor(1.5, dtype="float64").item() == 1.5
    assert [float(pe.tensor(2)), int(pe.tensor(2.9)), bool(pe.tensor([0.0]))] == [2.0, 2, False]
    assert list(range(10))[pe.tensor(3)] == 3
    for wrong in (float, int, bool, pe.Tensor.item):
        with pytest.raises(ValueError, match=r"\(2,\)"):
            wrong(pe.ones(2))
    for wrong in (pe.tensor(1.0), pe.tensor([1, 2])):
        with pytest.raises(TypeError, match="index"):
            list(range(10))[wrong]


@pytest.mark.parametrize("name", NAMES)
def test_tolist(name):
    expected = [[0, 1, 1], [1, 0, 1]]
    x = pe.tensor(expected).to(name)
    assert x.tolist() == expected
    assert x.T.tolist() == [[0, 1], [1, 0], [1, 1]]
    assert x[0, 1].tolist() == 1
    kind = bool if name == "bool" else float if "float" in name else int
    assert type(x[0, 1].tolist()) is type(x[0, 1].item()) is kind


def test_len_iteration_membership_and_hash():
    x = pe.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(x) == 3
    assert [row.tolist() for row in x] == x.tolist()
    _first, second, _third = x
    assert second.data_ptr == x.data_ptr + 8
    with pytest.raises(TypeError, match="without axes"):
        len(pe.tensor(1.0))
    with pytest.raises(TypeError, match="without axes"):
        iter(pe.tensor(1.0))
    y = x.clone()
    assert len({x, y, x}) == 2
    assert {x: 1}[x] == 1
    assert (x == y).numpy().all()
    assert (x == "text") is False
    assert (x != None) is True  # noqa: E711


def test_iteration_over_nothing_takes_nothing():
    rows = iter(pe.ones(1).expand(2**40, 0))
    assert next(rows).shape == (0,)


def test_tensors_are_not_made_by_calling_the_class():
    with pytest.raises(TypeError, match=r"pyengine\.tensor"):
        pe.Tensor([1.0])


SOURCES = [
    (1.5, "float32", ()), (3, "int64", ()), (True, "bool", ()), ([1, 2], "int64", (2,)), ([1.0, 2], "float32", (2,)),
    ([[True], [False]], "bool", (2, 1)), ((1, 2, 3), "int64", (3,)), ([], "float32", (0,)), (range(4), "int64", (4,)),
    (np.ones((2, 2)), "float64", (2, 2)), (np.float64(1), "float32", ()), (np.float32(1), "float32", ()),
    (np.int8(1), "int8", ()), (np.zeros(2, np.float16), "float16", (2,)),
]  # fmt: skip


@pytest.mark.parametrize(("data", "name", "shape"), SOURCES, ids=[repr(s[0])[:20] for s in SOURCES])
def test_tensor_from_anything(data, name, shape):
    x = pe.tensor(data)
    assert (x.dtype.name, x.shape) == (name, shape)
    np.testing.assert_array_equal(x.numpy(), np.asarray(data).astype(name))
    if isinstance(data, np.ndarray):
        assert x.data_ptr != data.ctypes.data
        assert pe.as_tensor(data).data_ptr == data.ctypes.data
    assert pe.as_tensor(x) is x
