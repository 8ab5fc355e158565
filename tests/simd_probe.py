"""tests/c/simd_probe.c compiled for every level that this machine runs, and how its results are judged."""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor

import levels
import numpy as np
import pytest

LEVELS = {name: flags for name, flags in levels.runnable_levels().items() if name not in levels.WITHOUT_VOCABULARY}
PROBE = levels.ROOT / "tests" / "c" / "simd_probe.c"
COUNT = 60_000
LARGEST = float(np.finfo(np.float32).max)
SPECIAL = np.array(
    [
        0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1.5, -1.5, 2.5, -2.5, 1e-45,
        -1e-45, 1e-40, -1e-40, 1.1754944e-38, -1.1754944e-38, LARGEST, -LARGEST, 8388607.5, -8388607.5,
        16777215, 16777216, 33554432, 0.99999994, 1.0000001, 0.49999997, -0.49999997, 88.72283, 88.72284,
        -87.33655, -103.97, -103.98, 127.99999, 128, -126, -149, -150, 89.415985, 89.416, 1e5, 100001,
        1e10
    ],
    np.float32,
)  # fmt: skip


@functools.cache
def built(directory):
    """All levels, compiled two at a time."""

    def build(level):
        flags = ["-shared", *LEVELS[level], f'-DPROBE_LEVEL="simd/{level}.h"']
        return ctypes.CDLL(str(levels.compile_c(PROBE, directory / f"{level}.so", flags)))

    levels.compiler()
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(LEVELS, pool.map(build, LEVELS), strict=True))


@pytest.fixture(scope="session")
def probe_libraries(tmp_path_factory):
    return built(tmp_path_factory.mktemp("probe"))


@pytest.fixture(params=LEVELS)
def probe_level(request):
    return request.param


@pytest.fixture
def run_probe(probe_libraries, probe_level):
    return lambda *arguments: call(probe_libraries[probe_level], *arguments)


def call(library, name, x, y=None, z=None):
    x = np.ascontiguousarray(x, np.float32)
    y, z = (x if other is None else np.ascontiguousarray(other, np.float32) for other in (y, z))
    out = np.empty_like(x)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y, z, out)]
    getattr(library, f"probe_{name}")(*pointers, ctypes.c_size_t(x.size))
    return out


def pairs():
    """Every special value with every other, as two arrays."""
    return (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))


def any_floats(count, seed):
    bits = np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32)
    bits |= np.where(np.isnan(bits.view(np.float32)), 0x00400000, 0).astype(np.uint32)  # NumPy warns of signalling ones
    return bits.view(np.float32)


def same(got, want):
    """Equal bits; one NaN is as good as another."""
    want = np.asarray(want).astype(np.float32)
    wrong = (got.view(np.int32) != want.view(np.int32)) & ~(np.isnan(got) & np.isnan(want))
    return not wrong.any() or f"{np.count_nonzero(wrong)} lanes: got {got[wrong][:4]}, want {want[wrong][:4]}"


def ulps(got, want):
    """|got - want| in units of want's last float32 place; inf is 2^128, a wrong NaN or sign inf."""
    bounded = np.clip(want, -(2.0**128), 2.0**128)
    unit = np.ldexp(1.0, np.clip(np.frexp(bounded)[1] - 24, -149, 104))
    error = np.abs(np.clip(got.astype(np.float64), -(2.0**128), 2.0**128) - bounded) / unit
    error[np.signbit(got) != np.signbit(want)] = np.inf
    error[np.isnan(got) != np.isnan(want)] = np.inf
    error[np.isnan(got) & np.isnan(want)] = 0
    return error
