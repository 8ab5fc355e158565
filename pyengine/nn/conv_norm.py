"""Convolution, batch norm and activation as one call in inference: the norm is folded into weight and bias, and
activation and residual happen where the product stores its results.

Whatever could tell the difference switches it off: a recording tape, training mode, hooks, parametrizations, classes
with a forward of their own. What was folded is kept for the next time, until one of its tensors is written.
"""

from weakref import WeakKeyDictionary, ref

from pyengine import Tensor, _core
from pyengine.ops._method import recorded

from . import functional as F
from .activation import ReLU, SiLU
from .activation_hard import Hardswish, ReLU6
from .batch_norm import _BatchNorm
from .conv import _Conv

# activations that the product's epilogue knows -> their row of the table
_ROWS = {
    known: _core.elementwise_op(name)
    for name, both in {"relu": (ReLU, F.relu), "relu6": (ReLU6, F.relu6), "silu": (SiLU, F.silu),
                       "hardswish": (Hardswish, F.hardswish)}.items()
    for known in both
}  # fmt: skip

_kept: WeakKeyDictionary = WeakKeyDictionary()  # convolution -> _Folded
_ready: WeakKeyDictionary = WeakKeyDictionary()  # convolution -> _core.ReadyConv: the next call's short way
_NUMBERS = ("stride", "padding", "dilation", "groups")  # in the order of ops.conv.known_windows


class _Folded:
    """Weight and bias of one convolution with one norm folded in; None where that cannot be."""

    __slots__ = ("bias", "eps", "norm", "watched", "weight")

    def __init__(self, tensors, norm):
        from .utils.fusion import folded

        weight, bias, scale, shift, mean, var = tensors
        self.watched, self.norm, self.eps = _core.Watched(tensors), ref(norm), norm.eps
        self.weight = self.bias = None
        if mean.shape != weight.shape[:1] or any(t is not None and t.dtype.name != "float32" for t in tensors):
            return
        made = folded(weight, bias, mean, var, norm.eps, scale, shift)
        if all((t * 0.0).sum().item() == 0.0 for t in made):  # inf in a sum is not what the norm of a sum has
            self.weight, self.bias = made


def forget_folded():
    """Gives the memory of everything folded back; pe.trim() calls it."""
    _kept.clear()
    _ready.clear()


def _plain(module, forward):
    """A call of module is forward and nothing else."""
    hooks = module._hooks
    return (
        type(module).forward is forward
        and (hooks is None or not hooks.around_call)
        and not module._parametrized
        and "forward" not in module.__dict__
    )


def _row(activation):
    """The epilogue's number of an activation, a module or a function; None where it has none."""
    known = type(activation)
    row = _ROWS.get(known)
    if row is None:
        return None if hasattr(activation, "forward") else _ROWS.get(activation)
    return row if _plain(activation, known.forward) else None


def _weights(conv, norm, x):
    """(weight, bias) of the one convolution that does what both do with x; None where they must be called."""
    own = conv._parameters
    weight, bias = own.get("weight"), own.get("bias")
    if weight is None or not _plain(conv, _Conv.forward) or x.ndim != conv.axes + 2:
        return None
    if norm is None:
        return None if recorded(x, weight, bias) else (weight, bias)
    learned, running = norm._parameters, norm._buffers
    mean, var = running.get("running_mean"), running.get("running_var")
    tensors = weight, bias, learned.get("weight"), learned.get("bias"), mean, var
    if norm.training or mean is None or var is None or not _plain(norm, _BatchNorm.forward) or recorded(x, *tensors):
        if _kept and norm.training:
            _kept.pop(conv, None)  # training takes its memory back
            _ready.pop(conv, None)
        return None
    return _known(conv, norm, tensors) if x.ndim in norm.ranks else None


def _known(conv, norm, tensors):
    """What was folded before, if that still holds; else folded now."""
    there = _kept.get(conv)
    if there is not None and there.norm() is not norm and there.norm() is not None:
        return None  # a convolution that several norms share
    if there is None or there.eps != norm.eps or not there.watched.still(tensors):
        there = _kept[conv] = _Folded(tensors, norm)
    return None if there.weight is None else (there.weight, there.bias)


def conv_norm_act(x, conv, norm, activation=None, residual=None):
    """activation(norm(conv(x)) + residual), as one convolution where nothing is recorded and norm is in evaluation.

    Arguments: norm, activation (a module or a function) and residual (of the result's shape) may each be None.
    With a norm the one convolution rounds otherwise than the two: by a few units in the last place of the sums'
    terms, as if weight and bias had been folded by hand (nn.utils.fusion). Without one the bits are the same.
    """
    ready = _ready.get(conv) if _ready else None
    if ready is not None:
        y = ready.run(x, conv, norm, activation, residual)
        if y is not None:
            return y
    return _found(x, conv, norm, activation, residual)


def _found(x, conv, norm, activation, residual):
    """conv_norm_act where everything is looked at anew; the next call's short way is prepared."""
    if isinstance(x, Tensor) and isinstance(conv, _Conv) and (norm is None or isinstance(norm, _BatchNorm)):
        weights = None if residual is not None and recorded(residual) else _weights(conv, norm, x)
        if weights is not None:
            row = _row(activation) if activation is not None else None
            # an activation that the epilogue has not comes behind
            y = conv.convolved(x, *weights, (row, residual))
            if activation is None or row is not None:
                _prepare(conv, norm, activation, row, weights)
            return y if activation is None or row is not None else activation(y)
    y = conv(x)
    if norm is not None:
        y = norm(y)
    if residual is not None:
        y = y + residual
    return y if activation is None else activation(y)


def _prepare(conv, norm, activation, row, weights):
    """Keeps what was decided, where ReadyConv's marks can tell how long it holds: numbers that cannot be changed in
    place, and a class that leaves the way to the kernel as it is."""
    from pyengine.ops.conv import known_windows
    from pyengine.ops.strided_windows import is_fixed

    own, kind = conv.__dict__, type(conv)
    as_it_is = kind.convolved is _Conv.convolved and kind._at is _Conv._at and not {"convolved", "_at"} & own.keys()
    fixed = all(type(own.get(name)) is str or is_fixed(own.get(name)) for name in _NUMBERS)
    if not as_it_is or not fixed or own.get("padding_mode") != "zeros":
        return
    function = activation if type(activation) not in _ROWS else type(activation)
    watched = None if norm is None else _kept[conv].watched
    row = -1 if row is None else row
    _ready[conv] = _core.ReadyConv(conv, norm, function, row, _NUMBERS, known_windows, watched, *weights)


def run(modules, x, residual=None):
    """The modules one after another, plus residual: what Sequential does, with the runs that conv_norm_act knows."""
    modules, place = list(modules), 0
    while place < len(modules):
        module, place = modules[place], place + 1
        if not isinstance(module, _Conv):
            if residual is not None and place == len(modules) and _opens(module):
                return run(module._modules.values(), x, residual)
            x = module(x)
            continue
        norm = activation = None
        if place < len(modules) and isinstance(modules[place], _BatchNorm):
            norm, place = modules[place], place + 1
        if place < len(modules) and type(modules[place]) in _ROWS:
            activation, place = modules[place], place + 1
        if residual is not None and place == len(modules) and activation is None:
            return conv_norm_act(x, module, norm, None, residual)
        x = conv_norm_act(x, module, norm, activation)
    return x if residual is None else x + residual


def _opens(module):
    from .container import Sequential

    return isinstance(module, Sequential) and _plain(module, Sequential.forward)


def add_to(x, block):
    """block(x) + x, where block is a Sequential."""
    return run((block,), x, x)
