"""The CUDA driver, one thin function per entry point: integers and bytes in and out, every call
checked.

Over NVIDIA's ``cuda-bindings``, and not over ``cuda-core``'s Device, Stream and Buffer objects: a
launch through the bindings costs 0.5 us of Python, a handle is an int that fits a packed parameter
block, and the current context stays ours to set. Importing this module takes 80 ms, so only the
runtime does, at the first CUDA tensor. Signatures and semantics: NVIDIA's "CUDA Driver API".

Handles (contexts, streams, events, modules, functions, graphs) and device addresses are ints.
Unless a function takes a device, it works in the calling thread's current context.
"""

from __future__ import annotations

import functools
from typing import Any

from tgrad.runtime.errors import CudaError

try:
    import cuda.bindings
    from cuda.bindings import driver as cu  # pyright: ignore[reportAttributeAccessIssue]
except ImportError as error:
    raise ImportError(
        "tgrad needs NVIDIA's bindings to use a GPU: pip install cuda-bindings cuda-core"
    ) from error

# Stream handles that name no object. Handle 0 means one or the other by an environment variable
# of the bindings; these do not.
LEGACY_STREAM = 1  # every stream that is not non-blocking waits for it, and it for them
PER_THREAD_STREAM = 2

OUT_OF_MEMORY = 2
NOT_INITIALIZED = 3
DEINITIALIZED = 4
NOT_READY = 600

HINTS = {
    3: "CUDA cannot be used in a process that was forked after CUDA had been initialised; start "
    "worker processes with the 'spawn' method, or use CUDA in them only",
    34: "libcuda.so is a stub library: take the stubs folder off LD_LIBRARY_PATH",
    35: "update the NVIDIA driver",
    46: "another process holds the GPU in exclusive mode",
    100: "no GPU is visible: look at nvidia-smi and CUDA_VISIBLE_DEVICES",
    101: "look at CUDA_VISIBLE_DEVICES and at tgrad.cuda.device_count()",
    209: "the kernel was compiled for another GPU",
    222: "update the NVIDIA driver",
    802: "NVIDIA's fabric manager is not running",
    803: "the driver's kernel module and libcuda.so are of different versions: restart the machine",
    804: "this GPU cannot run with the compatibility package of a newer driver",
    900: "the operation cannot be part of a CUDA graph",
    901: "an earlier operation cannot be part of a CUDA graph",
    906: "work on the default stream cannot be captured into a CUDA graph",
}
# Errors of kernels: reported by whichever call comes next, after which the context is lost.
LATE = {700, 702, 709, 710, 714, 715, 716, 717, 718, 719}
LATE_HINT = (
    "a kernel that ran earlier failed, and the process can no longer use this GPU; set "
    "TGRAD_LAUNCH_BLOCKING=1 to see which op launched it"
)


def error_text(function: str, code: int) -> str:
    """ "cuMemAllocAsync: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; what to do"."""
    name = text = None
    try:
        name = cu.cuGetErrorName(cu.CUresult(code))[1]
        text = cu.cuGetErrorString(cu.CUresult(code))[1]
    except (ValueError, RuntimeError):  # a code that the bindings do not know, or no driver at all
        pass
    hint = LATE_HINT if code in LATE else HINTS.get(code)
    said = f"{name.decode() if name else 'CUDA error'} ({code})"
    said += f": {text.decode()}" if text else ""
    return f"{function}: {said}" + (f"; {hint}" if hint else "")


def fail(function: str, code: int) -> Any:
    """Raise the error of a call that returned ``code``."""
    raise CudaError(function, int(code), error_text(function, int(code)))


def call(name: str, *args: Any) -> Any:
    """What entry point ``name`` gives besides its code; the hot functions below do this inline."""
    try:
        error, *given = getattr(cu, name)(*args)
    except RuntimeError as reason:  # 'Function "..." not found'
        raise CudaError(name, 35, f"{name}: {reason}; update the NVIDIA driver") from reason
    if error:
        fail(name, error)
    return given[0] if len(given) == 1 else given


# ---- the driver and its devices ------------------------------------------------------------------


def init() -> None:
    """Load and initialise the driver. Raises CudaError that says what to update or install.

    A process that forks after this leaves children that cannot use CUDA.
    """
    try:
        (error,) = cu.cuInit(0)
        have = driver_version() if not error else 0
    except (
        RuntimeError
    ) as reason:  # the bindings found no libcuda.so.1, or a function missing in it
        if isinstance(reason, CudaError):
            raise
        raise CudaError("cuInit", 35, f"cuInit: no usable NVIDIA driver: {reason}") from reason
    if error:
        fail("cuInit", error)
    need = bindings_version()
    if have // 1000 < need:
        raise CudaError(
            "cuInit",
            35,
            f"the NVIDIA driver supports CUDA {have // 1000}.{have % 1000 // 10}, older than the "
            f"installed cuda-bindings {cuda.bindings.__version__}: update the driver, or "
            f'pip install "cuda-bindings=={have // 1000}.*" "cuda-core[cu{have // 1000}]"',
        )


def bindings_version() -> int:
    """The major version of CUDA that the bindings were made for, as 13."""
    return int(cuda.bindings.__version__.partition(".")[0])


def driver_version() -> int:
    """The newest CUDA that the driver supports, as 13000 for 13.0."""
    return int(call("cuDriverGetVersion"))


def device_count() -> int:
    return int(call("cuDeviceGetCount"))


@functools.cache
def device_handle(index: int) -> Any:
    return call("cuDeviceGet", index)


def device_name(index: int) -> str:
    return call("cuDeviceGetName", 256, device_handle(index)).partition(b"\0")[0].decode()


def device_uuid(index: int) -> bytes:
    """16 bytes."""
    return bytes(call("cuDeviceGetUuid", device_handle(index)).bytes)


def device_attribute(index: int, name: str) -> int:
    """A CUdevice_attribute by the end of its name, as "MULTIPROCESSOR_COUNT"."""
    attribute = getattr(cu.CUdevice_attribute, "CU_DEVICE_ATTRIBUTE_" + name)
    return int(call("cuDeviceGetAttribute", attribute, device_handle(index)))


def total_memory(index: int) -> int:
    """Bytes."""
    return int(call("cuDeviceTotalMem", device_handle(index)))


def mem_get_info() -> tuple[int, int]:
    """(free, total) bytes of the current context's device, all processes counted."""
    free, total = call("cuMemGetInfo")
    return int(free), int(total)


def can_access_peer(index: int, peer: int) -> bool:
    """Whether kernels on device ``index`` could read memory of ``peer``."""
    return bool(call("cuDeviceCanAccessPeer", device_handle(index), device_handle(peer)))


# ---- contexts ------------------------------------------------------------------------------------


def retain_primary_context(index: int) -> int:
    """The device's primary context, which other libraries of the process share."""
    return int(call("cuDevicePrimaryCtxRetain", device_handle(index)))


def release_primary_context(index: int) -> None:
    call("cuDevicePrimaryCtxRelease", device_handle(index))


def set_context(context: int) -> None:
    """Make ``context`` the calling thread's current one; 0 for none."""
    (error,) = cu.cuCtxSetCurrent(context)
    if error:
        fail("cuCtxSetCurrent", error)


def get_context() -> int:
    """The calling thread's current context; 0 for none."""
    error, context = cu.cuCtxGetCurrent()
    return int(context) if not error else fail("cuCtxGetCurrent", error)


def synchronize_context() -> None:
    """Wait for all work of the current context. Refused while one of its streams is captured."""
    call("cuCtxSynchronize")


# ---- memory --------------------------------------------------------------------------------------


def mem_alloc_async(size: int, stream: int) -> int:
    """Memory of the stream's device, usable by work that is ordered after this call.

    Comes from the device's current pool. While ``stream`` is captured it belongs to the graph.
    """
    error, address = cu.cuMemAllocAsync(size, stream)
    return int(address) if not error else fail("cuMemAllocAsync", error)


def mem_free_async(address: int, stream: int) -> None:
    """Free once ``stream`` comes here; work of other streams must be ordered before."""
    (error,) = cu.cuMemFreeAsync(address, stream)
    if error:
        fail("cuMemFreeAsync", error)


def mem_alloc(size: int) -> int:
    """Memory usable at once. May wait for the device. Forbidden while a stream of the thread is
    captured, unless :func:`exchange_capture_mode` relaxed it."""
    return int(call("cuMemAlloc", size))


def mem_free(address: int) -> None:
    """Free memory of :func:`mem_alloc` (or of the async one) after all work of the device."""
    call("cuMemFree", address)


@functools.cache
def device_pool(index: int) -> Any:
    """The pool that :func:`mem_alloc_async` takes memory from, unless somebody changed it."""
    return call("cuDeviceGetDefaultMemPool", device_handle(index))


def pool_trim(index: int, keep: int = 0) -> None:
    """Give freed memory of the device's pool back until ``keep`` bytes are left."""
    call("cuMemPoolTrimTo", device_pool(index), keep)


def pool_set_release_threshold(index: int, size: int) -> None:
    """How many bytes the device's pool may keep at a synchronisation (0 unless set)."""
    attribute = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
    call("cuMemPoolSetAttribute", device_pool(index), attribute, cu.cuuint64_t(size))


def pool_bytes(index: int) -> tuple[int, int]:
    """(used, reserved) bytes of the device's pool, this process alone."""
    kind = cu.CUmemPool_attribute
    pool = device_pool(index)
    used = call("cuMemPoolGetAttribute", pool, kind.CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
    reserved = call("cuMemPoolGetAttribute", pool, kind.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
    return int(used), int(reserved)


def pointer_device(address: int) -> int:
    """The index of the device that holds ``address``; CudaError (1) for ordinary host memory."""
    kind = cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(call("cuPointerGetAttribute", kind, address))


def host_alloc(size: int) -> int:
    """Page-locked host memory that every context may copy from and to."""
    return int(call("cuMemHostAlloc", size, cu.CU_MEMHOSTALLOC_PORTABLE))


def host_free(address: int) -> None:
    call("cuMemFreeHost", address)


def memcpy_htod_async(device: int, host: int, size: int, stream: int) -> None:
    """Asynchronous where ``host`` is page-locked; else it has been read on return, unless the GPU
    reads such memory itself (the attribute PAGEABLE_MEMORY_ACCESS)."""
    (error,) = cu.cuMemcpyHtoDAsync(device, host, size, stream)
    if error:
        fail("cuMemcpyHtoDAsync", error)


def memcpy_dtoh_async(host: int, device: int, size: int, stream: int) -> None:
    """Asynchronous where ``host`` is page-locked; else it may wait, which is not promised."""
    (error,) = cu.cuMemcpyDtoHAsync(host, device, size, stream)
    if error:
        fail("cuMemcpyDtoHAsync", error)


def memcpy_dtod_async(to: int, source: int, size: int, stream: int) -> None:
    """Within a device, or between devices whose contexts have access to each other."""
    (error,) = cu.cuMemcpyDtoDAsync(to, source, size, stream)
    if error:
        fail("cuMemcpyDtoDAsync", error)


def memcpy_peer_async(
    to: int, to_context: int, source: int, source_context: int, size: int, stream: int
) -> None:
    """Between devices, through the host where they cannot reach each other."""
    call("cuMemcpyPeerAsync", to, to_context, source, source_context, size, stream)


def memset_async(address: int, byte: int, size: int, stream: int) -> None:
    call("cuMemsetD8Async", address, byte, size, stream)


# ---- streams and events --------------------------------------------------------------------------


def stream_create(priority: int = 0, nonblocking: bool = True) -> int:
    """A stream of the current context. A lower ``priority`` is served first.

    ``nonblocking``: without the implicit order with the legacy default stream.
    """
    flags = int(cu.CUstream_flags.CU_STREAM_NON_BLOCKING) if nonblocking else 0
    return int(call("cuStreamCreateWithPriority", flags, priority))


def stream_priority_range() -> tuple[int, int]:
    """(least, greatest), as (0, -5)."""
    least, greatest = call("cuCtxGetStreamPriorityRange")
    return int(least), int(greatest)


def stream_destroy(stream: int) -> None:
    """Returns at once; the stream's work still ends."""
    call("cuStreamDestroy", stream)


def stream_synchronize(stream: int) -> None:
    call("cuStreamSynchronize", stream)


def stream_query(stream: int) -> bool:
    """Whether all of its work has ended."""
    (error,) = cu.cuStreamQuery(stream)
    if error and error != NOT_READY:
        fail("cuStreamQuery", error)
    return not error


def stream_wait_event(stream: int, event: int) -> None:
    """Later work of ``stream`` waits for what the last record of ``event`` covers."""
    (error,) = cu.cuStreamWaitEvent(stream, event, 0)
    if error:
        fail("cuStreamWaitEvent", error)


def event_create(timing: bool = False, blocking: bool = False) -> int:
    """``timing`` costs at every record; ``blocking``: waiting for it sleeps and does not spin."""
    flags = (0 if timing else int(cu.CUevent_flags.CU_EVENT_DISABLE_TIMING)) | (
        int(cu.CUevent_flags.CU_EVENT_BLOCKING_SYNC) if blocking else 0
    )
    return int(call("cuEventCreate", flags))


def event_destroy(event: int) -> None:
    """Returns at once, recorded or not."""
    call("cuEventDestroy", event)


def event_record(event: int, stream: int) -> None:
    """``event`` now stands for the work of ``stream`` so far. Both belong to one context."""
    (error,) = cu.cuEventRecord(event, stream)
    if error:
        fail("cuEventRecord", error)


def event_query(event: int) -> bool:
    """Whether the recorded work has ended; True for an event that was never recorded."""
    (error,) = cu.cuEventQuery(event)
    if error and error != NOT_READY:
        fail("cuEventQuery", error)
    return not error


def event_synchronize(event: int) -> None:
    call("cuEventSynchronize", event)


def event_elapsed_ms(start: int, end: int) -> float:
    """Milliseconds between two timing events, resolved to about 0.5 us."""
    return float(call("cuEventElapsedTime", start, end))


# ---- modules and launches ------------------------------------------------------------------------


def module_load(image: bytes) -> int:
    """A cubin (or PTX) loaded into the current context."""
    return int(call("cuModuleLoadData", image))


def module_unload(module: int) -> None:
    call("cuModuleUnload", module)


def module_function(module: int, name: str) -> int:
    return int(call("cuModuleGetFunction", module, name.encode()))


def function_set_shared(function: int, size: int) -> None:
    """Let launches ask for up to ``size`` bytes of dynamic shared memory (48 KiB unless set)."""
    kind = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    call("cuFuncSetAttribute", function, kind, size)


def function_attribute(function: int, name: str) -> int:
    """A CUfunction_attribute by the end of its name, as "NUM_REGS" or "LOCAL_SIZE_BYTES"."""
    kind = getattr(cu.CUfunction_attribute, "CU_FUNC_ATTRIBUTE_" + name)
    return int(call("cuFuncGetAttribute", kind, function))


def launch(
    function: int,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    shared: int,
    stream: int,
    params: int,
) -> None:
    """Launch in the function's context.

    ``params`` is the address of an array of pointers, one to each parameter of the kernel; values
    are copied out before this returns. ``shared``: bytes of dynamic shared memory.
    """
    x, y, z = grid
    threads_x, threads_y, threads_z = block
    (error,) = cu.cuLaunchKernel(
        function, x, y, z, threads_x, threads_y, threads_z, shared, stream, params, 0
    )
    if error:
        fail("cuLaunchKernel", error)


# ---- graphs --------------------------------------------------------------------------------------

CAPTURE_MODES = {"global": 0, "thread_local": 1, "relaxed": 2}
NOT_CAPTURING, CAPTURING, INVALIDATED = 0, 1, 2


def capture_begin(stream: int, mode: str = "global") -> None:
    """Record the stream's work from now on and do not run it.

    ``mode`` says whose unsafe calls (:func:`mem_alloc`, synchronising) fail: those of every thread
    ("global"), of this one ("thread_local"), or none ("relaxed"). The legacy default stream cannot
    be captured.
    """
    call("cuStreamBeginCapture", stream, cu.CUstreamCaptureMode(CAPTURE_MODES[mode]))


def capture_end(stream: int) -> int:
    """The graph of what was recorded. A capture that went wrong ends too, and raises."""
    return int(call("cuStreamEndCapture", stream))


def capture_status(stream: int) -> int:
    """NOT_CAPTURING, CAPTURING, or INVALIDATED by a call that cannot be captured."""
    return int(call("cuStreamIsCapturing", stream))


def capture_id(stream: int) -> int:
    """A number that no other capture of the process has; 0 where the stream is not captured."""
    error, status, identity = cu.cuStreamGetCaptureInfo(stream)[:3]
    if error:
        fail("cuStreamGetCaptureInfo", error)
    return int(identity) if int(status) == CAPTURING else 0


def exchange_capture_mode(mode: str) -> str:
    """Set how the calling thread's unsafe calls are judged; returns the mode until now."""
    wanted = cu.CUstreamCaptureMode(CAPTURE_MODES[mode])
    before = call("cuThreadExchangeStreamCaptureMode", wanted)
    return list(CAPTURE_MODES)[int(before)]


def graph_instantiate(graph: int) -> int:
    """An executable graph."""
    return int(call("cuGraphInstantiate", graph, 0))


def graph_launch(executable: int, stream: int) -> None:
    """Run the whole graph in stream order."""
    (error,) = cu.cuGraphLaunch(executable, stream)
    if error:
        fail("cuGraphLaunch", error)


def graph_exec_destroy(executable: int) -> None:
    call("cuGraphExecDestroy", executable)


def graph_destroy(graph: int) -> None:
    call("cuGraphDestroy", graph)
