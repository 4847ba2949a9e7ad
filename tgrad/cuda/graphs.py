"""CUDA graphs: see ``tgrad.runtime.graph``; and functions whose calls replay one."""

from __future__ import annotations

from tgrad.runtime import cuda
from tgrad.runtime.current import here
from tgrad.runtime.graph import CUDAGraph, graph, graph_pool_handle

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing"]


def is_current_stream_capturing() -> bool:
    """Whether the current stream's work is being recorded. Does not start the driver."""
    if cuda._active is None:
        return False
    return bool(cuda._active.driver.capture_status(here.place.stream))
