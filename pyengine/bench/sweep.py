"""N threads against one, over sizes: a call must never be slower for being allowed more threads.

    pyengine bench sweep [--threads N] [--rounds N] [--pause MS] [--json FILE]

Each size runs with one thread and with N in the same interleaved rounds; what is shown is the ratio of the medians
(1 is level, 2 twice as fast). --pause lets the program rest before each 10 ms of calls, as a service between requests
does: then the sleeping workers must be woken, and run beside the caller and not behind it. On a machine whose second
core others use the ratio can only tell how much it is used.
"""

import argparse
import operator
import os
import time
from functools import partial
from pathlib import Path

from pyengine.bench.harness import Work, interleave, print_table, save_json, timed

ELEMENTS = tuple(1 << n for n in range(4, 25, 2))
SIDES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024)


def with_threads(n: int, case: Work, pause: float) -> Work:
    import pyengine as pe

    def run(repeats: int) -> float:
        pe.set_num_threads(n)
        time.sleep(pause)
        return case(repeats)

    return run


def operations() -> dict[str, Work]:
    import pyengine as pe

    cases = {}
    for n in ELEMENTS:
        x, y = pe.rand(n), pe.rand(n)
        cases[f"x + y, {n}"] = timed(partial(operator.add, x, y))
        cases[f"exp, {n}"] = timed(partial(pe.exp, x))
        cases[f"sum, {n}"] = timed(x.sum)
    for n in SIDES:
        a, b = pe.rand(n, n), pe.rand(n, n)
        cases[f"a @ b, {n}^3"] = timed(partial(operator.matmul, a, b))
        cases[f"softmax, {n} x {n}"] = timed(partial(pe.softmax, a))
    return cases


def main(arguments: list[str], prog: str) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause", type=float, default=0.0, metavar="MS", help="rest before each 10 ms of calls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    figures, rows, pause = {}, [], options.pause * 1e-3
    for name, case in operations().items():
        pair = {label: with_threads(n, case, pause) for label, n in (("one", 1), ("many", options.threads))}
        samples = interleave(pair, options.rounds, seconds=0.01)
        one, many = samples["one"].median, samples["many"].median
        figures[name] = {"one us": one * 1e6, "many us": many * 1e6, "speed-up": one / many}
        rows.append([name, f"{one * 1e6:.2f}", f"{many * 1e6:.2f}", f"{one / many:.2f}"])
    print_table(["call", "1 thread us", f"{options.threads} threads us", "speed-up"], rows)
    slowest = min(figures, key=lambda name: figures[name]["speed-up"])
    print(f"lowest: {figures[slowest]['speed-up']:.2f} ({slowest})")
    save_json(options.json, figures)
    return 0
