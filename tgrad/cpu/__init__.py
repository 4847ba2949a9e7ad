"""``tgrad.cpu``: the host as a device, and the memory that its caching allocator keeps.

Blocks of 64 kB and more are counted, in bytes of their size class; smaller arrays come from malloc.
"""

from __future__ import annotations

from tgrad.cpu import amp
from tgrad.cpu.streams import Event, Stream, StreamContext, current_stream, stream
from tgrad.runtime.memory import allocator

__all__ = ["Event", "Stream", "StreamContext", "amp", "current_device", "current_stream",
           "device_count", "empty_cache", "is_available", "is_initialized", "max_memory_allocated",
           "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
           "reset_peak_memory_stats", "set_cache_limit", "set_device", "stream",
           "synchronize"]  # fmt: skip


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return 1


def set_device(device: object) -> None:
    """There is one CPU, which is current."""


def current_device() -> str:
    return "cpu"


def synchronize(device: object = None) -> None:
    """Nothing is ever pending on the CPU."""


def memory_allocated() -> int:
    """Bytes in blocks that some array holds."""
    return allocator.allocated()


def max_memory_allocated() -> int:
    """The largest number of bytes held at once since the start or the last reset.

    Exact after :func:`reset_peak_memory_stats` was called once; before, peaks are noted only when
    a new block is made (looking at every call would cost each op a microsecond).
    """
    allocator.peak = max(allocator.peak, allocator.allocated())
    return allocator.peak


def reset_peak_memory_stats() -> None:
    """Start counting peaks again from what is held now, exactly from here on."""
    allocator.exact_peak = True
    allocator.peak = allocator.allocated()
    allocator.peak_reserved = allocator.reserved


def memory_reserved() -> int:
    """Bytes in all blocks, held and free."""
    return allocator.reserved


def max_memory_reserved() -> int:
    """The largest number of bytes in blocks since the start or the last reset."""
    return allocator.peak_reserved


def memory_stats() -> dict[str, int]:
    """The counts by PyTorch's names."""
    return {
        "allocated_bytes.all.current": memory_allocated(),
        "allocated_bytes.all.peak": max_memory_allocated(),
        "reserved_bytes.all.current": memory_reserved(),
        "reserved_bytes.all.peak": max_memory_reserved(),
    }


def empty_cache() -> None:
    """Give free blocks back to the operating system."""
    allocator.release()


def set_cache_limit(limit: int | None) -> None:
    """Give free blocks back before more than ``limit`` bytes are kept; None: no limit.

    Raises: ValueError for a negative limit.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"set_cache_limit: expected a size in bytes or None, got {limit}")
    allocator.limit = limit
    if limit is not None and allocator.reserved > limit:
        allocator.release()
