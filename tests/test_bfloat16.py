"""bfloat16 as a type of operands: sums in float32, in an order of the instruction set's own, rounded once."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core

# here products of two bfloat16 sum in pairs; elsewhere they are float32's of the same numbers (docs/decisions/010)
IN_PAIRS = _core.machine_info()["isa"] in ("avx512_bf16", "amx")
SHAPES = [((5, 7), (7, 3)), ((3, 5, 70), (70, 33)), ((2, 1, 6, 9), (3, 9, 4)), ((7,), (7, 3)), ((4, 7), (7,)),
          ((130, 300), (300, 200)), ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((300, 512), (512, 96))]  # fmt: skip


def rounded(*shape, seed=0):
    return pe.tensor(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)).to(pe.bfloat16)


def exact(x):
    return x.to(pe.float32).numpy().astype(np.float64)


def bits(x):
    return x.to(pe.float32).numpy().tobytes()


def assert_near(out, a, b, then=lambda sums: sums):
    """A rounding to 8 bits, and one of float32's for each step of k, twice that where sums are made of parts."""
    sums, size = a @ b, np.abs(a) @ np.abs(b)
    slack = 2.0**-8 * np.abs(then(sums)) + 2 * (a.shape[-1] + 4) * 2.0**-24 * (size + np.abs(then(sums)))
    assert out.dtype is pe.bfloat16
    assert (np.abs(exact(out) - then(sums)) <= slack * 1.01).all()


@pytest.mark.parametrize("a, b", SHAPES)
def test_product_is_near_float64(a, b):
    x, y = rounded(*a), rounded(*b, seed=1)
    out = x @ y
    assert out.shape == np.matmul(exact(x), exact(y)).shape
    assert_near(out, exact(x), exact(y))


@pytest.mark.parametrize("a, b", SHAPES)
@pytest.mark.skipif(IN_PAIRS, reason="this level sums pairs; tests/c/test_gemm_half.c holds their bits")
def test_product_is_float32s_rounded_once(a, b):
    x, y = rounded(*a), rounded(*b, seed=1)
    assert bits(x @ y) == bits((x.to(pe.float32) @ y.to(pe.float32)).to(pe.bfloat16))


def test_transposed_and_sliced_views():
    x, y = rounded(64, 96), rounded(64, 50, seed=1)
    assert_near(x.t() @ y, exact(x).T, exact(y))
    assert bits(x.t() @ y) == bits(x.t().contiguous() @ y)
    wide = rounded(96, 130, seed=2)
    for part in (wide[1:90, 3:99], wide[::3, ::2], wide[5:6, :64], wide[:, 1:65]):
        other = rounded(part.shape[1], 33, seed=3)
        assert bits(part @ other) == bits(part.contiguous() @ other)
        assert bits(other.t() @ part.t()) == bits((part @ other).t())


def test_rows_do_not_depend_on_their_neighbours():
    x, w = rounded(200, 300), rounded(70, 300, seed=1)
    whole = exact(pe.linear(x, w))
    for rows in (slice(0, 1), slice(7, 9), slice(31, 64), slice(100, 200)):
        assert np.array_equal(exact(pe.linear(x[rows], w)), whole[rows])
    batch = exact(x.reshape(4, 50, 300) @ w.t())
    assert np.array_equal(batch.reshape(200, 70), whole)
    stacked = pe.stack([x[:50], x[50:100], x[100:150], x[150:]])
    weights = pe.stack([w.t().contiguous()] * 4)
    assert np.array_equal(exact(stacked @ weights).reshape(200, 70), whole)


def test_threads_change_no_bit():
    x, w = rounded(300, 700), rounded(900, 700, seed=1)
    before, shared = pe.get_num_threads(), _core.pool_stats()["shared_calls"]
    try:
        pe.set_num_threads(1)
        alone = bits(pe.linear(x, w))
        for turn in range(2000):  # a busy machine may keep a worker away from many calls
            pe.set_num_threads((2, 3, 8)[turn % 3])
            assert bits(pe.linear(x, w)) == alone
            if turn >= 30 and _core.pool_stats()["shared_calls"] > shared:
                break
        assert _core.pool_stats()["shared_calls"] > shared
    finally:
        pe.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_linear(rows, activation):
    x, w, bias, residual = rounded(rows, 130), rounded(90, 130, seed=1), rounded(90, seed=2), rounded(rows, 90, seed=3)
    out = pe.linear(x, w, bias, activation, residual)

    def follows(sums):
        sums = sums + exact(bias)
        return (np.maximum(sums, 0) if activation else sums) + exact(residual)

    assert_near(out, exact(x), exact(w).T, follows)
    assert bits(pe.linear(x, w, bias.to(pe.float32), activation, residual)) == bits(out)
    assert pe.linear(x.reshape(rows, 1, 130), w).shape == (rows, 1, 90)


def test_packed_weights_change_no_bit():
    x, w = rounded(5, 200), rounded(150, 200, seed=1)
    plain = bits(pe.linear(x, w))
    packed = pe.pack(w)
    assert packed.shape == (150, 200)
    assert packed.nbytes < 2 * 2 * 200 * 192
    assert bits(pe.linear(x, w)) == plain
    assert bits(pe.linear(x[2:3], w)) == bits(pe.linear(x, w)[2:3])


def test_a_layer_in_bfloat16():
    layer = pe.nn.Linear(70, 30).bfloat16().eval()
    with pe.no_grad():
        for _ in range(3):  # the second call packs
            x = rounded(4, 70)
            out = layer(x)
            assert_near(out, exact(x), exact(layer.weight).T, lambda sums: sums + exact(layer.bias))


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match=r"matmul: .*same dtype.*bfloat16.*\(2, 3\).*float32.*\(3, 4\)"):
        rounded(2, 3) @ pe.ones(3, 4)
    with pytest.raises(TypeError, match="same dtype"):
        pe.ones(2, 3) @ rounded(3, 4)
    with pytest.raises(TypeError, match="linear: input of dtype bfloat16 does not fit weight of dtype float32"):
        pe.linear(rounded(2, 3), pe.ones(4, 3))
    with pytest.raises(TypeError, match="residual must be bfloat16 as the input, got float32"):
        pe.linear(rounded(2, 3), rounded(4, 3), residual=pe.ones(2, 4))
    with pytest.raises(TypeError, match="linear: bfloat16 has no gradient"):
        pe.linear(rounded(2, 3), rounded(4, 3), pe.zeros(4).requires_grad_())
    with pytest.raises(TypeError, match="pack: weight must be float32, got int8"):
        pe.pack(pe.tensor(np.ones((2, 3), np.int8)))
