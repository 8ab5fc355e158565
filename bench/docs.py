"""Writes the pages of results, docs/benchmarks*.md: `python -m bench SUITE --write-docs`. Nobody types a figure."""

import argparse
import datetime
import platform
from collections.abc import Iterable, Sequence

from bench import summary
from pyengine.bench.processes import Field
from pyengine.bench.rounds import Outcome

HEAD = """# Benchmarks

Written by `{command}`; do not edit.

{date}, {machine}, {caches}, {threads} threads, level {level}, Python {python}, Linux {kernel}.

Medians of {rounds} interleaved rounds, in microseconds. Every engine runs in a process of its own and is stopped
while the others compute; the limits (arithmetic peak, bandwidth of the cache that a case's data live in) are probed in
the same rounds. **share**: the time that the median limit allows, over our median time. **of best**: the same with
the limit's best round in the whole run. **bound by**: the probe that is the limit; `cache` where bandwidth was above
its bound. **ratio**: the best rival's time over ours (above 1 we are ahead); the best rival is the fastest of all at
their best settings. `!`: the result differs from ours and does not count. `fewer`: above the arithmetic peak, since
fewer operations were done than a direct sum has. `rotating`: weights walk through more than 64 MB, `warm`: one weight.

"""


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], rest: str = "---:") -> list[str]:
    """A table, the first column to the left and the rest as said."""
    aligned = ["---", *[rest] * (len(head) - 1)]
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in (head, aligned, *rows)]


def command(suite: str, options: argparse.Namespace) -> str:
    """The command line, without this machine's paths."""
    words = [f"python -m bench {suite}"]
    words += [f"--only '{options.only}'"] if options.only else []
    words += [f"--threads {options.threads}", f"--rounds {options.rounds}"]
    words += ["--full"] if options.full else []
    words += ["--rivals PYTHON"] * len(options.rivals)
    return " ".join([*words, "--write-docs"])


def machine() -> str:
    """What this is measured on, in a few words."""
    from pyengine import _core

    found = _core.machine_info()
    return f"{found['cpu'] or platform.processor() or platform.machine()}, {found['cpus_affinity']} processors"


def page(suite: str, outcomes: list[Outcome], contest: Field, options: argparse.Namespace) -> str:
    from pyengine import _core

    found = _core.machine_info()
    text = HEAD.format(
        command=command(suite, options), date=datetime.date.today().isoformat(), threads=options.threads,
        machine=machine(),
        caches=f"L1d {found['l1d'] >> 10} KiB, L2 {found['l2'] >> 10} KiB, L3 {found['l3'] >> 20} MiB",
        level=found["isa"], python=platform.python_version(), kernel=platform.release().partition("-")[0],
        rounds=options.rounds,
    )  # fmt: skip
    who = [[p.setting.label, str(p.about["version"]), str(p.about["threads"]), p.about["path"], p.setting.note]
           for p in contest.participants]  # fmt: skip
    blocks = [
        "## In short", *(f"* {line}" for line in summary.lines(outcomes)),
        "## Participants", *markdown(["", "version", "threads", "code path", "setting"], who),
        "## By group", *markdown(*summary.groups(outcomes, contest)),
    ]  # fmt: skip
    for name in dict.fromkeys(outcome.case.suite for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.case.suite == name]
        blocks += [f"## Results: {name}", *markdown(*summary.table(chosen, contest))]
    return text + "\n".join(f"\n{line}\n" if line.startswith("##") else line for line in blocks).lstrip() + "\n"
