"""The emulated GPU's driver: functions of ``tgrad.runtime.driver`` for work that is done at once.

A stream is a number, an event a time. Capture is real: what is given to a captured stream is kept
and not run, and a graph runs it in that order as often as it is launched. A stream joins a capture
when it waits for an event of a stream that is in it, as in CUDA.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable

import numpy as np

from tgrad.runtime.current import DEFAULT_STREAM

ALIGN = 512  # bytes; page-locked memory starts there
NOT_CAPTURING, CAPTURING = 0, 1

Work = Callable[[], None]

# What a program may ask about the device. Compute capability: that of the first GPU with all of
# the features that the kernels use, which the interpreter has too.
ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0, "MULTIPROCESSOR_COUNT": 1,
    "WARP_SIZE": 32, "MAX_THREADS_PER_MULTIPROCESSOR": 2048, "MAX_THREADS_PER_BLOCK": 1024,
    "MAX_REGISTERS_PER_MULTIPROCESSOR": 65536, "MAX_SHARED_MEMORY_PER_BLOCK": 48 << 10,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 227 << 10,
    "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 228 << 10, "L2_CACHE_SIZE": 50 << 20, "INTEGRATED": 1,
    "MULTI_GPU_BOARD": 0, "PCI_BUS_ID": 0, "PCI_DEVICE_ID": 0, "PCI_DOMAIN_ID": 0,
    "CLOCK_RATE": 0, "MEMORY_CLOCK_RATE": 0, "GLOBAL_MEMORY_BUS_WIDTH": 0,
}  # fmt: skip


class HostError(RuntimeError):
    """A call that CUDA refuses too; ``code`` is its CUresult."""

    def __init__(self, function: str, code: int, text: str):
        super().__init__(f"{function}: {text}")
        self.function, self.code = function, code


class _Recording(threading.local):
    """The capture that a thread is in: its first stream, those that joined, and the work."""

    origin = 0
    mode = "global"

    def __init__(self) -> None:
        self.streams: set[int] = set()
        self.work: list[Work] = []


class HostDriver:
    """Handles are ints and streams of no device; all state is the emulator's one device's."""

    def __init__(self) -> None:
        self.numbers = itertools.count(DEFAULT_STREAM + 1)
        self.streams = {DEFAULT_STREAM}
        self.times: dict[int, float | None] = {}  # of events, seconds; None: not recorded yet
        self.marks: dict[int, int] = {}  # events recorded on a captured stream, and its origin
        self.graphs: dict[int, list[Work]] = {}
        self.host: dict[int, np.ndarray] = {}
        self.local = _Recording()

    # ---- the device ------------------------------------------------------------------------------

    def device_name(self, index: int) -> str:
        return "emulated (Triton interpreter)"

    def can_access_peer(self, index: int, peer: int) -> bool:
        return False

    def device_attribute(self, index: int, name: str) -> int:
        return ATTRIBUTES[name]

    def total_memory(self, index: int) -> int:
        return self.mem_get_info()[1]

    def mem_get_info(self) -> tuple[int, int]:
        """(free, total) bytes of the host."""
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page

    def host_alloc(self, size: int) -> int:
        memory = np.empty(size + ALIGN, np.uint8)
        address = memory.ctypes.data + -memory.ctypes.data % ALIGN
        self.host[address] = memory
        return address

    def host_free(self, address: int) -> None:
        del self.host[address]

    def mem_alloc(self, size: int) -> int:
        return self.host_alloc(size)

    def mem_free(self, address: int) -> None:
        self.host_free(address)

    def mem_alloc_async(self, size: int, stream: int) -> int:
        return self.host_alloc(size)

    def mem_free_async(self, address: int, stream: int) -> None:
        self.host_free(address)

    def pool_trim(self, index: int, keep: int = 0) -> None:
        """Nothing is kept."""

    # ---- streams and events ----------------------------------------------------------------------

    def stream_create(self, priority: int = 0, nonblocking: bool = True) -> int:
        stream = next(self.numbers)
        self.streams.add(stream)
        return stream

    def stream_priority_range(self) -> tuple[int, int]:
        return 0, -5

    def stream_synchronize(self, stream: int) -> None:
        self._refuse("cuStreamSynchronize", stream)

    def stream_query(self, stream: int) -> bool:
        self._refuse("cuStreamQuery", stream)
        return True

    def stream_wait_event(self, stream: int, event: int) -> None:
        if self.local.origin and self.marks.get(event) == self.local.origin:
            self.local.streams.add(stream)

    def event_create(self, timing: bool = False, blocking: bool = False) -> int:
        event = next(self.numbers)
        self.times[event] = None
        return event

    def event_destroy(self, event: int) -> None:
        self.times.pop(event, None)
        self.marks.pop(event, None)

    def event_record(self, event: int, stream: int) -> None:
        if stream in self.local.streams:
            self.marks[event] = self.local.origin
            self.local.work.append(lambda: self._stamp(event))
        else:
            self.marks.pop(event, None)
            self._stamp(event)

    def _stamp(self, event: int) -> None:
        if event in self.times:
            self.times[event] = time.perf_counter()

    def event_query(self, event: int) -> bool:
        self._refuse_event("cuEventQuery", event)
        return True

    def event_synchronize(self, event: int) -> None:
        self._refuse_event("cuEventSynchronize", event)

    def event_elapsed_ms(self, start: int, end: int) -> float:
        first, last = self.times[start], self.times[end]
        if first is None or last is None:
            raise HostError("cuEventElapsedTime", 400, "an event was not recorded")
        return (last - first) * 1e3

    def _refuse(self, function: str, stream: int) -> None:
        if stream in self.local.streams:
            text = "operation not permitted when stream is capturing"
            raise HostError(function, 900, text)

    def _refuse_event(self, function: str, event: int) -> None:
        if event in self.marks:
            raise HostError(function, 907, "operation not permitted on an event of a capture")

    # ---- graphs ----------------------------------------------------------------------------------

    def submit(self, stream: int, work: Work) -> None:
        """Run ``work``, or keep it where ``stream`` is being captured."""
        if stream in self.local.streams:
            self.local.work.append(work)
        else:
            work()

    def capture_begin(self, stream: int, mode: str = "global") -> None:
        if stream == DEFAULT_STREAM:
            text = "the default stream cannot be captured"
            raise HostError("cuStreamBeginCapture", 900, text)
        if self.local.origin:
            raise HostError("cuStreamBeginCapture", 901, "a capture is going on already")
        self.local.origin, self.local.streams, self.local.work = stream, {stream}, []

    def capture_end(self, stream: int) -> int:
        if self.local.origin != stream:
            text = "capture was not initiated in this stream"
            raise HostError("cuStreamEndCapture", 901, text)
        graph = next(self.numbers)
        self.graphs[graph] = self.local.work
        self.local.origin, self.local.streams, self.local.work = 0, set(), []
        self.marks.clear()
        return graph

    def capture_status(self, stream: int) -> int:
        return CAPTURING if stream in self.local.streams else NOT_CAPTURING

    def exchange_capture_mode(self, mode: str) -> str:
        before, self.local.mode = self.local.mode, mode
        return before

    def graph_instantiate(self, graph: int) -> int:
        executable = next(self.numbers)
        self.graphs[executable] = list(self.graphs[graph])
        return executable

    def graph_launch(self, executable: int, stream: int) -> None:
        work = self.graphs[executable]

        def run() -> None:
            for step in work:
                step()

        self.submit(stream, run)

    def graph_exec_destroy(self, executable: int) -> None:
        del self.graphs[executable]

    def graph_destroy(self, graph: int) -> None:
        del self.graphs[graph]
