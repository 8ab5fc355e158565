"""The training loop of a classifier."""

from dataclasses import dataclass, field

from pyengine import from_numpy, no_grad
from pyengine.data import ArrayDataset, DataLoader
from pyengine.nn import CrossEntropyLoss

from .callbacks import LRSchedule
from .logs import ProgressBar
from .metrics import Accuracy
from .schedule import rise_and_fall
from .trainer import Callback, Trainer


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
        callbacks=[LRSchedule(rise_and_fall(optimizer, steps, round(warmup * steps)), "step"), _Test(history, test)],
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


def evaluate(model, data):
    """(mean loss, share of right answers) of model in evaluation mode on data = (inputs, labels)."""
    found = Trainer(model, CrossEntropyLoss(), None, metrics=[Accuracy()]).evaluate(data)
    return found["loss"], found["accuracy"]


@no_grad()
def predict(model, inputs):
    """The most likely class of each row of inputs (an array), as a list."""
    model.eval()
    return model(from_numpy(inputs)).argmax(1).tolist()
