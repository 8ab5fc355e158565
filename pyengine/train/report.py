"""Pictures of a training run, drawn with matplotlib."""

import importlib.util
import io

from pyengine.io.atomic import replace_file

PICTURES_PER_ROW = 8
ROWS = 8
FEW_EPOCHS = 10


def has_matplotlib():
    """True when matplotlib can be imported; it is not imported yet."""
    return importlib.util.find_spec("matplotlib") is not None


def _figure(width, height):
    # The Figure itself and the Agg canvas: no display, and the caller's pyplot state stays as it is.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure, path):
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    replace_file(path, content.getvalue())


def draw_run(history, filters, path, learning="training"):
    """A PNG at path: loss and accuracy by epoch, of a Trainer's history, and the first 64 of the filters (n, height,
    width), a tensor. learning is the name of the curves of the training images."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(10, 6.4)
    curves, weights = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    loss, accuracy = curves.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        marker = "o" if len(epochs) < FEW_EPOCHS else ""  # a line of one point is none
        axes.plot(epochs, [entry[name] for entry in history], marker=marker, label=learning)
        axes.plot(epochs, [entry[f"val_{name}"] for entry in history], marker=marker, label="test")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    accuracy.set_xlabel("epoch")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy.set_title(f"test accuracy {history[-1]['val_accuracy']:.2%}", fontsize="medium")
    _draw_filters(weights, filters.detach().numpy())
    _write(figure, path)


def draw_losses(history, path):
    """A PNG at path of the losses of a Trainer's history, nats a token, look by look."""
    figure = _figure(7, 4.2)
    axes, looks = figure.subplots(), [entry["epoch"] for entry in history]
    axes.plot(looks, [entry["loss"] for entry in history], marker="o", label="training")
    axes.plot(looks, [entry["val_loss"] for entry in history], marker="o", label="validation")
    axes.set(xlabel="look", ylabel="loss (nats a token)", title=f"validation loss {history[-1]['val_loss']:.3f}")
    axes.grid(alpha=0.3)
    axes.legend()
    _write(figure, path)


def _draw_filters(figure, filters):
    # one image of all of them: axes of their own would take longer than the training
    import numpy

    figure.suptitle("first layer's weights (red: high values speak for it, blue: against)", fontsize="medium")
    _, height, width = filters.shape
    lines = min(ROWS, -(-len(filters) // PICTURES_PER_ROW))
    sheet = numpy.full((lines * (height + 1) - 1, PICTURES_PER_ROW * (width + 1) - 1), numpy.nan, filters.dtype)
    for number, weights in enumerate(filters[: ROWS * PICTURES_PER_ROW]):
        top, left = number // PICTURES_PER_ROW * (height + 1), number % PICTURES_PER_ROW * (width + 1)
        sheet[top : top + height, left : left + width] = weights
    limit = max(float(numpy.nanmax(abs(sheet))), 1e-12)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_axis_off()
