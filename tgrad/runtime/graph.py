"""CUDA graphs: work that is recorded once and launched again as one.

While a thread records, what it gives to the captured stream does not run. Its allocations come from
an arena, whose addresses stay the graph's until :meth:`CUDAGraph.reset`. Numbers that must differ
from replay to replay (the counters of random bits, the step count of an optimiser) cannot be
arguments of the recorded launches: they lie in device memory, which :meth:`CUDAGraph.replay` writes
first (see :class:`Draws` and ``runtime/rehearsal.py``).

Python's garbage collection is off while capturing: a cycle that it frees may hold a graph or a
module, and destroying either would break the capture off.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.runtime import cuda, stream
from tgrad.runtime.current import DEFAULT_STREAM, here
from tgrad.runtime.pool import Pool, Source
from tgrad.runtime.rehearsal import Rehearsal

if TYPE_CHECKING:
    from tgrad.runtime.array import CudaArray
    from tgrad.runtime.random import Generator

PoolHandle = tuple[int, int]

MODES = ("global", "thread_local", "relaxed")
LANES = 4  # words in a block of random bits
CHUNK = 64  # random draws whose counters share a block of 512 bytes
WORD = (1 << 64) - 1
_handles = itertools.count(1)
_arenas: dict[PoolHandle, dict[int, Source]] = {}  # by GPU


class Draws:
    """What a graph draws from one generator: each draw's key and counter, in device memory.

    A replay reserves the blocks of all draws at once, so that each one continues the stream as the
    recorded ops themselves would have. Seeding between replays has its usual effect.
    """

    def __init__(self, generator: Generator):
        self.generator, self.total = generator, 0
        self.offsets: list[int] = []  # of each draw, in blocks of the generator
        self.chunks: list[CudaArray] = []

    def reserve(self, blocks: int) -> tuple[CudaArray, CudaArray]:
        i = len(self.offsets) % CHUNK
        if i == 0:
            self.chunks.append(cuda.active().empty((CHUNK + 1,), np.dtype(np.int64)))
        self.offsets.append(self.total)
        self.total += blocks
        return self.chunks[-1][0], self.chunks[-1][1 + i]

    def write(self) -> None:
        key, counter = self.generator.reserve(self.total * LANES)
        for i, chunk in enumerate(self.chunks):
            values = np.full(CHUNK + 1, key, np.uint64)
            for k, offset in enumerate(self.offsets[i * CHUNK : (i + 1) * CHUNK]):
                values[1 + k] = (counter + offset) & WORD
            cuda.active().copy_from_host(chunk, values.view(np.int64))


class Capture:
    """A capture that is going on."""

    def __init__(self, stream: stream.Stream, arenas: dict[int, Source]):
        self.stream, self.arenas = stream, arenas
        self.inputs: list[Draws | Rehearsal] = []
        self.held: list[object] = []

    def arena(self, index: int) -> Source:
        """The memory that the graph's allocations on a GPU come from."""
        found = self.arenas.get(index)
        if found is None:
            pool: Any = cuda.active().pool(index)
            found = self.arenas[index] = pool.arena()
            found.users += 1
        return found

    def records(self) -> bool:
        """Whether the thread's current stream is in the capture."""
        return bool(cuda.active().driver.capture_status(here.place.stream))

    def hold(self, owner: object) -> None:
        """Keep ``owner`` alive as long as the graph: its launches use that memory."""
        self.held.append(owner)

    def draw(self, generator: Generator, blocks: int) -> tuple[CudaArray, CudaArray]:
        """(key, counter) in device memory, of ``blocks`` that nobody else gets at each replay."""
        for found in self.inputs:
            if isinstance(found, Draws) and found.generator is generator:
                return found.reserve(blocks)
        made = Draws(generator)
        self.inputs.append(made)
        return made.reserve(blocks)


def graph_pool_handle() -> PoolHandle:
    """A name for memory that several graphs share, given to each as ``pool=``.

    Their replays must follow each other in the order of capture: they overwrite each other's
    intermediate results.
    """
    return 0, next(_handles)


class CUDAGraph:
    """Recorded GPU work. ``with tgrad.cuda.graph(g): ...`` records, ``g.replay()`` runs it.

    The recorded kernels read and write the same addresses at every replay: give new input by
    ``x.copy_(new)`` and read results from the tensors that the capture made. Keep the tensors alive
    that it reads: as in PyTorch, memory of one that is freed is given to others. Memory made inside
    belongs to the graph until it is reset or dropped. ``keep_graph`` keeps the graph itself beside
    its executable form, which then is made by :meth:`instantiate` or the first replay.
    """

    def __init__(self, keep_graph: bool = False):
        self.keep_graph = bool(keep_graph)
        self._capture: Capture | None = None
        self._gc, self._mode = False, "global"
        self._graph = self._executable = 0
        self._index = 0
        self._handle: PoolHandle | None = None
        self._arenas: dict[int, Source] = {}
        self._inputs: list[Draws | Rehearsal] = []
        self._held: list[object] = []
        self._last: stream.Stream | None = None
        self._runtime: Any = None  # that it was captured with

    def capture_begin(
        self, pool: PoolHandle | None = None, capture_error_mode: str = "global"
    ) -> None:
        """Record the current stream's work until :meth:`capture_end`.

        ``capture_error_mode``: whether calls that CUDA forbids meanwhile break the capture off when
        another thread makes them: "global" yes, "thread_local" and "relaxed" no. In this thread
        tgrad itself refuses what cannot be captured.
        Raises: RuntimeError on the default stream, while another capture is going on, or where
        this object has a graph; ValueError for an unknown mode.
        """
        if capture_error_mode not in MODES:
            raise ValueError(
                f"capture_begin: expected a mode of {MODES}, got {capture_error_mode!r}"
            )
        if self._graph or self._executable:
            raise RuntimeError(
                "This CUDAGraph instance already owns a captured graph. To capture a new graph, "
                "create a new instance."
            )
        if stream.capture() is not None:
            raise RuntimeError("capture_begin: this thread is capturing a CUDA graph already")
        current = stream.current_stream()
        if current.handle == DEFAULT_STREAM:
            raise RuntimeError(
                "CUDA graphs must be captured on a non-default stream. (However, after capture, "
                "it's ok to replay them on the default stream.)"
            )
        runtime = self._runtime = cuda.active()
        self._index = current.index
        self._handle = pool or graph_pool_handle()
        self._arenas = {}
        for index, shared in _arenas.setdefault(self._handle, {}).items():
            self._arenas[index] = shared
            shared.users += 1
        # This thread loads kernels and takes memory meanwhile, off the captured streams. What would
        # wait for those is refused by forbid_capture(), which can say more than the driver.
        self._mode = runtime.driver.exchange_capture_mode("relaxed")
        try:
            runtime.driver.capture_begin(current.handle, capture_error_mode)
        except BaseException:
            self._leave()
            raise
        Pool.captures += 1
        self._gc = gc.isenabled()
        gc.disable()
        self._capture = Capture(current, self._arenas)
        stream.set_capture(self._capture)

    def capture_end(self) -> None:
        """End the recording and make it ready to replay.

        Raises: RuntimeError where none is going on, or if something that cannot be recorded broke
        it off.
        """
        capture = self._capture
        if capture is None:
            raise RuntimeError("capture_end: this graph is not being captured")
        runtime = cuda.active()
        try:
            self._graph = end_capture(runtime.driver, capture.stream.handle)
        except BaseException:
            self._end()
            self.reset()
            raise
        self._end()
        _arenas[self.pool()].update(self._arenas)
        self._inputs, self._held = capture.inputs, capture.held
        if not self.keep_graph:
            self.instantiate()

    def _end(self) -> None:
        """What :meth:`capture_begin` changed is as it was."""
        self._capture = None
        stream.set_capture(None)
        Pool.captures -= 1
        if self._gc:
            gc.enable()
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(RuntimeError):  # what failed before matters more
            cuda.active().driver.exchange_capture_mode(self._mode)

    def abandon(self) -> None:
        """End a recording in which something failed; the object may be captured again."""
        if self._capture is None:
            return
        runtime, handle = cuda.active(), self._capture.stream.handle
        with contextlib.suppress(RuntimeError):
            self._graph = end_capture(runtime.driver, handle)
        self._end()
        self.reset()

    def instantiate(self) -> None:
        """Make the executable form; an earlier one is dropped.

        Raises: RuntimeError without a graph.
        """
        if not self._graph:
            raise RuntimeError(self._missing("instantiate"))
        runtime = cuda.active()
        with runtime.enter(self._index):
            if self._executable:
                runtime.driver.graph_exec_destroy(self._executable)
                self._executable = 0
            self._executable = runtime.driver.graph_instantiate(self._graph)
            if not self.keep_graph:
                runtime.driver.graph_destroy(self._graph)
                self._graph = 0

    def replay(self) -> None:
        """Run the recorded work on the current stream. Does not wait for it.

        Random ops draw new numbers each time, as if they had been called again.
        Raises: RuntimeError if nothing was captured, after :meth:`reset`, or inside a capture.
        """
        if not self._executable:
            if not (self.keep_graph and self._graph):
                raise RuntimeError(self._missing("replay"))
            self.instantiate()
        stream.forbid_capture("CUDAGraph.replay()", "Replay it before or after the capture.")
        runtime, current = cuda.active(), stream.current_stream(self._index)
        if self._last is not None and self._last != current:
            current.wait_stream(self._last)  # the last replay reads what is written now
        self._last = current
        for values in self._inputs:
            values.write()
        with runtime.enter(self._index):
            runtime.driver.graph_launch(self._executable, current.handle)

    def reset(self) -> None:
        """Drop the graph and give its memory back; tensors made inside keep theirs.

        Raises: RuntimeError while it is being captured.
        """
        if self._capture is not None:
            raise RuntimeError("CUDAGraph.reset: end the capture first")
        runtime = self._runtime or cuda.active()
        arenas, self._arenas = self._arenas, {}
        self._inputs, self._held, self._last = [], [], None
        try:
            if self._executable:
                runtime.driver.graph_exec_destroy(self._executable)
                self._executable = 0
            if self._graph:
                runtime.driver.graph_destroy(self._graph)
                self._graph = 0
        finally:
            for index, arena in arenas.items():
                pool: Any = runtime.pool(index)
                pool.retire(arena)

    def pool(self) -> PoolHandle:
        """The name of the graph's memory, for ``pool=`` of another.

        Raises: RuntimeError before the first capture.
        """
        if self._handle is None:
            raise RuntimeError("CUDAGraph.pool: capture a graph first")
        return self._handle

    def raw_cuda_graph(self) -> int:
        """The driver's handle of the graph. Raises RuntimeError unless ``keep_graph``."""
        if not self._graph:
            raise RuntimeError("raw_cuda_graph: the graph is kept by CUDAGraph(keep_graph=True)")
        return self._graph

    def raw_cuda_graph_exec(self) -> int:
        """The driver's handle of the executable graph. Raises RuntimeError before it is made."""
        if not self._executable:
            raise RuntimeError(self._missing("raw_cuda_graph_exec"))
        return self._executable

    @staticmethod
    def _missing(function: str) -> str:
        return (
            f"CUDAGraph.{function}: there is no graph: none was captured, or it was reset. "
            "Capture one by `with tgrad.cuda.graph(g): ...` first."
        )

    def __del__(self) -> None:
        if getattr(self, "_executable", 0) or getattr(self, "_graph", 0):
            with contextlib.suppress(RuntimeError):  # a context that is lost
                self.reset()


def end_capture(driver: Any, handle: int) -> int:
    """The graph that was captured from a stream; after an error the stream captures no more."""
    try:
        return driver.capture_end(handle)
    except BaseException:
        with contextlib.suppress(RuntimeError):
            if driver.capture_status(handle):
                driver.graph_destroy(driver.capture_end(handle))
        raise


class graph:
    """``with graph(g):`` records what is done inside into ``g``, on a stream made for it.

    ``pool``: memory shared with other graphs (:func:`graph_pool_handle`). Waits for the GPU and
    gives unused memory back first. If the body raises, nothing is captured.
    """

    default_capture_stream: stream.Stream | None = None

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: PoolHandle | None = None,
        stream: stream.Stream | None = None,
        capture_error_mode: str = "global",
    ):
        self.cuda_graph, self.pool, self.capture_error_mode = cuda_graph, pool, capture_error_mode
        self.capture_stream = stream if stream is not None else self._stream()

    @classmethod
    def _stream(cls) -> stream.Stream:
        found = cls.default_capture_stream
        if found is None or found.index != here.place.index:
            found = cls.default_capture_stream = stream.Stream()
        return found

    def __enter__(self) -> None:
        stream.forbid_capture("tgrad.cuda.graph()", "Captures do not nest.")
        runtime, index = cuda.active(), self.capture_stream.index
        runtime.synchronize(index)
        gc.collect()
        runtime.empty_cache()
        self.capture_stream.__enter__()
        try:
            self.cuda_graph.capture_begin(self.pool, self.capture_error_mode)
        except BaseException:
            self.capture_stream.__exit__()
            raise

    def __exit__(self, kind: type | None, *exc: object) -> None:
        try:
            if kind is None:
                self.cuda_graph.capture_end()
            else:
                self.cuda_graph.abandon()
        finally:
            self.capture_stream.__exit__()
