"""Data loading, checkpointing, capsules of shared memory."""

from tgrad.utils import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
