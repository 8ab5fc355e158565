"""Memory formats and folded norms beside torch: strides, values, which errors."""

import importlib.util

import numpy as np
import pytest
from require import require

import pyengine as pe

FORMATS = ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format")
SHAPES = ((2, 3, 4, 5), (2, 3, 4, 5, 6), (2, 3, 4), (2, 1, 4, 5), (2, 7, 1, 1), (1, 3, 4, 5), (6,), ())
CALLS = {
    "contiguous": lambda x, lib, f: x.contiguous(memory_format=f), "to": lambda x, lib, f: x.to(memory_format=f),
    "to copied": lambda x, lib, f: x.to(lib.float64, memory_format=f),
    "clone": lambda x, lib, f: x.clone(memory_format=f),
    "empty": lambda x, lib, f: lib.empty(x.shape, memory_format=f),
    **{name: lambda x, lib, f, name=name: getattr(lib, name)(x, memory_format=f)
       for name in ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like")},
    "full_like": lambda x, lib, f: lib.full_like(x, 2.0, memory_format=f),
    "randint_like": lambda x, lib, f: lib.randint_like(x, 9, memory_format=f),
}  # fmt: skip


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def outcome(call, *args):
    try:
        return call(*args)
    except RuntimeError:
        return "RuntimeError"


def steps(x):
    """Strides along axes that have more than one element: the others are never taken."""
    return [(n, step) for n, step in zip(x.shape, x.stride(), strict=True) if n != 1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_strides(torch, name, shape):
    for made in FORMATS[:3]:
        values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
        a, b = pe.tensor(values), torch.from_numpy(values.copy())
        if (made, len(shape)) in (("channels_last", 4), ("channels_last_3d", 5)):
            a, b = (x.to(memory_format=getattr(lib, made)) for x, lib in ((a, pe), (b, torch)))
        for wanted in FORMATS:
            x, y = (
                outcome(CALLS[name], a, pe, getattr(pe, wanted)),
                outcome(CALLS[name], b, torch, getattr(torch, wanted)),
            )
            if isinstance(y, str):
                assert x == y, (made, wanted)
                continue
            assert steps(x) == steps(y), (made, wanted)
            for format in FORMATS[:3]:
                assert x.is_contiguous(memory_format=getattr(pe, format)) == y.is_contiguous(
                    memory_format=getattr(torch, format)
                )
            if name in ("contiguous", "to", "to copied", "clone"):
                np.testing.assert_array_equal(x.numpy(), y.numpy())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_modules(torch, n, format):
    ours, theirs = (getattr(lib.nn, f"Conv{n}d")(3, 8, 3) for lib in (pe, torch))
    a = outcome(lambda: ours.to(memory_format=getattr(pe, format)).weight)
    b = outcome(lambda: theirs.to(memory_format=getattr(torch, format)).weight)
    assert a == b if isinstance(b, str) else steps(a) == steps(b)


@pytest.mark.parametrize("bias", (True, False))
def test_folded_norms(torch, bias):
    from torch.nn.utils import fusion

    from pyengine.nn.utils import fusion as our_fusion

    for layer, args, norm, call in (
        ("Conv2d", (4, 6, 3), "BatchNorm2d", "fuse_conv_bn_eval"),
        ("Linear", (4, 6), "BatchNorm1d", "fuse_linear_bn_eval"),
    ):
        theirs = getattr(torch.nn, layer)(*args, bias=bias).eval(), getattr(torch.nn, norm)(6).eval()
        for tensor in (theirs[1].weight, theirs[1].bias, theirs[1].running_mean, theirs[1].running_var):
            torch.nn.init.uniform_(tensor, 0.5, 2.0)
        ours = getattr(pe.nn, layer)(*args, bias=bias).eval(), getattr(pe.nn, norm)(6).eval()
        for a, b in zip(ours, theirs, strict=True):
            a.load_state_dict({name: value.numpy() for name, value in b.state_dict().items()})
        a, b = getattr(our_fusion, call)(*ours), getattr(fusion, call)(*theirs)
        for name in ("weight", "bias"):
            x, y = getattr(a, name), getattr(b, name)
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), 1e-5, 1e-6)
            assert x.requires_grad == y.requires_grad, (layer, name)
