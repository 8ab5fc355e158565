"""bfloat16 as a type of operands: products are float32's of the same numbers, rounded once."""

import numpy as np
import pytest

import pyengine as pe


def rounded(*shape, seed=0):
    return pe.tensor(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)).to(pe.bfloat16)


@pytest.mark.parametrize(
    "a, b", [((5, 7), (7, 3)), ((3, 5, 70), (70, 33)), ((2, 1, 6, 9), (3, 9, 4)), ((7,), (7, 3)), ((4, 7), (7,)),
             ((130, 300), (300, 200)), ((0, 4), (4, 2)), ((3, 0), (0, 2))]
)  # fmt: skip
def test_product_is_float32s_rounded_once(a, b):
    x, y = rounded(*a), rounded(*b, seed=1)
    out = x @ y
    assert out.dtype is pe.bfloat16
    expected = (x.to(pe.float32) @ y.to(pe.float32)).to(pe.bfloat16)
    assert out.shape == expected.shape
    assert bits(out) == bits(expected)


def bits(x):
    return x.to(pe.float32).numpy().tobytes()


def test_transposed_views():
    x, y = rounded(40, 30), rounded(40, 50, seed=1)
    assert bits(x.t() @ y) == bits((x.to(pe.float32).t() @ y.to(pe.float32)).to(pe.bfloat16))


def test_mixed_types_are_refused():
    with pytest.raises(TypeError, match=r"matmul: .*same dtype.*bfloat16.*\(2, 3\).*float32.*\(3, 4\)"):
        rounded(2, 3) @ pe.ones(3, 4)
    with pytest.raises(TypeError, match="same dtype"):
        pe.ones(2, 3) @ rounded(3, 4)
