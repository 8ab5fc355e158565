"""Curves of a run: losses and metrics by epoch, norms of layers by step."""

import math
from operator import attrgetter

from .style import SERIES, depth_colors, name_layers, new_figure, plain, scale_by_powers, styled

_FEW_POINTS = 10
_COLUMNS = 2


@styled
def curves(history):
    """Losses and metrics by epoch, training and validation in one panel each: a Figure.

    Arguments: history, of Trainer: a dict an epoch, in which val_NAME is NAME on the validation data.
    Errors: ValueError where the history is empty or has no numbers.

    >>> figure = curves([{"epoch": 1, "loss": 1.0, "val_loss": 1.2}, {"epoch": 2, "loss": 0.5, "val_loss": 0.9}])
    >>> [axes.get_ylabel() for axes in figure.axes], figure.axes[0].get_xlabel()
    (['loss'], 'epoch')
    """
    from matplotlib.ticker import MaxNLocator

    numbers = {name: None for entry in history for name, value in entry.items() if isinstance(value, (int, float))}
    panels = list(dict.fromkeys(_base(name) for name in numbers if name != "epoch"))
    if not panels:
        raise ValueError(f"curves: the history ({len(history)} epochs) has no numbers")
    epochs = [entry.get("epoch", place) for place, entry in enumerate(history, 1)]
    figure, grid = _panels(len(panels), 3.0)
    for axes, name in zip(grid, panels, strict=True):
        for color, key, label in zip(SERIES, (name, f"val_{name}"), ("training", "validation"), strict=False):
            if key in numbers:
                values = [entry.get(key, math.nan) for entry in history]
                axes.plot(epochs, values, marker="o" if len(epochs) < _FEW_POINTS else "", color=color, label=label)
        axes.set_ylabel(plain(name.replace("_", " ")))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def _base(name):
    return name.removeprefix("val_")


def _panels(count, height):
    columns = min(count, _COLUMNS)
    lines = -(-count // columns)
    figure = new_figure(4.6 * columns, height * lines)
    grid = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


_NORMS = (  # of a panel its name, unit, and how a LayerFlow tells it
    ("gradients", "2-norm", attrgetter("gradient")),
    ("updates", "update / weights (norms)", attrgetter("ratio")),
    ("weights", "2-norm", attrgetter("weight")),
    ("outputs", "root mean square", attrgetter("output")),
)
_HEALTHY = 1e-3


@styled
def norms_over_time(records):
    """Norms of gradients, updates, weights and outputs of each layer by step, a line a layer, coloured from the first
    layer to the last: a Figure.

    Arguments: records, of train.GradientFlow.
    Errors: ValueError where there are none.
    """
    if not records:
        raise ValueError("norms_over_time: there are no records; GradientFlow makes one in its first step")
    layers = list(records[-1].layers)
    colors = depth_colors(len(layers))
    steps = [record.step for record in records]
    figure, grid = _panels(len(_NORMS), 3.0)
    for axes, (title, unit, told) in zip(grid, _NORMS, strict=True):
        drawn = []
        for color, name in zip(colors, layers, strict=True):
            values = [_positive(told(record.layers[name])) if name in record.layers else math.nan for record in records]
            if not all(map(math.isnan, values)):
                axes.plot(steps, values, color=color, linewidth=1.2, marker="." if len(steps) < _FEW_POINTS else "")
                drawn += values
        axes.set(title=title, ylabel=unit, xlabel="step")
        if title == "updates":
            axes.axhline(_HEALTHY, color=SERIES[2], linestyle=(0, (4, 3)), linewidth=1.2, label="healthy: about 0.001")
            axes.legend(loc="upper right")
            drawn.append(_HEALTHY)
        scale_by_powers(axes, drawn)
    name_layers(figure, [f"{name} ({flow.kind})" for name, flow in records[-1].layers.items()], colors)
    return figure


def _positive(value):
    """What an axis of logarithms can show."""
    return value if value is not None and math.isfinite(value) and value > 0 else math.nan
