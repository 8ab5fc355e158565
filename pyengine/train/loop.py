"""The training loop of a classifier."""

import math
from dataclasses import dataclass, field

from pyengine import from_numpy, no_grad
from pyengine.data import ArrayDataset, DataLoader, batches
from pyengine.nn import CrossEntropyLoss

from .logs import ProgressBar
from .metrics import Accuracy
from .trainer import Callback, Trainer

EVALUATION_ROWS = 1024


@dataclass
class History:
    """What happened, one entry an epoch: mean loss and share of right answers while learning, and on the test."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


def fit(
    model,
    optimizer,
    train,
    test,
    *,
    epochs,
    batch_size,
    warmup=0.0,
    generator=None,
    augment=None,
    label_smoothing=0.0,
    progress=True,
):
    """Trains model on train = (inputs, labels); returns the History.

    Each epoch goes once through train in random order. The learning rate falls along half a cosine from the
    optimizer's own to 0 (Loshchilov & Hutter 2017), after it has risen to it in the first `warmup` (a share) of the
    steps, as one cycle (Smith & Topin 2018). test is only looked at: nothing is chosen by it.

    Arguments: generator decides the order of the batches; augment, a function of the inputs of a batch, changes
    them first; label_smoothing spreads that share of each label over all classes while learning; progress shows
    a bar and a line an epoch.
    Errors: FloatingPointError when the loss is no finite number any more.
    """
    history = History()
    loader = DataLoader(ArrayDataset(*train), batch_size, shuffle=True, generator=generator)
    steps = epochs * len(loader)
    Trainer(
        model,
        CrossEntropyLoss(label_smoothing=label_smoothing),
        optimizer,
        metrics=[Accuracy()],
        callbacks=[_CosineSchedule(optimizer, steps, round(warmup * steps)), _Test(history, test)],
        augment=augment,
        progress=_Bar() if progress else False,
    ).fit(loader, epochs=epochs)
    return history


class _Test(Callback):
    """Looks at the test after each epoch."""

    def __init__(self, history, data):
        self.history, self.data = history, data

    def epoch_end(self, trainer):
        entry = trainer.history[-1]
        entry["test_loss"], entry["test_accuracy"] = evaluate(trainer.model, self.data)
        for name, values in vars(self.history).items():
            values.append(entry[name])


class _Bar(ProgressBar):
    def line(self, trainer):
        entry = trainer.history[-1]
        return (f"epoch {trainer.epoch:3d}/{trainer.epochs}  loss {entry['loss']:.4f}  "
                f"accuracy {entry['accuracy']:6.2%}  test loss {entry['test_loss']:.4f}  "
                f"test accuracy {entry['test_accuracy']:6.2%}")  # fmt: skip


@no_grad()
def evaluate(model, data):
    """(mean loss, share of right answers) of model in evaluation mode on data = (inputs, labels)."""
    was_training = model.training
    model.eval()
    loss_function = CrossEntropyLoss(reduction="sum")
    total, right = 0.0, 0
    for inputs, labels in batches(*data, EVALUATION_ROWS, shuffle=False):
        outputs = model(inputs)
        total += loss_function(outputs, labels).item()
        right += _count_right(outputs, labels)
    model.train(was_training)
    return total / len(data[0]), right / len(data[0])


@no_grad()
def predict(model, inputs):
    """The most likely class of each row of inputs (an array), as a list."""
    model.eval()
    return model(from_numpy(inputs)).argmax(1).tolist()


def _count_right(outputs, labels):
    return int((outputs.detach().argmax(1).numpy() == labels.numpy()).sum())


class _CosineSchedule(Callback):
    """Sets every group's lr before step t = 0, 1, ...: start (t + 1) / warm while t < warm, then
    start (1 + cos(pi (t - warm) / (steps - warm))) / 2."""

    def __init__(self, optimizer, steps, warm):
        self.groups = [(group, group["lr"]) for group in optimizer.param_groups]
        self.steps, self.warm = steps, warm
        self.taken = 0

    def before_step(self, trainer):
        if self.taken < self.warm:
            share = (self.taken + 1) / self.warm
        else:
            share = (1 + math.cos(math.pi * (self.taken - self.warm) / (self.steps - self.warm))) / 2
        for group, start in self.groups:
            group["lr"] = start * share
        self.taken += 1
