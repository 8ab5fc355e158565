"""Convolution and pooling beside torch: values, gradients, state_dicts, errors, text."""

import importlib.util
from itertools import product

import numpy as np
import pytest
from beside import agree, array, both, pair, parameters
from require import require

import pyengine as pe
import pyengine.nn.functional as F

LENGTHS = {1: (9,), 2: (8, 7), 3: (5, 6, 4)}


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


# ---- convolution -----------------------------------------------------------------

CONV = [{}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}, {"padding": "same", "dilation": 2},
        {"padding": "valid", "bias": False}, {"groups": 2, "padding": 1}, {"groups": 4, "stride": 3}]  # fmt: skip
TRANSPOSED = [{}, {"padding": 1, "stride": 2, "output_padding": 1}, {"dilation": 2, "groups": 2},
              {"stride": 3, "padding": 2, "bias": False}]  # fmt: skip


@pytest.mark.parametrize("batched", (True, False))
@pytest.mark.parametrize("n", (1, 2, 3))
@pytest.mark.parametrize("kernel", (1, 2, 3))
@pytest.mark.parametrize("name, options", [*product(["Conv"], CONV), *product(["ConvTranspose"], TRANSPOSED)], ids=str)
def test_convolutions(torch, name, options, n, kernel, batched):
    ours, theirs = both(torch, f"{name}{n}d", options, 4, 8, kernel)
    a, b = pair(torch, (*((2,) if batched else ()), 4, *LENGTHS[n]))
    assert repr(ours) == repr(theirs)
    if name == "ConvTranspose" and options.get("stride") == 3 and kernel == 1:
        a, b = pair(torch, (*((2,) if batched else ()), 4, *(9,) * n))
    agree(ours(a), theirs(b), [(a, b), *parameters(ours, theirs)], 5e-5)


@pytest.mark.parametrize("mode", ("reflect", "replicate", "circular"))
@pytest.mark.parametrize("padding", (1, "same"))
def test_padding_modes(torch, mode, padding):
    ours, theirs = both(torch, "Conv2d", {"padding": padding, "padding_mode": mode}, 3, 4, (2, 3))
    a, b = pair(torch, (2, 3, 6, 5))
    assert repr(ours) == repr(theirs)
    agree(ours(a), theirs(b), [(a, b), *parameters(ours, theirs)])


def test_output_size(torch):
    ours, theirs = both(torch, "ConvTranspose2d", {"stride": 3, "padding": 1}, 3, 4, 3)
    a, b = pair(torch, (2, 3, 4, 4))
    agree(ours(a, output_size=(11, 12)), theirs(b, output_size=(11, 12)), [(a, b)])
    for layer, x in ((ours, a), (theirs, b)):
        with pytest.raises(ValueError):
            layer(x, output_size=(14, 12))


@pytest.mark.parametrize("name", ("conv2d", "conv_transpose2d"))
def test_second_derivatives(torch, name):
    (x, tx), (w, tw) = pair(torch, (2, 4, 5, 6)), pair(torch, (4, 2, 3, 2), 1)
    options = {"stride": 2, "padding": 1, "groups": 2}
    tw, w = (t[:, :1] if name == "conv_transpose2d" else t for t in (tw, w))
    results = []
    for library, function, leaves in (
        (pe, getattr(F, name), (x, w)),
        (torch.autograd, getattr(torch.nn.functional, name), (tx, tw)),
    ):
        out = function(*leaves, None, **options)
        first = library.grad((out * out * out).sum(), leaves, create_graph=True)
        results.append(library.grad((first[0] * first[0]).sum() + (first[1] * first[1]).sum(), leaves))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(array(a), array(b), 1e-4, 1e-5 * float(b.abs().max()))


# ---- pooling ---------------------------------------------------------------------


@pytest.mark.parametrize("lead", ((2, 3), (3,), (0, 3)), ids=str)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_max_pool(torch, n, lead):
    for k, s, p, d, ceil, indices in product((1, 2, 3), (None, 1, 3), (0, 1), (1, 2), (False, True), (False, True)):
        if p > k // 2:
            continue
        options = {"stride": s, "padding": p, "dilation": d, "ceil_mode": ceil, "return_indices": indices}
        a, b = pair(torch, (*lead, *LENGTHS[n]), digits=1)  # with ties
        try:
            theirs = getattr(torch.nn.functional, f"max_pool{n}d")(b, k, **options)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                getattr(F, f"max_pool{n}d")(a, k, **options)
            continue
        ours = getattr(F, f"max_pool{n}d")(a, k, **options)
        agree(ours, theirs, [(a, b)])
        with pe.no_grad():
            agree(getattr(F, f"max_pool{n}d")(a, k, **options), theirs, [])


@pytest.mark.parametrize("lead", ((2, 3), (3,), (0, 3)), ids=str)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_avg_pool(torch, n, lead):
    for k, s, p, ceil, include in product((1, 2, 3), (None, 1, 3), (0, 1), (False, True), (False, True)):
        if p > k // 2:
            continue
        options = {"stride": s, "padding": p, "ceil_mode": ceil, "count_include_pad": include}
        if n > 1 and s == 3:
            options["divisor_override"] = 5
        a, b = pair(torch, (*lead, *LENGTHS[n]))
        theirs = getattr(torch.nn.functional, f"avg_pool{n}d")(b, k, **options)
        agree(getattr(F, f"avg_pool{n}d")(a, k, **options), theirs, [(a, b)])


@pytest.mark.parametrize("lead", ((2, 3), (3,), (0, 3)), ids=str)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_adaptive_pool(torch, n, lead):
    for size in (1, 2, 3, 5, 11):
        a, b = pair(torch, (*lead, *LENGTHS[n]), digits=1)
        agree(getattr(F, f"adaptive_avg_pool{n}d")(a, size),
              getattr(torch.nn.functional, f"adaptive_avg_pool{n}d")(b, size), [(a, b)])  # fmt: skip
        a, b = pair(torch, (*lead, *LENGTHS[n]), digits=1)
        theirs = getattr(torch.nn.functional, f"adaptive_max_pool{n}d")(b, size, return_indices=True)
        agree(getattr(F, f"adaptive_max_pool{n}d")(a, size, return_indices=True), theirs, [(a, b)])


@pytest.mark.parametrize("shape", ((2, 3, 9, 8), (3, 9, 8), (2, 3, 7, 9, 8)), ids=str)
def test_fractional_pool(torch, shape):
    n = 2 if len(shape) < 5 else 3
    samples = np.random.default_rng(0).random((*((1, 3) if len(shape) == 3 else shape[:2]), n), dtype=np.float32)
    options = {"output_size": (5, 4, 3)[:n], "return_indices": True}
    a, b = pair(torch, shape, digits=1)
    name = f"FractionalMaxPool{n}d"
    ours = getattr(pe.nn, name)(2, **options, _random_samples=pe.tensor(samples))
    theirs = getattr(torch.nn, name)(2, **options, _random_samples=torch.tensor(samples))
    agree(ours(a), theirs(b), [(a, b)])


@pytest.mark.parametrize("n", (1, 2, 3))
def test_norm_pool_and_unpool(torch, n):
    a, b = pair(torch, (2, 3, *LENGTHS[n]))
    a, b = a * a + 0.1, b * b + 0.1
    layer, other = getattr(pe.nn, f"LPPool{n}d")(3, 2), getattr(torch.nn, f"LPPool{n}d")(3, 2)
    assert repr(layer) == repr(other)
    agree(layer(a), other(b), [])
    a, b = pair(torch, (2, 3, *LENGTHS[n]))
    pooled, indices = getattr(pe.nn, f"MaxPool{n}d")(2, return_indices=True)(a)
    theirs = getattr(torch.nn, f"MaxPool{n}d")(2, return_indices=True)(b)
    layer, other = getattr(pe.nn, f"MaxUnpool{n}d")(2), getattr(torch.nn, f"MaxUnpool{n}d")(2)
    assert repr(layer) == repr(other)
    agree(layer(pooled, indices, output_size=LENGTHS[n]), other(*theirs, output_size=LENGTHS[n]), [(a, b)])


WRONG = [
    ("max_pool2d", (2, 3, 4, 4), (0,), {}), ("max_pool2d", (4, 4), (2,), {}), ("max_pool2d", (2, 3, 4, 4), (5,), {}),
    ("max_pool2d", (2, 3, 4, 4), (2,), {"padding": 2}), ("max_pool2d", (2, 3, 4, 4), (2,), {"padding": -1}),
    ("max_pool2d", (2, 3, 4, 4), ((2, 2, 2),), {}), ("avg_pool2d", (2, 3, 4, 4), (2,), {"divisor_override": 0}),
    ("avg_pool1d", (2, 3, 4), (2,), {"stride": 0}), ("adaptive_avg_pool2d", (2, 3, 4, 4), (-1,), {}),
    ("max_pool2d", (2, 3, 0, 4), (2,), {}), ("avg_pool1d", (2, 3, 4), (2.5,), {}),
    ("adaptive_max_pool2d", (2, 3, 4, 4), ((2, 2, 2),), {}), ("adaptive_avg_pool2d", (2, 3, 0, 4), (2,), {}),
]  # fmt: skip
WRONG_CONV = [
    ((2, 3, 4), (4, 3, 5), {}), ((2, 3, 4), (4, 2, 3), {}), ((2, 3, 4, 4), (4, 3, 3), {}), ((3,), (4, 3, 3), {}),
    ((2, 3, 4), (4, 3, 3), {"stride": 0}), ((2, 3, 4), (4, 3, 3), {"padding": -1}),
    ((2, 3, 4), (4, 3, 3), {"dilation": 0}), ((2, 3, 4), (4, 3, 3), {"groups": 0}),
    ((2, 3, 4), (4, 3, 3), {"groups": 2}), ((2, 3, 4), (4, 3, 3), {"padding": "same", "stride": 2}),
    ((2, 3, 4), (4, 3, 3), {"padding": "some"}), ((2, 3, 4), (4, 3, 3), {"stride": (1, 1)}),
]  # fmt: skip


@pytest.mark.parametrize("name, shape, positional, options", WRONG, ids=str)
def test_errors_of_pooling(torch, name, shape, positional, options):
    with pytest.raises((RuntimeError, TypeError, ValueError)) as theirs:
        getattr(torch.nn.functional, name)(torch.zeros(shape), *positional, **options)
    with pytest.raises(theirs.type, match=name):
        getattr(F, name)(pe.zeros(*shape), *positional, **options)


@pytest.mark.parametrize("shape, weight, options", WRONG_CONV, ids=str)
def test_errors_of_convolution(torch, shape, weight, options):
    with pytest.raises((RuntimeError, TypeError, ValueError)) as theirs:
        torch.nn.functional.conv1d(torch.zeros(shape), torch.zeros(weight), **options)
    with pytest.raises(theirs.type, match="conv1d"):
        F.conv1d(pe.zeros(*shape), pe.zeros(*weight), **options)


WRONG_LAYERS = [
    ("Conv1d", (3, 4, 2), {"groups": 2}), ("Conv1d", (4, 4, 2), {"padding": "some"}),
    ("Conv1d", (4, 4, 2), {"groups": 0}),
    ("Conv1d", (4, 4, 2), {"padding_mode": "some"}), ("Conv1d", (4, 4, 2), {"padding": "same", "stride": 2}),
    ("ConvTranspose1d", (4, 4, 2), {"padding_mode": "reflect"}), ("LSTM", (3, 4), {"proj_size": 4}),
    ("GRU", (3, 0), {}), ("GRU", (3, 4, 0), {}), ("GRU", (3, 4), {"dropout": 2}), ("GRU", (3, 2.5), {}),
    ("RNN", (3, 4), {"nonlinearity": "some"}), ("MultiheadAttention", (8, 3), {}), ("MultiheadAttention", (0, 1), {}),
    ("TransformerEncoderLayer", (8, 2), {"activation": "some"}),
]  # fmt: skip


@pytest.mark.parametrize("name, positional, options", WRONG_LAYERS, ids=str)
def test_errors_of_layers(torch, name, positional, options):
    with pytest.raises(Exception) as theirs:
        getattr(torch.nn, name)(*positional, **options)
    with pytest.raises(theirs.type):
        getattr(pe.nn, name)(*positional, **options)
