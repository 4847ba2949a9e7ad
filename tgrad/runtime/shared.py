"""Host memory that processes share. It has no name: nothing can be left behind, and the size of
``/dev/shm`` limits nothing.

Arrays lie over :class:`Pages`, found again from any view by their base. Another process gets the
descriptor and maps the same memory; it goes with the last array over it in the last process.
"""

from __future__ import annotations

import mmap
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad.runtime import memory
from tgrad.runtime.array import contiguous_strides

ALIGN = 64  # bytes: one cache line


def anonymous() -> int:
    """A descriptor of memory without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tgrad")
    import tempfile

    with tempfile.TemporaryFile() as file:  # has no name either
        return os.dup(file.fileno())


class Pages(mmap.mmap):
    """Memory of a descriptor, which it closes when it goes. Its pickle is the descriptor."""

    fd: int

    def __new__(cls, fd: int, size: int) -> Pages:
        made = super().__new__(cls, fd, size)
        made.fd = fd
        return made

    def __del__(self) -> None:
        os.close(self.fd)

    def __reduce__(self) -> tuple:
        from multiprocessing.context import get_spawning_popen
        from multiprocessing.reduction import DupFd

        # A process that is being started takes over the descriptor itself, some time after this.
        starting: Any = get_spawning_popen()
        if starting is not None:
            starting.__dict__.setdefault("tgrad_pages", []).append(self)
        return _received, (DupFd(self.fd), len(self))


def _received(duplicate: Any, size: int) -> Pages:
    return Pages(duplicate.detach(), size)


def pages(nbytes: int) -> Pages:
    """New memory of at least ``nbytes`` bytes."""
    size = max(-(-nbytes // mmap.PAGESIZE), 1) * mmap.PAGESIZE
    fd = anonymous()
    try:
        os.ftruncate(fd, size)
        return Pages(fd, size)
    except BaseException:
        os.close(fd)
        raise


def pages_of(a: Any) -> Pages | None:
    """The shared memory that ``a`` lies in; None for all other memory."""
    while isinstance(a, np.ndarray):
        a = a.base
    if isinstance(a, memoryview):
        a = a.obj
    return a if isinstance(a, Pages) else None


def laid(space: Pages, start: int, like: np.ndarray) -> np.ndarray:
    """Contiguous memory at ``start`` for ``like``'s elements, in the order that they lie in."""
    order = sorted(range(like.ndim), key=lambda i: (-like.strides[i], i))
    steps = contiguous_strides(tuple(like.shape[i] for i in order), like.itemsize)
    strides = [0] * like.ndim
    for i, step in zip(order, steps, strict=True):
        strides[i] = step
    return np.ndarray(like.shape, like.dtype, space, start, strides)  # pyright: ignore[reportArgumentType]


def copies(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays in one new stretch of shared memory."""
    starts, size = [], 0
    for a in arrays:
        starts.append(size)
        size = -(-(size + a.nbytes) // ALIGN) * ALIGN
    space = pages(size)
    made = [laid(space, start, a) for start, a in zip(starts, arrays, strict=True)]
    for out, a in zip(made, arrays, strict=True):
        np.copyto(out, a)
    return made


def place_of(a: np.ndarray, space: Pages) -> int:
    """Where in ``space`` the first element of ``a`` lies."""
    start = np.frombuffer(space, np.uint8).__array_interface__["data"][0]
    return a.__array_interface__["data"][0] - start


# ---- who else uses an array's memory -------------------------------------------------------------


class _Holder:
    """What holds an array as a tensor does."""

    def __init__(self, array: np.ndarray):
        self.array = array


def _counts(holder: Any) -> tuple[int, int]:
    """References to a tensor's array, and to what the array lies over."""
    a = holder.array
    root = a if a.base is None else a.base
    return sys.getrefcount(a), sys.getrefcount(root)


def _kind(a: np.ndarray) -> str | None:
    """Whose memory it is: the array's own, an array's under it, a block of the allocator; None for
    memory that others gave."""
    root = a.base
    if root is None:
        return "own"
    if type(root) is not np.ndarray or root.base is not None:
        return None
    return "block" if memory.allocator.has(root) else "view"


_ALONE = {
    "own": _counts(_Holder(np.empty(1))),
    "view": _counts(_Holder(np.empty(2)[:1])),
    "block": _counts(_Holder(memory.empty((memory.SMALL,), np.dtype(np.uint8)))),
}


def is_alone(holder: Any) -> bool:
    """Whether no other tensor or array lies over the memory of ``holder.array``, as reference
    counts tell; memory that others gave (page-locked, mapped, received) never is alone."""
    kind = _kind(holder.array)
    return kind is not None and _counts(holder) == _ALONE[kind]


def move(tensors: Sequence[Any]) -> None:
    """Lay the tensors of the CPU that are not shared yet over one new stretch of shared memory.

    Warns the caller's caller where others lie over the memory of one: they are left behind.
    """
    left = [t for t in tensors if isinstance(t.array, np.ndarray) and pages_of(t.array) is None]
    if not left:
        return
    if not all(map(is_alone, left)):
        warnings.warn(
            "share_memory: other tensors or arrays lie over this memory, or a graph keeps it; they "
            "stay where they are and no longer see what is written here",
            UserWarning,
            stacklevel=3,
        )
    for t, a in zip(left, copies([t.array for t in left]), strict=True):
        t.array = a
