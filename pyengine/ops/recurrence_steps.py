"""The recurrences composed of operations: one step of each kind, and the walk over the steps of a packed sequence. What
ops/recurrence.py has a kernel for is written here too, for gradients of gradients, and what it has none for.

The input's part of all gates is one product over all steps; a step adds the state's part.
"""

from pyengine.ops import cat, linear, relu, sigmoid, stack, tanh

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def gates_of(x, n):
    """x (rows, n size) as n tensors (rows, size)."""
    size = x.shape[-1] // n
    return [x[:, i * size : (i + 1) * size] for i in range(n)]


def rnn_tanh(gates, state, w_hh, b_hh, w_hr=None):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh). (Elman 1990)"""
    return (tanh(gates + linear(state[0], w_hh, b_hh)),)


def rnn_relu(gates, state, w_hh, b_hh, w_hr=None):
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh)."""
    return (relu(gates + linear(state[0], w_hh, b_hh)),)


def lstm(gates, state, w_hh, b_hh, w_hr=None):
    """c' = f c + i g and h' = o tanh(c'), or W_hr of it; i, f and o are sigmoids, g is a tanh of W_ih x + b_ih + W_hh h
    + b_hh, in the order i, f, g, o. (Hochreiter & Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014)"""
    i, f, g, o = gates_of(gates + linear(state[0], w_hh, b_hh), 4)
    c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if w_hr is None else linear(h, w_hr)), c


def gru(gates, state, w_hh, b_hh, w_hr=None):
    """h' = n + z (h - n) with n = tanh(x_n + r h_n); r and z are sigmoids of x_r + h_r and x_z + h_z, in the order
    r, z, n. (Cho et al. 2014)"""
    (h,) = state
    x_r, x_z, x_n = gates_of(gates, 3)
    h_r, h_z, h_n = gates_of(linear(h, w_hh, b_hh), 3)
    n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (n + sigmoid(x_z + h_z) * (h - n),)


STEPS = {"RNN_TANH": rnn_tanh, "RNN_RELU": rnn_relu, "LSTM": lstm, "GRU": gru}


def split_rows(x, sizes):
    """x's rows in parts of these sizes. By halves: the gradient of a part fills a tensor as large as what it was cut
    from, and n cuts from the whole would make that n times the whole."""
    if len(sizes) == 1:
        return [x]
    half = len(sizes) // 2
    rows = sum(sizes[:half])
    return split_rows(x[:rows], sizes[:half]) + split_rows(x[rows:], sizes[half:])


def walk(kind, data, sizes, state, weights, backwards=False):
    """One layer in one direction.

    Arguments: data (rows, features), the steps one after another, sizes[t] rows in step t, never more than in the step
    before; state, a tuple of (sizes[0], size); weights (w_ih, w_hh, b_ih, b_hh, w_hr), of which the last three may be
    None. Returns the outputs (rows, size) and the last state of every sequence.
    """
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    step, parts = STEPS[kind], split_rows(linear(data, w_ih, b_ih), sizes)
    first, outputs, finished = state, [], []
    if backwards:
        parts = parts[::-1]
        state = tuple(s[: sizes[-1]] for s in first)
    for part in parts:
        rows, have = part.shape[0], state[0].shape[0]
        if rows < have:
            finished.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        elif rows > have:
            state = tuple(cat([s, start[have:rows]]) for s, start in zip(state, first, strict=True))
        state = step(part, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    if finished:
        state = tuple(cat(pieces) for pieces in zip(state, *reversed(finished), strict=True))
    return cat(outputs[::-1] if backwards else outputs), state


def layer(kind, data, sizes, state, weights):
    """One layer in all its directions, the second one backwards: outputs (rows, directions size), and the last state as
    tensors (directions, N, size), as the state at the start is given."""
    outputs, finals = [], []
    for d, each in enumerate(weights):
        output, final = walk(kind, data, sizes, tuple(s[d] for s in state), each, d == 1)
        outputs.append(output)
        finals.append(final)
    data = outputs[0] if len(outputs) == 1 else cat(outputs, 1)
    return data, *(stack(parts) for parts in zip(*finals, strict=True))
