"""A run as a roofline picture: what the machine allows, and where each case stands under it."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path


def require_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit('bench: --plot needs matplotlib: pip install "pyengine[plot]"')


def draw(
    path: Path, title: str, peaks: Mapping[str, float], slopes: Mapping[str, float],
    series: Mapping[tuple[str, str], Sequence[tuple[float, float]]],
) -> None:  # fmt: skip
    """Writes the picture to `path`.

    peaks: Gop/s by kind of arithmetic; slopes: GB/s by cache; series: by (who, kind of case) points of (operations a
    byte, Gop/s). A kind has one colour, each who one mark. The roofs meet where the fastest arithmetic and each
    cache's bandwidth do.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # no pyplot: it would ask for a display

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="operations a byte", ylabel="Gop/s", title=title)
    everywhere = [x for points in series.values() for x, _ in points] + [0.25, 512]
    left, right = min(everywhere) / 1.5, max(everywhere) * 1.5
    top = max(peaks.values(), default=1.0)
    for i, (name, peak) in enumerate(sorted(peaks.items(), key=lambda item: item[1])):
        axes.axhline(peak, color="black", linewidth=1, linestyle=("-", "--", "-.", ":")[i % 4])
        axes.annotate(f"{name} {peak:.0f} Gop/s", (right, peak), ha="right", va="bottom", fontsize=9)
    for name, slope in slopes.items():
        end = top / slope
        axes.plot([left, end], [left * slope, top], color="tab:gray", linewidth=1)
        axes.annotate(f" {name} {slope:.0f} GB/s", (left, left * slope), fontsize=9, color="tab:gray", va="top")
    whos, kinds = (list(dict.fromkeys(key[i] for key in series)) for i in (0, 1))
    for (who, kind), points in series.items():
        colour, hollow = f"C{kinds.index(kind) % 10}", whos.index(who) > 0
        axes.plot(*zip(*points, strict=True), "^" if hollow else "o", label=f"{who}: {kind}", color=colour,
                  markerfacecolor="none" if hollow else colour)  # fmt: skip
    axes.set_xlim(left, right)
    axes.grid(True, which="major", alpha=0.3)
    if series:
        axes.legend(loc="lower right", fontsize=9)
    figure.savefig(path, dpi=120)
