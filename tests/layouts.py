"""Operands in any memory layout, for hypothesis; and the comparison with NumPy."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@st.composite
def strided(draw, shape=None, name="float32"):
    """An array of the shape whose memory is permuted, stepped over, reversed or broadcast."""
    shape = draw(SHAPES) if shape is None else shape
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2, 0])) for _ in shape]
    large = [1 if steps[i] == 0 else shape[i] * abs(steps[i]) for i in order]
    size = int(np.prod(large, dtype=int))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    flat = rng.integers(0, 9, size) if name != "float32" else rng.normal(size=size)
    a = flat.astype(name).reshape(large).transpose(np.argsort(order)) if shape else flat.astype(name).reshape(())
    a = a[tuple(slice(None, None, s or None) for s in steps)] if shape else a
    return np.broadcast_to(a, shape) if 0 in steps else a


def same(x, a):
    assert x.shape == a.shape
    np.testing.assert_array_equal(np.asarray(x), a)
