"""One step of a recurrent layer as a layer."""

import math

import pyengine as pe
from pyengine.ops.recurrence import recurrence
from pyengine.ops.recurrence_steps import GATES

from . import init
from .factory import float32_only
from .module import Module, Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the three cells share: their parameters, and the shapes of input and state."""

    def __init__(self, input_size, hidden_size, bias, mode, device=None, dtype=None):
        super().__init__()
        float32_only(type(self).__name__, device, dtype)
        self.input_size, self.hidden_size, self.bias, self._mode = input_size, hidden_size, bias, mode
        rows = GATES[mode] * hidden_size
        self.weight_ih = Parameter(pe.empty(rows, input_size))
        self.weight_hh = Parameter(pe.empty(rows, hidden_size))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(pe.empty(rows)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters anew, uniform in +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input, hx=None):
        what = type(self).__name__
        count = 2 if self._mode == "LSTM" else 1
        if input.ndim not in (1, 2):
            raise ValueError(f"{what}: input must have 1 or 2 axes, got shape {input.shape}")
        state = (None,) * count if hx is None else tuple(hx) if count == 2 else (hx,)
        for s in state:
            if s is not None and s.ndim not in (1, 2):
                raise ValueError(f"{what}: a state must have 1 or 2 axes, got shape {s.shape}")
        x = input if input.ndim == 2 else input.unsqueeze(0)
        if x.shape[1] != self.input_size:
            raise RuntimeError(f"{what}: input of shape {input.shape} does not fit input_size {self.input_size}")
        expected = (x.shape[0], self.hidden_size)
        state = tuple(pe.zeros(*expected) if s is None else s if input.ndim == 2 else s.unsqueeze(0) for s in state)
        if len(state) != count or any(s.shape != expected for s in state):
            raise RuntimeError(
                f"{what}: {count} states of shape {expected} are expected, got {[s.shape for s in state]}"
            )
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        _, *new = recurrence(self._mode, x, [x.shape[0]], tuple(s.unsqueeze(0) for s in state), [weights])
        new = tuple(s.reshape(self.hidden_size if input.ndim == 1 else expected) for s in new)
        return new if count == 2 else new[0]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")
        return text + (", nonlinearity=relu" if self._mode == "RNN_RELU" else "")


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it. (Elman 1990)

    Arguments: input_size, hidden_size, bias, nonlinearity ("tanh", "relu"). Shape: (N, in), (N, hidden) -> (N, hidden),
    without N too.

    >>> import pyengine as pe
    >>> pe.nn.RNNCell(3, 4)(pe.zeros(5, 3)).shape
    (5, 4)
    """

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, "RNN_" + nonlinearity.upper(), device, dtype)
        self.nonlinearity = nonlinearity


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h', c') from x and (h, c). (Hochreiter & Schmidhuber 1997)

    >>> import pyengine as pe
    >>> h, c = pe.nn.LSTMCell(3, 4)(pe.zeros(5, 3))
    >>> h.shape, c.shape
    ((5, 4), (5, 4))
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, "LSTM", device, dtype)


class GRUCell(RNNCellBase):
    """One step of a GRU. (Cho et al. 2014)"""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, "GRU", device, dtype)
