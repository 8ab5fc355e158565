"""Losses: how far an output is from its target, as one number."""

from . import functional as F
from .module import Module

_REDUCTIONS = ("mean", "sum", "none")


class _Loss(Module):
    def __init__(self, reduction):
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: reduction must be one of {_REDUCTIONS}, got {reduction!r}")
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[target]: the loss of classification, from scores to class numbers.

    Arguments: ignore_index, a class number whose rows do not count; reduction, "mean" (over the rows that
    count), "sum" or "none"; label_smoothing, the share of the target spread evenly over all classes.
    Shape: (N, C) and int64 (N) -> () or (N).

    >>> import pyengine as pe
    >>> loss = pe.nn.CrossEntropyLoss()(pe.zeros(4, 10), pe.tensor([1, 2, 3, 4]))
    >>> round(loss.item(), 5)  # log 10
    2.30259
    """

    def __init__(self, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input, target):
        return F.cross_entropy(
            input,
            target,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class MSELoss(_Loss):
    """(x - target)^2, averaged, summed or as it is.

    >>> import pyengine as pe
    >>> pe.nn.MSELoss()(pe.tensor([1.0, 2.0]), pe.tensor([0.0, 4.0])).item()
    2.5
    """

    def __init__(self, *, reduction="mean"):
        super().__init__(reduction)

    def forward(self, input, target):
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|x - target|, averaged, summed or as it is.

    >>> import pyengine as pe
    >>> pe.nn.L1Loss()(pe.tensor([1.0, 2.0]), pe.tensor([0.0, 4.0])).item()
    1.5
    """

    def __init__(self, *, reduction="mean"):
        super().__init__(reduction)

    def forward(self, input, target):
        return F.l1_loss(input, target, reduction=self.reduction)
