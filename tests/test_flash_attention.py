"""Attention in blocks against its formula in float64: values, gradients, laws, and what it refuses."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import pyengine as pe
from pyengine.autograd import gradcheck, gradgradcheck
from pyengine.nn.functional import scaled_dot_product_attention as attend

SIZES = (1, 2, 15, 64, 65, 100, 257)  # about the blocks of 64 queries and keys


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def seen_by(rows, keys, is_causal=False, query_start=0, window=None, lengths=None, slopes=None):
    """The mask that these arguments stand for, (N or 1, heads or 1, rows, keys)."""
    i, j = np.arange(rows)[:, None] + query_start, np.arange(keys)
    seen = (j <= i if is_causal else j == j)[None, None] & np.ones((1, 1, rows, 1), bool)
    if window is not None:
        seen = seen & (j > i - window)
    if lengths is not None:
        seen = seen & (j < lengths.numpy()[:, None, None, None])
    mask = np.where(seen, 0.0, -np.inf)
    return mask if slopes is None else mask - slopes.numpy()[:, None, None].astype(np.float64) * np.abs(i - j)


def wide(x):
    return np.asarray(x, dtype=np.float64)


@st.composite
def calls(draw):
    """(q, k, v, g, options): arrays, and keyword arguments of which any may be there."""
    batch, groups, times = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rows, keys = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SIZES))
    depth, width = draw(st.sampled_from((1, 16, 20))), draw(st.sampled_from((1, 16, 35)))
    heads, seed = groups * times, draw(st.integers(0, 99))
    shapes = (heads, rows, depth), (groups, keys, depth), (groups, keys, width), (heads, rows, width)
    arrays = []
    for i, (h, n, e) in enumerate(shapes):
        x = numbers(batch, n, h, e, seed=seed + i).swapaxes(1, 2)
        arrays.append(x if draw(st.booleans()) else np.ascontiguousarray(x))
    options = {"enable_gqa": times > 1}
    if draw(st.booleans()):
        options |= {"is_causal": True, "query_start": draw(st.integers(-2, keys))}
        if draw(st.booleans()):
            options["window"] = draw(st.integers(1, keys))
    elif draw(st.booleans()):
        kind = draw(st.sampled_from(((rows, keys), (batch, 1, 1, keys), (heads, 1, keys), (1, keys))))
        mask = numbers(*kind, seed=seed + 9)
        options["attn_mask"] = pe.tensor(mask > -0.5) if draw(st.booleans()) else pe.tensor(mask)
    if draw(st.booleans()):
        options["lengths"] = pe.tensor(np.random.default_rng(seed).integers(0, keys + 1, batch))
    if draw(st.booleans()):
        options["slopes"] = pe.tensor(2.0 ** -np.arange(1, heads + 1, dtype=np.float32))
    return arrays, options


def mask_of(rows, keys, options):
    rest = {k: v for k, v in options.items() if k not in ("enable_gqa", "attn_mask", "scale")}
    mask, given_mask = seen_by(rows, keys, **rest), options.get("attn_mask")
    if given_mask is None:
        return mask
    given_mask = given_mask.numpy()
    return mask + (np.where(given_mask, 0.0, -np.inf) if given_mask.dtype == bool else given_mask)


@given(calls())
def test_values_and_gradients_are_the_formulas(call):
    (q, k, v, g), options = call
    leaves = [pe.tensor(x).requires_grad_() for x in (q, k, v)]
    out = attend(*leaves, **options)
    times, mask = q.shape[1] // k.shape[1], mask_of(q.shape[2], k.shape[2], options)
    wq, wk, wv = wide(q), wide(k).repeat(times, 1), wide(v).repeat(times, 1)
    np.testing.assert_allclose(out.detach().numpy(), reference.attention(wq, wk, wv, mask), 1e-5, 1e-5)
    out.backward(pe.tensor(g))
    with pe.no_grad():
        assert (attend(*leaves, **options).numpy() == out.detach().numpy()).all()
    # by the formula: d scores = w (g v^T - its mean under w)
    eye = np.eye(k.shape[2])[None, None]
    w = reference.attention(wq, wk, np.broadcast_to(eye, (*wk.shape[:3], k.shape[2])), mask)
    dw = wide(g) @ wv.swapaxes(-1, -2)
    ds = w * (dw - (w * dw).sum(-1, keepdims=True)) * q.shape[-1] ** -0.5
    expected = ds @ wk, ds.swapaxes(-1, -2) @ wq, w.swapaxes(-1, -2) @ wide(g)
    for leaf, d in zip(leaves, expected, strict=True):
        if d.shape != leaf.shape:
            d = d.reshape(d.shape[0], k.shape[1], times, *d.shape[2:]).sum(2)
        np.testing.assert_allclose(leaf.grad.numpy(), d, 1e-4, 1e-4)


@pytest.mark.parametrize("options", ({}, {"is_causal": True, "window": 3}, {"attn_mask": "bool"}), ids=str)
def test_gradients_are_differences(options):
    options = {k: pe.tensor(numbers(5, 6) > -1) if v == "bool" else v for k, v in options.items()}
    leaves = [pe.tensor(numbers(2, n, 4, seed=i)).requires_grad_() for i, n in enumerate((5, 6, 6))]
    assert gradcheck(lambda *x: attend(*x, **options), leaves)
    assert gradgradcheck(lambda *x: attend(*x, **options), leaves)


def test_gradients_twice_with_shared_keys():
    leaves = [pe.tensor(numbers(1, h, 3, 4, seed=h)).requires_grad_() for h in (4, 2, 2)]
    slopes, lengths = pe.tensor(numbers(4)).abs(), pe.tensor(np.array([2]))
    options = {"enable_gqa": True, "slopes": slopes, "lengths": lengths}
    once = pe.autograd.grad(attend(*leaves, **options).square().sum(), leaves)
    again = pe.autograd.grad(attend(*leaves, **options).square().sum(), leaves, create_graph=True)
    for a, b in zip(once, again, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), 1e-5, 1e-6)
    assert gradgradcheck(lambda *x: attend(*x, **options), leaves)


def test_the_gradient_of_a_mask():
    q, k, mask = (pe.tensor(numbers(*shape)) for shape in ((2, 3, 4), (2, 5, 4), (3, 5)))
    assert gradcheck(lambda m: attend(q, k, k, m), (mask.requires_grad_(),))
    assert gradcheck(lambda s: attend(q, k, k, slopes=s), (pe.tensor([0.3]).requires_grad_(),))


def test_a_later_token_changes_no_bit():
    q, k, v = (pe.tensor(numbers(1, 2, 200, 16, seed=i)) for i in range(3))
    whole = attend(q, k, v, is_causal=True).numpy()
    for n in (1, 63, 64, 65, 130, 199):
        part = attend(q[:, :, :n], k[:, :, :n], v[:, :, :n], is_causal=True).numpy()
        assert (part == whole[:, :, :n]).all()
        last = attend(q[:, :, n - 1 : n], k, v, is_causal=True, query_start=n - 1).numpy()
        np.testing.assert_allclose(last, whole[:, :, n - 1 : n], 1e-5, 1e-6)
    padded = attend(q, k, v, is_causal=True, lengths=pe.tensor(np.array([130]))).numpy()
    assert (padded[:, :, :130] == whole[:, :, :130]).all()


def test_laws():
    q, k, v = (pe.tensor(numbers(2, 3, 90, 16, seed=i)) for i in range(3))
    whole = attend(q, k, v).numpy()
    order = np.random.default_rng(0).permutation(90)
    assert (attend(q[:, :, order], k, v).numpy() == whole[:, :, order]).all()
    np.testing.assert_allclose(attend(q, k[:, :, order], v[:, :, order]).numpy(), whole, 1e-5, 1e-6)
    np.testing.assert_allclose(attend(q, k, v, pe.full((90, 90), 3.0)).numpy(), whole, 1e-5, 1e-6)
    assert (attend(q[:1], k[:1], v[:1]).numpy() == whole[:1]).all()
    assert (attend(q, k, pe.ones(2, 3, 90, 1)).numpy() - 1 < 1e-6).all()


@pytest.mark.parametrize("options", ({}, {"is_causal": True}), ids=str)
def test_threads_change_no_bit(options):
    leaves = [pe.tensor(numbers(1, h, 300, 16, seed=h)).requires_grad_() for h in (4, 2, 2)]
    threads, results = pe.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            pe.set_num_threads(n)
            out = attend(*leaves, enable_gqa=True, **options)
            results.append([out.detach().numpy(), *(x.numpy() for x in pe.autograd.grad(out.sum(), leaves))])
    finally:
        pe.set_num_threads(threads)
    assert all((a == b).all() for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_memory_is_linear():
    """All scores would be 256 MB."""
    x = pe.tensor(numbers(1, 8192, 16)).requires_grad_()
    before = pe.memory_stats()["peak"]
    attend(x, x, x, is_causal=True).sum().backward()
    assert pe.memory_stats()["peak"] - before < 20 * 8192 * 16 * 4


def test_what_is_hidden_has_no_influence():
    q, k, v = (numbers(2, 70, 8, seed=i) for i in range(3))
    lengths = pe.tensor(np.array([0, 40]))
    seen = attend(*map(pe.tensor, (q, k, v)), lengths=lengths).numpy()
    k[:, 40:], v[:, 40:] = 7.0, 9.0
    assert (attend(*map(pe.tensor, (q, k, v)), lengths=lengths).numpy() == seen).all()
    assert (seen[0] == 0).all() and (seen[1] != 0).all()
    v[1, 3] = np.nan
    assert np.isnan(attend(*map(pe.tensor, (q, k, v)), lengths=lengths).numpy()[1]).all()


def test_shapes():
    x = numbers(2, 3, 4, 5, 8)
    out = attend(pe.tensor(x), pe.tensor(x), pe.tensor(x), pe.tensor(numbers(4, 5, 5)))
    expected = reference.attention(*map(wide, (x, x, x)), numbers(4, 5, 5))
    np.testing.assert_allclose(out.numpy(), expected, 1e-5, 1e-5)
    assert attend(pe.zeros(5, 8), pe.zeros(0, 8), pe.zeros(0, 3)).tolist() == np.zeros((5, 3)).tolist()
    assert attend(pe.zeros(0, 8), pe.zeros(2, 8), pe.zeros(2, 3)).shape == (0, 3)
    assert attend(pe.zeros(2, 0), pe.zeros(2, 0), pe.ones(2, 3)).tolist() == np.ones((2, 3)).tolist()


def test_refusals():
    q, k = pe.zeros(2, 4, 5, 8), pe.zeros(2, 2, 7, 8)
    counts = pe.tensor(np.array([7, 8]))
    for options, error, text in (
        ({"attn_mask": pe.zeros(4, 7)}, RuntimeError, r"attn_mask of shape \(4, 7\)"),
        ({"attn_mask": pe.zeros(3, 1, 5, 7)}, RuntimeError, "attn_mask of shape"),
        ({"attn_mask": pe.zeros(1, 1, 1, 5, 7)}, RuntimeError, "attn_mask of shape"),
        ({"lengths": counts}, IndexError, r"lengths\[1\] is 8"),
        ({"lengths": -counts}, IndexError, r"lengths\[0\] is -7"),
        ({"lengths": counts.float()}, RuntimeError, "lengths"),
        ({"lengths": counts[:1]}, RuntimeError, "lengths"),
        ({"slopes": pe.zeros(3)}, RuntimeError, "slopes"),
        ({"slopes": 0.5}, TypeError, "slopes"),
        ({"window": 3}, RuntimeError, "window"),
        ({"window": 0, "is_causal": True}, RuntimeError, "window"),
        ({"query_start": 2**40, "is_causal": True}, RuntimeError, "query_start"),
    ):
        with pytest.raises(error, match=text):
            attend(q, k, k, enable_gqa=True, **options)
    for key in (k, pe.zeros(2, 3, 7, 8)):
        with pytest.raises(RuntimeError, match="scaled_dot_product_attention"):
            attend(q, key, key, enable_gqa=key is not k)
