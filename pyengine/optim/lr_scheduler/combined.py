"""Schedules made of schedules."""

from bisect import bisect_right

from .base import LRScheduler
from .plateau import ReduceLROnPlateau


class _OfSchedulers(LRScheduler):
    """Several schedules of one optimizer; their states are saved along."""

    _unsaved = ("optimizer", "_schedulers")

    def _take(self, schedulers, optimizer):
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} expects at least one scheduler, but got none")
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(f"{name}: scheduler {i} has no optimizer")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"{name}: scheduler {i} is a ReduceLROnPlateau, whose step() needs a metric")
            if scheduler.optimizer is not (optimizer or schedulers[0].optimizer):
                raise ValueError(f"{name}: scheduler {i} belongs to another optimizer")
        self._schedulers, self.optimizer = schedulers, optimizer or schedulers[0].optimizer

    def state_dict(self):
        """All that changes, the states of the schedules in "_schedulers"."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict):
        """Goes on from where the state_dict() of another was made."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class ChainedScheduler(_OfSchedulers):
    """All schedules at once: their factors multiply."""

    def __init__(self, schedulers, optimizer=None):
        self._take(schedulers, optimizer)
        self._last_lr = self._rates()

    def step(self):
        """Steps all of them."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()


class SequentialLR(_OfSchedulers):
    """One schedule after the other: the next one begins at each of the epochs milestones.

    >>> import pyengine as pe
    >>> from pyengine.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> optimizer = pe.optim.SGD([pe.nn.Parameter(pe.zeros(1))], lr=1.0)
    >>> parts = [ConstantLR(optimizer, factor=0.5, total_iters=9), ExponentialLR(optimizer, gamma=0.5)]
    >>> scheduler, seen = SequentialLR(optimizer, parts, milestones=[2]), []
    >>> for _ in range(4):
    ...     seen += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> seen
    [0.5, 0.5, 1.0, 0.5]
    """

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones, "
                             f"got {len(milestones)}")  # fmt: skip
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:  # each schedule has set its first rate: only one may
            group["lr"] = group["initial_lr"]
        _step_back(self)
        first = self._schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self):
        """Steps the schedule whose time it is."""
        self.last_epoch += 1
        now = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[now]
        if now > 0 and self._milestones[now - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _step_back(scheduler):
    """Takes back the epoch that making a schedule counted, in all schedules below."""
    for part in getattr(scheduler, "_schedulers", ()):
        if hasattr(part, "_schedulers"):
            _step_back(part)
        else:
            part.last_epoch -= 1
