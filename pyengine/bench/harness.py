"""What all suites share: interleaved rounds, median and spread, share of a limit, tables."""

import json
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

# Does its work so many times and returns the seconds that took.
Work = Callable[[int], float]
Key = TypeVar("Key", bound=Hashable)

LONG = 4  # rounds that even an interrupted call does not fill: not worth a second look
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


def timed(function: Callable[[], object]) -> Work:
    """Work out of a plain call."""

    def work(repeats: int) -> float:
        begin = time.perf_counter()
        for _ in range(repeats):
            function()
        return time.perf_counter() - begin

    return work


def calibrate(work: Work, seconds: float) -> int:
    """How many repeats take about `seconds`; also the warm-up."""
    repeats = 1
    while True:
        took = work(repeats)
        if took >= LONG * seconds:
            return 1
        if took >= seconds / 8:
            # once more: an interruption makes one short run look long
            took = min(took, work(repeats), work(repeats))
        if took >= seconds / 8:
            return max(1, round(repeats * seconds / took))
        repeats = max(repeats * 2, min(repeats * 64, int(repeats * seconds / 4 / max(took, 1e-9))))


def interleave(
    works: Mapping[Key, Work], rounds: int = 7, seconds: float = 0.015, at_most: float = float("inf")
) -> dict[Key, Sample]:
    """Every work once a round, in turn, so that a slow moment of the machine meets them all alike.

    Where the rounds would take more than `at_most` seconds there are fewer of them, but never less than three.
    """
    repeats = {name: calibrate(work, seconds) for name, work in works.items()}
    taken: dict[Key, list[float]] = {name: [] for name in works}
    begin = time.perf_counter()
    for turn in range(rounds):
        names = list(works)
        for name in names if turn % 2 == 0 else reversed(names):
            taken[name].append(works[name](repeats[name]) / repeats[name])
        if turn >= 2 and (time.perf_counter() - begin) * (turn + 2) / (turn + 1) > at_most:
            break
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def share_of_arithmetic(rate: float, limit: float, what: str) -> float:
    """rate / limit, refused where it shows that the limit is none."""
    if rate > TOLERANCE * limit:
        raise SystemExit(f"bench: {what} ran at {rate / limit:.0%} of its limit: the probe in bench/limits is wrong")
    return rate / limit


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The first column to the left, the others to the right."""
    for line in table_lines(head, rows):
        print(line)


def table_lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    table = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for number, row in enumerate(table):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def save_json(path: Path | None, figures: object) -> None:
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")
