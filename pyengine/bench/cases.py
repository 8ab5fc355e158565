"""What is measured: each case is a name, a kind, its sizes, and what it cannot do without.

A kind is built by the function of that name in BUILDERS of every adapter (pyengine/bench/own.py for this engine); an
adapter that has none is left out of the case. So a new row is one Case here and a builder in the adapters that can.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise

ROTATED = 64 << 20  # bytes of weights that a rotating case walks through, at least
LARGEST_ROTATED = 256 << 20

SQUARES = (64, 128, 256, 512, 1024, 2048, 4096)
ROWS = (1, 8, 32, 128)
SIDES = (384, 768, 1536, 3072, 4096, 11008)
# k, n of the default run: small, the two of a transformer's block, and a language model's
WEIGHTS = ((384, 1536), (768, 3072), (3072, 768), (4096, 4096), (4096, 11008))
BATCHED = ((64, 64, 64, 64), (96, 128, 64, 128))
# m, k, n and which operand is a transposed view (as in y = x W^T, dx = g W, dW = g^T x): one MLP's training step
STEPS = ((64, 784, 512, "b"), (64, 512, 512, ""), (512, 64, 784, "a"))
INT8 = tuple((rows, k, n) for rows in (1, 32, 128) for k, n in ((768, 3072), (4096, 4096)))
INT4 = ((1, 768, 3072), (1, 4096, 4096))
GROUP = 64  # weights of an int4 case that share a scale
BF16_SQUARES = (256, 1024, 2048)
INT8_SQUARES = (256, 1024, 2048)
MLP = (784, 512, 512, 10)


@dataclass(frozen=True)
class Case:
    """One thing to measure. `params` go to the builder; the rest says what bounds it.

    arithmetic: the probe whose rate is the limit of `operations`. moved: bytes that a call must read or write at
    least once. resident: bytes that the calls walk through in turn, which tells the cache they come from.
    bandwidth: the probe that moves bytes as the case does. fewer: there are ways with fewer operations (Winograd, taps
    in the padding left out), so above the arithmetic's limit it is marked and not refused. suite: the table it stands
    in; group: what it counts to.
    """

    name: str
    kind: str
    params: dict
    arithmetic: str
    operations: float
    moved: float
    resident: float
    agree: float = 1e-4  # how far two engines' results may differ, as a share of the largest element
    bandwidth: str = "read"  # or "copy", "triad", "update"
    fewer: bool = False
    suite: str = ""
    group: str = ""

    def described(self) -> dict:
        return asdict(self)


def product(name: str, m: int, k: int, n: int, transposed: str = "", batch: int = 1) -> Case:
    params = {"m": m, "k": k, "n": n, "batch": batch, "transposed": transposed}
    held = 4 * batch * (m * k + k * n + m * n)
    return Case(name, "matmul", params, "fp32", 2 * batch * m * k * n, held, held)


def bf16_product(n: int) -> Case:
    params = {"m": n, "k": n, "n": n, "batch": 1, "transposed": ""}
    return Case(f"bf16 {n}^3", "matmul_bf16", params, "bf16", 2 * n**3, 6 * n * n, 6 * n * n, agree=0.02)


def turns(weight: float, l3: int, rotating: bool) -> int:
    """How many weights of so many bytes a case walks through: one, or more than any cache holds."""
    total = min(max(ROTATED + 1, 2 * l3), LARGEST_ROTATED)
    return max(1, math.ceil(total / weight)) if rotating else 1


def linear(rows: int, k: int, n: int, l3: int, rotating: bool) -> Case:
    """x W^T + b in inference, the same x against one weight, or against as many as no cache holds."""
    weight, count, edge = 4 * k * n, turns(4 * k * n, l3, rotating), 4 * rows * (k + n)
    params = {"rows": rows, "k": k, "n": n, "weights": count}
    name = f"linear {rows}x{k}x{n} {'rotating' if rotating else 'warm'}"
    return Case(name, "linear", params, "fp32", 2 * rows * k * n, weight + edge, count * weight + edge)


def int8_linear(rows: int, k: int, n: int, l3: int, rotating: bool) -> Case:
    """The same with a weight of int8 (one scale a column) and x quantized at each call."""
    weight, count, edge = k * n, turns(k * n, l3, rotating), 4 * rows * (k + n)
    params = {"rows": rows, "k": k, "n": n, "weights": count, "alike": True}
    name = f"int8 linear {rows}x{k}x{n} {'rotating' if rotating else 'warm'}"
    # engines choose 7 or 8 bits and scales of their own: what is asked is that they answer the same question
    return Case(name, "linear_int8", params, "int8", 2 * rows * k * n, weight + edge, count * weight + edge,
                agree=0.05)  # fmt: skip


def int4_linear(rows: int, k: int, n: int, l3: int, rotating: bool) -> Case:
    """The same with a weight of 4 bits in groups, each with a scale, widened on the way; x stays float32."""
    weight, edge = k * n // 2 + 4 * k * n // GROUP, 4 * rows * (k + n)
    count = turns(weight, l3, rotating)
    params = {"rows": rows, "k": k, "n": n, "weights": count, "alike": True, "group": GROUP}
    name = f"int4 linear {rows}x{k}x{n} {'rotating' if rotating else 'warm'}"
    return Case(name, "linear_int4", params, "fp32", 2 * rows * k * n, weight + edge, count * weight + edge,
                agree=0.1)  # fmt: skip


def int8_product(n: int) -> Case:
    """Bytes times bytes, exact in int32."""
    params = {"m": n, "k": n, "n": n}
    return Case(f"int8 {n}^3", "matmul_int8", params, "int8", 2 * n**3, 6 * n * n, 6 * n * n, agree=0.0)


def mlp(batch: int, optimizer: str) -> Case:
    """A whole training step, or with no optimizer a forward pass. One weight is read and written at the very least."""
    sizes = [a * b for a, b in pairwise(MLP)]
    state = {"sgd": 2, "adam": 6, "": 1}[optimizer]  # arrays of all weights that a step must read or write
    passes = 3 * sum(sizes) - sizes[0] if optimizer else sum(sizes)  # no gradient of the images
    params = {"layers": list(MLP), "batch": batch, "optimizer": optimizer}
    moved = 4 * sum(sizes) * state
    name = f"mlp {'-'.join(map(str, MLP))} b{batch} {optimizer or 'inference'}"
    held = 4 * sum(sizes) * {"sgd": 2, "adam": 4, "": 1}[optimizer]
    return Case(name, "mlp_train" if optimizer else "mlp_infer", params, "fp32", 2 * batch * passes, moved, held)


def kernel_cases(l3: int, full: bool = False) -> list[Case]:
    cases = [product(f"{n}^3", n, n, n) for n in SQUARES]
    weights = [(k, n) for k in SIDES for n in SIDES] if full else WEIGHTS
    for k, n in weights:
        for rows in ROWS:
            if 4 * k * n <= ROTATED:  # a larger weight is never warm
                cases.append(linear(rows, k, n, l3, rotating=False))
            cases.append(linear(rows, k, n, l3, rotating=True))
    cases += [product(f"batched {b}x({m}x{k}x{n})", m, k, n, batch=b) for b, m, k, n in BATCHED]
    names = {"b": "x W^T", "": "g W", "a": "g^T x"}
    cases += [product(f"{names[t]} {m}x{k}x{n}", m, k, n, t) for m, k, n, t in STEPS]
    for rotating in (False, True):
        cases += [int8_linear(*sizes, l3, rotating) for sizes in INT8 if sizes[0] == 1 or not rotating]
        cases += [int4_linear(*sizes, l3, rotating) for sizes in INT4]
    cases += [int8_product(n) for n in INT8_SQUARES]
    return cases + [bf16_product(n) for n in BF16_SQUARES]


def model_cases() -> list[Case]:
    return [mlp(batch, optimizer) for batch in (64, 1024) for optimizer in ("sgd", "adam")] + [mlp(1, "")]


def only(cases: Iterable[Case], pattern: str | None) -> list[Case]:
    """Those whose name has the pattern: as it stands, or as a regular expression."""
    try:
        found = [case for case in cases if not pattern or pattern in case.name or re.search(pattern, case.name)]
    except re.error:
        found = []
    if not found:
        raise SystemExit(f"bench: no case's name has {pattern!r}")
    return found
