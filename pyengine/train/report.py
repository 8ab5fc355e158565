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
    """A PNG at path: loss and accuracy by epoch, and the first 64 of the filters (n, height, width).

    learning is the name of the curves of the training images."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(10, 6.4)
    curves, weights = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    loss, accuracy = curves.subplots(2, 1, sharex=True)
    epochs = range(1, len(history.loss) + 1)
    for axes, name, train, test in (
        (loss, "loss", history.loss, history.test_loss),
        (accuracy, "accuracy", history.accuracy, history.test_accuracy),
    ):
        marker = "o" if len(epochs) < FEW_EPOCHS else ""  # a line of one point is none
        axes.plot(epochs, train, marker=marker, label=learning)
        axes.plot(epochs, test, marker=marker, label="test")
        axes.set_ylabel(name)
        axes.legend()
    accuracy.set_xlabel("epoch")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy.set_title(f"test accuracy {history.test_accuracy[-1]:.2%}")
    title = "first layer's weights (red: high values speak for it, blue: against)"
    draw_filters(weights.subplots(), filters, title=title)
    save(figure, path)


@styled
def draw_losses(history, path):
    """A PNG at path of (step, training loss, validation loss) tuples."""
    figure = new_figure(7, 4.2)
    axes, (steps, learning, validation) = figure.subplots(), zip(*history, strict=True)
    axes.plot(steps, learning, marker="o", label="training")
    axes.plot(steps, validation, marker="o", label="validation")
    axes.set(xlabel="step", ylabel="loss (nats a token)", title=f"validation loss {validation[-1]:.3f}")
    axes.legend()
    save(figure, path)
