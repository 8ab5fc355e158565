"""The engine and its rivals, case by case in the same rounds; all suites of cases are parts of the same.

    python -m bench kernels [OPTIONS]        products as shares of the machine's limits, this engine alone
    python -m bench layers  [OPTIONS]        convolution layers, beside the rivals; so are the next three
    python -m bench models  [OPTIONS]        whole networks
    python -m bench ops     [OPTIONS]        operations
    python -m bench optim   [OPTIONS]        steps of optimizers
    python -m bench versus  [OPTIONS]        all of them

    --only PATTERN --threads N --rounds N --full --json FILE --plot FILE --rivals PYTHON --write-docs [FILE]

Every engine runs in a process of its own and is stopped while others compute; the limits are probed in the same
rounds. `share` sets the median time against the median limit of these rounds, `of best` against the limit's best
round in the whole run (pyengine/bench/rounds.py). A rival is shown as it installs and at its best; the ratio is to
the fastest rival at its best.
"""

import argparse
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import docs, rivals, roofline, summary
from bench.machine import MachineLimits, engine_level
from pyengine.bench.harness import print_table, save_json
from pyengine.bench.processes import Field, Setting, own
from pyengine.bench.rounds import OWN, Outcome
from pyengine.bench.suite import as_json, chosen_cases, own_rows, parser_of, progress, run_all

DOCS = Path(__file__).resolve().parent.parent / "docs"


def parse(suite: str, arguments: list[str]) -> argparse.Namespace:
    parser = parser_of(f"python -m bench {suite}", (__doc__ or "").partition("\n")[0], 5 if suite == "versus" else 7)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the run under the machine's rooflines")
    if suite != "kernels":
        parser.add_argument("--rivals", action="append", default=[], metavar="PYTHON",
                            help="an interpreter that has rivals (may be repeated; this one comes last)")  # fmt: skip
        page = DOCS / f"benchmarks{'' if suite == 'versus' else '-' + suite}.md"
        parser.add_argument("--write-docs", type=Path, nargs="?", const=page, metavar="FILE",
                            help=f"write the page of results (docs/{page.name})")  # fmt: skip
    return parser.parse_args(arguments)


def about_rivals(contest: Field) -> None:
    """Adds the code path that MKL and oneDNN name to what torch says of itself."""
    asked = [p for p in contest.participants if p.setting.engine in ("torch", "zentorch")]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(rivals.code_path, [participant.setting for participant in asked]))
    for participant, said in zip(asked, answers, strict=True):
        participant.about["path"] = "; ".join(filter(None, [participant.about["path"], said]))


def show_participants(contest: Field) -> None:
    rows = []
    for participant in contest.participants:
        about = participant.about
        row = [participant.setting.label, about["version"], str(about["threads"]), about["path"]]
        rows.append([*row, participant.setting.note])
    for label, version, threads, path, note in rows:
        print(f"{label}: {version}, {threads} threads, {path}{'; ' + note if note else ''}")


def picture(path: Path, outcomes: list[Outcome], limits: MachineLimits, title: str) -> None:
    """Cases by intensity: this engine's and the best rival's points."""
    peaks: dict[str, list[float]] = {}
    slopes: dict[str, list[float]] = {}
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for outcome in outcomes:
        case = outcome.case
        for name, (median, _) in outcome.rates.items():
            group, key = (slopes, limits.place(case)) if name in outcome.bandwidths else (peaks, name)
            group.setdefault(key, []).append(median * 1e-9)
        us, best = outcome.us(OWN), summary.best_rival(outcome)
        for who, took in (("pyengine", us), ("best rival", best[1] if best else None)):
            if took is not None:
                point = case.operations / case.moved, case.operations / took * 1e-3
                series.setdefault((who, case.kind), []).append(point)
    medians = [{key: statistics.median(values) for key, values in group.items()} for group in (peaks, slopes)]
    roofline.draw(path, title, *medians, series)


def run(suite: str, arguments: list[str]) -> int:
    options = parse(suite, arguments)
    if options.plot:
        roofline.require_matplotlib()
    cases = chosen_cases(suite, options)
    level = engine_level()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contestants: list[Setting] = [own(sys.executable)]
        if suite != "kernels":
            contestants += rivals.settings(rivals.find(options.rivals), folder)
        limits = MachineLimits(level, options.threads, folder)
        with Field(contestants, options.threads) as contest:
            about_rivals(contest)
            show_participants(contest)
            outcomes = run_all(cases, contest, limits, options.rounds, progress)
            progress("")
            print()
            print_table(*(own_rows(outcomes) if suite == "kernels" else summary.table(outcomes, contest)))
            if suite != "kernels":
                print()
                print_table(*summary.groups(outcomes, contest))
                print("\n" + "\n".join(summary.lines(outcomes)))
                print("\n".join(f"failed: {who}: {what}" for who, what in contest.failures.items()))
            save_json(options.json, as_json(outcomes, contest))
            if options.plot:
                picture(options.plot, outcomes, limits, f"python -m bench {suite}: {level}, {options.threads} threads")
            if suite != "kernels" and options.write_docs:
                options.write_docs.write_text(docs.page(suite, outcomes, contest, options))
                print(f"wrote {options.write_docs}")
    return 0
