"""NVIDIA GPUs through the driver: memory, copies and launches on the current device and stream.

Everything happens in the devices' primary contexts, which other CUDA libraries of the process
share, and in stream order: nothing here waits for the GPU unless a result on the host is asked
for. ``cuda-core`` is not used: its Device, Stream and Buffer are objects around each handle that
the allocator, launcher and graphs here would have to unwrap at every call, its memory resources
have no free list in front, and its Device changes the current context behind the allocator's back.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any

import numpy as np

from tgrad.runtime import driver, memory, pinned, staging, stream
from tgrad.runtime.array import CudaArray, contiguous_strides
from tgrad.runtime.current import Place, here, on, place_of
from tgrad.runtime.launcher import Launcher
from tgrad.runtime.pool import Block, HostPool, Pool

KEPT = 1 << 62  # bytes that the driver's pool may keep at a synchronisation: all
WRONG_CONTEXT = (201, 400)  # invalid context, invalid handle: what a launch in another one gives
INDEX = 48  # the bit from which on a stream's key has the index of its GPU


class Entered:
    """``with`` this, a context is the thread's current one; another that was, is again afterwards.

    A driver that refuses to go back must not cost the caller what was done inside (memory whose
    address would be lost), so that error is left to the other context's owner to meet.
    """

    __slots__ = ("before", "context")

    def __init__(self, context: int):
        self.context = context

    def __enter__(self) -> None:
        self.before = driver.get_context()
        if self.before != self.context:
            driver.set_context(self.context)

    def __exit__(self, *exc: object) -> None:
        if self.before not in (0, self.context):
            with contextlib.suppress(driver.CudaError):
                driver.set_context(self.before)


class Unit:
    """One GPU: its primary context, its pools, and what launches on it."""

    def __init__(self, index: int, pinned: HostPool):
        self.index = index
        self.lock = threading.Lock()
        self.context = driver.retain_primary_context(index)
        try:
            self.pool = self._pool()
            self.arch = 10 * driver.device_attribute(index, "COMPUTE_CAPABILITY_MAJOR")
            self.arch += driver.device_attribute(index, "COMPUTE_CAPABILITY_MINOR")
            shared = driver.device_attribute(index, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
            self.reads_pageable = bool(driver.device_attribute(index, "PAGEABLE_MEMORY_ACCESS"))
            self.name = driver.device_name(index)
        except BaseException:
            driver.release_primary_context(index)
            raise
        self.pinned = pinned
        self.launcher = Launcher(driver, self.arch, self.allocate, shared)
        self.copies = 0  # the copy stream's handle
        self.events: list[int] = []  # free ones

    def _pool(self) -> Pool:
        pool = Pool(driver, self.index, self.enter)
        if driver.device_attribute(self.index, "MEMORY_POOLS_SUPPORTED"):
            driver.pool_set_release_threshold(self.index, KEPT)
        else:  # virtual GPUs: memory that is usable at once, of which a free waits for the device
            pool.shared.asynchronous = False
            pool.shared.take = lambda size, stream: driver.mem_alloc(size)
            pool.shared.give = lambda address, stream: driver.mem_free(address)
        return pool

    def enter(self) -> Entered:
        """``with unit.enter():`` calls of the driver go to this GPU."""
        return Entered(self.context)

    def allocate(self, nbytes: int) -> Block:
        """Memory in the order of the thread's current stream of this GPU."""
        return stream.heap_of(place_of(self.index)).allocate(nbytes)

    def key(self, stream: int) -> int:
        """A number for a stream of this GPU, apart from those of other GPUs (see HostDriver)."""
        return self.index << INDEX | stream

    def event(self) -> int:
        """An event without timing, to be handed to :meth:`spare` after use."""
        try:
            return self.events.pop()
        except IndexError:
            return driver.event_create()

    def spare(self, event: int) -> None:
        self.events.append(event)

    def copy_stream(self) -> int:
        """A stream apart, which copies beside the work of others go to."""
        if not self.copies:
            with self.lock, self.enter():
                self.copies = self.copies or driver.stream_create()
        return self.copies


class Mark:
    """An event for a stream of any GPU: the driver has one for each, in the GPU's context."""

    def __init__(self) -> None:
        self.events: dict[int, int] = {}
        self.current = 0


class HostDriver:
    """The driver as the pool of page-locked memory uses it.

    That memory belongs to no GPU: copies of each of them may use a block. Streams are the numbers
    of :meth:`Unit.key`, and events are kept as numbers of :class:`Mark`.
    """

    def __init__(self, gpu: Gpu):
        self.gpu = gpu
        self.marks: list[Mark] = []

    def host_alloc(self, size: int) -> int:
        with self.gpu.enter(here.place.index), self.gpu.pinned.relaxed():
            return driver.host_alloc(size)

    def host_free(self, address: int) -> None:
        with self.gpu.enter(here.place.index), self.gpu.pinned.relaxed():
            driver.host_free(address)

    def event_create(self, timing: bool = False, blocking: bool = False) -> int:
        self.marks.append(Mark())
        return len(self.marks) - 1

    def event_record(self, event: int, stream: int) -> None:
        mark, unit = self.marks[event], self.gpu.unit(stream >> INDEX)
        with unit.enter():
            found = mark.events.get(unit.index)
            if found is None:
                found = mark.events[unit.index] = driver.event_create()
            driver.event_record(found, stream & (1 << INDEX) - 1)
        mark.current = found

    def event_query(self, event: int) -> bool:
        return driver.event_query(self.marks[event].current)

    def event_synchronize(self, event: int) -> None:
        driver.event_synchronize(self.marks[event].current)

    def __getattr__(self, name: str) -> Any:
        return getattr(driver, name)


class Gpu:
    """The driver's runtime. What it shares with the emulator is the interface that ops use."""

    is_emulated = False

    def __init__(self) -> None:
        driver.init()
        self.driver = driver
        self.count = driver.device_count()
        if not self.count:
            raise driver.CudaError("cuDeviceGetCount", 100, "no GPU is visible to CUDA")
        self.units: dict[int, Unit] = {}
        self.lock = threading.Lock()
        host: Any = HostDriver(self)
        self.pinned = HostPool(host, contextlib.nullcontext)

    # ---- devices ---------------------------------------------------------------------------------

    def device_count(self) -> int:
        return self.count

    @property
    def name(self) -> str:
        return self.device_name(here.place.index)

    def device_name(self, index: int) -> str:
        return driver.device_name(index)

    def unit(self, index: int) -> Unit:
        """The state of a GPU, made at its first use. Raises RuntimeError for one that is not."""
        found = self.units.get(index)
        if found is None:
            if not 0 <= index < self.count:
                raise RuntimeError(
                    f"CUDA error: invalid device ordinal: cuda:{index} of {self.count} device(s)"
                )
            with self.lock:
                found = self.units.get(index)
                if found is None:
                    found = self.units[index] = Unit(index, self.pinned)
        return found

    def pool(self, index: int) -> Pool:
        return self.unit(index).pool

    def enter(self, index: int) -> Entered:
        """``with gpu.enter(i):`` calls of the driver go to GPU ``i``."""
        return self.unit(index).enter()

    def bind(self, place: Place) -> Unit:
        """Make the GPU's context current in this thread, for calls that work in it."""
        unit = self.units.get(place.index) or self.unit(place.index)
        if here.bound != place.index:
            driver.set_context(unit.context)
            here.bound = place.index
        return unit

    def synchronize(self, index: int | None = None) -> None:
        """Wait for all work of a GPU, the current one unless named."""
        stream.forbid_capture("synchronize()")
        with self.enter(here.place.index if index is None else index):
            driver.synchronize_context()

    # ---- other libraries' streams ----------------------------------------------------------------

    def stream_of(self, index: int) -> int:
        """The handle of the thread's current stream of a GPU."""
        return place_of(index).stream

    def device_of(self, address: int) -> int:
        """The GPU whose memory an address is in. Raises RuntimeError if it is in none."""
        self.bind(here.place)
        return driver.pointer_device(address)

    def wait_for(self, stream: int) -> None:
        """Later work of the current stream waits for what ``stream``, of the same GPU, has now."""
        place = here.place
        if stream != place.stream:
            order(self.unit(place.index), stream, self.unit(place.index), place.stream)

    def let_wait(self, stream: int) -> None:
        """Later work of ``stream`` waits for what the current stream of the same GPU has now."""
        place = here.place
        if stream != place.stream:
            order(self.unit(place.index), place.stream, self.unit(place.index), stream)

    # ---- memory ----------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
        """Uninitialised memory of the current GPU, for work of the current stream."""
        place = here.place
        nbytes = math.prod(shape) * dtype.itemsize
        block = (place.heap or stream.heap_of(place)).allocate(nbytes)
        strides = contiguous_strides(shape, dtype.itemsize)
        return CudaArray(block, block.ptr, shape, strides, dtype, place.index)

    def empty_cache(self) -> None:
        """Give memory that nobody holds back to the driver, and by it to other processes."""
        for unit in list(self.units.values()):
            unit.pool.release()
        self.pinned.release()

    # ---- copies ----------------------------------------------------------------------------------

    def from_host(self, a: np.ndarray, non_blocking: bool = False) -> CudaArray:
        """A contiguous copy on the current GPU."""
        out = self.empty(a.shape, a.dtype)
        self.upload(out, a, non_blocking)
        return out

    def upload(self, out: CudaArray, a: np.ndarray, non_blocking: bool = False) -> None:
        """Copy into contiguous ``out``, on the current stream of its GPU.

        ``a`` may be changed on return, unless it is page-locked and ``non_blocking``: then the
        copy reads it later. A CUDA graph copies what ``a`` holds now at every replay, or from
        page-locked memory what it holds then.
        """
        if a.size:
            unit, place = self.unit(out.device), place_of(out.device)
            with unit.enter(), unit.pool.relaxed():
                staging.upload(unit, out.ptr, np.ascontiguousarray(a), place.stream, non_blocking)

    def copy_from_host(self, out: CudaArray, a: np.ndarray) -> None:
        """Write ``a``, of the same shape and dtype, over the elements of ``out``."""
        assert a.shape == out.shape and a.dtype == out.dtype, (a.shape, a.dtype, out)
        order = memory_order(out)
        if order is not None:
            self.upload(out.transpose(order), a.transpose(order))
            return
        with on(out.device):
            copy_elements(out, self.from_host(a))

    def to_host(self, a: CudaArray, non_blocking: bool = False) -> np.ndarray:
        """A host copy with ``a``'s shape, contiguous; waits until it is there.

        ``non_blocking``: the copy is in page-locked memory and may be read after a synchronisation.
        """
        if non_blocking:
            out = pinned.empty(a.shape, a.dtype)
            self.copy_to_host(out, a)
            return out
        stream.waits_for_gpu(
            "Reading a CUDA tensor on the host (.cpu(), .item(), .tolist(), printing, a mask as an "
            "index, an op without a CUDA kernel)"
        )
        order = memory_order(a)
        if order is None:
            a, order = self.packed(a), tuple(range(a.ndim))
        out = memory.empty(tuple(a.shape[i] for i in order), a.dtype)
        self.download(out, a)
        if order == tuple(range(a.ndim)):
            return out
        return np.ascontiguousarray(out.transpose(np.argsort(order)))

    def copy_to_host(self, out: np.ndarray, a: CudaArray) -> None:
        """Copy into contiguous page-locked memory of the same shape and dtype, without waiting."""
        self.download(out, a if a.is_contiguous else self.packed(a), non_blocking=True)

    def download(self, out: np.ndarray, a: CudaArray, non_blocking: bool = False) -> None:
        """Copy the memory of ``a``, which has no gaps, on the current stream of its GPU."""
        if out.size:
            unit, place = self.unit(a.device), place_of(a.device)
            with unit.enter(), unit.pool.relaxed():
                staging.download(unit, out, a.ptr, place.stream, non_blocking)

    def packed(self, a: CudaArray) -> CudaArray:
        """A contiguous copy on the same GPU."""
        with on(a.device):
            out = self.empty(a.shape, a.dtype)
            copy_elements(out, a)
            return out

    def to_device(self, a: CudaArray, index: int) -> CudaArray:
        """A contiguous copy on another GPU, ordered after the work of both current streams."""
        source, place = self.unit(a.device), place_of(a.device)
        a = a if a.is_contiguous else self.packed(a)
        with on(index) as there:
            out = self.empty(a.shape, a.dtype)
        if a.size:
            target = self.unit(index)
            # The memory may still be in use by work of the other stream, and later work of the
            # other stream reads it: the copy lies between.
            order(target, there.stream, source, place.stream)
            with source.enter():
                driver.memcpy_peer_async(
                    out.ptr, target.context, a.ptr, source.context, a.nbytes, place.stream
                )
            order(source, place.stream, target, there.stream)
        return out

    # ---- launches --------------------------------------------------------------------------------

    def launch(
        self, kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict, **options: int
    ) -> None:
        """Run ``kernel`` on the current stream."""
        place = here.place
        unit = self.bind(place)
        try:
            made = unit.launcher.launch(kernel, grid, args, constants, place.stream, **options)
        except driver.CudaError as error:
            # Another library may have changed the thread's context since it was bound. Asking the
            # driver at every launch would cost as much again as a third of the launch.
            if error.code not in WRONG_CONTEXT or driver.get_context() == unit.context:
                raise
            driver.set_context(unit.context)
            made = unit.launcher.launch(kernel, grid, args, constants, place.stream, **options)
        if made is not None and place.sink is not None:
            place.sink.launched(*made, args)


def order(first: Unit, first_stream: int, second: Unit, second_stream: int) -> None:
    """Later work of the second stream waits for all work that the first has now."""
    with first.enter():
        event = first.event()
        try:
            driver.event_record(event, first_stream)
            with second.enter():
                driver.stream_wait_event(second_stream, event)
        finally:
            first.spare(event)  # a wait stands for the record that it saw, not for later ones


def memory_order(a: CudaArray) -> tuple[int, ...] | None:
    """The axes from slowest to fastest if the elements lie without gaps, else None."""
    axes = tuple(sorted(range(a.ndim), key=lambda i: (-a.strides[i], i)))
    turned = a.transpose(axes) if a.ndim else a
    return axes if turned.is_contiguous else None


def copy_elements(out: CudaArray, a: CudaArray) -> None:
    """Copy between arrays of any strides, by a kernel."""
    from tgrad.kernels.cuda.copy import copy

    copy(out, a)
