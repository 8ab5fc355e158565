"""N threads against one, over sizes: a call must never be slower for being allowed more threads.

    python -m bench sweep [--threads N] [--rounds N] [--json FILE]

Each size runs with one thread and with N in the same interleaved rounds; what is shown is the ratio of the medians
(1 is level, 2 twice as fast). On a machine whose second core others use the ratio can only tell how much it is used.
"""

import argparse
import os
from pathlib import Path

from bench.harness import Case, interleave, print_table, save_json, timed

ELEMENTS = tuple(1 << n for n in range(4, 25, 2))
SIDES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024)


def with_threads(n: int, case: Case) -> Case:
    import pyengine as pe

    def run(repeats: int) -> float:
        pe.set_num_threads(n)
        return case(repeats)

    return run


def operations() -> dict[str, Case]:
    import pyengine as pe

    cases = {}
    for n in ELEMENTS:
        x, y = pe.rand(n), pe.rand(n)
        cases[f"x + y, {n}"] = timed(lambda x=x, y=y: x + y)
        cases[f"exp, {n}"] = timed(lambda x=x: pe.exp(x))
        cases[f"sum, {n}"] = timed(lambda x=x: x.sum())
    for n in SIDES:
        a, b = pe.rand(n, n), pe.rand(n, n)
        cases[f"a @ b, {n}^3"] = timed(lambda a=a, b=b: a @ b)
        cases[f"softmax, {n} x {n}"] = timed(lambda a=a: pe.softmax(a))
    return cases


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench sweep", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    figures, rows = {}, []
    for name, case in operations().items():
        pair = {"one": with_threads(1, case), "many": with_threads(options.threads, case)}
        samples = interleave(pair, options.rounds, seconds=0.01)
        one, many = samples["one"].median, samples["many"].median
        figures[name] = {"one us": one * 1e6, "many us": many * 1e6, "speed-up": one / many}
        rows.append([name, f"{one * 1e6:.2f}", f"{many * 1e6:.2f}", f"{one / many:.2f}"])
    print_table(["call", "1 thread us", f"{options.threads} threads us", "speed-up"], rows)
    slowest = min(figures, key=lambda name: figures[name]["speed-up"])
    print(f"lowest: {figures[slowest]['speed-up']:.2f} ({slowest})")
    save_json(options.json, figures)
    return 0
