"""Gated feed-forward blocks."""

from . import functional as F
from .linear import Linear
from .module import Module


class GatedMLP(Module):
    """down_proj(act(gate_proj(x)) * up_proj(x)): SwiGLU where act is silu, GEGLU where it is gelu. (Shazeer 2020)

    Shape: (..., embed_dim) -> (..., embed_dim).

    >>> import pyengine as pe
    >>> pe.nn.GatedMLP(8, 16)(pe.zeros(3, 8)).shape
    (3, 8)
    """

    def __init__(self, embed_dim, hidden_dim, activation=F.silu, bias=False):
        super().__init__()
        self.activation = activation
        self.gate_proj = Linear(embed_dim, hidden_dim, bias)
        self.up_proj = Linear(embed_dim, hidden_dim, bias)
        self.down_proj = Linear(hidden_dim, embed_dim, bias)

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
