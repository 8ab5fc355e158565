"""Every verb of the vocabulary (csrc/simd/simd.h) on every level against NumPy."""

import ctypes
import mmap
import os

import numpy as np
import pytest
from simd_probe import COUNT, SPECIAL, any_floats, pairs, same, ulps


def test_arithmetic_and_comparison(run_probe):
    x, y = pairs()
    with np.errstate(all="ignore"):
        assert same(run_probe("add", x, y), x + y) is True
        assert same(run_probe("divide", x, y), x / y) is True
    for name, want in (("less", x < y), ("equal", x == y)):
        assert np.array_equal(run_probe(name, x, y).view(np.int32), -want.astype(np.int32))


def test_set(run_probe):
    for value in SPECIAL:
        x = np.full(33, value, np.float32)
        assert same(run_probe("set", x), x) is True
        assert np.array_equal(run_probe("seti", x).view(np.int32), x.view(np.int32)) or np.isnan(value)


def test_min_max_and_clamps(run_probe):
    x, y = pairs()
    nan = np.isnan(x) | np.isnan(y)
    assert same(run_probe("lesser", x, y), np.where(x < y, x, y)) is True
    assert same(run_probe("greater", x, y), np.where(x > y, x, y)) is True
    assert same(run_probe("min", x, y), np.where(nan, np.nan, np.where(x < y, x, y))) is True
    assert same(run_probe("max", x, y), np.where(nan, np.nan, np.where(x > y, x, y))) is True


@pytest.mark.parametrize("name", ["sqrt", "floor", "ceil", "trunc", "round", "abs"])
def test_verbs_of_one(run_probe, name):
    x = np.concatenate([SPECIAL, any_floats(COUNT, 2), np.arange(-99, 99) / np.float32(8)]).astype(np.float32)
    with np.errstate(all="ignore"):
        assert same(run_probe(name, x), {"round": np.rint}.get(name, getattr(np, name, None))(x)) is True


def test_bit_verbs(run_probe):
    x, y = pairs()
    got = run_probe("copysign", x, y).view(np.uint32)
    assert np.array_equal(got, (x.view(np.uint32) & 0x7FFFFFFF) | (y.view(np.uint32) & 0x80000000))
    assert np.array_equal(run_probe("abs", x).view(np.uint32), x.view(np.uint32) & 0x7FFFFFFF)
    z = any_floats(x.size, 5)
    assert np.array_equal(run_probe("select", x, y, z).view(np.int32), np.where(x < y, y, z).view(np.int32))


def test_any(probe_libraries, run_probe, probe_level):
    lanes = probe_libraries[probe_level].probe_lanes()
    for place in range(-1, lanes):
        x = np.zeros(lanes, np.float32)
        x[place if place >= 0 else 0] = -1 if place >= 0 else 0
        assert run_probe("any", x, np.zeros_like(x))[0] == (place >= 0)


def test_lanes_of_two(probe_libraries, run_probe, probe_level):
    lanes = probe_libraries[probe_level].probe_lanes()
    a, b = np.arange(2 * lanes, dtype=np.float32).reshape(2, lanes)
    both, turns = np.concatenate((a, b)), np.stack((a, b), axis=1).ravel()
    assert np.array_equal(run_probe("evens", a, b), both[::2])
    assert np.array_equal(run_probe("odds", a, b), both[1::2])
    assert np.array_equal(run_probe("zip_low", a, b), turns[:lanes])
    assert np.array_equal(run_probe("zip_high", a, b), turns[lanes:])


def test_stream(probe_libraries, probe_level):
    library = probe_libraries[probe_level]
    lanes = library.probe_lanes()
    room = np.zeros(4 * lanes, np.float32)
    out = room[-(room.ctypes.data // 4) % lanes :][: 2 * lanes]
    x = np.arange(1, lanes + 1, dtype=np.float32)
    library.probe_stream(*map(ctypes.c_void_p, (x.ctypes.data, out.ctypes.data)))
    assert (out[:lanes] == x).all() and (out[lanes:] == 0).all()


def test_lanes_by_number(probe_libraries, run_probe, probe_level):
    lanes = probe_libraries[probe_level].probe_lanes()
    x, i = np.arange(lanes, dtype=np.float32), np.random.default_rng(0).permutation(lanes).astype(np.int32)
    for number in (i, i % 2, np.full(lanes, lanes - 1, np.int32)):
        assert np.array_equal(run_probe("by_number", x, number.view(np.float32)), x[number])


def test_conversions(run_probe):
    x = np.random.default_rng(0).uniform(-(2**31) + 200, 2**31 - 200, COUNT).astype(np.float32)
    x = np.concatenate([x, np.arange(-40, 40) / np.float32(4), [0, -0.0, 1e-45, 8388607.5]]).astype(np.float32)
    assert np.array_equal(run_probe("toint", x).view(np.int32), np.rint(x).astype(np.int32))
    whole = np.concatenate([any_floats(COUNT, 6).view(np.int32), [0, 1, -1, 2**31 - 1, -(2**31)]]).astype(np.int32)
    assert np.array_equal(run_probe("tofloat", whole.view(np.float32)), whole.astype(np.float32))


def test_bfloat16_is_widened(run_probe):
    x = any_floats(COUNT, 10)
    want = x.view(np.uint16)[:COUNT].astype(np.uint32) << 16
    assert np.array_equal(run_probe("bf16", x).view(np.uint32), want)


def test_masks_are_bytes(run_probe):
    x, y = pairs()
    assert np.array_equal(run_probe("to_bytes", x, y).view(np.int32), x < y)
    flags = np.random.default_rng(4).choice(np.array([0, 1, 2, 128, 255], np.uint8), 4 * COUNT)
    got = run_probe("from_bytes", flags.view(np.float32)).view(np.int32)
    assert np.array_equal(got, -(flags[:COUNT] != 0).astype(np.int32))


def fused(a, b, c):
    """a*b + c as float64 rounded to odd: rounding that to float32 rounds once."""
    a, b, c = (array.astype(np.float64) for array in (a, b, c))
    product = a * b
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    sticky = np.isfinite(total) & np.isfinite(lost) & (lost != 0) & (total.view(np.int64) & 1 == 0)
    return np.where(sticky, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)


def test_fma(run_probe, probe_level):
    x, y = pairs()
    a = np.concatenate([x, any_floats(COUNT, 8), np.random.default_rng(1).normal(size=COUNT)]).astype(np.float32)
    b = np.concatenate([y, any_floats(COUNT, 9), np.random.default_rng(2).normal(size=COUNT)]).astype(np.float32)
    with np.errstate(all="ignore"):
        c = np.where(np.arange(a.size) % 2 == 0, -a * b, SPECIAL[np.arange(a.size) % SPECIAL.size]).astype(np.float32)
        want = fused(a, b, c)
        rounded = a * b + c if probe_level == "generic" else want
        assert same(run_probe("fma", a, b, c), rounded) is True
        got = run_probe("fma_exact", a, b, c)
        if probe_level != "generic":
            assert same(got, want) is True
        else:
            ok = ~(np.isnan(got) & np.isnan(want))
            error = ulps(got, want)
            error[(got == 0) & (want == 0)] = 0
            assert error[ok].max() <= 0.5001


def test_ldexp(run_probe):
    rng = np.random.default_rng(3)
    x = (rng.uniform(1, 2, COUNT) * np.exp2(rng.integers(-39, 39, COUNT)) * rng.choice([-1, 1], COUNT)).astype(
        np.float32
    )
    n = rng.integers(-252, 253, COUNT).astype(np.float32)
    x[:3], n[1:3] = np.nan, np.nan
    with np.errstate(all="ignore"):
        want = np.ldexp(x.astype(np.float64), np.nan_to_num(n).astype(int)).astype(np.float32)
        assert same(run_probe("ldexp", x, n), want) is True


def guarded_page():
    """A page of memory with an unreadable one right behind it: (address of its end, its owner)."""
    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(start + size), ctypes.c_size_t(size), 0) == 0
    return start + size, memory


def test_tails_touch_nothing_else(probe_libraries, probe_level):
    """Every n at the end of a page: touching lane n would fault; in a child, as a fault is a death."""
    library = probe_libraries[probe_level]
    lanes = library.probe_lanes()
    (from_end, _from), (to_end, _to) = guarded_page(), guarded_page()

    def check():
        for n in range(lanes):
            values = np.arange(1, n + 1, dtype=np.float32)
            ctypes.memmove(from_end - 4 * n, values.ctypes.data, 4 * n)
            ctypes.memset(to_end - 256, 0x55, 256)
            before = ctypes.string_at(to_end - 256, 256)
            library.probe_copy_n(*map(ctypes.c_void_p, (from_end - 4 * n, to_end - 4 * n)), ctypes.c_size_t(n))
            if ctypes.string_at(to_end - 256, 256) != before[: 256 - 4 * n] + values.tobytes():
                return 10 + n
            out = np.full(lanes, 9, np.float32)
            library.probe_load_n(*map(ctypes.c_void_p, (from_end - 4 * n, out.ctypes.data)), ctypes.c_size_t(n))
            if not np.array_equal(out, np.concatenate([values, np.zeros(lanes - n)])):
                return 40 + n
            # and a store in the middle leaves its neighbours alone
            library.probe_copy_n(*map(ctypes.c_void_p, (from_end - 4 * n, to_end - 256)), ctypes.c_size_t(n))
            if ctypes.string_at(to_end - 256 + 4 * n, 64) != before[:64]:
                return 70 + n
        return 0

    child = os.fork()
    if child == 0:
        os._exit(check())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_masks(probe_libraries, probe_level):
    library = probe_libraries[probe_level]
    lanes = library.probe_lanes()
    for seed in range(40):
        flags = np.random.default_rng(seed).choice(np.array([0, 0, 1, 2, 128, 255], np.uint8), lanes)
        wide, narrow = np.empty(lanes, np.int32), np.full(lanes + 1, 77, np.uint8)
        library.probe_load_mask(ctypes.c_void_p(flags.ctypes.data), ctypes.c_void_p(wide.ctypes.data))
        assert np.array_equal(wide, np.where(flags != 0, -1, 0))
        library.probe_store_mask(ctypes.c_void_p(wide.ctypes.data), ctypes.c_void_p(narrow.ctypes.data))
        assert np.array_equal(narrow, [*(flags != 0), 77])
