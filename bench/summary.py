"""What a contest shows: a row a case, the share of cases won, and the worst of them."""

import statistics

from pyengine.bench.processes import Field
from pyengine.bench.rounds import OWN, Outcome, best_rates, shares

TUNED = " tuned"
LEVEL = 0.9  # a ratio below is worth a line of its own
WORST = 3
MOST_SQUARES = 4096


def counted(outcome: Outcome) -> list[tuple[str, str, float]]:
    """(label, variant, us) of the participants whose results agree."""
    return [(label, variant, sample.median * 1e6) for (label, variant), sample in outcome.samples.items()
            if f"{label} {variant}".strip() not in outcome.differs]  # fmt: skip


def best_rival(outcome: Outcome) -> tuple[str, float] | None:
    """Name and us of the fastest rival at its best. An engine counts as it installs only where its best setting has
    no such call."""
    times = [(f"{label} {variant}".strip(), label, us) for label, variant, us in counted(outcome) if label != OWN]
    tuned = {label.removesuffix(TUNED) for _, label, _ in times if label.endswith(TUNED)}
    fair = [(name, us) for name, label, us in times if label.endswith(TUNED) or label not in tuned]
    return min(fair, key=lambda pair: pair[1]) if fair else None


def ratio(outcome: Outcome) -> float | None:
    """The best rival's time over ours: above 1 we are ahead."""
    us, best = outcome.us(OWN), best_rival(outcome)
    return best[1] / us if us and best else None


def groups(outcomes: list[Outcome], contest: Field) -> tuple[list[str], list[list[str]]]:
    """A row a group of cases: geometric means of the ratio, of the ratio to each participant, and of the shares."""
    labels = [label for label in seen(outcomes, contest) if label != OWN]
    head = ["group", "cases", "ahead", "ratio", "lowest", *(f"{label} / ours" for label in labels), "share", "of best"]
    best, named = best_rates(outcomes), {}
    for outcome in outcomes:
        named.setdefault(outcome.case.group or outcome.case.suite, []).append(outcome)
    rows = []
    for name, members in named.items():
        times = [found for outcome in members if (found := ratio(outcome))]
        row = [name, str(len(members)), str(sum(t >= 1 for t in times)), mean(times), mean(sorted(times)[:1])]
        for label in labels:
            pairs = [(outcome.us(label), outcome.us(OWN)) for outcome in members]
            row.append(mean([theirs / ours for theirs, ours in pairs if theirs and ours]))
        found = [shares(o, us * 1e-6, best) for o in members if (us := o.us(OWN))]
        rows.append([*row, *(mean([f[i] for f in found if f], ".0%") for i in (0, 1))])
    return head, rows


def seen(outcomes: list[Outcome], contest: Field) -> list[str]:
    """This engine, and the participants that have any of these cases."""
    labels = [participant.setting.label for participant in contest.participants]
    return [label for label in labels if label == OWN or any(o.us(label) is not None for o in outcomes)]


def mean(values: list[float], shape: str = ".2f") -> str:
    return format(statistics.geometric_mean(values), shape) if values else "-"


def table(outcomes: list[Outcome], contest: Field) -> tuple[list[str], list[list[str]]]:
    """us of each participant's fastest call; "!" marks one whose result differs, which counts for nothing."""
    labels = seen(outcomes, contest)
    best = best_rates(outcomes)
    head = ["case", *(f"{label} us" for label in labels), "share", "of best", "bound by", "best rival", "ratio"]
    rows = []
    for outcome in outcomes:
        row = [outcome.case.name]
        for label in labels:
            us = outcome.us(label)
            mark = "!" if any(name.split(" ")[0:2] == label.split(" ") for name in outcome.differs) else ""
            row.append("-" if us is None else f"{us:.1f}{mark}")
        us = outcome.us(OWN)
        found = shares(outcome, us * 1e-6, best) if us else None
        row += [f"{found[0]:.0%}", f"{found[1]:.0%}", found[2]] if found else ["-", "-", "-"]
        rival, times = best_rival(outcome), ratio(outcome)
        rows.append([*row, rival[0] if rival else "-", f"{times:.2f}" if times else "-"])
    return head, rows


def lines(outcomes: list[Outcome]) -> list[str]:
    """The run in a few sentences."""
    ratios = {outcome.case.name: times for outcome in outcomes if (times := ratio(outcome))}
    if not ratios:
        return ["No rival ran any of these cases."]
    won = sum(times >= 1 for times in ratios.values())
    said = [
        f"Ahead of the best rival at its best setting in {won} of {len(ratios)} cases ({won / len(ratios):.0%}), "
        f"below {LEVEL} of it in {sum(times < LEVEL for times in ratios.values())}; "
        f"geometric mean of the ratios {statistics.geometric_mean(ratios.values()):.2f}."
    ]
    missing = [outcome.case.name for outcome in outcomes if outcome.us(OWN) is None]
    if missing:
        said.append(f"Not there yet in this engine, and not counted: {', '.join(missing)}.")
    stock = against_torch(outcomes)
    if stock:
        listed = ", ".join(f"{name} {times:.2f}" for name, times in stock.items())
        said.append(f"Against torch as it installs, fp32 squares from 256 up: {listed}.")
    said.append("The worst cases: " + "; ".join(worst(outcomes, ratios)) + ".")
    return said


def against_torch(outcomes: list[Outcome]) -> dict[str, float]:
    """torch's stock time over ours, of the squares from 256 up."""
    found = {}
    for outcome in outcomes:
        p, us, theirs = outcome.case.params, outcome.us(OWN), outcome.us("torch")
        square = outcome.case.kind == "matmul" and p["batch"] == 1 and p["m"] == p["n"] == p["k"] >= 256
        if square and us and theirs:
            found[outcome.case.name] = theirs / us
    return found


def worst(outcomes: list[Outcome], ratios: dict[str, float]) -> list[str]:
    """The lowest ratios, with what bounds them and how near the limit we are there."""
    best = best_rates(outcomes)
    said = []
    for outcome in sorted((o for o in outcomes if o.case.name in ratios), key=lambda o: ratios[o.case.name])[:WORST]:
        us, rival = outcome.us(OWN), best_rival(outcome)
        found = shares(outcome, us * 1e-6, best) if us else None
        where = f", at {found[0]:.0%} of {found[2]}" if found else ""
        said.append(f"{outcome.case.name}: {ratios[outcome.case.name]:.2f} of {rival[0] if rival else '-'}{where}")
    return said
