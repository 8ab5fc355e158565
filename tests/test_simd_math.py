"""Every function of csrc/simd/math.h on every level within its stated bound, and NEON under qemu.

PYENGINE_EXHAUSTIVE=1 adds all 2^32 arguments of every function of one argument.
"""

import functools
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import levels
import mpmath
import numpy as np
import pytest
from scipy import special
from simd_probe import COUNT, LEVELS, PROBE, SPECIAL, any_floats, call, pairs, same, ulps

# name: (bound in ULP with a fused multiply-add, bound on the generic level). The comments in
# csrc/simd/math_*.h say the same, test_bounds_are_those_of_the_comments holds them to it.
BOUNDS = {
    "exp": (1, 1.25), "exp2": (1, 1.25), "expm1": (2, 2), "log": (1, 1), "log2": (1.25, 2.25),
    "log10": (1.25, 2.25), "log1p": (2, 2), "sin": (1.5, 1.5), "cos": (1.5, 1.5), "tan": (2, 2),
    "sinh": (2, 2), "cosh": (2, 2), "tanh": (2.4, 2.4), "asin": (1.5, 1.5), "acos": (1.5, 1.5),
    "atan": (2, 2), "atan2": (2, 2), "erf": (1.5, 2), "erfc": (4, 5.25), "sigmoid": (2, 2),
    "softplus_unit": (2, 2), "pow": (4, 4), "rsqrt": (1, 1), "normal_cdf": (4, 5),
}  # fmt: skip


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# float64 of the C library and of SciPy: 2^29 times finer than what it judges (test_oracle)
ORACLES = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "erf": special.erf,
    "erfc": special.erfc, "sigmoid": special.expit, "softplus_unit": softplus,
    "rsqrt": lambda x: 1 / np.sqrt(x), "normal_cdf": lambda x: special.erfc(-x / np.sqrt(2)) / 2,
}  # fmt: skip
EXACT = {
    "exp2": lambda x: mpmath.mpf(2) ** x, "rsqrt": lambda x: 1 / mpmath.sqrt(x), "normal_cdf": mpmath.ncdf,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus_unit": lambda x: mpmath.log1p(mpmath.exp(x)),
    "log2": lambda x: mpmath.log(x, 2),
}  # fmt: skip
# where each function does something; beyond it all exponents are sampled too
RANGES = {
    "exp": (-105, 89.5), "exp2": (-151, 129), "expm1": (-20, 90), "log": (0.3, 3), "log2": (0.3, 3),
    "log10": (0.3, 3), "log1p": (-0.99, 3), "sin": (-300, 300), "cos": (-300, 300), "tan": (-300, 300),
    "sinh": (-90, 90), "cosh": (-90, 90), "tanh": (-10, 10), "asin": (-1, 1), "acos": (-1, 1),
    "atan": (-8, 8), "erf": (-5, 5), "erfc": (-6, 10.5), "sigmoid": (-105, 30), "softplus_unit": (-105, 30),
    "rsqrt": (0.5, 8), "normal_cdf": (-14.5, 6),
}  # fmt: skip


def hold(got, want, bound, *inputs):
    error = ulps(got, want)
    worst = np.argmax(error)
    where = ", ".join(repr(float(x[worst])) for x in inputs)
    assert error[worst] <= bound, f"{error[worst]:.3f} ULP at {where}: got {got[worst]!r}, want {want[worst]!r}"


def bound_of(name, level):
    return BOUNDS[name][level == "generic"]


@functools.cache
def sample(name):
    """Arguments and float64 results of a function of one argument."""
    rng = np.random.default_rng(len(name))
    low, high = RANGES[name]
    near = rng.uniform(low, high, 2 * COUNT)
    shrunk = rng.uniform(low, high, COUNT) * np.exp2(-rng.uniform(0, 12, COUNT))
    x = np.concatenate([SPECIAL, any_floats(COUNT, 1), near, shrunk]).astype(np.float32)
    with np.errstate(all="ignore"):
        return x, ORACLES[name](x.astype(np.float64))


@functools.cache
def sample_of_two(name):
    rng = np.random.default_rng(7)
    x, y = pairs()
    base = np.exp2(rng.uniform(-149, 128, COUNT)).astype(np.float32)
    near1 = (1 + rng.uniform(-0.3, 0.5, COUNT)).astype(np.float32)
    with np.errstate(all="ignore"):
        reach = [rng.uniform(-152, 130, COUNT) / np.log2(b.astype(np.float64)) for b in (base, near1)]
        x = np.concatenate([x, any_floats(COUNT, 3), base, near1, rng.uniform(-10, 10, COUNT)]).astype(np.float32)
        y = np.concatenate([y, any_floats(COUNT, 4), *reach, rng.uniform(-10, 10, COUNT)]).astype(np.float32)
        if name == "atan2":
            return x, y, np.arctan2(x.astype(np.float64), y.astype(np.float64))
        return x, y, np.power(x.astype(np.float64), y.astype(np.float64))


@pytest.mark.parametrize("name", ORACLES)
def test_function_of_one(run_probe, probe_level, name):
    x, want = sample(name)
    hold(run_probe(name, x), want, bound_of(name, probe_level), x)


@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_function_of_two(run_probe, probe_level, name):
    x, y, want = sample_of_two(name)
    hold(run_probe(name, x, y), want, bound_of(name, probe_level), x, y)


@pytest.mark.parametrize("name", [*ORACLES, "pow", "atan2"])
def test_an_element_does_not_depend_on_its_neighbours(run_probe, name):
    """Alone, in a vector of its own kind and beside special values: the same bits."""
    x = any_floats(999, 11)
    x[::3] = np.random.default_rng(12).uniform(-3, 3, 333)
    y = np.roll(x, 5)
    mixed = run_probe(name, x, y)
    repeated = run_probe(name, np.repeat(x, 16), np.repeat(y, 16))
    assert same(repeated, np.repeat(mixed, 16)) is True


@pytest.mark.parametrize("name", [*ORACLES, "pow", "atan2", "ldexp"])
def test_fused_levels_agree(probe_libraries, name):
    fused_levels = [level for level in LEVELS if level != "generic"]
    if len(fused_levels) < 2:
        pytest.skip("this machine runs fewer than two levels with a fused multiply-add")
    x, y = (
        sample_of_two("pow")[:2] if name in ("pow", "atan2") else (sample(name)[0] if name in ORACLES else None, None)
    )
    if name == "ldexp":
        x, y = np.float32(1.25) + np.zeros(505, np.float32), np.arange(-252, 253).astype(np.float32)
    first, *others = (call(probe_libraries[level], name, x, y) for level in fused_levels)
    assert all(same(other, first) is True for other in others)


@pytest.mark.parametrize("name", ORACLES)
def test_oracle(name):
    """The float64 oracle against 60 digits, in float32 ULP: it may take no visible part of a bound."""
    x, want = sample(name)
    picked = np.random.default_rng(1).choice(np.flatnonzero(np.isfinite(want) & (np.abs(want) > 1e-37)), 60)
    with mpmath.workdps(60):
        exact = [EXACT.get(name, getattr(mpmath, name, None))(mpmath.mpf(float(x[i]))) for i in picked]
    for i, value in zip(picked, exact, strict=True):
        assert abs(want[i] - value) <= abs(value) * 2.0**-36


def test_bounds_are_those_of_the_comments():
    text = "".join(path.read_text() for path in sorted((levels.CSRC / "simd").glob("math_*.h")))
    found = {}
    comment = r"Bound ([\d.]+) ULP(?: \(generic ([\d.]+)\))?(?:(?!\*/).)*\*/\s*(?:PE_INLINE vf |PE_LOG\()v_(\w+)"
    for bound, generic, name in re.findall(comment, text, re.S):
        found[name] = (float(bound), float(generic or bound))
    assert found == BOUNDS


@pytest.fixture(scope="session")
def neon(tmp_path_factory):
    cross, emulator = levels.aarch64_tools()
    flags = ["-static", "-DPROBE_MAIN", '-DPROBE_LEVEL="simd/neon.h"']
    program = levels.compile_c(PROBE, tmp_path_factory.mktemp("neon") / "probe", flags, [cross])

    def run_neon(names, x, y):
        inputs = np.concatenate([x, y, y]).astype(np.float32).tobytes()
        words = [emulator, str(program), str(x.size), *names]
        out = subprocess.run(words, input=inputs, capture_output=True, check=True).stdout
        return dict(zip(names, np.frombuffer(out, np.float32).reshape(len(names), -1), strict=True))

    return run_neon


def test_neon(neon, probe_libraries):
    """Verbs and functions under qemu: the bits of AVX2 where this machine has it, else within the bounds."""
    x, y = pairs()
    x = np.concatenate([x, any_floats(4000, 21), np.random.default_rng(2).uniform(-12, 12, 4001)]).astype(np.float32)
    y = np.concatenate([y, any_floats(4000, 22), np.random.default_rng(3).uniform(-9, 9, 4001)]).astype(np.float32)
    verbs = ["add", "divide", "less", "equal", "fma", "fma_exact", "lesser", "greater", "min", "max", "sqrt",
             "floor", "ceil", "trunc", "round", "abs", "copysign", "select", "tofloat"]  # fmt: skip
    got = neon([*verbs, *ORACLES, "pow", "atan2"], x, y)
    for name, values in got.items():
        if "avx2" in probe_libraries:
            assert same(values, call(probe_libraries["avx2"], name, x, y, y)) is True, name
        elif name in ORACLES:
            with np.errstate(all="ignore"):
                hold(values, ORACLES[name](x.astype(np.float64)), BOUNDS[name][0], x)


def test_the_other_verbs_of_neon(neon, probe_libraries):
    """The bits of the generic level, whose vectors are as wide."""
    rng = np.random.default_rng(5)
    x, y = (grid[: grid.size - 3] for grid in pairs())
    lanes = ["set", "seti", "any", "evens", "odds", "zip_low", "zip_high", "by_number", "bf16", "from_bytes",
             "to_bytes"]  # fmt: skip
    scaled = rng.uniform(1, 2, 4001).astype(np.float32) * np.exp2(rng.integers(-39, 39, 4001)).astype(np.float32)
    powers = rng.integers(-252, 253, 4001).astype(np.float32)
    whole = rng.uniform(-(2**31) + 200, 2**31 - 200, 4001).astype(np.float32)
    halves = (rng.integers(-99, 99, 4001) / 2).astype(np.float32)
    sets = ((lanes, x, y), (["ldexp"], scaled, powers), (["toint"], whole, halves), (["toint"], halves, x))
    for names, a, b in sets:
        for name, values in neon(names, a, np.resize(b, a.shape)).items():
            assert same(values, call(probe_libraries["generic"], name, a, np.resize(b, a.shape))) is True, name


@pytest.mark.skipif(not os.environ.get("PYENGINE_EXHAUSTIVE"), reason="PYENGINE_EXHAUSTIVE=1 runs all 2^32 arguments")
@pytest.mark.parametrize("name", ORACLES)
def test_every_float(probe_libraries, name):
    level = list(LEVELS)[-1]
    step = 1 << 22

    def worst(start):
        x = np.arange(start, start + step, dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            return ulps(call(probe_libraries[level], name, x), ORACLES[name](x.astype(np.float64))).max()

    with ThreadPoolExecutor(2) as pool:
        found = max(pool.map(worst, range(0, 1 << 32, step)))
    print(f"{name} {level} {found:.4f} ULP")
    assert found <= bound_of(name, level)


@pytest.mark.parametrize("name", ["exp", "exp2"])
def test_weights_of_a_softmax(run_probe, name):
    """The function itself where it is well above the least normal number, 0 where it is below, one of both between."""
    x = -np.abs(any_floats(COUNT, 11))
    x = np.concatenate([x[x == x], np.linspace(-130, 0, COUNT), [-np.inf, -0.0, 0.0, np.nan]]).astype(np.float32)
    got, whole = run_probe(name + "_weight", x), run_probe(name, x)
    assert np.isnan(got[-1]) and got[-4] == 0 and (got[-3:-1] == 1).all()
    got, whole = got[:-1], whole[:-1]
    assert (got[whole >= 2.0**-124] == whole[whole >= 2.0**-124]).all()
    assert (got[whole < 2.0**-126] == 0).all()
    assert ((got == 0) | (got == whole)).all() and (whole < 2.0**-126).sum() > 1000
