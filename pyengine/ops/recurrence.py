"""Recurrent layers, all steps in one call of the engine; their derivative, and the composed way to that of second
order."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import recorded
from pyengine.ops.recurrence_steps import GATES, layer
from pyengine.ops.shape import cat

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
        y, *last = outputs
        meta = (mode, batch_sizes, len(state), len(weights))
        saved = (x, y, *state, *flat, *(t for pair in kept for t in pair))
        _core.record_function(outputs, "recurrence", (x, *state, *flat), saved, _backward, meta)
    return outputs


def _sizes(batch_sizes: list) -> Tensor | None:
    return None if batch_sizes[0] == batch_sizes[-1] else _core.tensor(batch_sizes, "int64")


def _forward(mode, x, batch_sizes, state, weights, keep):
    count, hidden = len(weights), state[0].shape[-1]
    y = _core.empty((x.shape[0], count * hidden))
    last = tuple(_core.empty(s.shape) for s in state)
    starts, sizes, kept = [_dense(s) for s in state], _sizes(batch_sizes), []
    for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
        h, c = (*(s[d] for s in starts), None)[:2]
        h_n, c_n = (*(s[d] for s in last), None)[:2]
        gates = _core.linear(x, w_ih, b_ih)
        rest = _core.recurrence(
            _MODES[mode], GATES[mode], gates, _dense(w_hh), _dense(b_hh), h, c, len(batch_sizes), sizes, d == 1,
            _part(y, d, count), h_n, c_n, keep,
        )  # fmt: skip
        kept.append((gates, rest))
    return (y, *last), kept


# ---- the derivative ----


def _before(batch_sizes, y, h, backwards):
    """The state that each row's step began with, where the sequences have different lengths."""
    steps, starts = len(batch_sizes), [0]
    for size in batch_sizes:
        starts.append(starts[-1] + size)
    rows, initial = [], starts.pop()
    for t, size in enumerate(batch_sizes):
        at = t + 1 if backwards else t - 1
        there = min(size, batch_sizes[at]) if 0 <= at < steps else 0
        rows += [starts[at] + row for row in range(there)] + [initial + row for row in range(there, size)]
    return _core.take_rows(cat([y, h]), _core.tensor(rows, "int64"))


def _plus(node, i, total, a, b):
    """total + a b, where total is what was found so far for input i, if anything."""
    return _core.add_product(node, i, a, b) if total is None else _core.addmm(total, a, b, 1.0, 1.0, "recurrence")


def _state_weight(node, i, batch_sizes, dstate, y, h, backwards):
    """The gradient of w_hh, input i: the sum over all rows of dstate^T times what the state was before."""
    batch, rows = batch_sizes[0], y.shape[0]
    if batch != batch_sizes[-1]:
        return _core.add_product(node, i, dstate.T, _before(batch_sizes, y, h, backwards))
    first, others, before = slice(0, batch), slice(batch, rows), slice(0, rows - batch)
    if backwards:
        first, others, before = slice(rows - batch, rows), before, others
    total = None if rows == batch else _core.add_product(node, i, dstate[others].T, y[before])
    return _plus(node, i, total, dstate[first].T, h)


def _backward(node, grads):
    if _core.is_grad_enabled():
        return _composed(node, grads)
    mode, batch_sizes, states, count = node.meta
    x, y, *saved = node.saved
    state, flat, kept = saved[:states], saved[states : states + 4 * count], saved[states + 4 * count :]
    dy, *last = map(_dense, grads)
    wants_state = any(node.needs(1 + k) for k in range(states))
    starts, sizes, begun = [_dense(s) for s in state], _sizes(batch_sizes), [_core.empty(s.shape) for s in state]
    results = [None, *begun, *flat]
    for d in range(count):
        w_ih, w_hh, b_ih, b_hh = flat[4 * d : 4 * d + 4]
        h, c, dh_n, dc_n, dh, dc = (
            None if k >= states or of[k] is None else of[k][d] for of in (starts, last, begun) for k in range(2)
        )
        y_d = _part(y, d, count)
        dgates, dstate = _core.recurrence_backward(
            _MODES[mode], kept[2 * d], _dense(w_hh), h, c, len(batch_sizes), sizes, d == 1, y_d, kept[2 * d + 1],
            _part(dy, d, count), dh_n, dc_n, dh, dc, wants_state,
        )  # fmt: skip
        at = 1 + states + 4 * d
        if node.needs(0):
            results[0] = _plus(node, 0, results[0], dgates, w_ih)
        if node.needs(at):
            results[at] = _core.add_product(node, at, dgates.T, x)
        if node.needs(at + 1):
            results[at + 1] = _state_weight(node, at + 1, batch_sizes, dstate, y_d, h, d == 1)
        for i, given in ((at + 2, dgates), (at + 3, dstate)):
            results[i] = _core.sum_to(given, given.shape[1:]) if node.needs(i) else None
    return tuple(results)


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
