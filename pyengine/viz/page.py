"""Pages of a run and of a file of weights: everything in one file of HTML."""

import os
import re

from pyengine.io.atomic import replace_file

from . import html
from .curves import curves, norms_over_time
from .weights import filters, histograms, spectra

_TENSORS = (
    "Range and norm are of what is finite; outliers lie over 6 standard deviations from the mean; marked rows have "
    "remarks."
)
_HISTOGRAMS = "How the elements of each tensor are distributed. The vertical line is 0."
_SPECTRA = "Singular values over the largest one: a line that falls early is a layer of low rank."
_FILTERS = "Red: high values of the input speak for it. Blue: they speak against it."


def page(path, *, title="Training run", facts=None, history=None, flow=None, model=None, figures=None):
    """Writes the page of a run at path: one file of HTML without scripts or anything from elsewhere, whole or not at
    all, that reads well on a phone and in the dark. What is not given, or has nothing to show, is left out.

    Arguments: title; facts, name -> value, shown under it; history, of Trainer; flow, a train.GradientFlow, for its
    report and norms; model, for histograms, spectra and filters; figures, caption -> a matplotlib Figure of your own
    (attention_maps, loss_landscape, ...).
    Errors: ModuleNotFoundError where matplotlib is missing; OSError where path cannot be written.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.html")
    ...     page(path, title="A run", history=[{"epoch": 1, "loss": 1.0}], model=pe.nn.Linear(2, 2))
    ...     text = open(path).read()
    >>> "A run" in text, text.count("<svg"), "://" in text
    (True, 3, False)
    """
    parts = []
    if history:
        _draw(parts, "Curves", "", curves, history)
    if flow is not None:
        parts.append(_flow(flow))
        _draw(parts, "Norms over time", "Each line is a layer, from the first to the last.", norms_over_time,
              flow.records)  # fmt: skip
    if model is not None:
        _weights(parts, model)
    for caption, figure in (figures or {}).items():
        parts.append(html.section(caption, body=html.picture(figure, f"p{len(parts)}", caption)))
    replace_file(path, html.whole(title, facts or {}, parts).encode())


def inspect_page(filename, path):
    """Writes the page of a file of weights (safetensors, or of torch.save) at path: a table of its tensors (as
    io.inspect tells them), histograms, spectra, the first filters. Errors: as load_state's and page's.

    >>> import os, tempfile
    >>> from pyengine.io import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights, path = os.path.join(folder, "a.safetensors"), os.path.join(folder, "a.html")
    ...     save_file({"layer.weight": pe.ones(3, 2)}, weights)
    ...     inspect_page(weights, path)
    ...     "layer.weight" in open(path).read()
    True
    """
    from pyengine.io import load_state
    from pyengine.io.inspect import inspect_tensors

    state = load_state(filename)
    info = inspect_tensors(state)
    head, *rows = info.table()
    marked = {place for place, row in enumerate(rows) if row[-1]}
    facts = {"tensors": len(info), "numbers": f"{info.count:,}", "size": f"{os.path.getsize(filename):,} bytes",
             "NaN or infinite": f"{sum(each.bad for each in info):,}"}  # fmt: skip
    texts = {place for place, name in enumerate(head) if name in ("tensor", "dtype", "shape", "remarks")}
    parts = [html.section("Tensors", _TENSORS, html.table(head, rows, marked, texts))]
    _weights(parts, {name: state[name] for name in sorted(state, key=_natural)})
    replace_file(path, html.whole(os.path.basename(os.fspath(filename)), facts, parts).encode())


def _natural(name):
    """layer2 comes before layer10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name)]


def _weights(parts, model):
    _draw(parts, "Weights", _HISTOGRAMS, histograms, model)
    _draw(parts, "Spectra", _SPECTRA, spectra, model)
    _draw(parts, "First filters", _FILTERS, filters, model)


def _draw(parts, title, told, draw, subject):
    """A section with draw(subject), where that has something to show."""
    try:
        figure = draw(subject)
    except ValueError:
        return
    parts.append(html.section(title, told, html.picture(figure, f"p{len(parts)}", title)))


def _flow(flow):
    report = flow.report()
    if not flow.records:
        return html.section("Gradient flow", "No step was observed.")
    body = "".join(html.note(f"{found.title}:", f"{found.measured}.", found.advice) for found in report)
    body = body or html.note("Nothing found:", "signals and gradients reach every layer.", "", good=True)
    last = flow.records[-1]
    rows = [(f"{name} ({f.kind})", *map(_number, (f.weight, f.gradient, f.ratio, f.output, f.signal)),
             "" if f.dead is None else f"{f.dead:.0%}") for name, f in last.layers.items()]  # fmt: skip
    named = {found.layer for found in report}
    bad = {place for place, name in enumerate(last.layers) if name in named}
    head = ("layer", "weights", "gradient", "update / weights", "output (rms)", "signal", "dead units")
    told = f"{len(flow.records)} observed steps, {flow.records[0].step} to {last.step}; the table shows the last one."
    return html.section("Gradient flow", told, body + html.table(head, rows, bad))


def _number(value):
    return "" if value is None else f"{value:.3g}"
