"""Training: the plain loop, and jobs that run as they are."""

from .loop import History, evaluate, fit

__all__ = ["History", "evaluate", "fit"]
