"""Losses: how far an output is from its target, as one number.

All take torch's arguments: reduction "mean", "sum" or "none", and the older size_average and reduce, which win where
they are given."""

import math

from . import functional as F
from .formulas._reduce import asked
from .linear import Linear
from .module import Module


class _Loss(Module):
    def __init__(self, size_average=None, reduce=None, reduction="mean"):
        super().__init__()
        if not (reduction == "batchmean" and size_average is None and reduce is None):
            reduction = asked(type(self).__name__, reduction, size_average, reduce)
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with a weight for each class or element, kept as a buffer as in torch."""

    def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(x)[target]: the loss of classification, from scores to class numbers, or to a distribution.

    Arguments: weight, a number for each class; ignore_index, a class number whose rows do not count; reduction, "mean"
    (by weight, over the rows that count), "sum" or "none"; label_smoothing, the share of the target spread evenly over
    all classes.
    Shape: (N, C), (N, C, d1, ...) or (C), with int64 (N), (N, d1, ...) or (), or a distribution of the input's shape.

    >>> import pyengine as pe
    >>> loss = pe.nn.CrossEntropyLoss()(pe.zeros(4, 10), pe.tensor([1, 2, 3, 4]))
    >>> round(loss.item(), 5)  # log 10
    2.30259
    """

    def __init__(
        self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0
    ):
        super().__init__(weight, size_average, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input, target):
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class LinearCrossEntropyLoss(_WeightedLoss):
    """CrossEntropyLoss of a linear layer's scores that are never stored all at once.

    Arguments: in_features, num_classes; out_features, axes after the classes; bias; the rest as CrossEntropyLoss's.
    Shape: (N, in_features) and labels (N) or probabilities (N, num_classes) -> () or (N). linear.weight
    (num_classes, in_features).

    >>> import pyengine as pe
    >>> pe.nn.LinearCrossEntropyLoss(8, 10)(pe.randn(4, 8), pe.tensor([1, 2, 3, 4])).shape
    ()
    """

    def __init__(
        self, in_features, num_classes, *, out_features=(), bias=False, device=None, dtype=None, reduction="mean",
        weight=None, ignore_index=None, label_smoothing=0.0, options=None,
    ):  # fmt: skip
        super().__init__(weight, reduction=reduction)
        if weight is not None and weight.shape != (num_classes,):
            raise RuntimeError(f"LinearCrossEntropyLoss: weight of shape {weight.shape}, not {(num_classes,)}")
        if not 0.0 <= label_smoothing <= 1.0:
            raise RuntimeError(f"LinearCrossEntropyLoss: label_smoothing must be 0 to 1, got {label_smoothing}")
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias=bias)

    def forward(self, input, target):
        bias, shape = self.linear.bias, (self.num_classes, *self.out_features)
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """-weight[t] x[t] for logarithms of probabilities x; what follows log_softmax. Shapes as CrossEntropyLoss's.

    >>> import pyengine as pe
    >>> pe.nn.NLLLoss()(pe.tensor([[-1.0, -2.0]]), pe.tensor([1])).item()
    2.0
    """

    def __init__(self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input, target):
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


NLLLoss2d = NLLLoss


class MSELoss(_Loss):
    """(x - target)^2, averaged, summed or as it is.

    >>> import pyengine as pe
    >>> pe.nn.MSELoss()(pe.tensor([1.0, 2.0]), pe.tensor([0.0, 4.0])).item()
    2.5
    """

    def forward(self, input, target):
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|x - target|, averaged, summed or as it is.

    >>> import pyengine as pe
    >>> pe.nn.L1Loss()(pe.tensor([1.0, 2.0]), pe.tensor([0.0, 4.0])).item()
    1.5
    """

    def forward(self, input, target):
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = x - target. (Girshick 2015)

    >>> import pyengine as pe
    >>> pe.nn.SmoothL1Loss()(pe.tensor([0.5, 2.0]), pe.zeros(2)).item()
    0.8125
    """

    def __init__(self, size_average=None, reduce=None, reduction="mean", beta=1.0):
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input, target):
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = x - target. (Huber 1964)

    >>> import pyengine as pe
    >>> pe.nn.HuberLoss(delta=2.0)(pe.tensor([1.0, 4.0]), pe.zeros(2)).item()
    3.25
    """

    def __init__(self, reduction="mean", delta=1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input, target):
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; no logarithm counts below -100.

    >>> import pyengine as pe
    >>> round(pe.nn.BCELoss()(pe.tensor([0.5, 0.5]), pe.tensor([0.0, 1.0])).item(), 4)
    0.6931
    """

    def forward(self, input, target):
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """BCELoss of sigmoid(x), without overflow. Arguments: weight; pos_weight, the factor of the term of t.

    >>> import pyengine as pe
    >>> round(pe.nn.BCEWithLogitsLoss()(pe.zeros(2), pe.tensor([0.0, 1.0])).item(), 4)
    0.6931
    """

    def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input, target):
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """t (log t - x) for logarithms of probabilities x; log_target: t is a logarithm too. reduction "batchmean" divides
    the sum by the first axis, which is the mean divergence. (Kullback & Leibler 1951)

    >>> import pyengine as pe
    >>> round(pe.nn.KLDivLoss(reduction="batchmean")(pe.zeros(1, 2), pe.tensor([[0.5, 0.5]])).item(), 4)
    -0.6931
    """

    def __init__(self, size_average=None, reduce=None, reduction="mean", log_target=False):
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input, target):
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """e^x - t x, or x - t log(x + eps) without log_input; full adds Stirling's formula for log t! where t > 1.

    >>> import pyengine as pe
    >>> pe.nn.PoissonNLLLoss()(pe.zeros(2), pe.ones(2)).item()
    1.0
    """

    def __init__(self, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input, target):
        return F.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """(log v + (x - target)^2 / v) / 2 with v = max(var, eps); full adds log(2 pi) / 2. (Nix & Weigend 1994)

    >>> import pyengine as pe
    >>> pe.nn.GaussianNLLLoss()(pe.zeros(2), pe.ones(2), pe.ones(2)).item()
    0.5
    """

    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input, target, var):
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class CTCLoss(_Loss):
    """-log of the probability that the logarithms x of each step's probabilities spell the labels, over all
    alignments. (Graves et al. 2006)

    Arguments: blank, the class between labels; zero_infinity: what cannot be spelled counts 0, not infinity.
    Shape: x (T, N, C) or (T, C), targets (N, S) or all labels in a row, lengths (N) -> () or (N).

    >>> import pyengine as pe
    >>> x = pe.nn.functional.log_softmax(pe.zeros(2, 1, 2), 2)
    >>> round(pe.nn.CTCLoss()(x, pe.tensor([[1]]), [2], [1]).item(), 4)  # -log(3/4)
    0.2877
    """

    def __init__(self, blank=0, reduction="mean", zero_infinity=False):
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
