"""LRScheduler: counts epochs and writes each group's learning rate."""

from ..optimizer import Optimizer


class LRScheduler:
    """The base of all schedules.

    A subclass writes `get_lr()`: the groups' rates at self.last_epoch, from their rates before or from
    self.base_lrs. The first rates are set at once. last_epoch = -1 begins anew, with each group's "lr" kept as
    "initial_lr"; other values go on from there.
    """

    _unsaved: tuple[str, ...] = ("optimizer",)  # attributes that state_dict leaves out
    _is_initial = False  # True while the first rates are set

    def __init__(self, optimizer, last_epoch=-1):
        self.optimizer = checked(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: last_epoch={last_epoch} needs 'initial_lr' in group {i}")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self):
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            del self._is_initial

    def get_lr(self):
        """The groups' rates at self.last_epoch; to be called by step() only (get_last_lr() tells the present ones)."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr")

    def get_last_lr(self):
        """The rates that the last step() set, one for each group."""
        return self._last_lr

    def step(self, epoch=None):
        """Goes on by one epoch; or, where the schedule has a closed form, to the epoch given."""
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch=None):
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = getattr(self, "_get_closed_form_lr", None)
        self._set(self.get_lr() if epoch is None or closed is None else closed())

    def _set(self, rates):
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _rates(self):
        """The groups' present rates."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _times(self, factor):
        """The present rates times factor."""
        return [rate * factor for rate in self._rates()]

    def state_dict(self):
        """All that changes, but for the optimizer (which has its own) and functions."""
        return {name: value for name, value in self.__dict__.items() if name not in self._unsaved}

    def load_state_dict(self, state_dict):
        """Goes on from where the state_dict() of another was made."""
        self.__dict__.update(state_dict)


def checked(optimizer):
    """optimizer, if it is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def for_groups(value, name, optimizer):
    """value as a list, one for each group."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name}: {len(value)} values for {groups} parameter groups")
    return list(value)


class MomentumCycle:
    """Momentum that moves against the rate: "momentum", or the first of "betas", of each group."""

    def __init__(self, optimizer, base_momentum, max_momentum, fresh):
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with cycle_momentum")
        self.in_betas = "betas" in optimizer.defaults
        base = for_groups(base_momentum, "base_momentum", optimizer)
        most = for_groups(max_momentum, "max_momentum", optimizer)
        if fresh:
            for group, low, high in zip(optimizer.param_groups, base, most, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
                self.put(group, high)

    def put(self, group, momentum):
        """Writes the momentum of group."""
        if self.in_betas:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum
