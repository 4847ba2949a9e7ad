"""Streams, events, and which of them are current in each thread.

A stream is a queue of work of one GPU, done in order; work of two streams is ordered by events
alone. Streams come from a ring of 32 for each GPU and priority and are never destroyed, as
PyTorch's: the memory pool keeps freed blocks by stream, and a handle that the driver gave out a
second time would inherit blocks that work of the first is still using.

Under the emulator everything is done when a call returns; streams and events then are formalities.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from typing import TYPE_CHECKING, Any

from tgrad.device import device, resolve
from tgrad.runtime import cuda, waits
from tgrad.runtime.current import DEFAULT_STREAM, Place, here, place_of
from tgrad.runtime.pool import Block, Heap

if TYPE_CHECKING:
    from typing_extensions import Self

    from tgrad.runtime.graph import Capture

    Device = str | int | device | None

RING = 32  # streams of a GPU and priority


class _Objects(threading.local):
    """What a thread's places are, as objects of this module."""

    capture: Capture | None = None  # the CUDA graph that the thread is recording

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}  # current ones, by index of the GPU


_objects = _Objects()
_lock = threading.Lock()
_rings: dict[tuple[int, int], tuple[list[int], itertools.cycle]] = {}


def gpu(index: int) -> device:
    """The device of an index."""
    return device("cuda", index)


_lock = threading.Lock()
_rings: dict[tuple[int, int], tuple[list[int], itertools.cycle]] = {}


def index_of(where: Device, function: str = "cuda") -> int:
    """The index of a GPU; the current one for None.

    Raises: ValueError for other devices, RuntimeError for one that is not there.
    """
    found = gpu(here.place.index) if where is None else resolve(where)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    index = found.index or 0
    count = cuda.active().device_count()
    if index >= count:
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: {function} got {found}, and there "
            f"{'is' if count == 1 else 'are'} {count} device{'s' * (count != 1)}"
        )
    return index


def handle(index: int) -> int:
    """The driver's handle of the thread's current stream on a GPU."""
    return place_of(index).stream


def heap_of(place: Place) -> Heap:
    """Where allocations of a place come from: its stream's memory, or that of the graph that the
    thread is recording. Kept in ``place.heap`` until either changes."""
    if place.heap is None:
        recorded = _objects.capture
        arena = recorded.arena(place.index) if recorded else None
        pool: Any = cuda.active().pool(place.index)  # the emulator's has no heaps and needs none
        place.heap = pool.heap(place.stream, arena)
    return place.heap


def capture() -> Capture | None:
    """The CUDA graph that this thread is recording."""
    return _objects.capture


def set_capture(capture: Capture | None) -> None:
    """Record into ``capture`` from now on; None: no more."""
    _objects.capture = capture
    for place in here.places.values():
        place.heap = None


def forbid_capture(what: str, instead: str = "Do it before or after the capture.") -> None:
    """Raise RuntimeError if a CUDA graph is being recorded: ``what`` must wait for the GPU, which
    has nothing to wait for then."""
    if _objects.capture is not None:
        raise RuntimeError(
            f"{what} has to wait for the GPU, and a CUDA graph is being captured: its work is "
            f"recorded and does not run. {instead}"
        )


def waits_for_gpu(what: str) -> None:
    """:func:`forbid_capture`, and what ``tgrad.cuda.set_sync_debug_mode`` asks for."""
    forbid_capture(what)
    waits.told(what)


def _ring_stream(index: int, priority: int) -> int:
    with _lock:
        key = index, priority
        if key not in _rings:
            _rings[key] = [], itertools.cycle(range(RING))
        handles, turn = _rings[key]
        place = next(turn)
        if place == len(handles):
            runtime = cuda.active()
            with runtime.enter(index):
                handles.append(runtime.driver.stream_create(priority))
        return handles[place]


class Stream:
    """A stream of ``device``. A lower ``priority`` is served first: 0 normal, -1 and below high.

    As a context manager it is current inside, and so is its device.
    """

    __slots__ = ("__weakref__", "_restore", "device", "handle", "index", "priority")

    device: device
    handle: int

    def __init__(self, device: Device = None, priority: int = 0):
        index = index_of(device, "Stream")
        runtime = cuda.active()
        with runtime.enter(index):
            least, greatest = runtime.driver.stream_priority_range()
        self.priority = min(max(int(priority), greatest), least)
        self._set(index, _ring_stream(index, self.priority))

    def _set(self, index: int, handle: int) -> None:
        self.device, self.index, self.handle = gpu(index), index, handle
        self._restore: list[tuple[Place, Stream]] = []

    @property
    def cuda_stream(self) -> int:
        """The handle as CUDA's runtime knows it: 0 for the default stream."""
        return 0 if self.handle == DEFAULT_STREAM else self.handle

    def __cuda_stream__(self) -> tuple[int, int]:
        """NVIDIA's protocol: version 0 and the handle."""
        return 0, self.handle

    def query(self) -> bool:
        """Whether all of its work has ended."""
        forbid_capture("Stream.query()")
        return cuda.active().driver.stream_query(self.handle)

    def synchronize(self) -> None:
        """Wait for all of its work to end."""
        waits_for_gpu("Stream.synchronize()")
        runtime = cuda.active()
        with runtime.enter(self.index):
            runtime.driver.stream_synchronize(self.handle)

    def wait_event(self, event: Event) -> None:
        """Later work of this stream waits for what ``event`` has recorded. Does not block."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Later work of this stream waits for the work that ``stream`` has been given so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """``event``, or a new one, that stands for the work given so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """(least, greatest) priority, as (0, -5)."""
        runtime = cuda.active()
        with runtime.enter(index_of(None)):
            return runtime.driver.stream_priority_range()

    def __enter__(self) -> Self:
        self._restore.append((here.place, current_stream(self.device)))
        set_stream(self)
        here.place = place_of(self.index)
        return self

    def __exit__(self, *exc: object) -> None:
        here.place, before = self._restore.pop()
        set_stream(before)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return self.handle == other.handle and self.device is other.device

    def __hash__(self) -> int:
        return hash((self.handle, self.device))

    def __repr__(self) -> str:
        return f"<tgrad.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream that another library made, by its handle; 0 is the default stream.

    The caller keeps it alive as long as this object and memory allocated on it are in use.
    """

    __slots__ = ()

    def __init__(self, stream_ptr: int, device: Device = None):
        self.priority = 0
        self._set(index_of(device, "ExternalStream"), int(stream_ptr) or DEFAULT_STREAM)


def get_stream_from_external(data_ptr: int, device: Device = None) -> Stream:
    """The stream with a handle of another library's."""
    return ExternalStream(data_ptr, device)


def default_stream(device: Device = None) -> Stream:
    """The stream that work goes to unless another is made current."""
    return _default_stream(index_of(device, "default_stream"))


@functools.cache
def _default_stream(index: int) -> Stream:
    return ExternalStream(0, gpu(index))


def current_stream(device: Device = None) -> Stream:
    """The stream of the GPU that this thread's work goes to."""
    index = index_of(device, "current_stream")
    found, current = _objects.streams.get(index), place_of(index).stream
    if found is None or found.handle != current:
        return _default_stream(index) if current == DEFAULT_STREAM else ExternalStream(
            current, gpu(index)
        )  # fmt: skip
    return found


def set_stream(stream: Stream | None) -> None:
    """Send this thread's later work of the stream's GPU to it; None changes nothing."""
    if stream is None:
        return
    place = place_of(stream.index)
    _objects.streams[place.index], place.stream, place.heap = stream, stream.handle, None
    if stream.handle != DEFAULT_STREAM:
        Block.several = True


Block.current = handle


class stream(contextlib.AbstractContextManager):
    """``with stream(s):`` makes ``s`` and its device current inside; None changes nothing."""

    def __init__(self, stream: Stream | None):
        if stream is not None and not isinstance(stream, Stream):
            raise TypeError(f"stream(): expected a Stream or None, got {type(stream).__name__}")
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*exc)


StreamContext = stream


class Event:
    """A place in a stream's work: recorded there, waited for by other streams or by the host.

    ``enable_timing`` for :meth:`elapsed_time`; ``blocking``: waiting sleeps and does not spin.
    The driver's event is made at the first record, on the device of that stream.
    Raises: NotImplementedError for ``interprocess`` and ``external``.
    """

    __slots__ = ("__weakref__", "blocking", "device", "enable_timing", "handle")

    def __init__(
        self,
        enable_timing: bool = False,
        blocking: bool = False,
        interprocess: bool = False,
        external: bool = False,
    ):
        if interprocess or external:
            raise NotImplementedError("Event: interprocess and external events are not supported")
        self.enable_timing, self.blocking = bool(enable_timing), bool(blocking)
        self.device: Any = None
        self.handle = 0

    @property
    def cuda_event(self) -> int:
        """The driver's handle; 0 before the first record."""
        return self.handle

    def record(self, stream: Stream | None = None) -> None:
        """Stand for the work that ``stream`` (the current one) has been given so far.

        Raises: ValueError on another device than the first time.
        """
        stream = current_stream() if stream is None else stream
        if self.device is not None and self.device is not stream.device:
            raise ValueError(f"Event device {self.device} does not match recording stream's "
                             f"device {stream.device}.")  # fmt: skip
        runtime = cuda.active()
        with runtime.enter(stream.index):
            if not self.handle:
                made = runtime.driver.event_create(self.enable_timing, self.blocking)
                self.handle, self.device = made, stream.device
            runtime.driver.event_record(self.handle, stream.handle)

    def wait(self, stream: Stream | None = None) -> None:
        """Later work of ``stream`` (the current one) waits for this. Does not block the host."""
        if self.handle:
            stream = current_stream() if stream is None else stream
            runtime = cuda.active()
            with runtime.enter(stream.index):
                runtime.driver.stream_wait_event(stream.handle, self.handle)

    def query(self) -> bool:
        """Whether the recorded work has ended; True where nothing was recorded."""
        return not self.handle or cuda.active().driver.event_query(self.handle)

    def synchronize(self) -> None:
        """Wait for the recorded work to end."""
        if self.handle:
            forbid_capture("Event.synchronize()")
            cuda.active().driver.event_synchronize(self.handle)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to ``end_event``, resolved to about half a microsecond.

        Raises: ValueError unless both keep time, were recorded and have ended.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if not (self.handle and end_event.handle):
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise ValueError("Both events must be completed before calculating elapsed time.")
        return cuda.active().driver.event_elapsed_ms(self.handle, end_event.handle)

    def __del__(self) -> None:
        if getattr(self, "handle", 0):
            with contextlib.suppress(RuntimeError):  # a context that is lost, or at exit
                cuda.active().driver.event_destroy(self.handle)

    def __repr__(self) -> str:
        return f"<tgrad.cuda.Event {f'{self.handle:#x}' if self.handle else 'uninitialized'}>"
