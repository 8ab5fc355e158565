"""Convolution, pooling, recurrent and attention layers beside torch: values, gradients, state_dicts, errors, text."""

import importlib.util
import warnings
from itertools import product

import numpy as np
import pytest
from require import require

import pyengine as pe
import pyengine.nn.functional as F

LENGTHS = {1: (9,), 2: (8, 7), 3: (5, 6, 4)}


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def flat(result):
    """All tensors of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in flat(part)]
    return [] if result is None else [result]


def array(x):
    return np.asarray(x.detach().numpy())


def agree(ours, theirs, leaves, tolerance=2e-5):
    """Results and the gradients of a random sum of them at `leaves`, pairs of tensors, agree."""
    rng = np.random.default_rng(1)
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    ours_sum = theirs_sum = None
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(array(a), array(b), tolerance, tolerance)
        if b.dtype.is_floating_point and b.requires_grad:
            weight = rng.normal(size=a.shape).astype(np.float32)
            one, other = (a * pe.tensor(weight)).sum(), (b * b.new_tensor(weight)).sum()
            ours_sum = one if ours_sum is None else ours_sum + one
            theirs_sum = other if theirs_sum is None else theirs_sum + other
    if ours_sum is None or not leaves:
        return
    ours_sum.backward()
    theirs_sum.backward()
    for a, b in leaves:
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            scale = max(1.0, float(b.grad.abs().max())) if b.grad.numel() else 1.0
            np.testing.assert_allclose(array(a.grad), array(b.grad), 5 * tolerance, 5 * tolerance * scale)


def pair(torch, shape, seed=0, grad=True, digits=None):
    """The same random numbers as a tensor of each."""
    x = np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)
    x = x if digits is None else x.round(digits)
    return pe.tensor(x).requires_grad_(grad), torch.tensor(x, requires_grad=grad)


def both(torch, name, options, *positional):
    """A layer of each with the same parameters, torch's read by load_state_dict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(torch.nn, name)(*positional, **options)
        ours = getattr(pe.nn, name)(*positional, **options)
    ours.load_state_dict({key: pe.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.tensor(array(value)) for key, value in ours.state_dict().items()})
    return ours, theirs


def parameters(ours, theirs):
    named = dict(ours.named_parameters())
    assert list(named) == [name for name, _ in theirs.named_parameters()]
    return [(named[name], parameter) for name, parameter in theirs.named_parameters()]


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
    if not hasattr(F, "pad"):
        pytest.skip("F.pad is not there")
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


# ---- recurrence ------------------------------------------------------------------

PLAIN = [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False},
         {"num_layers": 3, "dropout": 0.5}]  # fmt: skip
RECURRENT = [
    *product(["RNN", "LSTM", "GRU"], PLAIN), ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "batch_first": True}),
]  # fmt: skip


def states(torch, theirs, batch):
    """A random state for a recurrent layer, in both."""
    layers = theirs.num_layers * (2 if theirs.bidirectional else 1)
    lead = (layers,) if batch is None else (layers, batch)
    h = pair(torch, (*lead, theirs.proj_size or theirs.hidden_size), 7)
    if theirs.mode != "LSTM":
        return h[0], h[1], [h]
    c = pair(torch, (*lead, theirs.hidden_size), 8)
    return (h[0], c[0]), (h[1], c[1]), [h, c]


@pytest.mark.parametrize("with_state", (False, True))
@pytest.mark.parametrize("batched", (True, False))
@pytest.mark.parametrize("name, options", RECURRENT, ids=str)
def test_recurrent(torch, name, options, batched, with_state):
    ours, theirs = both(torch, name, options, 3, 4)
    ours.eval(), theirs.eval()
    assert repr(ours) == repr(theirs)
    a, b = pair(torch, (6, 2, 3) if batched else (6, 3))
    batch = None if not batched else 6 if options.get("batch_first") else 2
    h, th, leaves = states(torch, theirs, batch) if with_state else (None, None, [])
    agree(ours(a, h), theirs(b, th), [(a, b), *leaves, *parameters(ours, theirs)])


@pytest.mark.parametrize("enforce_sorted", (True, False))
@pytest.mark.parametrize("name, options", RECURRENT, ids=str)
def test_packed(torch, name, options, enforce_sorted):
    ours, theirs = both(torch, name, options, 3, 4)
    ours.eval(), theirs.eval()
    first, lengths = options.get("batch_first", False), [5, 4, 4, 1] if enforce_sorted else [4, 1, 5, 4]
    a, b = pair(torch, (4, 5, 3) if first else (5, 4, 3))
    h, th, leaves = states(torch, theirs, 4)
    results = []
    for rnn, layer, x, state in ((pe.nn.utils.rnn, ours, a, h), (torch.nn.utils.rnn, theirs, b, th)):
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=enforce_sorted)
        output, final = layer(packed, state)
        padded = rnn.pad_packed_sequence(output, batch_first=first, padding_value=-1.0, total_length=6)
        results.append([packed.data, packed.batch_sizes, output.data, padded, final])
    agree(*results, [(a, b), *leaves, *parameters(ours, theirs)])


def test_sequences(torch):
    pairs = [pair(torch, (n, 3)) for n in (2, 5, 1)]
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    for options in ({}, {"batch_first": True, "padding_value": 2.0}, {"padding_side": "left"}):
        agree(pe.nn.utils.rnn.pad_sequence(ours, **options), torch.nn.utils.rnn.pad_sequence(theirs, **options), [])
    packed = [rnn.pack_sequence(x, enforce_sorted=False)
              for rnn, x in ((pe.nn.utils.rnn, ours), (torch.nn.utils.rnn, theirs))]  # fmt: skip
    agree(*map(tuple, packed), pairs)
    agree(pe.nn.utils.rnn.unpack_sequence(packed[0]), torch.nn.utils.rnn.unpack_sequence(packed[1]), [])


@pytest.mark.parametrize("batched", (True, False))
@pytest.mark.parametrize("with_state", (False, True))
@pytest.mark.parametrize("name, options", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}),
                                           ("LSTMCell", {"bias": False}), ("GRUCell", {})], ids=str)  # fmt: skip
def test_cells(torch, name, options, with_state, batched):
    ours, theirs = both(torch, name, options, 3, 4)
    assert repr(ours) == repr(theirs)
    lead = (2,) if batched else ()
    a, b = pair(torch, (*lead, 3))
    pairs = [pair(torch, (*lead, 4), seed) for seed in ((1, 2) if name == "LSTMCell" else (1,))]
    h, th = None, None
    if with_state:
        h, th = (tuple(p[i] for p in pairs) if len(pairs) == 2 else pairs[0][i] for i in (0, 1))
    agree(ours(a, h), theirs(b, th), [(a, b), *(pairs if with_state else []), *parameters(ours, theirs)])


# ---- attention -------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}, {"mask": "bool"}, {"mask": "float"},
                                     {"mask": "blind"}, {"enable_gqa": True}], ids=str)  # fmt: skip
def test_scaled_dot_product_attention(torch, options):
    options = dict(options)
    kind, heads = options.pop("mask", None), 2 if options.get("enable_gqa") else 4
    shapes = ((2, 4, 5, 8), (2, heads, 6, 8), (2, heads, 6, 3))
    pairs = [pair(torch, shape, seed) for seed, shape in enumerate(shapes)]
    masks = (None, None)
    if kind == "float":
        masks = pair(torch, (2, 1, 5, 6), 9)
        pairs.append(masks)
    elif kind:
        seen = np.random.default_rng(3).random((5, 6)) < 0.6
        seen[:, 0] = True
        seen[2] = kind != "blind"
        masks = pe.tensor(seen), torch.tensor(seen)
    ours = F.scaled_dot_product_attention(*(p[0] for p in pairs[:3]), masks[0], **options)
    theirs = torch.nn.functional.scaled_dot_product_attention(*(p[1] for p in pairs[:3]), masks[1], **options)
    agree(ours, theirs, pairs)


HEADS = [{}, {"bias": False}, {"kdim": 5, "vdim": 3}, {"add_bias_kv": True}, {"add_zero_attn": True},
         {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True}, {"batch_first": True}]  # fmt: skip


@pytest.mark.parametrize("call", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str)
@pytest.mark.parametrize("masked", ("", "attn", "heads", "padding", "both", "float"))
@pytest.mark.parametrize("options", HEADS, ids=str)
def test_multihead_attention(torch, options, masked, call):
    for batch in (2, None):
        ours, theirs = both(torch, "MultiheadAttention", options, 8, 4)

        first = options.get("batch_first")

        def shape(length, size, first=first, batch=batch):
            return (length, size) if batch is None else (batch, length, size) if first else (length, batch, size)

        pairs = [pair(torch, shape(5, 8)), pair(torch, shape(6, options.get("kdim", 8)), 1),
                 pair(torch, shape(6, options.get("vdim", 8)), 2)]  # fmt: skip
        rng, masks = np.random.default_rng(3), {}
        if masked in ("attn", "both", "float", "heads"):
            hidden = rng.random((5, 6) if masked != "heads" else (4 * (batch or 1), 5, 6)) < 0.4
            hidden[..., 1] = False
            masks["attn_mask"] = np.where(hidden, 0.7, -0.3).astype(np.float32) if masked == "float" else hidden
        if masked in ("padding", "both"):
            masks["key_padding_mask"] = np.arange(6) >= (4 if batch is None else np.array([[3], [6]]))
        a = ours(*(p[0] for p in pairs), **{k: pe.tensor(v) for k, v in masks.items()}, **call)
        b = theirs(*(p[1] for p in pairs), **{k: torch.tensor(v) for k, v in masks.items()}, **call)
        agree(a, b, [*pairs, *parameters(ours, theirs)])


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"batch_first": True, "activation": "gelu"},
                                     {"bias": False}], ids=str)  # fmt: skip
@pytest.mark.parametrize("masked", (False, True))
def test_transformer(torch, options, masked):
    ours, theirs = both(torch, "Transformer", {"dropout": 0.0, **options}, 8, 2, 2, 2, 16)
    first = options.get("batch_first")
    src, tgt = pair(torch, (3, 6, 8) if first else (6, 3, 8)), pair(torch, (3, 5, 8) if first else (5, 3, 8), 1)
    masks = [{}, {}]
    if masked:
        hidden = np.arange(6) >= np.array([[3], [6], [4]])
        for library, made in ((pe, masks[0]), (torch, masks[1])):
            made["tgt_mask"] = library.nn.Transformer.generate_square_subsequent_mask(5)
            made["src_key_padding_mask"] = made["memory_key_padding_mask"] = library.tensor(hidden)
    agree(ours(src[0], tgt[0], **masks[0]), theirs(src[1], tgt[1], **masks[1]),
          [src, tgt, *parameters(ours, theirs)], 5e-5)  # fmt: skip


@pytest.mark.parametrize("shape", ((5, 2, 8), (5, 8)))
@pytest.mark.parametrize("name", ("TransformerEncoderLayer", "TransformerDecoderLayer"))
def test_transformer_layers(torch, name, shape):
    ours, theirs = both(torch, name, {"dropout": 0.0, "layer_norm_eps": 1e-3}, 8, 2, 16)
    pairs = [pair(torch, shape, seed) for seed in range(1 + name.count("Decoder"))]
    agree(ours(*(p[0] for p in pairs)), theirs(*(p[1] for p in pairs)), [*pairs, *parameters(ours, theirs)])


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
