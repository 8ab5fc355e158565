"""Mixture of experts: every token goes to the few of many feed-forward nets that a router chooses for it."""

import math

import pyengine as pe
from pyengine import _core
from pyengine.ops.bags import sum_bags
from pyengine.ops.runs import bins_of

from . import functional as F
from . import init
from .gated import GatedMLP
from .module import Module, Parameter


class TopKRouter(Module):
    """Scores of all experts for each token, and the top_k that it goes to, the best first.

    scores = softmax or sigmoid of x weight^T. The choice goes by scores + e_score_correction_bias, of equal ones by the
    lower number; the weights are the scores themselves, with norm_topk_prob divided by their sum, times
    routed_scaling_factor. Products have the same bits for any number of threads, and so has the choice.

    forward: (tokens, embed_dim) -> scores (tokens, experts), weights (tokens, top_k), chosen (tokens, top_k) int64.
    Errors: ValueError for a token whose scores are NaN.
    """

    def __init__(self, embed_dim, num_experts, top_k, scoring_func, norm_topk_prob, routed_scaling_factor, balanced):
        super().__init__()
        self.top_k, self.scoring_func, self.norm_topk_prob = top_k, scoring_func, norm_topk_prob
        self.routed_scaling_factor = routed_scaling_factor
        self.weight = Parameter(pe.empty(num_experts, embed_dim))
        self.register_buffer("e_score_correction_bias", pe.zeros(num_experts) if balanced else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws the weight anew, as Linear's."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x):
        logits = F.linear(x, self.weight)
        scores = F.softmax(logits, 1) if self.scoring_func == "softmax" else F.sigmoid(logits)
        chosen = self._choose(scores.detach())
        tokens, experts = scores.shape
        places = _core.from_numpy((chosen + experts * pe.arange(tokens).numpy()[:, None]).reshape(-1))
        weights = _core.take_rows(scores.reshape(-1, 1), places).reshape(tokens, self.top_k)
        if self.norm_topk_prob:
            weights = weights / (weights.sum(1, keepdim=True) + 1e-20)
        if self.routed_scaling_factor != 1:
            weights = weights * self.routed_scaling_factor
        return scores, weights, _core.from_numpy(chosen)

    def _choose(self, scores):
        """top_k times the first maximum of each row: an array."""
        import numpy

        bias = self.e_score_correction_bias
        left = scores.clone() if bias is None else scores + bias
        values, rows = left.numpy(), pe.arange(scores.shape[0]).numpy()
        chosen = numpy.empty((scores.shape[0], self.top_k), numpy.int64)
        for turn in range(self.top_k):
            best = pe.argmax(left, 1).numpy()
            if not turn and (wrong := numpy.isnan(values[rows, best])).any():  # NaN is the maximum of its row
                raise ValueError(f"MixtureOfExperts: the scores of token {wrong.argmax()} are NaN (the input or "
                                 f"the weight of shape {self.weight.shape} is not finite)")  # fmt: skip
            chosen[:, turn] = best
            values[rows, best] = -numpy.inf
        return chosen


class Experts(Module):
    """num_experts gated nets, y = (act(x gate_proj[e]) * x up_proj[e]) down_proj[e], for rows sorted by expert.

    gate_proj and up_proj (experts, embed_dim, hidden_dim), down_proj (experts, hidden_dim, embed_dim).
    """

    def __init__(self, embed_dim, hidden_dim, num_experts, activation):
        super().__init__()
        self.activation = activation
        self.gate_proj = Parameter(pe.empty(num_experts, embed_dim, hidden_dim))
        self.up_proj = Parameter(pe.empty(num_experts, embed_dim, hidden_dim))
        self.down_proj = Parameter(pe.empty(num_experts, hidden_dim, embed_dim))
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all weights anew, as Linear's."""
        for weight in self.parameters():
            bound = 1 / math.sqrt(weight.shape[1])
            init.uniform_(weight, -bound, bound)

    def forward(self, x, ends):
        hidden = self.activation(F.grouped_mm(x, self.gate_proj, offs=ends))
        hidden = hidden * F.grouped_mm(x, self.up_proj, offs=ends)
        return F.grouped_mm(hidden, self.down_proj, offs=ends)


class MixtureOfExperts(Module):
    """y = sum over the top_k experts e of x's token of weight_e expert_e(x), plus the shared expert's output.

    No token is dropped: rows are sorted by expert, and each product over all experts is one call (F.grouped_mm). The
    output of a token does not depend on the other tokens, and no bit on the number of threads.
    (Shazeer et al. 2017; Fedus, Zoph & Shazeer 2021; DeepSeek-AI 2024)

    Arguments: embed_dim, hidden_dim of an expert, num_experts, top_k;
    scoring_func, "softmax" or "sigmoid"; norm_topk_prob, the weights of a token add up to 1; routed_scaling_factor;
    shared_dim, the hidden width of an expert that sees every token (0: none); activation, silu: SwiGLU experts;
    bias_update_rate: above 0 the choice is balanced by a bias instead of a loss (Wang et al. 2024): call
    update_bias() after each step of the optimizer.
    Attributes after a forward pass in training: aux_loss, experts sum_e f_e P_e with f_e the share of choices and P_e
    the mean score of expert e (1 when balanced), to be added to the loss with a weight like 0.01; load (experts), how
    often each was chosen since the last update_bias().
    Shape: (..., embed_dim), kept. Errors: ValueError for NaN in the scores.

    >>> import pyengine as pe
    >>> layer = pe.nn.MixtureOfExperts(8, 16, num_experts=4, top_k=2)
    >>> layer(pe.randn(5, 3, 8)).shape, int(layer.load.sum())
    ((5, 3, 8), 30)
    """

    def __init__(
        self, embed_dim, hidden_dim, num_experts, top_k=2, *, scoring_func="softmax", norm_topk_prob=True,
        routed_scaling_factor=1.0, shared_dim=0, activation=F.silu, bias_update_rate=0.0,
    ):  # fmt: skip
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"MixtureOfExperts: top_k must be 1 to {num_experts}, the number of experts, got {top_k}")
        if scoring_func not in ("softmax", "sigmoid"):
            raise ValueError(f"MixtureOfExperts: scoring_func must be 'softmax' or 'sigmoid', got {scoring_func!r}")
        self.embed_dim, self.hidden_dim, self.num_experts = embed_dim, hidden_dim, num_experts
        self.bias_update_rate, self.aux_loss, self.load = bias_update_rate, None, None
        self.gate = TopKRouter(
            embed_dim, num_experts, top_k, scoring_func, norm_topk_prob, routed_scaling_factor, bias_update_rate > 0
        )
        self.experts = Experts(embed_dim, hidden_dim, num_experts, activation)
        self.shared_experts = GatedMLP(embed_dim, shared_dim, activation) if shared_dim else None

    def __getstate__(self):
        return {**self.__dict__, "aux_loss": None}  # a result, which cannot be copied off its tape

    def forward(self, x):
        if x.ndim < 1 or x.shape[-1] != self.embed_dim:
            raise ValueError(f"MixtureOfExperts: input of shape {x.shape} must end in {self.embed_dim}, embed_dim")
        rows = x.reshape(-1, self.embed_dim)
        scores, weights, chosen = self.gate(rows)
        tokens, top_k = chosen.shape
        order, starts = bins_of(chosen.numpy().reshape(-1), self.num_experts)
        if self.training:
            self._note(scores, starts, tokens * top_k)
        ends = _core.from_numpy(starts[1:])
        sorted_rows = _core.take_rows(rows, _core.from_numpy(order // top_k))
        outputs = self.experts(sorted_rows, ends)
        places = pe.arange(tokens * top_k)  # of each choice among the sorted rows
        places.numpy()[order] = pe.arange(tokens * top_k).numpy()
        offsets = pe.arange(0, tokens * top_k + 1, top_k)
        y = sum_bags(outputs, places, offsets, weights.reshape(-1))
        if self.shared_experts is not None:
            y = y + self.shared_experts(rows)
        return y.reshape(x.shape)

    def _note(self, scores, starts, choices):
        import numpy

        load = _core.from_numpy(numpy.diff(starts).astype(numpy.float32))
        self.load = load if self.load is None else self.load + load
        if self.gate.scoring_func == "sigmoid":
            scores = scores / (scores.sum(1, keepdim=True) + 1e-20)
        self.aux_loss = (scores.mean(0) * load).sum() * (self.num_experts / max(choices, 1))

    def update_bias(self):
        """bias_e <- bias_e + bias_update_rate sign(mean load - load_e), and load counts from 0 again."""
        if self.load is None:
            return
        with pe.no_grad():
            if self.bias_update_rate:
                step = self.bias_update_rate * pe.sign(self.load.mean() - self.load)
                self.gate.e_score_correction_bias.copy_(self.gate.e_score_correction_bias + step)
        self.load = None

    def extra_repr(self):
        sizes = f"{self.embed_dim}, {self.hidden_dim}, num_experts={self.num_experts}, top_k={self.gate.top_k}"
        return f"{sizes}, scoring_func={self.gate.scoring_func!r}"
