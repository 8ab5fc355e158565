"""Averages of weights along the way: stochastic weight averaging (SWA) and exponential moving averages (EMA)."""

import math
from copy import deepcopy

from pyengine import _core, no_grad, tensor
from pyengine.nn import Module

from .lr_scheduler.base import LRScheduler, checked, for_groups


def _checked_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


def _move(averages, values, share):
    """averages += share (values - averages): one C call over all that are dense float32."""
    fast = [i for i, (a, b) in enumerate(zip(averages, values, strict=True)) if _alike(a, b)]
    _core.update_list("lerp", [averages[i] for i in fast], [values[i] for i in fast], (share,))
    with no_grad():
        for i in set(range(len(averages))) - set(fast):
            averages[i].copy_(averages[i] + (values[i] - averages[i]) * share)


def _alike(a, b):
    return _core.walks_as_floats([a, b]) and a.stride() == b.stride()


def get_ema_multi_avg_fn(decay=0.999):
    """A function (averages, values, count) that moves lists in place: average <- decay average + (1 - decay) value."""
    share = 1 - _checked_decay(decay)
    return lambda averages, values, _: _move(averages, values, share)


def get_swa_multi_avg_fn():
    """A function (averages, values, count) that takes one more value each into averages of `count`, in place."""
    return lambda averages, values, count: _move(averages, values, 1.0 / (int(count) + 1))


def get_ema_avg_fn(decay=0.999):
    """A function (average, value, count): decay average + (1 - decay) value."""
    _checked_decay(decay)

    @no_grad()
    def ema_update(average, value, count):
        return decay * average + (1 - decay) * value

    return ema_update


def get_swa_avg_fn():
    """A function (average, value, count): the average of count + 1 values."""

    @no_grad()
    def swa_update(average, value, count):
        return average + (value - average) / (int(count) + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of model, in `module`, whose parameters are averages of model's: at each update_parameters(model) equal
    ones (SWA), or by avg_fn or multi_avg_fn (for EMA: get_ema_multi_avg_fn()). The first update copies. Buffers are
    copied, with use_buffers averaged too. (Izmailov et al. 2018)

    Arguments: model, device (not used), avg_fn, multi_avg_fn, use_buffers.

    >>> import pyengine as pe
    >>> model = pe.nn.Linear(1, 1, bias=False)
    >>> average = pe.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = model.weight.detach().fill_(value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    3.0
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Takes model's present parameters into the averages."""
        averages, values = [*self.module.parameters()], [*model.parameters()]
        held, given = [*self.module.buffers()], [*model.buffers()]
        if self.use_buffers:
            averages, values, held, given = averages + held, values + given, [], []
        averages, values = [x.detach() for x in averages], [x.detach() for x in values]
        count = int(self.n_averaged.item())
        if count == 0:
            _copy(averages, values)
        elif self.avg_fn is not None:
            _copy(averages, [self.avg_fn(a, b, count) for a, b in zip(averages, values, strict=True)])
        elif averages:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, values, count)
        _copy(held, given)
        self.n_averaged.fill_(count + 1)


def _copy(targets, sources):
    with no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)


def update_bn(loader, model, device=None):
    """One pass of loader's batches (tensors, or tuples whose first is one) through model, so that its batch norms
    hold the mean and variance of all of them together."""
    norms = [m for m in model.modules() if hasattr(m, "running_mean") and hasattr(m, "reset_running_stats")]
    if not norms:
        return
    was_training, momenta = model.training, [m.momentum for m in norms]
    model.train()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # equal weights
    try:
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs, along a cosine or a line, and constant from there on.

    Arguments: optimizer, swa_lr (one, or one for each group), anneal_epochs, anneal_strategy, last_epoch.
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for rate, group in zip(for_groups(swa_lr, "swa_lr", checked(optimizer)), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step):
        """How much of swa_lr there is after so many steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self):
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * now + start * (1 - now))
        return rates
