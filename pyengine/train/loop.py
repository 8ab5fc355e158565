"""The training loop of a classifier."""

import math
import sys
from dataclasses import dataclass, field

from pyengine import from_numpy, no_grad
from pyengine.data import batches
from pyengine.nn import CrossEntropyLoss

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
    loss_function = CrossEntropyLoss(label_smoothing=label_smoothing)
    history = History()
    steps = epochs * math.ceil(len(train[0]) / batch_size)
    schedule = _CosineSchedule(optimizer, steps, round(warmup * steps))
    with _Progress(steps, progress) as shown:
        for epoch in range(1, epochs + 1):
            model.train()
            total = right = seen = 0
            for inputs, labels in batches(*train, batch_size, generator):
                outputs = model(inputs if augment is None else augment(inputs))
                loss = loss_function(outputs, labels)
                optimizer.zero_grad()
                loss.backward()
                schedule.step()
                optimizer.step()
                total += loss.item() * len(labels)
                right += _count_right(outputs, labels)
                seen += len(labels)
                shown.advance()
            if not math.isfinite(total):
                raise FloatingPointError(f"fit: the loss is {total} in epoch {epoch}; a smaller lr may help")
            test_loss, test_accuracy = evaluate(model, test)
            history.loss.append(total / seen)
            history.accuracy.append(right / seen)
            history.test_loss.append(test_loss)
            history.test_accuracy.append(test_accuracy)
            shown.say(
                f"epoch {epoch:3d}/{epochs}  loss {total / seen:.4f}  accuracy {right / seen:6.2%}  "
                f"test loss {test_loss:.4f}  test accuracy {test_accuracy:6.2%}"
            )
    return history


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


class _CosineSchedule:
    """Sets every group's lr before step t = 0, 1, ...: start (t + 1) / warm while t < warm, then
    start (1 + cos(pi (t - warm) / (steps - warm))) / 2."""

    def __init__(self, optimizer, steps, warm):
        self.groups = [(group, group["lr"]) for group in optimizer.param_groups]
        self.steps, self.warm = steps, warm
        self.taken = 0

    def step(self):
        if self.taken < self.warm:
            share = (self.taken + 1) / self.warm
        else:
            share = (1 + math.cos(math.pi * (self.taken - self.warm) / (self.steps - self.warm))) / 2
        for group, start in self.groups:
            group["lr"] = start * share
        self.taken += 1


class _Progress:
    """A bar of steps with lines above it, or nothing."""

    def __init__(self, steps, wanted):
        self.steps = steps
        self.wanted = wanted
        self.bar = None

    def __enter__(self):
        if self.wanted:
            from tqdm import tqdm

            self.bar = tqdm(total=self.steps, unit="step", leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.close()

    def advance(self):
        if self.bar is not None:
            self.bar.update()

    def say(self, line):
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
