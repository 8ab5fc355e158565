"""Curves of a run: losses and metrics by epoch, norms of layers by step."""

import math

from .style import SERIES, depth_colors, new_figure, plain, styled

_FEW_POINTS = 10
_FEW_LAYERS = 8
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


_NORMS = {  # panel: (its name, unit, how a LayerFlow tells it)
    "gradient": ("gradients", "2-norm", lambda flow: flow.gradient),
    "ratio": ("updates", "norm of update / norm of weights", lambda flow: flow.ratio),
    "weight": ("weights", "2-norm", lambda flow: flow.weight),
    "output": ("outputs", "root mean square", lambda flow: flow.output),
}  # fmt: skip
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
    for axes, (title, unit, told) in zip(grid, _NORMS.values(), strict=True):
        for color, name in zip(colors, layers, strict=True):
            values = [_positive(told(record.layers[name])) if name in record.layers else math.nan for record in records]
            if not all(map(math.isnan, values)):
                axes.plot(steps, values, color=color, linewidth=1.2, marker="." if len(steps) < _FEW_POINTS else "")
        axes.set(title=title, ylabel=unit, xlabel="step", yscale="log")
    grid[1].axhline(_HEALTHY, color=SERIES[2], linestyle=(0, (4, 3)), linewidth=1.0)
    grid[1].annotate("about 1e-3 is healthy", (0.99, _HEALTHY), xycoords=("axes fraction", "data"), ha="right",
                     xytext=(0, 3), textcoords="offset points", fontsize=7)  # fmt: skip
    _name_layers(figure, layers, colors)
    return figure


def _positive(value):
    """What an axis of logarithms can show."""
    return value if value is not None and math.isfinite(value) and value > 0 else math.nan


def _name_layers(figure, layers, colors):
    """A legend below: of all layers, or of a few of them."""
    from matplotlib.lines import Line2D

    count = len(layers)
    chosen = range(count) if count <= _FEW_LAYERS else sorted({round(i * (count - 1) / 5) for i in range(6)})
    handles = [Line2D([], [], color=colors[i], label=f"{i + 1}  {plain(layers[i], 24)}") for i in chosen]
    title = "layer" if count <= _FEW_LAYERS else f"layer (6 of {count})"
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), title=title,
                  title_fontsize=8)  # fmt: skip
