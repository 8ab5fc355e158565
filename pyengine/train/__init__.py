"""Training: a loop with what belongs around it, and jobs that run as they are."""

from . import callbacks, logs, metrics
from .distill import DistillationLoss, Distiller
from .flow import GradientFlow
from .loop import History, evaluate, fit
from .trainer import Callback, Trainer
from .transfer import GradualUnfreezing, finetune, replace_head

__all__ = [
    "Callback",
    "DistillationLoss",
    "Distiller",
    "GradientFlow",
    "GradualUnfreezing",
    "History",
    "Trainer",
    "callbacks",
    "evaluate",
    "finetune",
    "fit",
    "logs",
    "metrics",
    "replace_head",
]
