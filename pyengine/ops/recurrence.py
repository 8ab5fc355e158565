"""Recurrent layers, all steps in one call of the engine; their derivative, and the composed way to that of second
order."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded
from pyengine.ops.recurrence_steps import GATES, layer

# in the order of enum pe_recurrence_mode
_MODES = {"RNN_TANH": 0, "RNN_RELU": 1, "LSTM": 2, "GRU": 3}


def _part(x: Tensor | None, direction: int, directions: int) -> Tensor | None:
    """Of columns that all directions share, those of one."""
    if x is None or directions == 1:
        return x
    size = x.shape[1] // directions
    return x[:, direction * size : (direction + 1) * size]


def _dense(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def recurrence(mode: str, x: Tensor, batch_sizes: list, state: tuple, weights: list) -> tuple:
    """One recurrent layer over all steps, in one direction or two.

    Arguments: mode ("RNN_TANH", "RNN_RELU", "LSTM", "GRU"); x, the steps' rows one step behind the other; batch_sizes,
    how many each step has, never more than the one before; state, (h,) or (h, c) at the start; weights, (w_ih, w_hh,
    b_ih, b_hh) of each direction, the second one from the last step on. The formulas are recurrence_steps.py's, and so
    are the bits.
    Shape: x (rows, in), h and c (directions, N, hidden) -> (rows, directions hidden), and the last state as it came.
    """
    flat = [w for each in weights for w in each]
    keep = recorded(x, *state, *flat)
    was = _core.set_grad_mode(False)
    try:
        outputs, kept = _forward(mode, x, batch_sizes, state, weights, keep)
    finally:
        _core.set_grad_mode(was)
    if keep:
        meta = (mode, batch_sizes, len(state), len(weights))
        saved = (x, outputs[0], *state, *flat, *kept)
        _core.record_function(outputs, "recurrence", (x, *state, *flat), saved, _backward, meta)
    return outputs


def _sizes(batch_sizes: list) -> Tensor | None:
    return None if batch_sizes[0] == batch_sizes[-1] else _core.tensor(batch_sizes, "int64")


def _forward(mode, x, batch_sizes, state, weights, keep):
    count, hidden, steps = len(weights), state[0].shape[-1], len(batch_sizes)
    y, last = _core.empty((x.shape[0], count * hidden)), tuple(_core.empty(s.shape) for s in state)
    x, starts, sizes, kept = _dense(x), [_dense(s) for s in state], _sizes(batch_sizes), []
    for d, each in enumerate(weights):
        start, end = tuple(s[d] for s in starts), tuple(s[d] for s in last)
        kept += _core.recurrence(
            _MODES[mode], GATES[mode], x, tuple(map(_dense, each)), start, steps, sizes, d == 1, _part(y, d, count),
            end, keep,
        )  # fmt: skip
    return (y, *last), kept


def _backward(node, grads):
    if _core.is_grad_enabled():
        return _composed(node, grads)
    mode, batch_sizes, states, count = node.meta
    x, y, *saved = node.saved
    state, flat, kept = saved[:states], saved[states : states + 4 * count], saved[states + 4 * count :]
    sizes, starts, (dy, *ends) = _sizes(batch_sizes), [_dense(s) for s in state], map(_dense, grads)
    begun, wants_state = [_core.empty(s.shape) for s in state], any(node.needs(1 + k) for k in range(states))
    dx = _core.empty(x.shape) if node.needs(0) else None
    found = []
    for d in range(count):
        at = 4 * d
        last = [None if g is None else g[d] for g in ends]
        found += _core.recurrence_backward(
            _MODES[mode], _dense(x), tuple(map(_dense, flat[at : at + 4])), tuple(s[d] for s in starts),
            len(batch_sizes), sizes, d == 1, (_part(y, d, count), *kept[2 * d : 2 * d + 2]),
            (_part(dy, d, count), *last, None)[:3], dx, d == 1, tuple(s[d] for s in begun), wants_state,
            tuple(node.needs(1 + states + i) for i in range(at, at + 4)),
        )  # fmt: skip
    return dx, *begun, *found


def _composed(node, grads):
    """The same in operations that are recorded, by way of the layer composed of them."""
    mode, batch_sizes, states, count = node.meta
    x, _, *saved = node.saved
    # each input as a node of its own, so that gradients stop there though one may hang on another
    inputs = [t[...] if node.needs(i) else t for i, t in enumerate((x, *saved[: states + 4 * count]))]
    weights = [(*inputs[i : i + 4], None) for i in range(1 + states, len(inputs), 4)]
    outputs = layer(mode, inputs[0], batch_sizes, tuple(inputs[1 : 1 + states]), weights)
    pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
    wanted = [i for i in range(len(inputs)) if node.needs(i)]
    found = _core.grad(
        [y for y, _ in pairs], [inputs[i] for i in wanted], [g for _, g in pairs], create_graph=True, allow_unused=True
    )
    results = dict(zip(wanted, found, strict=True))
    return tuple(results.get(i) for i in range(len(inputs)))
