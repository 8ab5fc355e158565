"""Job: the description of a training that has a name, from which `pyengine train`, resume and evaluate follow."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from pyengine.data import ArrayDataset, DataLoader
from pyengine.nn import CrossEntropyLoss

from .callbacks import LRSchedule
from .metrics import F1, Accuracy
from .options import checked, option, options_of
from .schedule import rise_and_fall


class Data(NamedTuple):
    """What a job learns from and is held out from it, tuples (inputs ..., targets) of arrays; what to say of them;
    and what else the job wants to know."""

    train: Any
    held_out: Any
    told: str
    extra: Any = None


@dataclass(kw_only=True)
class Job:
    """A training that has a name. A subclass is a dataclass: its fields are the options of the shell and of TOML files,
    and with the seed among them decide every bit of the result. It writes load(), network() and optimizer(), and
    whatever else is not as here: a classifier whose rate rises and falls.
    """

    name: ClassVar[str]
    told: ClassVar[str]  # what it does, in a few words
    warmup: ClassVar[float] = 0.0  # the share of the steps in which the rate rises
    unit: ClassVar[str] = "epoch"

    seed: int = option(0, "what everything random follows from", least=0)

    def __post_init__(self):
        for name, field in options_of(self).items():
            value = getattr(self, name)
            if value is not None or field.default is not None:
                try:
                    setattr(self, name, checked(field, value))
                except ValueError as error:
                    raise ValueError(f"{type(self).__name__}: {error}") from None

    @property
    def stem(self):
        """The name of its files, without an ending."""
        return self.name

    def load(self):
        """The Data. Errors: OSError that says what to install."""
        raise NotImplementedError(f"{type(self).__name__} defines no load")

    def network(self, data):
        """A network that has learned nothing."""
        raise NotImplementedError(f"{type(self).__name__} defines no network")

    def optimizer(self, model):
        """What changes the network."""
        raise NotImplementedError(f"{type(self).__name__} defines no optimizer")

    def describe(self, model):
        """The network in one line."""
        return f"{count_parameters(model):,} parameters"

    def loader(self, data):
        """The batches to learn from."""
        return DataLoader(ArrayDataset(*data.train), self.batch_size, shuffle=True)

    def validation(self, data):
        """The batches to judge by."""
        return data.held_out

    def rounds(self, loader):
        """(passes through the loader, steps in all)."""
        return self.epochs, self.epochs * len(loader)

    def loss(self):
        """loss(outputs, targets) while learning."""
        return self.judge()

    def judge(self):
        """loss(outputs, targets) of what is held out."""
        return CrossEntropyLoss()

    def metrics(self):
        """Beside the loss, while learning."""
        return [Accuracy()]

    def measures(self):
        """Beside the loss, when all is learned."""
        return [*self.metrics(), F1()]

    def augment(self, inputs):
        """The inputs of a batch, changed."""
        return inputs

    def callbacks(self, optimizer, steps):
        """The Trainer's."""
        return [LRSchedule(rise_and_fall(optimizer, steps, round(self.warmup * steps)), "step")]

    def figures(self, found, data):
        """name -> figure of the held-out set, of the loss and the measures found."""
        return found

    def line(self, entry):
        """An epoch of the history in words."""
        return (f"loss {entry['loss']:.4f}  accuracy {entry['accuracy']:6.2%}  test loss {entry['val_loss']:.4f}  "
                f"test accuracy {entry['val_accuracy']:6.2%}")  # fmt: skip

    def result(self, history, data):
        """The last line of the history in words."""
        return f"test accuracy {history[-1]['val_accuracy']:.2%}"

    def metadata(self, data):
        """What the file of the weights has in its header, beside the options."""
        return {}

    def draw(self, model, history, path):
        """Draws the run; matplotlib is there."""

    def pictures(self, model):
        """caption -> Figure, on the run's page beside what each page has; matplotlib is there."""
        return {}

    def farewell(self, model, data, weights, say):
        """Says what is to be said at the end."""


@dataclass
class Settings:
    """What `pyengine train` takes beside a job's options: nothing in the results follows from it."""

    out: str | None = option(None, "folder of the run (runs/NAME)")
    page: str | None = option(None, "where the run's page of HTML goes (JOB.html in the run's folder)")
    no_page: bool = option(False, "no page, and none of the measuring that it needs")
    threads: int | None = option(None, "threads to use; the result does not depend on it", above=0)
    quiet: bool = option(False, "no progress bar and no line an epoch")


def count_parameters(model):
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
