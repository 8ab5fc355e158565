"""Where the coefficients of csrc/simd/math_*.h come from: `python tests/tools/fit.py [name ...]`.

Each row of FITS asks for the polynomial c0 + c1 u + ... that minimises the largest
weight(u) * |target(u) - polynomial(u)| on [a, b] (targets in mpmath, fit by Lawson's iteration). Coefficients
are then rounded to float32 one after the other, lowest first, and the rest fitted again, so
that the later ones make up for the rounding of the earlier ones. Prints C literals and the
error that is left.
"""

import sys

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def minimax(u, target, weight, powers):
    """Lawson's reweighted least squares: coefficients of u**p, p in powers."""
    scale = np.max(np.abs(u))
    basis = np.stack([(u / scale) ** p for p in powers], axis=1) * weight[:, None]
    importance = np.full(len(u), 1 / len(u))
    best, best_error = None, np.inf
    for _ in range(200):
        root = np.sqrt(importance)
        solved = np.linalg.lstsq(basis * root[:, None], target * weight * root, rcond=None)[0]
        error = np.abs(basis @ solved - target * weight)
        if error.max() < best_error:
            best, best_error = solved, error.max()
        importance = importance * (error + 1e-3 * error.max())
        importance /= importance.sum()
    return best / scale ** np.array(powers, dtype=float), best_error


def float_fit(target, weight, a, b, degree):
    """Float32 coefficients of 1, u, ... u**degree and the weighted error on [a, b]."""
    grid = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (i + 0.5) / 500) for i in range(500)]
    u = np.array([float(x) for x in grid])
    t = np.array([float(target(x)) for x in grid])
    w = np.array([float(weight(x)) for x in grid])
    fixed = []
    while len(fixed) <= degree:
        rest = t - sum((c * u**k for k, c in enumerate(fixed)), np.zeros_like(u))
        coefficients, _ = minimax(u, rest, w, list(range(len(fixed), degree + 1)))
        fixed.append(float(np.float32(coefficients[0])))
    return fixed, np.max(w * np.abs(t - sum(c * u**k for k, c in enumerate(fixed))))


def split(name, value, first_bits, parts):
    """value as a sum of `parts` floats, the first with first_bits bits."""
    out, rest = [], mp.mpf(value)
    for i in range(parts):
        scale = mp.mpf(2) ** (first_bits - 1 - mp.floor(mp.log(abs(rest), 2))) if i == 0 else 0
        part = mp.nint(rest * scale) / scale if i == 0 else mp.mpf(float(np.float32(float(rest))))
        out.append(part)
        rest -= part
    print(name, " ".join(float(p).hex() + "f" for p in out), "rest", mp.nstr(rest, 3))


def near0(u):
    """Keeps the removable singularities at 0 out of the fits."""
    return u if abs(u) > mp.mpf(10) ** -9 else mp.mpf(10) ** -9


def over(f, subtract, power):
    """(f(u) - subtract(u)) / u**power, with digits to spare near 0."""

    def value(u):
        with mp.workdps(90):
            u = near0(u)
            return (f(u) - subtract(u)) / u**power

    return value


def odd(f):
    """(f(r)/r - 1)/z with z = r*r: what multiplies r**3 in f(r) = r + r**3 P(z)."""

    def value(z):
        with mp.workdps(90):
            z = near0(z)
            r = mp.sqrt(z)
            return (f(r) / r - 1) / z

    return value


def erfc_tail(x):
    return mp.erfc(x) * mp.exp(x * x) * (x + 3)


def normal_tail(x):
    return mp.erfc(x / root2) / 2 * mp.exp(x * x / 2) * (x + 4)


ln2, root2 = mp.log(2), mp.sqrt(2)
e2 = mp.mpf(2)
FITS = {
    # exp(r) = 1 + r + r^2 P(r)
    "exp": (
        over(mp.exp, lambda r: 1 + r, 2),
        lambda r: r * r / mp.exp(r),
        -ln2 / 2 * 1.001,
        ln2 / 2 * 1.001,
        4,
    ),
    # expm1(r) = r + r^2 P(r), relative to expm1 itself
    "expm1": (over(mp.expm1, lambda r: r, 2), lambda r: abs(near0(r)), -ln2 / 2 * 1.001, ln2 / 2 * 1.001, 5),
    # 2^f = 1 + f P(f)
    "exp2": (over(lambda f: e2**f, lambda f: 1, 1), lambda f: abs(f) / e2**f, mp.mpf(-0.5), mp.mpf(0.5), 5),
    # log(1+f) = f - f^2/2 + f^3 P(f)
    "log": (
        over(mp.log1p, lambda f: f - f * f / 2, 3),
        lambda f: abs(f**3 / mp.log1p(near0(f))),
        1 / root2 - 1,
        root2 - 1,
        7,
    ),
    "sinh": (odd(mp.sinh), lambda z: z, mp.mpf(0), mp.mpf(1), 3),
    "sin": (odd(mp.sin), lambda z: z, mp.mpf(0), (mp.pi / 4 * 1.001) ** 2, 2),
    # cos r = 1 - z/2 + z^2 P(z)
    "cos": (
        lambda z: over(mp.cos, lambda r: 1 - r * r / 2, 4)(mp.sqrt(near0(z))),
        lambda z: z * z,
        mp.mpf(0),
        (mp.pi / 4 * 1.001) ** 2,
        2,
    ),
    "tan": (odd(mp.tan), lambda z: z, mp.mpf(0), (mp.pi / 4 * 1.001) ** 2, 6),
    "asin": (odd(mp.asin), lambda z: z, mp.mpf(0), mp.mpf(0.25), 4),
    "atan": (odd(mp.atan), lambda z: z, mp.mpf(0), mp.mpf(1), 8),
    # erf(x) = x + x P(x^2) below 1; erfc(x) = exp(-Q(x)) with only erf's accuracy above
    "erf": (
        lambda z: mp.erf(mp.sqrt(near0(z))) / mp.sqrt(near0(z)) - 1,
        lambda z: mp.mpf(1),
        mp.mpf(0),
        mp.mpf(1),
        6,
    ),
    "erf_far": (lambda x: -mp.log(mp.erfc(x)), lambda x: mp.erfc(x) / mp.erf(x), mp.mpf(1), mp.mpf(4), 5),
    # log2((1+s)/(1-s)) = (2 log2 e) s + s^3 P(s^2)
    "pow": (
        lambda z: 2 / ln2 * over(lambda r: mp.atanh(r), lambda r: r, 3)(mp.sqrt(near0(z))),
        lambda z: z,
        mp.mpf(0),
        mp.mpf(0.0295),
        2,
    ),
    # erfc(x) = exp(-x^2) P(t) / (x + 3), t = (x - 3)/(x + 3), for 0.5 <= x <= 10.1
    "erfc": (
        lambda t: erfc_tail(3 * (1 + t) / (1 - t)),
        lambda t: 1 / erfc_tail(3 * (1 + t) / (1 - t)),
        mp.mpf(-2.5) / 3.5,
        mp.mpf(7.1) / 13.1,
        9,
    ),
    # Phi(-a) = exp(-a^2/2) P(t) / (a + 4), t = (a - 4)/(a + 4), for 0 <= a <= 14.3
    "normal_cdf": (
        lambda t: normal_tail(4 * (1 + t) / (1 - t)),
        lambda t: 1 / normal_tail(4 * (1 + t) / (1 - t)),
        mp.mpf(-1),
        mp.mpf(10.3) / 18.3,
        10,
    ),
}
if __name__ == "__main__":
    split("ln2 (short, float)", ln2, 15, 2)
    split("log2(e)", 1 / ln2, 24, 2)
    split("log10(2) (short, float)", mp.log10(2), 14, 2)
    split("log10(e)", mp.log10(mp.e), 24, 2)
    split("pi/2", mp.pi / 2, 24, 4)
    split("2/pi", 2 / mp.pi, 24, 1)
    for name in sys.argv[1:] or FITS:
        coefficients, error = float_fit(*FITS[name])
        print(name, "error", f"{error * 2**24:.3g} * 2^-24")
        print("   ", ", ".join(float(c).hex() + "f" for c in coefficients), flush=True)
