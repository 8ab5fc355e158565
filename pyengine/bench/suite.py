"""The suites `kernels` and `models`: cases, rounds, a table. bench/ runs the same with limits and with rivals."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pyengine.bench import cases as known
from pyengine.bench import layers, operations, sequences
from pyengine.bench.cases import Case
from pyengine.bench.harness import print_table, save_json
from pyengine.bench.processes import Field, own
from pyengine.bench.rounds import OWN, Limits, Outcome, best_rates, run_case, shares


def parser_of(prog: str, summary: str, rounds: int = 7) -> argparse.ArgumentParser:
    """The options that all suites of cases have."""
    from pyengine import _core

    threads = _core.machine_info()["threads_default"]
    parser = argparse.ArgumentParser(prog=prog, description=summary)
    parser.add_argument("--only", metavar="PATTERN", help="cases whose name has this text or regular expression")
    parser.add_argument("--threads", type=int, default=threads, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--full", action="store_true", help="all weights from 384 to 11008 in both directions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser


def kernel_cases(options: argparse.Namespace) -> list[Case]:
    from pyengine import _core

    return known.kernel_cases(_core.machine_info()["l3"], options.full)


SUITES: dict[str, Callable[[argparse.Namespace], list[Case]]] = {
    "kernels": kernel_cases,
    "layers": lambda options: layers.layer_cases(),
    "models": lambda options: known.model_cases() + layers.network_cases() + sequences.sequence_cases(),
    "ops": lambda options: operations.op_cases(),
    "optim": lambda options: operations.optimizer_cases(),
}


def chosen_cases(suite: str, options: argparse.Namespace) -> list[Case]:
    """The cases of one of SUITES, or of all ("versus"), that --only leaves."""
    chosen = [suite] if suite in SUITES else SUITES
    found = (replace(case, suite=name) for name in chosen for case in SUITES[name](options))
    return known.only(found, options.only)


def run_all(cases: list[Case], contest: Field, limits: Limits | None, rounds: int,
            say: Callable[[str], None] | None = None) -> list[Outcome]:  # fmt: skip
    outcomes, begin = [], time.perf_counter()
    for number, case in enumerate(cases, 1):
        if say:
            say(f"{number}/{len(cases)} {case.name} ({time.perf_counter() - begin:.0f} s)")
        outcomes.append(run_case(case, contest, limits, rounds))
    return outcomes


def progress(line: str) -> None:
    """One line that stays in place, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def own_rows(outcomes: list[Outcome]) -> tuple[list[str], list[list[str]]]:
    """This engine's figures: a row for each case and variant."""
    best = best_rates(outcomes)
    limited = any(outcome.rates for outcome in outcomes)
    head = ["case", "us", "spread", "Gop/s", "GB/s", *(["share", "of best", "bound by"] if limited else [])]
    rows = []
    for outcome in outcomes:
        mine = {variant: sample for (label, variant), sample in outcome.samples.items() if label == OWN}
        if not mine:
            rows.append([outcome.case.name, *["-"] * (len(head) - 1)])
        for variant, sample in mine.items():
            name = f"{outcome.case.name} {variant}".strip()
            rates = [outcome.case.operations / sample.median, outcome.case.moved / sample.median]
            row = [name, f"{sample.median * 1e6:.1f}", f"{sample.spread:.0%}", *(f"{r * 1e-9:.1f}" for r in rates)]
            found = shares(outcome, sample.median, best) if limited else None
            if found:
                row += [f"{found[0]:.0%}", f"{found[1]:.0%}", found[2]]
            rows.append(row + ["-"] * (len(head) - len(row)))
    return head, rows


def as_json(outcomes: list[Outcome], contest: Field) -> dict:
    """All figures of a run, in seconds and rates a second."""
    best = best_rates(outcomes)
    table = {}
    for outcome in outcomes:
        times = {}
        for (label, variant), sample in outcome.samples.items():
            found = shares(outcome, sample.median, best, label)
            times[f"{label} {variant}".strip()] = {
                "median": sample.median, "best": sample.best, "spread": sample.spread,
                **(dict(zip(("share", "share of best", "bound by"), found, strict=True)) if found else {}),
            }  # fmt: skip
        table[outcome.case.name] = {
            "case": outcome.case.described(), "seconds": times, "differs": outcome.differs,
            "rates": {name: {"median": m, "best": b} for name, (m, b) in outcome.rates.items()},
        }  # fmt: skip
    who = {p.setting.label: {**p.about, "setting": p.setting.note} for p in contest.participants}
    return {"participants": who, "cases": table}


def main(arguments: list[str], prog: str) -> int:
    suite = prog.split()[-1]
    options = parser_of(prog, f"times of {suite}; shares of what the machine can do: python -m bench {suite}, "
                              "in the repository").parse_args(arguments)  # fmt: skip
    cases = chosen_cases(suite, options)
    with Field([own(sys.executable)], options.threads) as contest:
        outcomes = run_all(cases, contest, None, options.rounds, progress)
        progress("")
        about = contest.participants[0].about
        print(f"pyengine {about['version']}, {about['path']}, {about['threads']} threads")
        print_table(*own_rows(outcomes))
        save_json(options.json, as_json(outcomes, contest))
    return 0
