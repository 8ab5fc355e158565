"""The product as a share of what the machine can do: squares, and the products of one MLP step.

    python -m bench kernels [--threads N] [--rounds N] [--json FILE]

Products and the FMA probe of the level in use run in the same interleaved rounds. The share is the product's median
round against the probe's best.
"""

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from bench.harness import Case, interleave, print_table, save_json, share_of_arithmetic, timed
from bench.limits import Probes, compile_probes

SQUARES = (64, 128, 256, 512, 1024, 2048)
# name: m, k, n, which operand is a transposed view (as in y = x W^T, dx = g W, dW = g^T x)
MLP = {
    "x W^T 64x784x512": (64, 784, 512, "b"),
    "x W^T 64x512x512": (64, 512, 512, "b"),
    "g W 64x512x512": (64, 512, 512, ""),
    "g^T x 512x64x784": (512, 64, 784, "a"),
    "g^T x 512x64x512": (512, 64, 512, "a"),
}
PROBE = "fp32"


def product(m: int, k: int, n: int, transposed: str) -> Case:
    import pyengine as pe

    a = pe.rand(k, m).T if transposed == "a" else pe.rand(m, k)
    b = pe.rand(n, k).T if transposed == "b" else pe.rand(k, n)
    return timed(lambda: a @ b)


def probe_of_level(folder: Path) -> Probes:
    from pyengine import _core

    level = _core.machine_info()["isa"]
    return next(probes for probes in compile_probes(folder) if probes.level == level)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    import pyengine as pe

    pe.set_num_threads(options.threads)
    shapes = {f"{n}^3": (n, n, n, "") for n in SQUARES} | MLP
    cases = {name: product(*shape) for name, shape in shapes.items()}
    with tempfile.TemporaryDirectory() as folder:
        probes = probe_of_level(Path(folder))
        cpus = sorted(os.sched_getaffinity(0))
        pinned = [cpus[t % len(cpus)] for t in range(options.threads)]
        cases[PROBE] = partial(probes.run, PROBE, pinned, 0, 0)
        samples = interleave(cases, options.rounds)
    limit = probes.work(PROBE, 0) * options.threads / samples.pop(PROBE).best
    figures, rows = {"limit Gop/s": limit * 1e-9}, []
    for name, sample in samples.items():
        m, k, n, _ = shapes[name]
        rate = 2 * m * k * n / sample.median
        best = share_of_arithmetic(2 * m * k * n / sample.best, limit, name)
        figures[name] = {"us": sample.median * 1e6, "Gop/s": rate * 1e-9, "share": rate / limit, "best share": best}
        rows.append([name, f"{sample.median * 1e6:.1f}", f"{rate * 1e-9:.1f}", f"{rate / limit:.0%}", f"{best:.0%}"])
    print(f"{options.threads} threads, {probes.level}; limit {limit * 1e-9:.1f} Gop/s (FMA probe, best round)")
    print_table(["product", "us", "Gop/s", "share", "best round"], rows)
    save_json(options.json, figures)
    return 0
