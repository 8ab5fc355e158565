"""Copies of 32 MB and more are written past the caches: the same bits as small ones, wherever they begin and end."""

import numpy as np
import pytest

import pyengine as pe

ELEMENTS = (32 << 20) // 4 + 4099  # no multiple of a vector, a tile, or a chunk
PIECE = 1 << 18


@pytest.fixture(params=[1, 3])
def threads(request):
    with pe.num_threads(request.param):
        yield request.param


@pytest.fixture(scope="module")
def operands():
    drawn = np.random.default_rng(0)
    return [drawn.standard_normal(ELEMENTS + 7, dtype=np.float32) for _ in range(2)]


def in_pieces(call, *arrays):
    return np.concatenate(
        [call(*(pe.from_numpy(a[i : i + PIECE]) for a in arrays)).numpy() for i in range(0, ELEMENTS, PIECE)]
    )


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("call", [lambda x, y: x * y, lambda x, y: pe.exp(x), lambda x, y: x.clone()])
def test_same_bits_as_small_calls(call, start, threads, operands):
    x, y = (a[start : start + ELEMENTS] for a in operands)
    assert call(pe.from_numpy(x), pe.from_numpy(y)).numpy().tobytes() == in_pieces(call, x, y).tobytes()


def test_an_output_that_begins_anywhere(threads, operands):
    """Nothing is written before it, or behind."""
    x = operands[0][:ELEMENTS]
    for start in (1, 3, 16):
        whole = pe.full((ELEMENTS + 32,), 5.0)
        whole[start : start + ELEMENTS] = pe.from_numpy(x)
        got = whole.numpy()
        assert (got[start : start + ELEMENTS] == x).all()
        assert (got[:start] == 5).all() and (got[start + ELEMENTS :] == 5).all()


def test_rows_beside_one_that_is_broadcast(threads, operands):
    """Rows end on no boundary of a vector."""
    wide = 4099
    x, row = operands[0][: ELEMENTS // wide * wide].reshape(-1, wide), operands[1][:wide]
    assert ((pe.from_numpy(x) + pe.from_numpy(row)).numpy() == x + row).all()


def test_bytes(threads):
    x = np.arange((32 << 20) + 77, dtype=np.float32)
    assert ((pe.from_numpy(x) < 1000.0).numpy() == (x < 1000)).all()


def test_in_place(threads, operands):
    x = operands[0][:ELEMENTS]
    y = pe.from_numpy(x.copy())
    y *= 2.0
    assert (y.numpy() == 2 * x).all()
