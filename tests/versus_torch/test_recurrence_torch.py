"""Recurrent and attention layers beside torch: values, gradients, state_dicts, text."""

import importlib.util
from itertools import product

import numpy as np
import pytest
from beside import agree, both, pair, parameters
from require import require

import pyengine as pe
import pyengine.nn.functional as F


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


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
