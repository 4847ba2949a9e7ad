"""``tgrad.cuda``: GPUs, their memory and their random numbers.

Nothing here touches the driver before the first call that needs it.
"""

from __future__ import annotations

from tgrad.device import CUDA, device, resolve
from tgrad.random import Tensor, generator_of, seed_cuda
from tgrad.runtime import cuda
from tgrad.runtime.memory import allocator

__all__ = ["current_device", "device_count", "empty_cache", "get_device_name", "get_rng_state",
           "initial_seed", "is_available", "is_bf16_supported", "is_initialized", "manual_seed",
           "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "memory_allocated",
           "memory_reserved", "reset_peak_memory_stats", "set_rng_state",
           "synchronize"]  # fmt: skip

Device = str | int | device | None


def is_available() -> bool:
    """Whether CUDA tensors can be made: on an NVIDIA GPU, or emulated (TRITON_INTERPRET=1)."""
    return cuda.is_available()


def is_initialized() -> bool:
    """Whether the driver (or the emulator) has been started."""
    return cuda._active is not None


def is_bf16_supported() -> bool:
    return is_available()


def device_count() -> int:
    """The number of GPUs; 0 where there is none."""
    return cuda.active().device_count() if is_available() else 0


def current_device() -> int:
    """The index of the GPU that "cuda" means."""
    cuda.active()
    return CUDA.index or 0


def get_device_name(device: Device = None) -> str:
    """What the GPU is called. Raises RuntimeError where there is none."""
    _index(device)
    return cuda.active().name


def synchronize(device: Device = None) -> None:
    """Wait for all work of the GPU to end."""
    _index(device)
    cuda.active().synchronize()


def _index(where: Device) -> int:
    """The GPU's index. Raises ValueError for other devices, RuntimeError for absent ones."""
    found = CUDA if where is None else resolve(where)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    index = found.index or 0
    if index >= cuda.active().device_count():
        raise RuntimeError(f"CUDA error: invalid device ordinal: {found}")
    return index


def memory_allocated(device: Device = None) -> int:
    """Bytes that CUDA tensors hold. The emulator's memory is the host's, and so are its counts."""
    _index(device)
    return allocator.allocated()


def max_memory_allocated(device: Device = None) -> int:
    """The largest number of bytes held at once since the last reset."""
    _index(device)
    allocator.peak = max(allocator.peak, allocator.allocated())
    return allocator.peak


def memory_reserved(device: Device = None) -> int:
    """Bytes that the allocator has, held and free."""
    _index(device)
    return allocator.reserved


def max_memory_reserved(device: Device = None) -> int:
    """The largest number of bytes that the allocator had since the last reset."""
    _index(device)
    return allocator.peak_reserved


def reset_peak_memory_stats(device: Device = None) -> None:
    """Start counting peaks again from what is held now."""
    _index(device)
    allocator.exact_peak = True
    allocator.peak = allocator.allocated()
    allocator.peak_reserved = allocator.reserved


def empty_cache() -> None:
    """Give free memory back. Does nothing before the first CUDA tensor."""
    if is_initialized():
        allocator.release()


def manual_seed(seed: int) -> None:
    """Seed the GPU's generator; does nothing to the CPU's."""
    seed_cuda(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs."""
    seed_cuda(seed)


def initial_seed() -> int:
    """The seed that the GPU's generator was started with."""
    return generator_of(CUDA).initial_seed()


def get_rng_state(device: Device = "cuda") -> Tensor:
    """The state of a GPU's generator, as a uint8 tensor on the CPU."""
    return generator_of(CUDA if device is None else device).get_state()


def set_rng_state(new_state: Tensor, device: Device = "cuda") -> None:
    """Set the state of a GPU's generator."""
    generator_of(CUDA if device is None else device).set_state(new_state)
