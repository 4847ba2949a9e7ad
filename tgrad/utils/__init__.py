"""Data loading, checkpointing, timing, capsules of shared memory."""

from tgrad.utils import benchmark, checkpoint, data, dlpack

__all__ = ["benchmark", "checkpoint", "data", "dlpack"]
