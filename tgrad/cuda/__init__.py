"""``tgrad.cuda``: GPUs, their streams, memory, graphs and random numbers, under PyTorch's names.

Nothing here touches the driver before the first call that needs it. Under the emulator all of it
works: a stream or an event is a formality there, and a graph replays through the interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import legacy
from tgrad.cuda import amp, graphs, memory, nvtx, profiler, random
from tgrad.cuda.device import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    get_gencode_flags,
    init,
    is_available,
    is_bf16_supported,
    is_initialized,
    is_tf32_supported,
    set_device,
    synchronize,
)
from tgrad.cuda.graphs import (
    CUDAGraph,
    graph,
    graph_pool_handle,
    is_current_stream_capturing,
    make_graphed_callables,
)
from tgrad.cuda.memory import (
    OutOfMemoryError,
    caching_allocator_alloc,
    caching_allocator_delete,
    empty_cache,
    get_allocator_backend,
    get_per_process_memory_fraction,
    host_memory_stats,
    host_memory_stats_as_nested_dict,
    ipc_collect,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_host_memory_stats,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_host_memory_stats,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from tgrad.cuda.nvml import (
    clock_rate,
    device_memory_used,
    list_gpu_processes,
    memory_usage,
    power_draw,
    temperature,
    utilization,
)
from tgrad.cuda.random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from tgrad.runtime.errors import CudaError
from tgrad.runtime.stream import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    get_stream_from_external,
    set_stream,
    stream,
)
from tgrad.runtime.waits import get_sync_debug_mode, set_sync_debug_mode

__all__ = [
    "CUDAGraph", "CudaError", "Event", "ExternalStream", "OutOfMemoryError", "Stream",
    "StreamContext", "amp", "caching_allocator_alloc", "caching_allocator_delete",
    "can_device_access_peer", "clock_rate", "current_device", "current_stream",
    "default_generators", "default_stream", "device", "device_count", "device_memory_used",
    "device_of", "empty_cache", "get_allocator_backend", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_gencode_flags",
    "get_per_process_memory_fraction", "get_rng_state", "get_rng_state_all",
    "get_stream_from_external", "get_sync_debug_mode", "graph", "graph_pool_handle", "graphs",
    "has_half", "has_magma", "host_memory_stats", "host_memory_stats_as_nested_dict", "init",
    "initial_seed", "ipc_collect", "is_available", "is_bf16_supported",
    "is_current_stream_capturing", "is_initialized", "is_tf32_supported", "list_gpu_processes",
    "make_graphed_callables", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_cached", "max_memory_reserved", "mem_get_info", "memory", "memory_allocated",
    "memory_cached", "memory_reserved", "memory_stats", "memory_stats_as_nested_dict",
    "memory_summary", "memory_usage", "nvtx", "power_draw", "profiler", "random",
    "reset_accumulated_host_memory_stats", "reset_accumulated_memory_stats",
    "reset_max_memory_allocated", "reset_max_memory_cached", "reset_peak_host_memory_stats",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream",
    "set_sync_debug_mode", "stream", "synchronize", "temperature", "utilization",
]  # fmt: skip

if TYPE_CHECKING:
    from tgrad.random import Generator

    default_generators: tuple[Generator, ...]
    BFloat16Tensor: legacy.tensortype
    BoolTensor: legacy.tensortype
    ByteTensor: legacy.tensortype
    CharTensor: legacy.tensortype
    DoubleTensor: legacy.tensortype
    FloatTensor: legacy.tensortype
    HalfTensor: legacy.tensortype
    IntTensor: legacy.tensortype
    LongTensor: legacy.tensortype
    ShortTensor: legacy.tensortype

has_half = True
has_magma = False


def __getattr__(name: str) -> Any:
    if name == "default_generators":
        return tuple(random.generator_of(f"cuda:{i}") for i in range(device_count()))
    if name in legacy.ON_CUDA:
        return legacy.ON_CUDA[name]
    raise AttributeError(f"module 'tgrad.cuda' has no attribute '{name}'")
