"""``tgrad.accelerator``: the device beside the CPU, whatever it is: a GPU, real or emulated.

Where there is none, :func:`is_available` says so, :func:`current_accelerator` is None, and what
needs one raises RuntimeError.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any

from tgrad import dtypes
from tgrad.cuda import memory
from tgrad.device import device as Device
from tgrad.runtime import cuda
from tgrad.runtime.current import here, place_of
from tgrad.runtime.stream import Stream, gpu, index_of
from tgrad.runtime.stream import current_stream as _current_stream
from tgrad.runtime.stream import set_stream as _set_stream

__all__ = ["current_accelerator", "current_device_idx", "current_device_index", "current_stream",
           "device_count", "device_index", "empty_cache", "empty_host_cache",
           "get_device_capability", "get_memory_info", "is_available", "max_memory_allocated",
           "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
           "reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_idx",
           "set_device_index", "set_stream", "synchronize"]  # fmt: skip

Where = str | int | Device | None


def is_available() -> bool:
    """Whether there is a GPU, or the emulator of one. Leaves the driver alone."""
    return cuda.is_available()


def device_count() -> int:
    """The number of GPUs; 0 where there is none. Leaves the driver alone."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """``tgrad.device("cuda")``, or None where there is no GPU, whether that is checked or not."""
    del check_available
    return Device("cuda") if cuda.is_available() else None


def _check() -> None:
    if not cuda.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def _index(where: Where, function: str, optional: bool = True) -> int:
    """The index of a GPU. Raises ValueError for another device, or for no index unless optional."""
    _check()
    if isinstance(where, int):
        return where
    found = None if where is None else Device(where)
    if found is not None and found.type != "cuda":
        raise ValueError(f"{found.type} doesn't match the current accelerator cuda.")
    if found is None or found.index is None:
        if not optional:
            raise ValueError(
                f"{function}: Expected a device with a specified index or an integer, but got: "
                f"{where}"
            )
        return here.place.index
    return found.index


def current_device_index() -> int:
    """The index of the GPU that "cuda" means in this thread."""
    _check()
    return here.place.index


def set_device_index(device: Where, /) -> None:
    """Let "cuda" mean ``device`` in this thread from now on. A negative index changes nothing.

    Raises: ValueError for another device or none, RuntimeError for one that is not there.
    """
    index = _index(device, "set_device_index", optional=False)
    if index >= 0:
        here.place = place_of(index_of(gpu(index), "set_device_index"))


def current_device_idx() -> int:
    """An older name of :func:`current_device_index`, with a FutureWarning."""
    _older("current_device_idx", "current_device_index")
    return current_device_index()


def set_device_idx(device: Where, /) -> None:
    """An older name of :func:`set_device_index`, with a FutureWarning."""
    _older("set_device_idx", "set_device_index")
    set_device_index(device)


def _older(old: str, new: str) -> None:
    warnings.warn(
        f"tgrad.accelerator.{old} is an older name; {new} takes its place.",
        FutureWarning,
        stacklevel=3,
    )


class device_index:
    """Inside, "cuda" means this GPU; None changes nothing."""

    def __init__(self, device: int | None, /):
        self.idx = device

    def __enter__(self) -> None:
        self.before = here.place
        if self.idx is not None:
            set_device_index(self.idx)

    def __exit__(self, *exc: object) -> None:
        here.place = self.before


def get_device_capability(device: Where = None, /) -> dict[str, Any]:
    """``supported_dtypes``: those that tensors on a GPU may have, which are all but complex."""
    _index(device, "get_device_capability")
    return {"supported_dtypes": {d for d in dtypes.ALL if not d.is_complex}}


def current_stream(device: Where = None, /) -> Stream:
    """The current stream of a GPU."""
    return _current_stream(_index(device, "current_stream"))


def set_stream(stream: Stream) -> None:
    """Make ``stream`` current, and its GPU."""
    _check()
    _set_stream(stream)
    here.place = place_of(stream.index)


def synchronize(device: Where = None, /) -> None:
    """Wait for all work of a GPU to end; nothing to do before the first CUDA tensor."""
    index = _index(device, "synchronize")
    if cuda._active is not None:
        cuda.active().synchronize(index_of(gpu(index), "synchronize"))


def get_device_module(device: Device | str | None = None) -> ModuleType:
    """``tgrad.cuda`` or ``tgrad.cpu``: that of a device; for None the accelerator's, if any.

    Raises: RuntimeError for anything else.
    """
    if device is not None and not isinstance(device, (str, Device)):
        raise RuntimeError(f"Invalid value of device '{device}', expect tgrad.device, str, or None")
    where = (current_accelerator() or "cpu") if device is None else device
    return importlib.import_module(f"tgrad.{Device(where).type}")


# ---- memory --------------------------------------------------------------------------------------


def empty_cache() -> None:
    """Give memory that no tensor holds back."""
    _check()
    memory.empty_cache()


def empty_host_cache() -> None:
    """Give page-locked memory that no tensor holds back."""
    _check()
    if cuda._active is not None:
        cuda.active().pinned.release()


def memory_stats(device_index: Where = None, /) -> dict[str, Any]:
    """The allocator's counts; empty before the first CUDA tensor. See
    :func:`tgrad.cuda.memory_stats`."""
    index = _index(device_index, "memory_stats")
    return memory.memory_stats(gpu(index)) if cuda._active is not None else {}


def memory_allocated(device_index: Where = None, /) -> int:
    """Bytes that tensors hold."""
    return memory_stats(device_index).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device_index: Where = None, /) -> int:
    """The largest number of bytes held at once since the last reset."""
    return memory_stats(device_index).get("allocated_bytes.all.peak", 0)


def memory_reserved(device_index: Where = None, /) -> int:
    """Bytes that the allocator has, held and free."""
    return memory_stats(device_index).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device_index: Where = None, /) -> int:
    """The largest number of bytes that the allocator had since the last reset."""
    return memory_stats(device_index).get("reserved_bytes.all.peak", 0)


def reset_accumulated_memory_stats(device_index: Where = None, /) -> None:
    """Start the counts of what was ever allocated and freed again."""
    index = _index(device_index, "reset_accumulated_memory_stats")
    if cuda._active is not None:
        memory.reset_accumulated_memory_stats(gpu(index))


def reset_peak_memory_stats(device_index: Where = None, /) -> None:
    """Start counting peaks again from what is held now."""
    index = _index(device_index, "reset_peak_memory_stats")
    if cuda._active is not None:
        memory.reset_peak_memory_stats(gpu(index))


def get_memory_info(device_index: Where = None, /) -> tuple[int, int]:
    """(free, total) bytes of the GPU, all processes counted."""
    return memory.mem_get_info(gpu(_index(device_index, "get_memory_info")))
