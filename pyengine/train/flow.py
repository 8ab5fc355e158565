"""GradientFlow: what weights, gradients, updates and outputs of each layer measure while a model learns."""

import math
from typing import NamedTuple

from pyengine import nn
from pyengine.nn.batch_norm import _BatchNorm
from pyengine.nn.conv import _Conv
from pyengine.optim import Optimizer

from .flow_layer import LayerFlow, WatchedLayer, look_after, look_at_gradients, look_before
from .flow_report import FlowReport, findings
from .trainer import Callback

__all__ = ["FlowRecord", "GradientFlow", "LayerFlow"]

_RECORDS = 1000  # kept at most: then every second one goes
_CHANNELS_FIRST = (_Conv, _BatchNorm, nn.GroupNorm)


class FlowRecord(NamedTuple):
    """One observed step: its number, and name -> LayerFlow in the order in which the layers were called."""

    step: int
    layers: dict


class GradientFlow(Callback):
    """Watches how signals and gradients flow through a model that learns: in steps 1, 1 + every, 1 + 2 every, ... each
    layer's LayerFlow is put into `records`, and report() says what is wrong and what to try.

    As a callback of Trainer it needs nothing more. In a loop of your own attach(model, optimizer) hangs it on the
    optimizer's step; detach() takes it off. Steps between the observed ones cost two calls of a function, weights and
    their bits are untouched. Layers are modules with parameters of their own that learn, and ReLUs.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(2, 8), pe.nn.ReLU(), pe.nn.Linear(8, 1))
    >>> optimizer = pe.optim.SGD(net.parameters(), lr=0.01)
    >>> flow = GradientFlow(every=2).attach(net, optimizer)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     (net(pe.ones(4, 2)) - 1.0).pow(2).mean().backward()
    ...     optimizer.step()
    >>> flow.detach()
    >>> [record.step for record in flow.records], list(flow.records[0].layers)
    ([1, 3, 5], ['0', '1', '2'])
    """

    last = True  # what other callbacks copy of the model at the start is without hooks

    def __init__(self, every=20):
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"GradientFlow: every must be a positive integer, got {every!r}")
        self.every, self.records = every, []
        self._layers, self._handles, self._taps = {}, [], []

    # ---- where it hangs ----

    def attach(self, model, optimizer, step=0):
        """Watches model from its next step on; step is how many were done before. Returns self."""
        if not isinstance(model, nn.Module) or not isinstance(optimizer, Optimizer):
            given = f"{type(model).__name__} and {type(optimizer).__name__}"
            raise TypeError(f"GradientFlow.attach: a Module and an Optimizer are needed, got {given}")
        self.detach()
        self._layers, seen = {}, set()
        for name, module in model.named_modules():
            own = [p for p in module._parameters.values() if p is not None and p.requires_grad and id(p) not in seen]
            seen.update(map(id, own))
            if own or isinstance(module, (nn.ReLU, nn.ReLU6)):
                self._layers[name or type(module).__name__] = WatchedLayer(name, module, own)
        if not any(layer.own for layer in self._layers.values()):
            raise ValueError(f"GradientFlow.attach: {type(model).__name__} has no parameter that learns")
        self._watched = [layer for layer in self._layers.values() if layer.own]
        self._first = self._step = step
        self._turn, self._called, self._order, self._channels = 0, {}, None, -1
        self._handles = [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]
        self._tap_where_due()
        return self

    def detach(self):
        """Takes all hooks off. What a step that did not come to its end has shown is kept as a record."""
        if any(layer.outputs for layer in self._layers.values()):
            self._record_half()
        self._untap()
        for handle in self._handles:
            handle.remove()
        self._layers, self._handles = {}, []

    def fit_begin(self, trainer):
        self.attach(trainer.model, trainer.optimizer, trainer.step)

    def fit_end(self, trainer):
        # the step that failed was no observed one; of no steps at all there is nothing to say
        if self._step > self._first and not math.isfinite(trainer.loss_value) and not self._taps:
            self._record_half()
        self.detach()

    # ---- what is seen ----

    def called(self, layer):
        """Notes that layer is called; the axis of its output that numbers the units: 1 behind convolutions and their
        norms, else the last one."""
        if layer.path not in self._called:
            self._called[layer.path], self._order = None, None
        if layer.own:
            self._channels = 1 if isinstance(layer.module, _CHANNELS_FIRST) else -1
        return self._channels

    def _tap_where_due(self):
        self._turn, due = divmod(self._step, self.every)
        if due == 0:
            self._taps = [layer.tap(self, self._turn) for layer in self._layers.values()]

    def _before(self, optimizer, args, kwargs):
        if self._taps:
            look_before(self._watched, self._turn)

    def _after(self, optimizer, args, kwargs):
        if self._taps:
            self._untap()
            look_after(self._watched, self._turn)
            if args or kwargs:  # a closure has made the gradients meanwhile
                look_at_gradients(self._watched)
            self._record()
        self._step += 1
        self._tap_where_due()

    def _untap(self):
        for handle in self._taps:
            handle.remove()
        self._taps = []

    def _record(self):
        self._order = self._order or self._in_order()
        self.records.append(FlowRecord(self._step + 1, {name: layer.measured() for name, layer in self._order}))
        if len(self.records) > _RECORDS:
            del self.records[1:-1:2]

    def _record_half(self):
        """A step that did not come to its end, or one that was not observed and failed."""
        look_before(self._watched, self._turn)
        self._record()

    def _in_order(self):
        """The layers in the order of their calls. One that is not called (its parent uses its weights) has its
        parent's place; one with layers below, whose call ends after theirs, comes before them."""
        places = {}
        for place, path in enumerate(self._called):
            while path not in places:
                places[path] = place
                path = path.rpartition(".")[0]

        def place_of(path):
            while path not in places and path:
                path = path.rpartition(".")[0]
            return places.get(path, 0)

        return sorted(self._layers.items(), key=lambda item: place_of(item[1].path))

    def report(self):
        """A FlowReport of the records: what is wrong, at which layer first, and what to try; empty where nothing is."""
        return FlowReport(findings(self.records))
