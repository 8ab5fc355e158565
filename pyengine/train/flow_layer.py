"""What a gradient-flow watcher measures at one layer, and how it stays cheap."""

import math
from collections import deque
from functools import reduce
from itertools import islice
from operator import or_
from typing import NamedTuple

from pyengine import Tensor, _core, is_grad_enabled, nn, no_grad

_PART = 1 << 13  # elements of a tensor that are looked at where a part is as good as all
_BATCHES = 4  # observed ones in which a dead unit was silent
_LEAST, _MOST = 1e-15, 1e15  # between these norms float32 holds the squares


class LayerFlow(NamedTuple):
    """One layer in one observed step; None is what was not there to be measured.

    weight: the 2-norm of its own weights before the step (of matrices and convolutions alone where it has any).
    gradient: that of the gradients of all its own parameters, as the optimizer saw them. update: the norm of what the
    step changed in the weights. output: the root mean square of its output. signal: the norm of the loss's gradient by
    its output. dead: of a ReLU, the share of units that fired for no row of the last (at most 4) observed batches. Of
    tensors with over 8,192 elements weight, update and output are told by some rows, other ones each time, and scaled
    to all.
    """

    weight: float | None = None
    gradient: float | None = None
    update: float | None = None
    output: float | None = None
    signal: float | None = None
    dead: float | None = None
    kind: str = ""  # of the module

    @property
    def ratio(self):
        """update / weight: how much of itself one step changes. About 1e-3 is healthy."""
        return self.update / self.weight if self.weight and self.update is not None else None


class WatchedLayer:
    """A module, and what is being found out about it in the step that is observed."""

    def __init__(self, path, module, own):
        self.path, self.module, self.own = path, module, own
        self.main = [p for p in own if p.ndim > 1] or own  # a bias beside a matrix says nothing about its steps
        self.dies = isinstance(module, (nn.ReLU, nn.ReLU6))
        self.batches = deque(maxlen=_BATCHES)
        self._forget()

    def _forget(self):
        self.weight = self.gradient = self.update = None
        self.copies = []
        self.outputs, self.signals, self.fired = [], [], []

    # ---- forward and backward ----

    def tap(self, watcher, turn):
        """A forward hook of the module until the handle's remove()."""
        return self.module.register_forward_hook(_Tap(self, watcher, turn))

    def see_output(self, x, turn, channels):
        """What forward gave, detached; channels, which axis numbers the units."""
        self.outputs.append(_size(x, turn))
        if self.dies and x.numel() and x.ndim:
            others = [axis for axis in range(x.ndim) if axis != channels % x.ndim]
            fired = (x.amax(others) if others else x).numpy() > 0
            if self.batches and self.batches[0].shape != fired.shape:
                self.batches.clear()  # a layer that now has another number of units
            self.fired = [mask for mask in self.fired if mask.shape == fired.shape] + [fired]

    # ---- the step ----

    def of_all(self, norms):
        """The norm of the weights, or of what changed in them, from those of the copied rows."""
        triples = zip(norms, self.copies, self.main, strict=True)
        return _together([(norm, copy.numel(), p.numel()) for norm, copy, p in triples])

    def measured(self):
        """The LayerFlow of what was looked at."""
        if self.fired:
            self.batches.append(reduce(or_, self.fired))
        found = LayerFlow(
            weight=self.weight,
            gradient=self.gradient,
            update=self.update,
            output=_together(self.outputs, mean=True),
            signal=_together(self.signals),
            dead=_dead(self.batches) if self.batches else None,
            kind=type(self.module).__name__,
        )
        self._forget()
        return found


class _Tap:
    """The forward hook. A copy of the model gets one that does nothing."""

    def __init__(self, layer, watcher, turn):
        self.layer, self.watcher, self.turn = layer, watcher, turn

    def __deepcopy__(self, memo):
        return _Tap(None, None, 0)

    def __call__(self, module, args, output):
        layer, x = self.layer, output[0] if isinstance(output, (tuple, list)) and output else output
        if layer is None or not is_grad_enabled() or not isinstance(x, Tensor) or not x.is_floating_point():
            return
        layer.see_output(x.detach(), self.turn, self.watcher.called(layer))
        if layer.own and x.requires_grad:
            x.register_hook(self._signal)

    def _signal(self, gradient):
        self.layer.signals.append(_size(gradient.detach()))  # of all rows: a few hard ones have most of it


# ---- just before and after the step, all layers in a few calls ----


@no_grad()
def look_before(layers, turn):
    """At the weights and, while the step still has to read them, at the gradients."""
    for layer in layers:
        layer.copies = [_rows(p.detach(), turn).clone() for p in layer.main]
    for layer, norms in _norms_of_lists(layers, [layer.copies for layer in layers]):
        layer.weight = layer.of_all(norms)
    look_at_gradients(layers)


def look_at_gradients(layers):
    """Those of their parameters."""
    gradients = [[getattr(p.grad, "entries", p.grad) for p in layer.own if p.grad is not None] for layer in layers]
    for layer, norms in _norms_of_lists(layers, gradients):
        layer.gradient = math.hypot(*norms) if norms else None


@no_grad()
def look_after(layers, turn):
    """At what has changed."""
    changes = [[copy.sub_(_rows(p.detach(), turn)) for p, copy in zip(layer.main, layer.copies, strict=True)]
               for layer in layers]  # fmt: skip
    for layer, norms in _norms_of_lists(layers, changes):
        layer.update = layer.of_all(norms)


def _norms_of_lists(layers, lists):
    """(layer, norms of the tensors of its list) pairs."""
    norms = iter(norms_of([x for tensors in lists for x in tensors]))
    return [(layer, list(islice(norms, len(tensors)))) for layer, tensors in zip(layers, lists, strict=True)]


# ---- norms ----


def norms_of(tensors):
    """The 2-norm of each of tensors, a float, also where squares leave float32's range."""
    if not _core.walks_as_floats(tensors):
        return [norms_of([x])[0] if _core.walks_as_floats([x]) else _exact(x) for x in tensors]
    norms = _core.norms(tensors)
    return [norm if _LEAST < norm < _MOST else _exact(x) for norm, x in zip(norms, tensors, strict=True)]


def _exact(x):
    import numpy

    return float(numpy.linalg.norm(x.detach().double().numpy().reshape(-1)))


def _rows(x, turn):
    """Some rows of x, others each turn; all where they are few."""
    if x.numel() <= _PART or not x.ndim:
        return x
    rows = x.shape[0]
    take = max(1, _PART * rows // x.numel())
    start = turn * take % (rows - take + 1)
    return x[start : start + take]


def _size(x, turn=None):
    """(norm of some rows of x, or of all, how many elements these have, how many x has)."""
    rows = x if turn is None else _rows(x, turn)
    return norms_of([rows])[0], rows.numel(), x.numel()


def _together(sizes, mean=False):
    """The norm of tensors of which parts were looked at, or the root mean square of their elements; None of none."""
    squares = elements = 0
    for norm, part, whole in sizes:
        if part:
            squares += norm * norm * whole / part
            elements += whole
    if not elements:
        return None
    return math.sqrt(squares / elements if mean else squares)


def _dead(masks):
    """The share of units that are set in none of masks, which have one length."""
    import numpy

    fired = reduce(or_, masks)
    return 1.0 - int(numpy.count_nonzero(fired)) / fired.size
