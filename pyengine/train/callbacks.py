"""Callbacks of Trainer: when to stop, what to keep, how fast to learn, what to do about NaN."""

import math
import os
import re
import shutil
import time
from copy import deepcopy
from pathlib import Path

from pyengine.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from pyengine.optim.lr_scheduler import ReduceLROnPlateau
from pyengine.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from .trainer import Callback

_LESS_IS_BETTER = re.compile(r"(loss|error|mae|rmse|perplexity)$")


class _Watching(Callback):
    """Knows the best value of one entry of the history."""

    def __init__(self, monitor="val_loss", mode=None, min_delta=0.0):
        if mode not in (None, "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be 'min' or 'max', got {mode!r}")
        self.monitor, self.min_delta = monitor, min_delta
        self.sign = {"min": -1, "max": 1}.get(mode) or (-1 if _LESS_IS_BETTER.search(monitor) else 1)
        self.best, self.best_epoch = -math.inf, 0

    def better(self, trainer):
        """True where this epoch's value is the best so far."""
        entry = trainer.history[-1]
        if self.monitor not in entry:
            raise ValueError(f"{type(self).__name__}: the history has no {self.monitor!r}, only {', '.join(entry)}")
        value = self.sign * entry[self.monitor]
        if not value > self.best + self.min_delta:
            return False
        self.best, self.best_epoch = value, trainer.epoch
        return True

    def state_dict(self):
        return {name: value for name, value in vars(self).items() if name in ("best", "best_epoch", "weights")}

    def load_state_dict(self, state_dict):
        vars(self).update(state_dict)


class EarlyStopping(_Watching):
    """Ends training when monitor has not been better (by min_delta) for `patience` epochs, and with restore_best puts
    back the weights of the best one. (Prechelt 1998)

    Arguments: monitor, an entry of the history; patience; min_delta; mode, "min" or "max" (by default what the name
    says: less is better for losses and errors); restore_best.
    """

    def __init__(self, monitor="val_loss", patience=5, min_delta=0.0, mode=None, restore_best=True):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best, self.weights = patience, restore_best, None

    def epoch_end(self, trainer):
        if self.better(trainer):
            self.weights = deepcopy(dict(trainer.judged.state_dict())) if self.restore_best else None
        elif trainer.epoch - self.best_epoch >= self.patience:
            trainer.stop = "early stopping"

    def fit_end(self, trainer):
        if self.weights is not None and trainer.finished:
            trainer.judged.load_state_dict(self.weights)


class ModelCheckpoint(_Watching):
    """Checkpoints in folder: last.safetensors, best.safetensors (by monitor, where the history has it), and the last
    `keep` under the number of their step. trainer.fit(..., resume=folder / "last.safetensors") goes on from one.

    They are written after each epoch, each every_steps steps, and where a run is stopped in the middle of an epoch.
    """

    last = True

    def __init__(self, folder, monitor="val_loss", mode=None, keep=1, every_steps=None):
        super().__init__(monitor, mode)
        if keep < 1 or (every_steps is not None and every_steps < 1):
            raise ValueError(f"ModelCheckpoint: keep={keep} and every_steps={every_steps} must be at least 1")
        self.folder, self.keep, self.every_steps = Path(folder), keep, every_steps

    def fit_begin(self, trainer):
        self.folder.mkdir(parents=True, exist_ok=True)

    def after_step(self, trainer):
        if self.every_steps and trainer.step % self.every_steps == 0:
            self._save(trainer)

    def epoch_end(self, trainer):
        best = self.monitor in trainer.history[-1] and self.better(trainer)
        path = self._save(trainer)
        if best:
            _name_too(path, self.folder / "best.safetensors")

    def stopped(self, trainer):
        self._save(trainer)

    def _save(self, trainer):
        path = self.folder / f"step-{trainer.step:09}.safetensors"
        trainer.save(path)
        _name_too(path, self.folder / "last.safetensors")
        found = self.folder.glob("step-" + "[0-9]" * 9 + ".safetensors")
        for old in sorted((p for p in found if p != path), key=lambda p: -p.stat().st_mtime_ns)[self.keep - 1 :]:
            old.unlink(missing_ok=True)
        return path


def _name_too(path, name):
    """Makes name another name of the file at path, or a copy where the file system has no links; never half of one."""
    beside = name.with_name(f"{name.name}.{os.getpid()}.link")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        shutil.copyfile(path, beside)
    os.replace(beside, name)


class LRSchedule(Callback):
    """Steps a schedule of pyengine.optim.lr_scheduler after each "epoch" or each "step"; ReduceLROnPlateau after each
    epoch by monitor."""

    def __init__(self, scheduler, every="epoch", monitor="val_loss"):
        if every not in ("epoch", "step"):
            raise ValueError(f"LRSchedule: every must be 'epoch' or 'step', got {every!r}")
        self.scheduler, self.every, self.monitor = scheduler, every, monitor

    def after_step(self, trainer):
        if self.every == "step":
            self.scheduler.step()

    def epoch_end(self, trainer):
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(trainer.history[-1][self.monitor])
        elif self.every == "epoch":
            self.scheduler.step()

    def state_dict(self):
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict):
        self.scheduler.load_state_dict(state_dict)


class GradientClipping(Callback):
    """Limits the gradients' norm to max_norm, or each of their elements to max_value, before every step."""

    def __init__(self, max_norm=None, max_value=None):
        if (max_norm is None) == (max_value is None):
            raise ValueError("GradientClipping: one of max_norm and max_value is needed")
        self.max_norm, self.max_value = max_norm, max_value

    def before_step(self, trainer):
        if self.max_norm is not None:
            clip_grad_norm_(trainer.model.parameters(), self.max_norm)
        else:
            clip_grad_value_(trainer.model.parameters(), self.max_value)


class EMA(Callback):
    """Keeps an average of the weights, average <- decay average + (1 - decay) weights after each step (from step
    `start` on), which validation looks at and which the model has at the end. (Polyak & Juditsky 1992)"""

    def __init__(self, decay=0.999, start=0):
        self.average_fn, self.start = get_ema_multi_avg_fn(decay), start
        self.average = self._state = None  # the averages, and what is to be loaded into them

    def fit_begin(self, trainer):
        self.average = self.average or AveragedModel(trainer.model, multi_avg_fn=self.average_fn)
        if self._state is not None:
            self.average.load_state_dict(self._state)
            self._state = None
            trainer.judged = self.average.module

    def after_step(self, trainer):
        if trainer.step > self.start:
            self._take(trainer)

    def _take(self, trainer):
        self.average.update_parameters(trainer.model)
        trainer.judged = self.average.module

    def fit_end(self, trainer):
        if trainer.finished and trainer.judged is not trainer.model:
            trainer.model.load_state_dict(self.average.module.state_dict())
            trainer.judged = trainer.model

    def state_dict(self):
        return {"average": self._state if self.average is None else self.average.state_dict()}

    def load_state_dict(self, state_dict):
        self._state = state_dict["average"]


class SWA(EMA):
    """Keeps the mean of the weights after each epoch from epoch `start` on; at the end the model has it, with the
    statistics of its batch norms taken anew from the training data. (Izmailov et al. 2018)"""

    def __init__(self, start):
        super().__init__(0.0, start)
        self.average_fn = None

    def after_step(self, trainer):
        """Nothing: epochs count."""

    def epoch_end(self, trainer):
        if trainer.epoch > self.start:
            self._take(trainer)

    def fit_end(self, trainer):
        if trainer.finished and trainer.judged is not trainer.model:
            update_bn(trainer.loader, self.average.module)
        super().fit_end(trainer)


class TimeLimit(Callback):
    """Stops after so many seconds of one fit(), at the end of a step; ModelCheckpoint saves then."""

    def __init__(self, seconds):
        self.seconds = seconds

    def fit_begin(self, trainer):
        self.end = time.monotonic() + self.seconds

    def after_step(self, trainer):
        if time.monotonic() > self.end:
            trainer.stop = "time limit"


class NaNGuard(Callback):
    """Where the loss or the gradients are no finite numbers: leaves the step out, goes back to the last good weights
    and optimizer state (kept each `every` steps) and multiplies the learning rates by factor; the `patience`-th time
    without `every` good steps between is a FloatingPointError. What it keeps is part of checkpoints (which have the
    weights and the optimizer's state twice then): a run that goes on from one goes back to the same bits."""

    guards = True

    def __init__(self, every=50, factor=0.5, patience=5):
        self.every, self.factor, self.patience = every, factor, patience
        self.failures, self._good, self._since = 0, None, 0

    def before_step(self, trainer):
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        if math.isfinite(trainer.loss_value) and math.isfinite(get_total_norm(gradients).item()):
            self._since += 1
            if self._good is None or self._since >= self.every:  # the weights that gave this loss, before the step
                self._good = deepcopy((dict(trainer.model.state_dict()), trainer.optimizer.state_dict()))
                self._since = self.failures = 0
            return True
        self.failures += 1
        if self.failures >= self.patience or self._good is None:
            raise FloatingPointError(f"NaNGuard: the loss is {trainer.loss_value} in step {trainer.step + 1} after "
                                     f"{self.failures - 1} smaller learning rates")  # fmt: skip
        rates = [group["lr"] * self.factor for group in trainer.optimizer.param_groups]
        trainer.model.load_state_dict(self._good[0])
        trainer.optimizer.load_state_dict(self._good[1])
        for group, rate in zip(trainer.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
            if "initial_lr" in group:
                group["initial_lr"] *= self.factor
        for callback in trainer.callbacks:
            if hasattr(getattr(callback, "scheduler", None), "base_lrs"):
                callback.scheduler.base_lrs = [rate * self.factor for rate in callback.scheduler.base_lrs]
        return False

    def state_dict(self):
        return {"good": self._good, "since": self._since, "failures": self.failures}

    def load_state_dict(self, state_dict):
        self._good, self._since, self.failures = (state_dict[name] for name in ("good", "since", "failures"))
