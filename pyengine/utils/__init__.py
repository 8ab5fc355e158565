"""What does not belong to one layer: recomputation instead of memory."""

from . import checkpoint

__all__ = ["checkpoint"]
