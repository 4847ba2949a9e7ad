"""Data loading, checkpointing, timing, capsules of shared memory, trees."""

from tgrad.utils import _pytree, benchmark, checkpoint, data, dlpack, hooks

__all__ = ["_pytree", "benchmark", "checkpoint", "data", "dlpack", "hooks"]
