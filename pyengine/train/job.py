"""What the jobs of `pyengine train` have in common: their files, and what they say."""

from pathlib import Path
from typing import NamedTuple

from pyengine.io import save_file
from pyengine.nn import Module

from .loop import History


class Run(NamedTuple):
    """What a job leaves: the model, its history, and the files."""

    model: Module
    history: History
    weights: Path
    picture: Path | None


def folder_of(out):
    """The folder out, which is made where it is missing."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def count_parameters(model):
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def finish(model, history, folder, name, metadata, filters, learning, say):
    """Writes folder/name.safetensors and, where matplotlib is installed, folder/name.png; the Run.

    Arguments: filters (n, height, width), the first layer's weights; learning, how the training images differ from
    the test's, for the picture.
    """
    say(f"test accuracy {history.test_accuracy[-1]:.2%}")
    weights = folder / f"{name}.safetensors"
    save_file(model.state_dict(), weights, metadata)
    say(f"wrote {weights}")
    return Run(model, history, weights, _draw(history, filters, learning, folder / f"{name}.png", say))


def _draw(history, filters, learning, path, say):
    from .report import draw_run, has_matplotlib

    if not has_matplotlib():
        say('no picture: matplotlib is not installed (pip install "pyengine[plot]")')
        return None
    draw_run(history, filters.detach().numpy(), path, learning)
    say(f"wrote {path}")
    return path
