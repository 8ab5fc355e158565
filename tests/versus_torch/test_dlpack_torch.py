"""Memory shared with torch through DLPack, both ways."""

import gc

import numpy as np
import pytest
from require import require

import pyengine as pe

try:
    import torch
except ImportError:
    torch = None

NAMES = ["float32", "float64", "bfloat16", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"]


@pytest.fixture(autouse=True)
def torch_is_there():
    require("torch", torch, "pip install torch: memory is shared with it")


@pytest.mark.parametrize("name", NAMES)
def test_same_memory_both_ways(name):
    t = (torch.arange(24).reshape(2, 3, 4) % 2).to(getattr(torch, name)).permute(2, 0, 1)[::2]
    x = pe.from_dlpack(t)
    assert (x.dtype.name, x.shape, x.stride(), x.data_ptr) == (name, tuple(t.shape), t.stride(), t.data_ptr())
    assert x.tolist() == t.tolist()
    back = torch.from_dlpack(x)
    assert (back.dtype, back.stride(), back.data_ptr()) == (t.dtype, t.stride(), t.data_ptr())
    back.zero_()
    assert not any(v for plane in x.tolist() for row in plane for v in row)


def test_lifetimes():
    theirs = torch.from_dlpack(pe.full((1000,), 2.0))
    ours = pe.from_dlpack(torch.full((1000,), 3.0))
    gc.collect()
    _ = [pe.zeros(1000) for _ in range(5)], [torch.zeros(1000) for _ in range(5)]
    assert theirs.sum().item() == 2000
    assert ours.sum().item() == 3000
    x = pe.ones(3)
    t = torch.from_dlpack(x)
    assert x.storage_.exports == 1
    del t
    assert x.storage_.exports == 0


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * 8])
def test_small_shapes(shape):
    assert torch.from_dlpack(pe.ones(shape)).shape == shape
    assert pe.from_dlpack(torch.ones(shape)).shape == shape


def test_refusals():
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(pe.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="from_dlpack: no dtype"):
        pe.from_dlpack(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"from_dlpack: no dtype .* 9 axes"):
        pe.from_dlpack(torch.ones((1,) * 9))


def test_bits_of_conversions_agree():
    """bfloat16 and float16 round alike, NaN and the largest numbers included."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    for name in ("bfloat16", "float16"):
        ours = pe.from_numpy(a).to(name)
        theirs = torch.from_numpy(a).to(getattr(torch, name))
        equal = torch.from_dlpack(ours) == theirs
        assert torch.equal(equal | theirs.isnan(), torch.ones(len(a), dtype=torch.bool))
        assert np.isnan(ours.float().numpy()[theirs.isnan().numpy()]).all()
