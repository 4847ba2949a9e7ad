"""A GPU in pure Python, for tests of the memory pool: streams run later, and out of step.

Every stream is a queue of operations that run when the test says so. Memory remembers the last
value written, so that memory handed out too early shows as a reader that finds another's value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

OUT_OF_MEMORY = 2


class ModelError(RuntimeError):
    """An error of the driver, with its code."""

    def __init__(self, function: str, code: int):
        super().__init__(f"{function}: {code}")
        self.code = code


class DeviceModel:
    """The driver functions that ``tgrad.runtime.pool`` calls, over simulated streams."""

    def __init__(self, memory: int, streams: int = 4):
        self.total = memory
        self.queues: dict[int, deque[Callable[[], bool]]] = {i: deque() for i in range(streams + 1)}
        self.sizes: dict[int, int] = {}  # by address, until the free has run
        self.freed: set[int] = set()  # addresses whose free is queued
        self.values: dict[int, object] = {}
        self.next = 0x10000
        self.events: dict[int, int] = {}  # records of it that have not run
        self.host: dict[int, int] = {}
        self.capturing: set[int] = set()
        self.calls: list[str] = []
        self.fail: str | None = None  # a function that fails now

    def called(self, name: str) -> None:
        self.calls.append(name)
        if self.fail == name:
            raise ModelError(name, 719)

    # ---- memory ----------------------------------------------------------------------------------

    def used(self) -> int:
        return sum(self.sizes.values())

    def new(self, name: str, size: int) -> int:
        self.called(name)
        if self.used() + size > self.total:
            raise ModelError(name, OUT_OF_MEMORY)
        address, self.next = self.next, self.next + size + 512
        self.sizes[address] = size
        return address

    def mem_alloc_async(self, size: int, stream: int) -> int:
        assert stream not in self.capturing, "memory of a graph taken in stream order"
        return self.new("mem_alloc_async", size)

    def mem_free_async(self, address: int, stream: int) -> None:
        self.called("mem_free_async")
        assert stream not in self.capturing, "a free that would become a node of the graph"
        assert address in self.sizes and address not in self.freed, "freed twice"
        self.freed.add(address)

        def run() -> bool:
            del self.sizes[address]
            self.freed.remove(address)
            self.values.pop(address, None)
            return True

        self.queues[stream].append(run)

    def mem_alloc(self, size: int) -> int:
        return self.new("mem_alloc", size)

    def mem_free(self, address: int) -> None:
        """As CUDA's: after all work of the device."""
        self.called("mem_free")
        self.run_all()
        assert address not in self.freed, "freed twice"
        del self.sizes[address]
        self.values.pop(address, None)

    def mem_get_info(self) -> tuple[int, int]:
        return self.total - self.used(), self.total

    def pool_trim(self, index: int, keep: int = 0) -> None:
        self.called("pool_trim")

    def host_alloc(self, size: int) -> int:
        self.called("host_alloc")
        address, self.next = self.next, self.next + size + 512
        self.host[address] = size
        return address

    def host_free(self, address: int) -> None:
        self.called("host_free")
        del self.host[address]

    # ---- streams ---------------------------------------------------------------------------------

    def write(self, address: int, value: object, stream: int) -> None:
        """Queue a kernel that fills the block."""

        def run() -> bool:
            assert address in self.sizes, "written after the driver took the memory back"
            self.values[address] = value
            return True

        self.queues[stream].append(run)

    def read(self, address: int, value: object, stream: int) -> None:
        """Queue a kernel that reads the block; it must find ``value``."""

        def run() -> bool:
            assert self.values.get(address) == value, "memory was reused while it was being read"
            return True

        self.queues[stream].append(run)

    def run(self, stream: int, count: int = 1) -> None:
        """Let ``stream`` run up to ``count`` operations; it may be waiting for another stream."""
        queue = self.queues[stream]
        while count and queue and queue[0]():
            queue.popleft()
            count -= 1

    def run_all(self) -> None:
        while any(self.queues.values()):
            for stream in self.queues:
                self.run(stream, len(self.queues[stream]))

    def stream_synchronize(self, stream: int) -> None:
        self.called("stream_synchronize")
        while self.queues[stream]:
            for other in self.queues:
                self.run(other, 1 if other != stream else len(self.queues[stream]))

    # ---- events ----------------------------------------------------------------------------------

    def event_create(self, timing: bool = False, blocking: bool = False) -> int:
        self.called("event_create")
        event = len(self.events) + 1
        self.events[event] = 0
        return event

    def event_record(self, event: int, stream: int) -> None:
        self.called("event_record")
        assert stream not in self.capturing, "an event of the pool became part of a graph"
        self.events[event] += 1

        def run() -> bool:
            self.events[event] -= 1
            return True

        self.queues[stream].append(run)

    def stream_wait_event(self, stream: int, event: int) -> None:
        self.queues[stream].append(lambda: self.events[event] == 0)

    def event_query(self, event: int) -> bool:
        self.called("event_query")
        return self.events[event] == 0

    def event_synchronize(self, event: int) -> None:
        self.called("event_synchronize")
        while self.events[event]:
            for stream in self.queues:
                self.run(stream)

    # ---- capture ---------------------------------------------------------------------------------

    def capture_status(self, stream: int) -> int:
        return int(stream in self.capturing)

    def exchange_capture_mode(self, mode: str) -> str:
        self.called("exchange_capture_mode")
        return "global"
