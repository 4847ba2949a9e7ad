"""Data loading and checkpointing."""

from tgrad.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
