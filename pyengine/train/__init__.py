"""Training: a loop with what belongs around it, and jobs that run as they are."""

from . import callbacks, logs, metrics
from .flow import GradientFlow
from .loop import History, evaluate, fit
from .trainer import Callback, Trainer

__all__ = ["Callback", "GradientFlow", "History", "Trainer", "callbacks", "evaluate", "fit", "logs", "metrics"]
