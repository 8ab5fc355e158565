"""Pictures of a training run, drawn with matplotlib."""

import importlib.util

from pyengine.viz.style import new_figure, save, styled
from pyengine.viz.weights import draw_filters

FEW_EPOCHS = 10


def has_matplotlib():
    """True when matplotlib can be imported; it is not imported yet."""
    return importlib.util.find_spec("matplotlib") is not None


@styled
def draw_run(history, filters, path, learning="training"):
    """A PNG at path: loss and accuracy by epoch, of a Trainer's history, and the first 64 of the filters (n, height,
    width), a tensor. learning is the name of the curves of the training images."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(10, 6.4)
    curves, weights = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    loss, accuracy = curves.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        marker = "o" if len(epochs) < FEW_EPOCHS else ""  # a line of one point is none
        axes.plot(epochs, [entry[name] for entry in history], marker=marker, label=learning)
        axes.plot(epochs, [entry[f"val_{name}"] for entry in history], marker=marker, label="test")
        axes.set_ylabel(name)
        axes.legend()
    accuracy.set_xlabel("epoch")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy.set_title(f"test accuracy {history[-1]['val_accuracy']:.2%}")
    title = "first layer's weights (red: high values speak for it, blue: against)"
    draw_filters(weights.subplots(), filters.detach().numpy(), title=title)
    save(figure, path)


@styled
def draw_losses(history, path):
    """A PNG at path of the losses of a Trainer's history, nats a token, look by look."""
    figure = new_figure(7, 4.2)
    axes, looks = figure.subplots(), [entry["epoch"] for entry in history]
    axes.plot(looks, [entry["loss"] for entry in history], marker="o", label="training")
    axes.plot(looks, [entry["val_loss"] for entry in history], marker="o", label="validation")
    axes.set(xlabel="look", ylabel="loss (nats a token)", title=f"validation loss {history[-1]['val_loss']:.3f}")
    axes.legend()
    save(figure, path)
