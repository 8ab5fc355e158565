"""The border: memory shared with NumPy and through DLPack, and how long it lives."""

import ctypes
import gc
import math
import struct
import weakref

import numpy as np
import pytest

import pyengine as pe

NAMES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"]


def address(array):
    return array.__array_interface__["data"][0]


def values(name, n=24):
    return (np.arange(n) % 5 - (0 if name in ("uint8", "bool") else 2)).astype(name)


# ---- NumPy ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_numpy_in_and_out_is_the_same_memory(name):
    a = values(name).reshape(2, 3, 4)
    x = pe.from_numpy(a)
    assert (x.dtype, x.shape, x.data_ptr) == (getattr(pe, name if name != "bool" else "bool_"), a.shape, address(a))
    back = x.numpy()
    assert (back.dtype, address(back), back.flags.writeable) == (a.dtype, address(a), True)
    np.testing.assert_array_equal(back, a)
    a[1, 2, 3] = 1
    assert x[1, 2, 3].item() == 1
    back[0, 0, 0] = 1
    assert a[0, 0, 0] == 1


LAYOUTS = {
    "row-major": lambda a: a,
    "transposed": lambda a: a.transpose(2, 0, 1),
    "every second": lambda a: a[:, ::2, 1::2],
    "backwards": lambda a: a[::-1, :, ::-2],
    "one row": lambda a: a[:, 1],
    "no element": lambda a: a[:, :0],
    "no axis": lambda a: a[0, 0, 0, ...],
    "new axis": lambda a: a[:, None, :, None],
    "Fortran": lambda a: np.asfortranarray(a),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["float32", "float64", "int16", "bool"])
def test_strides_cross_both_ways(name, layout):
    a = LAYOUTS[layout](values(name, 120).reshape(4, 5, 6))
    x = pe.from_numpy(a)
    assert x.shape == a.shape
    assert x.data_ptr == address(a)
    if a.size:
        assert all(s * a.itemsize == t for s, t, n in zip(x.stride(), a.strides, a.shape, strict=True) if n > 1)
    back = x.numpy()
    assert address(back) == address(a)
    np.testing.assert_array_equal(back, a)
    np.testing.assert_array_equal(x.clone().numpy(), a)
    np.testing.assert_array_equal(x.contiguous().numpy(), a)


def test_broadcast_view_is_read_only_and_can_be_read():
    a = np.broadcast_to(np.arange(3, dtype=np.float32), (4, 3))
    x = pe.from_numpy(a)
    assert x.stride() == (0, 1)
    np.testing.assert_array_equal((x + 1).numpy(), a + 1)
    assert not x.numpy().flags.writeable
    for write in (lambda: x.add_(1.0), lambda: x.fill_(0.0), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(ValueError, match="read-only"):
            write()


def test_writeable_array_with_zero_strides_is_not_written():
    a = np.zeros(3, np.float32)
    x = pe.from_numpy(np.lib.stride_tricks.as_strided(a, (4, 3), (0, 4)))
    with pytest.raises(ValueError, match="broadcast"):
        x.add_(1.0)
    assert not a.any()


WRITES = {
    "add_": lambda x: x.add_(1.0),
    "+=": lambda x: x.__iadd__(1.0),
    "relu_": lambda x: x.relu_(),
    "fill_": lambda x: x.fill_(3.0),
    "zero_": lambda x: x.zero_(),
    "copy_": lambda x: x.copy_(pe.ones(3)),
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x.normal_(),
    "x[0] =": lambda x: x.__setitem__(0, 1.0),
    "x[1:] =": lambda x: x.__setitem__(slice(1, None), 1.0),
    "x[tensor] =": lambda x: x.__setitem__(pe.tensor([0, 1]), 1.0),
    "x[mask] =": lambda x: x.__setitem__(x > 0, 1.0),
    "a view": lambda x: x[1:].add_(1.0),
    "a reshape": lambda x: x.reshape(3, 1).T.mul_(2.0),
}


@pytest.mark.parametrize("write", WRITES)
def test_read_only_array(write):
    a = np.array([1, 2, 3], np.float32)
    a.flags.writeable = False
    x = pe.from_numpy(a)
    assert (x * 2).tolist() == [2.0, 4.0, 6.0]
    version = x.version
    with pytest.raises(ValueError, match="read-only"):
        WRITES[write](x)
    assert a.tolist() == [1.0, 2.0, 3.0]
    assert x.version == version
    assert not x.numpy().flags.writeable
    WRITES[write](x.clone())


def test_other_owners_of_memory():
    assert pe.from_numpy(bytearray(b"\1\2\3")).tolist() == [1, 2, 3]
    assert pe.from_numpy(memoryview(struct.pack("3f", 1, 2, 3)).cast("f")).tolist() == [1.0, 2.0, 3.0]
    text = pe.from_numpy(b"abc")
    with pytest.raises(ValueError, match="read-only"):
        text.zero_()


REFUSED = {
    "big-endian": (np.zeros(3, ">f4"), TypeError, "'>f'.*native byte order"),
    "complex": (np.zeros(3, "c8"), TypeError, "element format 'Zf'"),
    "object": (np.zeros(3, "O"), TypeError, "element format 'O'"),
    "text": (np.zeros(3, "U2"), TypeError, "element format '2w'"),
    "bytes": (np.zeros(3, "S2"), TypeError, "element format '2s'"),
    "dates": (np.zeros(3, "M8[s]"), TypeError, "from_numpy: cannot include dtype 'M'"),
    "records": (np.zeros(3, [("a", "f4")]), TypeError, "element format 'T{"),
    "uint16": (np.zeros(3, "u2"), TypeError, "element format 'H'"),
    "uint64": (np.zeros(3, "u8"), TypeError, "element format"),
    "long double": (np.zeros(3, np.longdouble), TypeError, "element format 'g'"),
    "misaligned": (np.frombuffer(bytes(13), "u1")[1:].view("f4"), ValueError, "not aligned.*copy"),
    "packed field": (np.zeros(3, [("b", "i1"), ("a", "f4")])["b"].view("i1")[:1].repeat(9).reshape(9)[1:].view("i8"),
                     ValueError, "not aligned.*copy"),
    "odd strides": (np.zeros(4, np.dtype([("a", "f4"), ("b", "i1")]))["a"], ValueError, r"strides \(5,\).*copy"),
    "nine axes": (np.zeros((1,) * 9, "f4"), ValueError, "at most 8 axes, got 9"),
    "list": ([1.0, 2.0], TypeError, "an array is needed, got list"),
    "None": (None, TypeError, "an array is needed, got NoneType"),
    "tensor": (pe.ones(2), TypeError, "an array is needed, got Tensor"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_arrays_that_no_tensor_can_be(what):
    array, error, text = REFUSED[what]
    with pytest.raises(error, match=f"from_numpy: .*{text}" if "from_numpy" not in text else text):
        pe.from_numpy(array)


def test_single_elements_may_have_any_stride():
    a = np.zeros(1, np.dtype([("a", "f8"), ("b", "f4")]))["a"]
    assert (pe.from_numpy(a) + 1.0).tolist() == [1.0]


def test_bfloat16_crosses_as_uint16():
    x = pe.tensor([1.0, -2.0, 0.5]).to("bfloat16")
    bits = x.numpy()
    assert (bits.dtype, bits.tolist()) == (np.uint16, [0x3F80, 0xC000, 0x3F00])
    bits[0] = 0x4000
    assert x.tolist() == [2.0, -2.0, 0.5]
    assert x[pe.tensor([2, 0])].tolist() == [0.5, 2.0]
    assert x[pe.tensor([2, 0])].dtype is pe.bfloat16
    x[pe.tensor([1])] = 3.0
    assert x.tolist() == [2.0, 3.0, 0.5]


def test_requires_grad_is_not_handed_out():
    x = pe.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"numpy: .*x\.detach\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(x)
    assert not np.asarray(x).flags.writeable
    assert x.detach().numpy().tolist() == [1.0, 1.0]


def test_buffer_protocol():
    x = pe.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    view = memoryview(x)
    assert (view.format, view.shape, view.strides, view.readonly) == ("f", (2, 3), (12, 4), False)
    assert bytes(x) == x.numpy().tobytes()
    turned = memoryview(x.T)
    assert (turned.shape, turned.strides, turned.c_contiguous) == ((3, 2), (4, 12), False)
    with pytest.raises(BufferError, match="not contiguous"):
        struct.unpack_from("f", x.T)
    with pytest.raises(TypeError):
        memoryview(pe.ones(2, requires_grad=True))[0] = 1.0


# ---- lifetimes --------------------------------------------------------------------------


def test_array_outlives_tensor():
    array = (pe.ones(1000) * 3).numpy()
    gc.collect()
    [pe.zeros(1000) for _ in range(5)]
    assert array.sum() == 3000


def test_tensor_outlives_array():
    class Array(np.ndarray):
        pass

    a = np.arange(1000, dtype=np.float32).view(Array)
    probe = weakref.ref(a)
    x = pe.from_numpy(a)
    y = x[10:]
    del a, x
    gc.collect()
    assert probe() is not None
    assert y.sum().item() == sum(range(10, 1000))
    del y
    gc.collect()
    assert probe() is None


def test_buffer_is_open_while_a_tensor_lives():
    memory = bytearray(16)
    x = pe.from_numpy(memory)
    with pytest.raises(BufferError):
        memory.extend(b"more")
    del x
    memory.extend(b"more")


def test_exports_are_counted_until_the_last_reader_goes():
    x = pe.ones(3)
    a, b = x.numpy(), np.from_dlpack(x)
    assert x.storage_.exports == 2
    del a
    assert x.storage_.exports == 1
    del b
    assert x.storage_.exports == 0
    capsule = x.__dlpack__()
    assert x.storage_.exports == 1
    del capsule  # never consumed
    assert x.storage_.exports == 0


# ---- DLPack -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_dlpack_with_numpy(name):
    a = values(name).reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    x = pe.from_dlpack(a)
    assert (x.shape, x.data_ptr) == (a.shape, address(a))
    np.testing.assert_array_equal(x.numpy(), a)
    back = np.from_dlpack(x)
    assert (back.dtype, address(back)) == (a.dtype, address(a))
    np.testing.assert_array_equal(back, a)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * 8])
def test_dlpack_of_small_shapes(shape):
    x = pe.ones(shape)
    y = pe.from_dlpack(x)
    assert (y.shape, y.data_ptr, y.numel()) == (shape, x.data_ptr, math.prod(shape))


def test_dlpack_lifetimes():
    array = np.from_dlpack(pe.full((1000,), 2.0))
    tensor = pe.from_dlpack(np.full(1000, 3, np.float32))
    gc.collect()
    [pe.zeros(1000) for _ in range(5)]
    assert array.sum() == 2000
    assert tensor.sum().item() == 3000


def test_dlpack_1_says_what_is_read_only():
    a = np.arange(3, dtype=np.float32)
    assert np.from_dlpack(pe.from_numpy(a)).flags.writeable
    assert pe.from_dlpack(a).add_(1.0).tolist() == [1.0, 2.0, 3.0] and a[2] == 3.0
    a.flags.writeable = False
    ours = pe.from_dlpack(a)
    with pytest.raises(ValueError, match="read-only"):
        ours.add_(1.0)
    theirs = np.from_dlpack(ours)
    assert address(theirs) == address(a) and not theirs.flags.writeable
    assert ours.storage_.exports == 0
    copied = np.from_dlpack(ours, copy=True)
    assert copied.flags.writeable and address(copied) != address(a) and copied.tolist() == a.tolist()


def test_dlpack_versions():
    x = pe.ones(3)
    for asked, name in ((None, "dltensor"), ((0, 8), "dltensor"), ((1, 0), "dltensor_versioned"),
                        ((2, 1), "dltensor_versioned")):  # fmt: skip
        capsule = x.__dlpack__(max_version=asked)
        assert f'"{name}"' in repr(capsule) and x.storage_.exports == 1
        del capsule
        assert x.storage_.exports == 0

    class Old:  # made before DLPack 1: knows no arguments
        def __dlpack__(self):
            return x.__dlpack__()

    assert pe.from_dlpack(Old()).data_ptr == x.data_ptr
    gc.collect()
    assert x.storage_.exports == 0
    y = pe.from_dlpack(x)
    assert (y.storage_.exports, x.storage_.exports) == (1, 1)
    del y
    assert x.storage_.exports == 0


def test_dlpack_of_a_later_version_is_left_alone():
    """Version 2 may have another layout: nothing but the version is read, and the owner keeps the capsule."""
    struct = (ctypes.c_uint32 * 64)(2, 0)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

    class Later:
        capsule = new(ctypes.addressof(struct), b"dltensor_versioned", None)

        def __dlpack__(self, max_version=None):
            return self.capsule

    with pytest.raises(BufferError, match=r"DLPack 1 is understood, got version 2\.0"):
        pe.from_dlpack(Later())
    assert '"dltensor_versioned"' in repr(Later.capsule)


def test_dlpack_refusals():
    x = pe.ones(3)
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="device"):
        x.__dlpack__(dl_device=(2, 0))
    a = np.ones(3, np.float32)
    a.flags.writeable = False
    with pytest.raises(BufferError, match="read-only"):
        pe.from_numpy(a).__dlpack__()
    with pytest.raises(BufferError, match="read-only"):
        pe.from_numpy(a).__dlpack__(max_version=(0, 8))
    with pytest.raises(TypeError, match="from_dlpack: list has no __dlpack__"):
        pe.from_dlpack([1.0])
    with pytest.raises(TypeError, match="from_dlpack: no dtype"):
        pe.from_dlpack(np.ones(3, np.complex64))

    class Spent:
        def __dlpack__(self):
            return None

    with pytest.raises(TypeError, match="not a fresh 'dltensor'"):
        pe.from_dlpack(Spent())

    class Twice:
        def __init__(self):
            self.capsule = x.__dlpack__()

        def __dlpack__(self):
            return self.capsule

    source = Twice()
    assert pe.from_dlpack(source).tolist() == [1.0] * 3
    with pytest.raises(TypeError, match="not a fresh"):
        pe.from_dlpack(source)
    other = x.__dlpack__(copy=True)
    assert x.storage_.exports == 0
    del other


def test_names_of_types_as_torch_has_them():
    names = {"float": pe.float32, "double": pe.float64, "half": pe.float16, "long": pe.int64, "int": pe.int32,
             "short": pe.int16, "bool": pe.bool_}  # fmt: skip
    for name, kind in names.items():
        assert getattr(pe, name) is kind and name in dir(pe)
    x = pe.tensor([0.0, 2.5], dtype=pe.float)
    assert (x.to(pe.long).dtype, x.to(pe.bool).tolist()) == (pe.int64, [False, True])
    assert eval(repr(x.to(pe.bool).dtype), {"pyengine": pe}) is pe.bool_


def test_printing_shows_small_numbers():
    assert str(pe.tensor([1e-30, 1.0])) == "tensor([1.e-30, 1.e+00])"
    assert str(pe.tensor([0.0003, 1.0])) == "tensor([3.e-04, 1.e+00])"
    assert str(pe.tensor([0.5, 0.25, 100.0])) == "tensor([  0.50,   0.25, 100.00])"
