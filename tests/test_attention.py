"""Attention and transformers against their formulas in float64."""

import numpy as np
import pytest
from scipy import special
from test_own_kernels import no_numpy_arithmetic  # noqa: F401 (a fixture)

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import nn


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def same(a, b):
    return (a.detach().numpy() == b.detach().numpy()).all()


def attended(q, k, v, mask=0.0):
    """softmax(q k^T / sqrt(E) + mask) v; zeros where a mask hides all."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]) + mask
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(special.softmax(scores, -1)) @ v


@pytest.mark.parametrize("kind", ("none", "bool", "float", "causal", "blind"))
def test_attention_is_its_formula(kind):
    q, k, v = numbers(2, 3, 4, 8), numbers(2, 3, 5, 8, seed=1), numbers(2, 3, 5, 6, seed=2)
    options, mask = {}, 0.0
    if kind == "causal":
        options, mask = {"is_causal": True}, np.where(np.tri(4, 5), 0, -np.inf)
    elif kind == "float":
        mask = numbers(4, 5, seed=3)
        options = {"attn_mask": pe.tensor(mask)}
    elif kind != "none":
        seen = np.random.default_rng(0).random((3, 4, 5)) < 0.6
        seen[:, 1] = kind == "bool"
        seen[:, [0, 2, 3], 0] = True
        options, mask = {"attn_mask": pe.tensor(seen)}, np.where(seen, 0, -np.inf)
    leaves = [pe.tensor(x).requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(*leaves, **options)
    np.testing.assert_allclose(out.detach().numpy(), attended(q, k, v, mask), 1e-5, 1e-5)
    out.sum().backward()
    assert all(np.isfinite(leaf.grad.numpy()).all() for leaf in leaves)
    step = 1e-3 * numbers(*k.shape, seed=5)
    change = attended(q, k + step, v, mask).sum() - attended(q, k - step, v, mask).sum()
    np.testing.assert_allclose((leaves[1].grad.numpy() * step).sum(), change / 2, 1e-3, 1e-6)


def test_grouped_queries():
    q, k, v = numbers(2, 4, 3, 8), numbers(2, 2, 5, 8, seed=1), numbers(2, 2, 5, 8, seed=2)
    out = F.scaled_dot_product_attention(*map(pe.tensor, (q, k, v)), enable_gqa=True)
    np.testing.assert_allclose(out.numpy(), attended(q, k.repeat(2, 1), v.repeat(2, 1)), 1e-5, 1e-5)


def test_heads_are_its_formula():
    layer = nn.MultiheadAttention(6, 2)
    x, y = numbers(3, 2, 6), numbers(4, 2, 6, seed=1)
    out, weights = layer(*map(pe.tensor, (x, y, y)))
    w, b = (p.detach().numpy().astype(np.float64) for p in (layer.in_proj_weight, layer.in_proj_bias))
    q, k, v = (t @ w[6 * i : 6 * i + 6].T + b[6 * i : 6 * i + 6] for i, t in enumerate((x, y, y)))
    heads = [attended(*(np.swapaxes(t[..., 3 * h : 3 * h + 3], 0, 1) for t in (q, k, v))) for h in range(2)]
    joined = np.swapaxes(np.concatenate(heads, -1), 0, 1)
    expected = joined @ layer.out_proj.weight.detach().numpy().T + layer.out_proj.bias.detach().numpy()
    np.testing.assert_allclose(out.detach().numpy(), expected, 1e-5, 1e-5)
    np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1.0, 1e-5)


def test_masks_hide():
    """What a mask hides has no influence on the output."""
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x, other = pe.tensor(numbers(2, 4, 8)), pe.tensor(numbers(2, 4, 8))
    with pe.no_grad():
        other[:, 3] = 5.0
    padding = pe.tensor(np.array([[False, False, False, True]] * 2))
    for needed in (True, False):
        a, b = (layer(x, y, y, key_padding_mask=padding, need_weights=needed)[0] for y in (x, other))
        assert same(a, b)
        ahead = nn.Transformer.generate_square_subsequent_mask(4)
        a, b = (layer(x, y, y, attn_mask=ahead, need_weights=needed)[0][:, :3] for y in (x, other))
        assert same(a, b)


def test_dropout_of_the_weights():
    q = pe.tensor(numbers(2, 64, 8))
    pe.manual_seed(0)
    a, b = (F.scaled_dot_product_attention(q, q, pe.ones(2, 64, 1), dropout_p=0.5) for _ in range(2))
    assert not same(a, b) and a.mean().item() == pytest.approx(1.0, abs=0.1)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5).eval()
    assert same(layer(q, q, q)[0], layer(q, q, q)[0])


@pytest.mark.parametrize("norm_first", (False, True))
def test_the_encoder_layer_is_its_formula(norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first).eval()
    x = pe.tensor(numbers(5, 2, 8))

    def attend(x):
        return layer.self_attn(x, x, x)[0]

    def forward(x):
        return layer.linear2(layer.linear1(x).relu())

    if norm_first:
        expected = x + attend(layer.norm1(x))
        expected = expected + forward(layer.norm2(expected))
    else:
        expected = layer.norm1(x + attend(x))
        expected = layer.norm2(expected + forward(expected))
    np.testing.assert_allclose(layer(x).detach().numpy(), expected.detach().numpy(), 1e-5, 1e-5)


def test_layers_of_a_stack_are_their_own():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    first, second = encoder.layers
    assert first.linear1.weight is not second.linear1.weight
    assert same(first.linear1.weight, second.linear1.weight)
    assert first.linear1.weight.data_ptr != second.linear1.weight.data_ptr


def test_on_our_kernels(request):
    model = nn.Transformer(8, 2, 1, 1, 16, activation="gelu")
    src, tgt = pe.randn(5, 2, 8), pe.randn(4, 2, 8)
    hidden = pe.tensor(np.arange(5) >= np.array([[3], [5]]))
    request.getfixturevalue("no_numpy_arithmetic")
    mask = model.generate_square_subsequent_mask(4)
    model(src, tgt, tgt_mask=mask, src_key_padding_mask=hidden).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_errors():
    q = pe.zeros(2, 3, 8)
    mask = pe.zeros(3, 3)
    for args, options in (
        ((q, pe.zeros(2, 3, 7), q), {}), ((q, q, pe.zeros(2, 4, 8)), {}), ((pe.zeros(8), q, q), {}),
        ((q, q, q, mask), {"is_causal": True}), ((q, q, q, pe.zeros(3, 4)), {}), ((q, q, q, pe.zeros(3, 3).long()), {}),
        ((q, pe.zeros(3, 3, 8), pe.zeros(3, 3, 8)), {}), ((q, q[:, :, :0], q), {}),
        ((pe.zeros(3, 3, 8), q, q), {"enable_gqa": True}), ((q, q, q.double()), {}),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="scaled_dot_product_attention"):
            F.scaled_dot_product_attention(*args, **options)
    layer = nn.MultiheadAttention(8, 2)
    x = pe.zeros(4, 2, 8)
    with pytest.raises(RuntimeError, match="is_causal"):
        layer(x, x, x, is_causal=True)
    with pytest.raises(RuntimeError, match="attn_mask"):
        layer(x, x, x, attn_mask=pe.zeros(4, 5))
    with pytest.raises(AssertionError, match="key_padding_mask"):
        layer(x, x, x, key_padding_mask=pe.zeros(4, 2))
    with pytest.raises(AssertionError, match="features"):
        layer(pe.zeros(4, 2, 6), x, x)
