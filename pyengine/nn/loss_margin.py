"""Losses that are 0 beyond a margin, and those of several labels at once."""

from . import functional as F
from .loss import _Loss, _WeightedLoss


class _MarginLoss(_Loss):
    """A loss whose first argument is its margin."""

    def __init__(self, margin=0.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class SoftMarginLoss(_Loss):
    """log(1 + e^(-t x)) for t of 1 and -1.

    >>> import pyengine as pe
    >>> round(pe.nn.SoftMarginLoss()(pe.zeros(2), pe.ones(2)).item(), 4)
    0.6931
    """

    def forward(self, input, target):
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class HingeEmbeddingLoss(_MarginLoss):
    """x where the target is 1, max(0, margin - x) where it is -1. (Hadsell et al. 2006)

    >>> import pyengine as pe
    >>> pe.nn.HingeEmbeddingLoss()(pe.tensor([0.5, 0.25]), pe.tensor([1.0, -1.0])).item()
    0.625
    """

    def __init__(self, margin=1.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input, target):
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_MarginLoss):
    """max(0, margin - t (x1 - x2)): t = 1 wants x1 to be the larger, t = -1 x2.

    >>> import pyengine as pe
    >>> pe.nn.MarginRankingLoss()(pe.zeros(1), pe.ones(1), pe.ones(1)).item()
    1.0
    """

    def forward(self, input1, input2, target):
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos - margin) where it is -1.

    >>> import pyengine as pe
    >>> pe.nn.CosineEmbeddingLoss()(pe.tensor([[1.0, 0.0]]), pe.tensor([[0.0, 2.0]]), pe.ones(1)).item()
    1.0
    """

    def forward(self, input1, input2, target):
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """sum_(i != t) max(0, margin - x[t] + x[i])^p weight[t] / C: the hinge of several classes, p 1 or 2.
    (Crammer & Singer 2001)

    >>> import pyengine as pe
    >>> pe.nn.MultiMarginLoss()(pe.tensor([[0.5, 1.0]]), pe.tensor([1])).item()
    0.25
    """

    def __init__(self, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        if weight is not None and weight.ndim != 1:
            raise AssertionError(f"MultiMarginLoss: weight must be a vector, got shape {weight.shape}")
        self.p, self.margin = p, margin

    def forward(self, input, target):
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """sum_j sum_i max(0, 1 - (x[t_j] - x[i])) / C over the labels t_j before the first -1 and all classes i that are
    no label.

    >>> import pyengine as pe
    >>> round(pe.nn.MultiLabelMarginLoss()(pe.tensor([[0.1, 0.2, 0.4, 0.8]]), pe.tensor([[3, 0, -1, 1]])).item(), 4)
    0.85
    """

    def forward(self, input, target):
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The binary cross entropy of scores, averaged over the last axis.

    >>> import pyengine as pe
    >>> round(pe.nn.MultiLabelSoftMarginLoss()(pe.zeros(2, 3), pe.ones(2, 3)).item(), 4)
    0.6931
    """

    def forward(self, input, target):
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


def _positive(name, margin):
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")


class TripletMarginLoss(_MarginLoss):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with the distance of the p-norm; swap: the negative
    counts from the positive where it is nearer to that. (Balntas et al. 2016)

    >>> import pyengine as pe
    >>> loss = pe.nn.TripletMarginLoss()(pe.zeros(1, 2), pe.zeros(1, 2), pe.tensor([[0.25, 0.0]]))
    >>> round(loss.item(), 4)
    0.75
    """

    def __init__(
        self, margin=1.0, p=2.0, eps=1e-6, swap=False, size_average=None, reduce=None, reduction="mean"
    ):  # fmt: skip
        super().__init__(margin, size_average, reduce, reduction)
        _positive("TripletMarginLoss", margin)
        self.p, self.eps, self.swap = p, eps, swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_loss(
            anchor, positive, negative, margin=self.margin, p=self.p, eps=self.eps, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip


class TripletMarginWithDistanceLoss(_MarginLoss):
    """TripletMarginLoss with a distance of one's own (None: the Euclidean).

    >>> import pyengine as pe
    >>> loss = pe.nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().amax(-1))
    >>> loss(pe.zeros(1, 2), pe.zeros(1, 2), pe.tensor([[0.25, 0.0]])).item()
    0.75
    """

    def __init__(self, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
        super().__init__(margin, reduction=reduction)
        _positive("TripletMarginWithDistanceLoss", margin)
        self.distance_function, self.swap = distance_function, swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip
