"""What GPU memory is held, kept and free; limits; giving it back.

On a GPU the numbers are those of ``tgrad.runtime.pool``, in bytes of its size classes. The
emulator's memory is the host's, where only blocks of 64 kB and more are counted.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tgrad.device import device
from tgrad.runtime import accounts, cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.pool import OutOfMemoryError, readable
from tgrad.runtime.stream import ExternalStream, Stream, current_stream, index_of

__all__ = ["OutOfMemoryError", "caching_allocator_alloc",
           "caching_allocator_delete", "empty_cache", "get_allocator_backend",
           "get_per_process_memory_fraction", "host_memory_stats",
           "host_memory_stats_as_nested_dict", "ipc_collect",
           "max_memory_allocated", "max_memory_cached", "max_memory_reserved",
           "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved",
           "memory_stats", "memory_stats_as_nested_dict", "memory_summary",
           "reset_accumulated_host_memory_stats", "reset_accumulated_memory_stats",
           "reset_max_memory_allocated", "reset_max_memory_cached",
           "reset_peak_host_memory_stats", "reset_peak_memory_stats",
           "set_per_process_memory_fraction"]  # fmt: skip

Device = str | int | device | None


def _pool(where: Device) -> Any:
    index = index_of(where, "memory")
    return cuda.active().pool(index)


def memory_allocated(device: Device = None) -> int:
    """Bytes that CUDA tensors hold."""
    return _pool(device).totals.allocated


def max_memory_allocated(device: Device = None) -> int:
    """The largest number of bytes held at once since the last reset."""
    return _pool(device).totals.peak


def memory_reserved(device: Device = None) -> int:
    """Bytes that the allocator has of the driver, held and free."""
    return _pool(device).totals.reserved


def max_memory_reserved(device: Device = None) -> int:
    """The largest number of bytes that the allocator had since the last reset."""
    return _pool(device).totals.peak_reserved


def reset_peak_memory_stats(device: Device = None) -> None:
    """Start counting peaks again from what is held now."""
    _pool(device).reset_peaks()


reset_max_memory_allocated = reset_peak_memory_stats


def _renamed(old: str, new: str) -> None:
    warnings.warn(
        f"tgrad.cuda.{old} is an older name; tgrad.cuda.{new} takes its place.",
        FutureWarning,
        stacklevel=3,
    )


def memory_cached(device: Device = None) -> int:
    """An older name of :func:`memory_reserved`, with a FutureWarning."""
    _renamed("memory_cached", "memory_reserved")
    return memory_reserved(device)


def max_memory_cached(device: Device = None) -> int:
    """An older name of :func:`max_memory_reserved`, with a FutureWarning."""
    _renamed("max_memory_cached", "max_memory_reserved")
    return max_memory_reserved(device)


def reset_max_memory_cached(device: Device = None) -> None:
    """An older name of :func:`reset_peak_memory_stats`, with a FutureWarning: all peaks start
    again."""
    _renamed("reset_max_memory_cached", "reset_peak_memory_stats")
    reset_peak_memory_stats(device)


def reset_accumulated_memory_stats(device: Device = None) -> None:
    """Start the ``allocated`` and ``freed`` counts of :func:`memory_stats` again from 0."""
    accounts.reset_accumulated(_pool(device))


def memory_stats(device: Device = None) -> dict[str, int]:
    """The allocator's counts by PyTorch's names, such as ``allocated_bytes.all.current``.

    Counts: ``allocation``, ``segment`` (blocks of the driver), ``active`` (held, or freed and
    still used by another stream); bytes: ``allocated_bytes``, ``reserved_bytes``,
    ``active_bytes``. Of each ``current``, ``allocated`` and ``freed`` (ever) for ``all``,
    ``large_pool`` (from 1 MiB) and ``small_pool``. Unlike PyTorch, peaks are those of
    ``allocated_bytes.all`` and ``reserved_bytes.all`` alone.
    """
    return accounts.stats(_pool(device))


def memory_stats_as_nested_dict(device: Device = None) -> dict[str, Any]:
    """:func:`memory_stats` with a dict for each level of the names."""
    return _nested(memory_stats(device))


def _nested(stats: dict[str, int]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in stats.items():
        place, *path = nested, *name.split(".")
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return nested


def memory_summary(device: Device = None, abbreviated: bool = False) -> str:
    """A table of what is held and kept, for people. ``abbreviated`` leaves the pools out."""
    stats, index = memory_stats(device), index_of(device)
    rows = [("allocated", "allocated_bytes"), ("active", "active_bytes"),
            ("reserved", "reserved_bytes")]  # fmt: skip
    pools = ["all"] if abbreviated else ["all", "large_pool", "small_pool"]
    lines = [
        f"tgrad memory of CUDA device {index}: {stats['num_ooms']} out of memory, "
        f"{stats['num_alloc_retries']} times the cache was given back to avoid it",
        f"{'':24}{'current':>14}{'peak':>14}{'ever allocated':>16}{'ever freed':>14}",
    ]
    for title, name in rows:
        for part in pools:
            cells = [stats.get(f"{name}.{part}.{column}")
                     for column in ("current", "peak", "allocated", "freed")]  # fmt: skip
            if cells[0] is None:
                continue
            texts = ["" if c is None else readable(c) for c in cells]
            label = title if part == "all" else f"  {part.replace('_', ' ')}"
            lines.append(f"{label:24}{texts[0]:>14}{texts[1]:>14}{texts[2]:>16}{texts[3]:>14}")
    return "\n".join(lines) + "\n"


def host_memory_stats() -> dict[str, int]:
    """Counts of page-locked host memory, by the names of :func:`memory_stats`."""
    return accounts.stats(cuda.active().pinned)


def host_memory_stats_as_nested_dict() -> dict[str, Any]:
    """:func:`host_memory_stats` with a dict for each level of the names."""
    return _nested(host_memory_stats())


def reset_accumulated_host_memory_stats() -> None:
    """Start the counts of page-locked memory that was ever allocated and freed again from 0."""
    accounts.reset_accumulated(cuda.active().pinned)


def reset_peak_host_memory_stats() -> None:
    """Start counting peaks of page-locked memory again from what is held now."""
    cuda.active().pinned.reset_peaks()


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """(free, total) bytes of the GPU, all processes counted. The emulator's are the host's."""
    runtime = cuda.active()
    with runtime.enter(index_of(device, "mem_get_info")):
        return runtime.driver.mem_get_info()


def empty_cache() -> None:
    """Give memory that no tensor holds back, on all GPUs, and page-locked host memory too.

    Waits for streams that used it. Does nothing before the first CUDA tensor.
    """
    if cuda._active is not None:
        cuda._active.empty_cache()


def ipc_collect() -> None:
    """Nothing to collect: a GPU's memory is not shared with other processes, which get copies."""


def set_per_process_memory_fraction(fraction: float, device: Device = None) -> None:
    """Let the allocator have at most ``fraction`` of the GPU's memory; OutOfMemoryError above it.

    Raises: TypeError unless it is a float, ValueError outside [0, 1].
    """
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    index = index_of(device, "set_per_process_memory_fraction")
    runtime = cuda.active()
    total = runtime.driver.total_memory(index)
    runtime.pool(index).limit = None if fraction == 1 else int(fraction * total)


def get_per_process_memory_fraction(device: Device = None) -> float:
    """What was set by :func:`set_per_process_memory_fraction`; 1 at first."""
    index = index_of(device)
    limit = cuda.active().pool(index).limit
    return 1.0 if limit is None else limit / cuda.active().driver.total_memory(index)


def get_allocator_backend() -> str:
    """Stream-ordered memory of the driver lies under the cache, as in PyTorch's backend of that
    name."""
    return "cudaMallocAsync"


_lent: dict[int, CudaArray] = {}


def caching_allocator_alloc(
    size: int, device: Device = None, stream: Stream | int | None = None
) -> int:
    """The address of ``size`` bytes from the allocator, for another library, until
    :func:`caching_allocator_delete`.

    ``stream`` (the current one): whose work the memory is for, or its handle.
    Raises: OutOfMemoryError, TypeError for another kind of stream.
    """
    index = index_of(device, "caching_allocator_alloc")
    if stream is None:
        stream = current_stream(index)
    elif not isinstance(stream, Stream):
        if not isinstance(stream, int):
            raise TypeError(
                "Invalid type for stream argument, must be `tgrad.cuda.Stream` or `int` "
                "representing a pointer to an existing stream"
            )
        stream = ExternalStream(stream, index)
    with stream:
        made = cuda.active().empty((int(size),), np.dtype(np.uint8))
    _lent[made.ptr] = made
    return made.ptr


def caching_allocator_delete(mem_ptr: int) -> None:
    """Free what :func:`caching_allocator_alloc` returned. Raises ValueError for other addresses."""
    if _lent.pop(mem_ptr, None) is None:
        raise ValueError(f"caching_allocator_delete: {mem_ptr:#x} was not allocated by it")
