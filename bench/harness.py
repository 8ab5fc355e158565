"""What all suites share: interleaved rounds, median and spread, share of a limit, tables."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# A case runs its work so many times and returns the seconds that took.
Case = Callable[[int], float]

TOLERANCE = 1.03  # of arithmetic above its limit: more, and the probe of the limit is wrong


@dataclass(frozen=True)
class Sample:
    """Seconds for one repeat, one entry a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        if len(self.seconds) < 3:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median


def timed(function: Callable[[], object]) -> Case:
    """A case out of a plain call."""

    def case(repeats: int) -> float:
        begin = time.perf_counter()
        for _ in range(repeats):
            function()
        return time.perf_counter() - begin

    return case


def calibrate(case: Case, seconds: float) -> int:
    """How many repeats take about `seconds`; also the warm-up."""
    repeats = 1
    while True:
        took = case(repeats)
        if took >= seconds / 8:
            # once more: an interruption makes one short run look long
            took = min(took, case(repeats), case(repeats))
        if took >= seconds / 8:
            return max(1, round(repeats * seconds / took))
        repeats = max(repeats * 2, min(repeats * 64, int(repeats * seconds / 4 / max(took, 1e-9))))


def interleave(cases: dict[str, Case], rounds: int = 7, seconds: float = 0.015) -> dict[str, Sample]:
    """Every case once a round, in turn, so that a slow moment of the machine meets them all alike."""
    repeats = {name: calibrate(case, seconds) for name, case in cases.items()}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds):
        names = list(cases)
        for name in names if turn % 2 == 0 else reversed(names):
            taken[name].append(cases[name](repeats[name]) / repeats[name])
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def share_of_arithmetic(rate: float, limit: float, what: str) -> float:
    """rate / limit, refused where it shows that the limit is none."""
    if rate > TOLERANCE * limit:
        raise SystemExit(f"bench: {what} ran at {rate / limit:.0%} of its limit: the probe in bench/limits is wrong")
    return rate / limit


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The first column to the left, the others to the right."""
    table = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for number, row in enumerate(table):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def save_json(path: Path | None, figures: object) -> None:
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")
