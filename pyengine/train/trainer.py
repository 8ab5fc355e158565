"""Trainer: the training loop, which can be watched, stopped and continued bit for bit."""

import contextlib
import itertools
import math
import os
import signal
import threading

from pyengine import as_tensor, cat, no_grad
from pyengine.data import ArrayDataset, DataLoader
from pyengine.io import load_checkpoint, save_checkpoint

HOOKS = ("fit_begin", "epoch_begin", "before_step", "after_step", "epoch_end", "stopped", "fit_end")
_COUNTERS = ("epoch", "step", "batch", "inside", "sums", "history")  # what a checkpoint keeps
_ROWS = 1024  # of a batch that only is evaluated


class Callback:
    """What is called along the way: a subclass writes some of fit_begin, epoch_begin, before_step (the gradients are
    there; False leaves the step out), after_step, epoch_end, stopped (between two steps of an epoch) and fit_end, each
    with the trainer as its argument. What has state_dict() and load_state_dict() is part of checkpoints."""

    last = False  # runs after the others, whose states it saves


class Trainer:
    """Trains model: for each batch (inputs ..., targets) one step of optimizer on loss(model(inputs ...), targets).

    Arguments: model; loss; optimizer; metrics (pyengine.train.metrics), of the training and the validation batches;
    callbacks (pyengine.train.callbacks); accumulate, how many batches' gradients make a step (their mean);
    augment, a function that changes the first input while learning; progress shows a bar with rate and time left and
    a line an epoch.

    While it runs, callbacks may read and write epoch and step (those done), loss_value (the last batch's),
    history (a dict an epoch) and stop (a reason ends the run after this step). Ctrl-C is such a reason: the step is
    finished, callbacks save, and KeyboardInterrupt is raised; a second one comes through at once.
    For batches of another form, overwrite compute().

    >>> import pyengine as pe
    >>> x = pe.randn(64, 2)
    >>> net = pe.nn.Linear(2, 1)
    >>> trainer = Trainer(net, pe.nn.MSELoss(), pe.optim.Adam(net.parameters(), lr=0.1), progress=False)
    >>> history = trainer.fit((x, x.sum(1, keepdim=True)), epochs=30, batch_size=16)
    >>> history[-1]["loss"] < 1e-2
    True
    """

    def __init__(self, model, loss, optimizer, *, metrics=(), callbacks=(), accumulate=1, augment=None, progress=True):
        if not isinstance(accumulate, int) or accumulate < 1:
            raise ValueError(f"Trainer: accumulate must be a positive integer, got {accumulate!r}")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics, self.accumulate, self.augment = list(metrics), accumulate, augment
        self.callbacks = sorted(callbacks, key=lambda callback: callback.last)
        self.judged = model  # the model that validation looks at
        self.progress = progress
        self.epoch = self.step = self.batch = 0
        self.inside = False  # an epoch that has begun and is not over
        self.sums = {"loss": 0.0, "seen": 0}
        self.history, self.stop, self.loss_value = [], None, math.nan
        self.loader, self.epochs = None, 0
        self._place = None  # in the data: where fit() was stopped, or of a checkpoint that was loaded before it

    # ---- the loop ----

    def fit(self, train, validation=None, *, epochs=1, batch_size=32, resume=None):
        """Trains until `epochs` epochs are done; the history, a dict an epoch.

        Arguments: train and validation, iterables of batches (DataLoader), or tuples (inputs ..., targets) of arrays;
        batch_size for such a tuple; resume, a checkpoint of save() to go on from, if there is such a file.
        Errors: FloatingPointError when the loss is no finite number and no callback guards against it.
        """
        self.loader = loader_of(train, batch_size, True)
        validation = None if validation is None else loader_of(validation, _ROWS, False)
        if resume is not None and os.path.exists(resume):
            self.load(resume)
        elif self._place is not None and hasattr(self.loader, "load_state_dict"):
            self.loader.load_state_dict(self._place)
        self._place, self.epochs, self.stop = None, epochs, None
        callbacks = list(self.callbacks)
        if self.progress:
            from .logs import ProgressBar

            callbacks.append(self.progress if isinstance(self.progress, Callback) else ProgressBar())
        self._hooks = {name: [getattr(c, name) for c in callbacks if hasattr(c, name)] for name in HOOKS}
        self.model.train()
        with self._interruptible():
            self._call("fit_begin")
            try:
                while self.epoch < epochs and not self.stop:
                    self._run_epoch(validation)
            finally:
                self._call("fit_end")
        return self.history

    def _call(self, name):
        """Calls all hooks of this name; False where one of them refuses."""
        wanted = True
        for hook in self._hooks[name]:
            wanted = hook(self) is not False and wanted
        return wanted

    def _run_epoch(self, validation):
        begun = self.batch if self.inside else 0
        if not self.inside:
            self.inside, self.batch, self.sums = True, 0, {"loss": 0.0, "seen": 0}
            for metric in self.metrics:
                metric.reset()
            self.model.train()
            self._call("epoch_begin")
        batches, count = iter(self.loader), self.batches
        if begun and not hasattr(self.loader, "load_state_dict"):
            batches = itertools.islice(batches, begun, None)
        for batch in batches:
            self._learn(batch)
            if self.batch % self.accumulate == 0 or self.batch == count:  # the loader still knows its place
                self._update()
                if self.stop:
                    if hasattr(self.loader, "load_state_dict"):  # which forgets it when the epoch is left
                        self._place = self.loader.state_dict()
                    self._call("stopped")
                    return
        if self.batch % self.accumulate and self.batch != count:
            self._update()
        if not self.batch:
            raise ValueError("Trainer.fit: the training data has no batches")
        self.inside = False
        self.epoch += 1
        self.history.append({"epoch": self.epoch, "loss": self.sums["loss"] / max(1, self.sums["seen"]),
                             **{metric.name: metric.compute() for metric in self.metrics}})  # fmt: skip
        if validation is not None:
            found = self.evaluate(validation)
            self.history[-1].update((f"val_{name}", value) for name, value in found.items())
        self._call("epoch_end")

    def compute(self, batch):
        """(loss, outputs, targets) of a batch: the model's outputs for all its parts but the last, the targets."""
        *inputs, targets = batch
        if self.augment is not None and self.model.training:
            inputs[0] = self.augment(inputs[0])
        outputs = self.judged(*inputs) if not self.model.training else self.model(*inputs)
        return self.loss(outputs, targets), outputs, targets

    def _learn(self, batch):
        if self.batch % self.accumulate == 0:
            self.optimizer.zero_grad()
        loss, outputs, targets = self.compute(batch)
        (loss / self.accumulate if self.accumulate > 1 else loss).backward()
        self.batch += 1
        self.loss_value = value = loss.item()
        if math.isfinite(value):
            self.sums["loss"] += value * len(targets)
            self.sums["seen"] += len(targets)
            for metric in self.metrics:
                metric.update(outputs, targets)
        elif not any(getattr(callback, "guards", False) for callback in self.callbacks):
            bad = [i for i, part in enumerate(batch) if not _finite(part)]
            advice = f"part {bad[0]} of the batch is not finite" if bad else "a smaller lr may help, or NaNGuard"
            raise FloatingPointError(f"Trainer.fit: the loss is {value} in epoch {self.epoch + 1}, step "
                                     f"{self.step + 1}; {advice}")  # fmt: skip

    def _update(self):
        if self._call("before_step"):
            self.optimizer.step()
        self.step += 1
        self._call("after_step")

    @contextlib.contextmanager
    def _interruptible(self):
        """The first Ctrl-C asks for a stop."""
        before = signal.getsignal(signal.SIGINT)
        ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler

        def ask(number, frame):
            if self.stop == "interrupted":
                raise KeyboardInterrupt
            self.stop = "interrupted"

        if ours:
            signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            if ours:
                signal.signal(signal.SIGINT, before)
        if self.stop == "interrupted":
            raise KeyboardInterrupt

    @property
    def batches(self):
        """How many batches an epoch has; None where the data does not know."""
        try:
            return len(self.loader)
        except TypeError:
            return None

    @property
    def finished(self):
        """True at the end of a run that was not broken off."""
        return self.stop == "early stopping" or (self.stop is None and self.epoch >= self.epochs)

    # ---- without learning ----

    @no_grad()
    def evaluate(self, data, metrics=None):
        """{"loss": mean loss, name of each metric: its value} of the model in evaluation mode.

        Arguments: data, as fit's; metrics in place of the trainer's own."""
        kept = [metric.state for metric in self.metrics]
        metrics = self.metrics if metrics is None else list(metrics)
        for metric in metrics:
            metric.reset()
        total, seen = 0.0, 0
        with self._evaluating():
            for batch in loader_of(data, _ROWS, False):
                loss, outputs, targets = self.compute(batch)
                total += loss.item() * len(targets)
                seen += len(targets)
                for metric in metrics:
                    metric.update(outputs, targets)
        if not seen:
            raise ValueError("Trainer.evaluate: the data has no batches")
        found = {"loss": total / seen, **{metric.name: metric.compute() for metric in metrics}}
        for metric, state in zip(self.metrics, kept, strict=True):
            metric.state = state
        return found

    @no_grad()
    def predict(self, data):
        """The outputs for all rows of data: a tensor or an array of inputs, or an iterable of batches of which the
        first part is the input."""
        rows = not hasattr(data, "__next__") and (hasattr(data, "__array__") or hasattr(data, "detach"))
        with self._evaluating():
            found = [self.judged(as_tensor(batch[0] if isinstance(batch, (tuple, list)) else batch))
                     for batch in (loader_of((data,), _ROWS, False) if rows else data)]  # fmt: skip
        if not found:
            raise ValueError("Trainer.predict: the data has no batches")
        return cat(found)

    @contextlib.contextmanager
    def _evaluating(self):
        models = {id(model): model for model in (self.model, self.judged)}.values()
        before = [(module, module.training) for model in models for module in model.modules()]
        for model in models:
            model.eval()
        try:
            yield
        finally:
            for module, training in before:  # a layer that callbacks hold in evaluation stays there
                module.training = training

    # ---- checkpoints ----

    def _parts(self):
        parts = {"model": self.model, "optimizer": self.optimizer, "trainer": self}
        if hasattr(self.loader, "load_state_dict"):
            parts["loader"] = self.loader
        return parts

    def save(self, path):
        """Writes a checkpoint, from which fit(resume=path) goes on bit for bit."""
        place = {} if self._place is None else {"loader": self._place}
        save_checkpoint(path, **{**self._parts(), **place})

    def load(self, path):
        """Goes on from where save() was called. Errors: as load_checkpoint's; then nothing has changed."""
        self._place = load_checkpoint(path, **self._parts()).get("loader")

    def state_dict(self):
        """Counters, history, and the states of metrics and callbacks."""
        return {
            **{name: getattr(self, name) for name in _COUNTERS},
            "metrics": [metric.state for metric in self.metrics],
            "callbacks": {name: callback.state_dict() for name, callback in self._kept().items()},
        }

    def load_state_dict(self, state_dict):
        """Takes over the state_dict() of a trainer with the same metrics and callbacks."""
        given, metrics, ours = state_dict["callbacks"], state_dict["metrics"], self._kept()
        if sorted(given) != sorted(ours) or len(metrics) != len(self.metrics):
            raise ValueError(f"Trainer: the state has callbacks {sorted(given)} and {len(metrics)} metrics, there are "
                             f"{sorted(ours)} and {len(self.metrics)}")  # fmt: skip
        for name, callback in ours.items():
            callback.load_state_dict(given[name])
        for metric, its in zip(self.metrics, metrics, strict=True):
            metric.state = its
        for name in _COUNTERS:
            setattr(self, name, state_dict[name])

    def _kept(self):
        """The callbacks that have a state, by name."""
        found = {}
        for callback in self.callbacks:
            if hasattr(callback, "load_state_dict"):
                kind = type(callback).__name__
                found[f"{kind} {sum(type(c).__name__ == kind for c in found.values()) + 1}"] = callback
        return found


def _finite(part):
    """False for numbers among which are NaN or infinities."""
    return not hasattr(part, "isfinite") or part.isfinite().all().item()


def loader_of(data, batch_size, shuffle):
    """data, or batches of a tuple of arrays."""
    if not isinstance(data, tuple):
        return data
    return DataLoader(ArrayDataset(*data), batch_size, shuffle)
