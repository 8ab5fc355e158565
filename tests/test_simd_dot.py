"""The byte products and nibbles of the vocabulary (csrc/simd/dot.h) on every level against NumPy, NEON under qemu."""

import ctypes
import subprocess

import levels
import numpy as np
import pytest

SOURCE = levels.ROOT / "tests" / "c" / "dot_probe.c"
GROUPS = 700


def header(level):
    return f'-DPROBE_LEVEL="simd/{"avx512" if level in levels.WITHOUT_VOCABULARY else level}.h"'


def operands(lanes):
    """Extremes of every byte, where a step that saturates shows, then anything; sums that wrap."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (GROUPS, 4)), rng.integers(-128, 128, (GROUPS, lanes, 4))
    a[:300] = rng.choice([0, 1, 127, 128, 255], (300, 4))
    b[:300] = rng.choice([-128, -127, -1, 0, 1, 127], (300, lanes, 4))
    a[0], b[0], a[1], b[1] = 255, 127, 255, -128
    acc = rng.integers(-(2**31), 2**31, (GROUPS, lanes))
    acc[:100] = rng.choice([-(2**31), 2**31 - 1, 0], (100, lanes))
    return a.astype(np.uint8), b.astype(np.int8), acc.astype(np.int32)


def expected(a, b, acc):
    sums = acc.astype(np.int64) + np.einsum("gt,glt->gl", a.astype(np.int64), b.astype(np.int64))
    words = acc.view(np.uint32)[:, None] >> (4 * np.arange(8, dtype=np.uint32))[:, None] & 15
    return sums.astype(np.int32), words.astype(np.float32)  # to int32: modulo 2^32


@pytest.mark.parametrize("level", levels.runnable_levels())
def test_dot_and_nibble(level, tmp_path):
    flags = ["-shared", *levels.runnable_levels()[level], header(level)]
    library = ctypes.CDLL(str(levels.compile_c(SOURCE, tmp_path / "dot.so", flags)))
    a, b, acc = operands(library.probe_lanes())
    sums, nibbles = np.empty_like(acc), np.empty((GROUPS, 8, acc.shape[1]), np.float32)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, acc, sums, nibbles)]
    library.probe_dot(*pointers[:4], ctypes.c_size_t(GROUPS))
    library.probe_nibbles(pointers[2], pointers[4], ctypes.c_size_t(GROUPS))
    wanted = expected(a, b, acc)
    assert np.array_equal(sums, wanted[0])
    assert np.array_equal(nibbles, wanted[1])


@pytest.mark.parametrize("flags", [[], ["-march=armv8.2-a+i8mm"]], ids=["neon", "i8mm"])
def test_neon(flags, tmp_path):
    cross, emulator = levels.aarch64_tools()
    program = levels.compile_c(SOURCE, tmp_path / "dot", ["-static", "-DPROBE_MAIN", header("neon"), *flags], [cross])
    a, b, acc = operands(4)
    sent = a.tobytes() + b.tobytes() + acc.tobytes()
    out = subprocess.run([emulator, program, str(GROUPS)], input=sent, capture_output=True, check=True).stdout
    sums, nibbles = expected(a, b, acc)
    assert out == sums.tobytes() + nibbles.tobytes()
