"""Helpers for gradients and parameters."""

from . import parametrizations, parametrize
from .init import skip_init
from .stateless import functional_call
