"""Page-locked host memory: NumPy arrays that the GPU copies from and to while the host goes on.

The arrays lie over blocks of a :class:`~tgrad.runtime.pool.HostPool`, found again from any view by
their base. A block goes back with the last array over it, once the copies that use it have ended.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from tgrad.runtime import cuda
from tgrad.runtime.pool import Block


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array in page-locked memory.

    Raises: RuntimeError where there is no GPU, OutOfMemoryError.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    block = cuda.active().pinned.host_heap().allocate(nbytes)
    memory = (ctypes.c_char * max(nbytes, 1)).from_address(block.ptr)
    memory.block = block  # pyright: ignore[reportAttributeAccessIssue]
    return np.ndarray(shape, dtype, memory)  # pyright: ignore[reportArgumentType]


def block_of(a: Any) -> Block | None:
    """The page-locked block that ``a`` lies in; None for all other memory."""
    while isinstance(a, np.ndarray):
        a = a.base
    if isinstance(a, memoryview):
        a = a.obj
    return getattr(a, "block", None) if isinstance(a, ctypes.Array) else None


def is_pinned(a: Any) -> bool:
    """Whether ``a`` lies in page-locked memory of :func:`empty`."""
    return block_of(a) is not None
