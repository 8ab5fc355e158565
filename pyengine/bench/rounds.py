"""One case among all participants: the same rounds for everyone and for the limits, then shares and ratios.

share: the time that the limits of these very rounds allow (medians), over the median time taken. It compares what met
the same disturbances. share of best: the same against the best rounds of the limits in the whole run, which is strict
on a machine that others use. A bound is the longer of operations at the arithmetic peak and bytes at the bandwidth of
the cache that the case's data live in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from pyengine.bench.cases import Case
from pyengine.bench.harness import TOLERANCE, Sample, Work, interleave
from pyengine.bench.processes import Field, Gone
from pyengine.bench.worker import SAMPLED

OWN = "pyengine"
AT_MOST = 2.5  # seconds of rounds a case
ROUND = 0.008  # seconds of one participant in one round


class Limits(Protocol):
    """What the machine can do, measured in the same rounds; bench/machine.py has it, a wheel alone has not."""

    def works(self, case: Case) -> dict[str, Work]:
        """The probes that bound this case, by name."""
        ...

    def rate(self, name: str, case: Case, seconds: float) -> float:
        """Operations or bytes a second of a probe that took so long."""
        ...

    def counts_bytes(self, name: str) -> bool:
        """Bandwidth, not arithmetic."""
        ...

    def look_again(self, name: str, enough: float) -> float:
        """The best rate of an arithmetic probe in many more rounds, or as soon as it is `enough`."""
        ...


@dataclass(frozen=True)
class Bound:
    """What a case cannot be faster than: the probe that says so, and seconds by its median and its best round."""

    by: str
    median: float
    best: float
    is_bandwidth: bool


@dataclass
class Outcome:
    """A case's figures. `samples` are by (label, variant); `rates` of the probes are (median, best) a second."""

    case: Case
    samples: dict[tuple[str, str], Sample]
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    bandwidths: frozenset[str] = frozenset()
    differs: list[str] = field(default_factory=list)

    def bounds(self, best: Mapping[str, float] | None = None) -> list[Bound]:
        """Longest first. `best` are the run's best rates of the probes, where they are known."""
        found = []
        for name, (median, top) in self.rates.items():
            amount = self.case.moved if name in self.bandwidths else self.case.operations
            top = max(top, (best or {}).get(name, 0.0))
            found.append(Bound(name, amount / median, amount / top, name in self.bandwidths))
        return sorted(found, key=lambda bound: -bound.median)

    def us(self, label: str) -> float | None:
        """The fastest variant of a participant."""
        times = [sample.median for (who, _), sample in self.samples.items() if who == label]
        return min(times) * 1e6 if times else None


def run_case(case: Case, contest: Field, limits: Limits | None, rounds: int) -> Outcome:
    """Builds the case everywhere, runs the rounds, and forgets it."""
    built = contest.build(case)
    asked = limits.works(case) if limits else {}
    probes: dict[tuple[str, str], Work] = {("", name): work for name, work in asked.items()}
    outcome = Outcome(case, {}, differs=disagreeing(case, built))
    while not outcome.samples:
        works = {
            (who.setting.label, variant): partial(who.run, case.name, variant)
            for who in contest.participants
            for variant in built.get(who.setting.label, {})
        }
        if not works:
            break
        try:
            outcome.samples = interleave({**probes, **works}, rounds, ROUND, AT_MOST)
        except Gone as gone:
            contest.lose(gone)  # and once more among those that are left
    contest.drop(case)
    for key in probes:
        if key in outcome.samples and limits:
            sample, name = outcome.samples.pop(key), key[1]
            outcome.rates[name] = limits.rate(name, case, sample.median), limits.rate(name, case, sample.best)
    outcome.bandwidths = frozenset(name for name in outcome.rates if limits and limits.counts_bytes(name))
    if limits:
        doubt(outcome, limits)
    return outcome


def doubt(outcome: Outcome, limits: Limits) -> None:
    """Before arithmetic above its limit is refused: a few rounds may all have met a busy neighbour."""
    us = outcome.us(OWN)
    for name, (median, top) in outcome.rates.items():
        rate = outcome.case.operations / us * 1e6 if us else 0.0
        if name not in outcome.bandwidths and not outcome.case.fewer and rate > TOLERANCE * top:
            outcome.rates[name] = median, max(top, limits.look_again(name, rate))


def disagreeing(case: Case, built: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    """Who computed something else than this engine (or, without it, than the first): no time of theirs counts."""
    flat = [(label, variant, sample) for label, variants in built.items() for variant, sample in variants.items()]
    if not flat:
        return []
    reference = next((sample for label, _, sample in flat if label == OWN), flat[0][2])

    def far(sample: list[float]) -> bool:
        if len(sample) != len(reference):
            return True
        largest = (reference[i - i % (SAMPLED + 1)] for i in range(len(reference)))  # of its own array
        return any(not abs(a - b) <= case.agree * most for a, b, most in zip(sample, reference, largest, strict=True))

    return [f"{label} {variant}".strip() for label, variant, sample in flat if far(sample)]


def best_rates(outcomes: list[Outcome]) -> dict[str, float]:
    """The best round of each arithmetic probe in the whole run (bandwidth depends on the case's size)."""
    best: dict[str, float] = {}
    for outcome in outcomes:
        for name, (_, top) in outcome.rates.items():
            if name not in outcome.bandwidths:
                best[name] = max(best.get(name, 0.0), top)
    return best


def shares(
    outcome: Outcome, seconds: float, best: Mapping[str, float], label: str = OWN
) -> tuple[float, float, str] | None:
    """share, share of best, mark; the mark "cache" says that bandwidth is above its bound, "fewer" that fewer
    operations were done than are counted. Refused: arithmetic of this engine above what any round of its probe reached,
    which shows that the probe is none. (A rival may use other instructions than the level at hand.)"""
    bounds = outcome.bounds(best)
    if not bounds:
        return None
    for bound in bounds:
        refused = label == OWN and not bound.is_bandwidth and not outcome.case.fewer
        if refused and bound.best / seconds > TOLERANCE:
            raise SystemExit(
                f"bench: {outcome.case.name} ran at {bound.best / seconds:.0%} of {bound.by}, its limit: "
                "the probe in bench/limits is wrong"
            )
    tight = bounds[0]
    share = tight.median / seconds
    above = "cache" if tight.is_bandwidth else "fewer" if outcome.case.fewer else tight.by
    return share, tight.best / seconds, above if share > TOLERANCE else tight.by
