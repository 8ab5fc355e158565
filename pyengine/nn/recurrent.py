"""Recurrent layers: RNN, LSTM and GRU, with torch's parameter names, gate order and shapes."""

import math
import numbers
import warnings

import pyengine as pe
from pyengine.ops.recurrence import recurrence
from pyengine.ops.recurrence_steps import GATES
from pyengine.ops.recurrence_steps import layer as composed_layer

from . import functional as F
from . import init
from .factory import float32_only
from .module import Module, Parameter
from .utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]


class RNNBase(Module):
    """What the three recurrent layers share: parameters, layers, directions, and the shapes of input and state."""

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        what = type(self).__name__
        float32_only(what, device, dtype)
        if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:
            raise ValueError(f"{what}: dropout must be a number between 0 and 1, got {dropout!r}")
        if not isinstance(hidden_size, int):
            raise TypeError(f"{what}: hidden_size must be an integer, got {hidden_size!r}")
        if hidden_size < 1 or num_layers < 1:
            raise ValueError(f"{what}: hidden_size {hidden_size} and num_layers {num_layers} must be positive")
        if not 0 <= proj_size < hidden_size or (proj_size and mode != "LSTM"):
            raise ValueError(
                f"{what}: proj_size {proj_size} must be smaller than hidden_size {hidden_size}, and 0 "
                "where the layer is no LSTM"
            )
        if dropout and num_layers == 1:
            warnings.warn(f"{what}: dropout is between layers: with one layer {dropout} has no effect", stacklevel=3)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        for layer in range(num_layers):
            for suffix in self._directions(layer):
                self._add_weights(layer, suffix)
        self.reset_parameters()

    def _directions(self, layer):
        """The endings of the parameters' names of a layer."""
        return (f"_l{layer}", f"_l{layer}_reverse") if self.bidirectional else (f"_l{layer}",)

    def _add_weights(self, layer, suffix):
        out = self.proj_size or self.hidden_size
        rows = GATES[self.mode] * self.hidden_size
        columns = self.input_size if layer == 0 else out * (2 if self.bidirectional else 1)
        shapes = {"weight_ih": (rows, columns), "weight_hh": (rows, out)}
        if self.bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(pe.empty(*shape)))

    def reset_parameters(self):
        """Draws all parameters anew, uniform in +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self):
        """For torch's sake: there is nothing to do."""

    @property
    def all_weights(self):
        """The parameters, one list for each layer and direction."""
        return [
            [p for name, p in self._parameters.items() if name.endswith(suffix)]
            for layer in range(self.num_layers)
            for suffix in self._directions(layer)
        ]

    def _weights(self, suffix):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return tuple(self._parameters.get(name + suffix) for name in names)

    # ---- forward ----

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        what = type(self).__name__
        if input.ndim not in (2, 3):
            raise ValueError(f"{what}: input must have 2 or 3 axes, got shape {input.shape}")
        batched = input.ndim == 3
        if not batched:
            hx = self._unsqueezed(hx)
        x = input.unsqueeze(1) if not batched else input.transpose(0, 1) if self.batch_first else input
        steps, batch = x.shape[:2]
        self._check_input(x)
        if steps == 0:
            raise RuntimeError(f"{what}: input of shape {input.shape} has no step")
        state = self._state(hx, batch)
        data, state = self._layers(x.reshape(steps * batch, x.shape[2]), [batch] * steps, state)
        output = data.reshape(steps, batch, data.shape[1])
        if not batched:
            return output.squeeze(1), self._final(tuple(s.squeeze(1) for s in state))
        return (output.transpose(0, 1) if self.batch_first else output), self._final(state)

    def _unsqueezed(self, hx):
        """The state of one sequence as that of a batch of one."""
        if hx is None:
            return None
        for s in hx if isinstance(hx, tuple) else (hx,):
            if s.ndim != 2:
                raise RuntimeError(f"{type(self).__name__}: unbatched input needs a state of 2 axes, got {s.shape}")
        return tuple(s.unsqueeze(1) for s in hx) if isinstance(hx, tuple) else hx.unsqueeze(1)

    def _forward_packed(self, packed, hx):
        data, batch_sizes, order, back = packed
        sizes = batch_sizes.tolist()
        self._check_input(data)
        state = self._state(hx, sizes[0])
        if order is not None and hx is not None:
            state = tuple(s[:, order] for s in state)
        data, state = self._layers(data, sizes, state)
        if back is not None:
            state = tuple(s[:, back] for s in state)
        return PackedSequence(data, batch_sizes, order, back), self._final(state)

    def _check_input(self, x):
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{type(self).__name__}: input of shape {x.shape} must have input_size "
                f"{self.input_size} as its last axis"
            )

    def _state(self, hx, batch):
        """hx as a tuple, checked; zeros where there is none."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        shapes = [(layers, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((layers, batch, self.hidden_size))
        if hx is None:
            return tuple(pe.zeros(*shape) for shape in shapes)
        state = tuple(hx) if self.mode == "LSTM" else (hx,)
        given = [getattr(s, "shape", None) for s in state]
        if given != shapes:
            raise RuntimeError(f"{type(self).__name__}: a state of shapes {shapes} is expected, got {given}")
        return state

    def _layers(self, data, sizes, state):
        lasts = []
        for layer in range(self.num_layers):
            weights = [self._weights(suffix) for suffix in self._directions(layer)]
            at = slice(layer * len(weights), (layer + 1) * len(weights))
            start = state if self.num_layers == 1 else tuple(s[at] for s in state)
            if self.proj_size:
                data, *last = composed_layer(self.mode, data, sizes, start, weights)
            else:
                data, *last = recurrence(self.mode, data, sizes, start, [w[:4] for w in weights])
            lasts.append(last)
            if self.dropout and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout, self.training)
        return data, tuple(parts[0] if len(parts) == 1 else pe.cat(parts) for parts in zip(*lasts, strict=True))

    def _final(self, state):
        return state if self.mode == "LSTM" else state[0]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        return text + "".join(
            f", {name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value
        )


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu of it; layers on each other. (Elman 1990)

    Arguments: input_size, hidden_size, num_layers, nonlinearity ("tanh", "relu"), bias, batch_first, dropout (between
    layers), bidirectional.
    Shape: input (T, N, in), (N, T, in) with batch_first, (T, in), or a PackedSequence; state (layers, N, hidden) ->
    outputs (T, N, hidden, twice that where bidirectional), the last state.

    >>> import pyengine as pe
    >>> output, state = pe.nn.RNN(3, 4, num_layers=2)(pe.zeros(7, 5, 3))
    >>> output.shape, state.shape
    ((7, 5, 4), (2, 5, 4))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            "RNN_" + nonlinearity.upper(),
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: a state that gates write, keep and read. (Hochreiter & Schmidhuber 1997)

    Arguments: as RNN's without nonlinearity; proj_size makes the output W_hr h of that size. (Sak et al. 2014)
    Shape: as RNN's; the state is a tuple of h (layers, N, proj_size or hidden) and c (layers, N, hidden).

    >>> import pyengine as pe
    >>> output, (h, c) = pe.nn.LSTM(3, 4, bidirectional=True)(pe.zeros(7, 5, 3))
    >>> output.shape, c.shape
    ((7, 5, 8), (2, 5, 4))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(RNNBase):
    """Gated recurrent units. (Cho et al. 2014)

    Arguments and shapes: as RNN's, without nonlinearity.

    >>> import pyengine as pe
    >>> pe.nn.GRU(3, 4, batch_first=True)
    GRU(3, 4, batch_first=True)
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
    ):
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
