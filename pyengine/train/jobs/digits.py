"""The main job: a small network learns to read the digits that ship with the package."""

import shlex
from dataclasses import dataclass
from typing import ClassVar

from pyengine.data import distort, load_digits
from pyengine.io import load_file
from pyengine.nn import CrossEntropyLoss, Dropout, Flatten, Linear, ReLU, Sequential
from pyengine.optim import AdamW
from pyengine.train.job import Data, Job, count_parameters
from pyengine.train.options import option

HIDDEN = (512, 512)
DROPOUT = 0.1
LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 1e-2


def digits_model():
    """64 -> 512 -> 512 -> 10 with ReLU and dropout between, for images (N, 8, 8)."""
    layers, size = [Flatten()], 64
    for hidden in HIDDEN:
        layers += [Linear(size, hidden), ReLU(), Dropout(DROPOUT)]
        size = hidden
    return Sequential(*layers, Linear(size, 10))


@dataclass(kw_only=True)
class Digits(Job):
    """Trains digits_model on distorted images; tests on every fifth, by the same people.

    The settings were chosen on none of the test images: by four parts, one after the other, of those images that
    are neither in load_digits()[1] nor among the last 360 of the file, each part read by a network that learned
    from the other three (python -m bench digits --validation).
    """

    name: ClassVar[str] = "digits"
    told: ClassVar[str] = "handwritten digits, 8x8 pixels, in the package"

    epochs: int = option(80, "passes through the data", above=0)
    batch_size: int = option(64, "images a step", above=0)
    lr: float = option(3e-3, "highest learning rate", above=0)

    def load(self):
        train, test = load_digits()
        return Data(train, test, f"{len(train.labels):,} images to learn from, {len(test.labels)} to test "
                    "(every fifth; the same people wrote both)")  # fmt: skip

    def network(self, data):
        return digits_model()

    def describe(self, model):
        linear = [layer for layer in model.modules() if isinstance(layer, Linear)]
        sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
        return f"{' -> '.join(map(str, sizes))}, ReLU, dropout {DROPOUT}: {count_parameters(model):,} parameters"

    def optimizer(self, model):
        return AdamW(model.parameters(), lr=self.lr, weight_decay=WEIGHT_DECAY)

    def loss(self):
        return CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)

    def augment(self, inputs):
        return distort(inputs)

    def draw(self, model, history, path):
        from pyengine.train.report import draw_run

        draw_run(history, model[1].weight.reshape(-1, 8, 8), path, "training (distorted, smoothed, dropout)")

    def pictures(self, model):
        from pyengine.viz import filters

        told = "The first layer's weights, as images: red, high values speak for it; blue, against"
        return {told: filters(model[1].weight.reshape(-1, 8, 8))}

    def farewell(self, model, data, weights, say):
        say(f"next:   pyengine predict digits --weights {shlex.quote(str(weights))}")


def load_digits_model(weights):
    """The trained model of a file that the job wrote. Errors: ValueError that names the file."""
    model = digits_model()
    try:
        model.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise ValueError(f"{weights}: not the weights of the digits model: {error}") from None
    return model.eval()


JOB = Digits
