"""Optimizers: one C call a step updates all parameters of a group."""

from .adam import Adam, AdamW
from .lion import Lion
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Lion", "Optimizer"]
