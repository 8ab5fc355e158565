"""Rotary positions: both orders of rows, the law that makes them relative, what they refuse."""

import numpy as np
import pytest

import pyengine as pe


@pytest.mark.parametrize("interleaved", (False, True))
def test_rotary_turns_pairs(interleaved):
    pe.manual_seed(0)
    cos, sin = pe.rotary_tables(7, 6, base=100.0, start=3, scale=2.0)
    angle = (np.arange(3, 10)[:, None] / 2.0) / 100.0 ** (np.arange(0, 6, 2) / 6)
    assert np.abs(cos.numpy() - np.cos(angle)).max() < 1e-7 and np.abs(sin.numpy() - np.sin(angle)).max() < 1e-7
    for x in (pe.randn(2, 3, 7, 6), pe.randn(2, 7, 3, 6).transpose(1, 2), pe.randn(7, 9), pe.randn(2, 7, 12)[..., ::2]):
        a, b = (x[..., :6][..., i::2] if interleaved else x[..., 3 * i : 3 * i + 3] for i in (0, 1))
        turned = [a * cos - b * sin, b * cos + a * sin]
        turned = pe.stack(turned, -1).flatten(-2) if interleaved else pe.cat(turned, -1)
        expected = pe.cat([turned, x[..., 6:]], -1).numpy()
        assert np.array_equal(pe.rotary_embedding(x, cos, sin, interleaved).numpy(), expected)
    x = pe.randn(2, 7, 8).requires_grad_()
    assert pe.autograd.gradcheck(lambda x: pe.rotary_embedding(x, cos, sin, interleaved), (x,))
    assert pe.autograd.gradgradcheck(lambda x: pe.rotary_embedding(x * x, cos, sin, interleaved), (x,))


def test_rotary_positions_are_relative():
    q, k = pe.randn(1, 16), pe.randn(1, 16)
    dots = []
    for start in (0, 5, 40):
        (c, s), (d, t) = (pe.rotary_tables(1, 16, start=at) for at in (start + 3, start))
        dots.append((pe.rotary_embedding(q, c, s) * pe.rotary_embedding(k, d, t)).sum().item())
    assert np.ptp(dots) < 1e-4


def test_rotary_refuses():
    cos, sin = pe.rotary_tables(7, 6)
    for x, c, s in ((pe.zeros(3, 6), cos, sin), (pe.zeros(7, 4), cos, sin), (pe.zeros(7, 6), cos, sin[:2]),
                    (pe.zeros(7), cos, sin), (pe.zeros(7, 6), cos[0], sin[0])):  # fmt: skip
        with pytest.raises(ValueError, match="rotary: "):
            pe.rotary_embedding(x, c, s)
    with pytest.raises(TypeError, match="float32"):
        pe.rotary_embedding(pe.zeros(7, 6, dtype="float64"), cos, sin)
    for bad in ((4, 3), (-1, 4), (4, 0)):
        with pytest.raises(ValueError, match="rotary_tables"):
            pe.rotary_tables(*bad)
