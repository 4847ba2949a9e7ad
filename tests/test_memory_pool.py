"""The GPU's memory pool over a simulated device: reuse in stream order, frees that wait for other
streams, memory that runs out, arenas of graphs, counts."""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.device_model import DeviceModel, ModelError
from tgrad.runtime.pool import Block, HostPool, OutOfMemoryError, Pool, size_class

MB = 1 << 20


@pytest.fixture(autouse=True)
def one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that has never made another stream current."""
    monkeypatch.setattr(Block, "several", False)


def pool_of(memory: int = 64 * MB) -> tuple[Pool, DeviceModel]:
    model = DeviceModel(memory)
    return Pool(model, 0, contextlib.nullcontext), model


# ---- reuse ---------------------------------------------------------------------------------------


def test_a_freed_block_is_handed_out_again_without_the_driver():
    pool, model = pool_of()
    heap = pool.heap(1)
    a = heap.allocate(1000)
    first = a.ptr
    del a
    for n in (1000, 1024, 513):
        assert heap.allocate(n).ptr == first
    assert Counter(model.calls)["mem_alloc_async"] == 1


def test_sizes_round_to_classes_that_waste_little():
    for n in (1, 511, 512, 513, 8192, 8193, 100_000, MB, MB + 1, 3 * MB + 7, (1 << 34) + 1):
        size = size_class(n)
        assert size % 512 == 0 and size >= max(n, 1)
        assert size - n < 512 or size <= n * 17 / 16
        assert size_class(size) == size
    assert size_class(0) == 512
    assert len({size_class(n) for n in range(MB, 2 * MB, 997)}) == 17


def test_a_large_request_takes_a_kept_block_that_is_a_little_larger():
    pool, model = pool_of()
    heap = pool.heap(1)
    kept = heap.allocate(5 * MB).ptr
    assert heap.allocate(4 * MB).ptr == kept
    held = heap.allocate(4 * MB)
    assert held.ptr == kept and held.size == 5 * MB == pool.totals.allocated
    assert heap.allocate(2 * MB).ptr != kept
    assert model.calls.count("mem_alloc_async") == 2


def test_streams_do_not_take_each_others_blocks():
    pool, _ = pool_of()
    a = pool.heap(1).allocate(1000)
    first = a.ptr
    del a
    assert pool.heap(2).allocate(1000).ptr != first


def test_a_heap_forgets_sizes_and_not_blocks():
    pool, model = pool_of()
    heap = pool.heap(1)
    for n in range(1, 10_000):
        heap.allocate(n)
    assert len(heap.bins) <= 4096
    assert model.calls.count("mem_alloc_async") == len({size_class(n) for n in range(1, 10_000)})


def test_threads_never_hold_the_same_block():
    pool, _ = pool_of()
    heap, held, wrong, lock = pool.heap(1), set(), [], threading.Lock()

    def work() -> None:
        for _ in range(2000):
            a = heap.allocate(4096)
            with lock:
                wrong.extend([a.ptr] if a.ptr in held else [])
                held.add(a.ptr)
            with lock:
                held.discard(a.ptr)
            del a

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and pool.totals.allocated == 0


# ---- other streams -------------------------------------------------------------------------------


def test_a_free_waits_for_the_streams_that_were_recorded():
    pool, model = pool_of()
    heap = pool.heap(1)
    a = heap.allocate(1000)
    first = a.ptr
    model.write(first, "a", 2)
    model.read(first, "a", 2)
    a.record_stream(2)
    del a
    assert pool.totals.allocated == 0 and pool.waiting() == 1024
    b = heap.allocate(1000)
    assert b.ptr != first
    model.run_all()
    c = heap.allocate(1000)
    assert c.ptr == first and pool.waiting() == 0 and b.ptr != c.ptr


def test_recording_the_own_stream_changes_nothing():
    pool, _ = pool_of()
    a = pool.heap(1).allocate(1000)
    a.record_stream(1)
    assert a.streams is None


def test_a_free_while_another_stream_is_current_waits_for_it(monkeypatch: Any):
    monkeypatch.setattr(Block, "several", True)
    monkeypatch.setattr(Block, "current", staticmethod(lambda index: 3), raising=False)
    pool, model = pool_of()
    a = pool.heap(1).allocate(1000)
    model.write(a.ptr, "a", 3)
    del a
    assert pool.waiting() == 1024
    b = pool.heap(3).allocate(1000)
    del b
    assert pool.waiting() == 1024


def test_events_are_used_again():
    pool, model = pool_of()
    for _ in range(20):
        a = pool.heap(1).allocate(1000)
        a.record_stream(2)
        a.record_stream(3)
        del a
        model.run_all()
        pool.poll()
    assert model.calls.count("event_create") == 2 == len(pool.spare_events)


def test_a_free_whose_event_fails_is_tried_again():
    pool, model = pool_of()
    a = pool.heap(1).allocate(1000)
    first = a.ptr
    a.record_stream(2)
    model.fail = "event_record"
    del a  # no exception can leave a finaliser, and none is lost in one
    with pytest.raises(ModelError, match="event_record"):
        pool.poll()
    model.fail = None
    pool.poll()
    model.run_all()
    assert pool.heap(1).allocate(1000).ptr == first
    assert model.calls.count("event_create") == 1


# ---- memory that runs out ------------------------------------------------------------------------


def test_what_is_kept_is_given_back_before_memory_runs_out():
    pool, model = pool_of(10 * MB)
    a, b = pool.heap(1).allocate(4 * MB), pool.heap(2).allocate(4 * MB)
    b.record_stream(1)
    del a, b
    c = pool.heap(3).allocate(8 * MB)
    assert c.size == 8 * MB == pool.totals.reserved == model.used()
    assert pool.totals.retries == 1 and pool.totals.ooms == 0


def test_out_of_memory_tells_the_numbers_and_the_program_goes_on():
    pool, _ = pool_of(10 * MB)
    held = pool.heap(1).allocate(4 * MB)
    kept = pool.heap(1).allocate(1 * MB)
    del kept
    with pytest.raises(OutOfMemoryError) as caught:
        pool.heap(1).allocate(8 * MB)
    text = str(caught.value)
    for number in ("Tried to allocate 8.00 MiB", "capacity of 10.00 MiB", "6.00 MiB is free",
                   "holds 4.00 MiB", "keeps 0 bytes more"):  # fmt: skip
        assert number in text, text
    assert (pool.totals.retries, pool.totals.ooms) == (1, 1)
    assert pool.heap(1).allocate(6 * MB).size == 6 * MB and held.size == 4 * MB


def test_a_limit_is_kept():
    pool, _ = pool_of()
    pool.limit = 8 * MB
    a = pool.heap(1).allocate(5 * MB)
    del a
    b = pool.heap(2).allocate(6 * MB)  # the other stream's 5 MB had to go
    assert pool.totals.reserved == 6 * MB
    with pytest.raises(OutOfMemoryError, match=r"of which 8\.00 MiB may be used"):
        pool.heap(1).allocate(3 * MB)
    del b


@pytest.mark.parametrize("function", ["mem_alloc_async", "mem_free_async", "stream_synchronize",
                                      "event_query", "event_synchronize", "pool_trim"])  # fmt: skip
def test_no_error_of_the_driver_loses_memory(function: str):
    pool, model = pool_of()
    heap = pool.heap(1)
    held, waiting, kept = heap.allocate(1000), heap.allocate(2000), heap.allocate(3000)
    waiting.record_stream(2)
    del waiting, kept
    model.fail = function
    with contextlib.suppress(ModelError):
        heap.allocate(9000)
    with contextlib.suppress(ModelError):
        pool.release()
    model.fail = None
    del held
    model.run_all()
    pool.release()
    model.run_all()
    assert model.used() == pool.totals.reserved == pool.totals.allocated == 0


# ---- arenas --------------------------------------------------------------------------------------


def test_an_arena_keeps_its_memory_while_a_graph_lives():
    pool, model = pool_of()
    arena = pool.arena()
    arena.users = 1
    model.capturing.add(2)
    pool.captures = 1
    heap = pool.heap(2, arena)
    inner, output = heap.allocate(1000), heap.allocate(5000)
    address = inner.ptr
    del inner
    again = heap.allocate(1000)
    assert again.ptr == address  # within the capture memory is reused in its order
    del again
    model.capturing.clear()
    pool.captures = 0
    pool.release()
    assert model.used() == 1024 + 5120 and pool.heap(2).allocate(1000).ptr != address
    pool.retire(arena)
    pool.release()
    assert model.used() == 5120 == output.size  # a tensor still holds it
    del output
    pool.release()
    model.run_all()
    assert model.used() == 0 == pool.totals.reserved


def test_a_free_during_capture_is_marked_after_it():
    pool, model = pool_of()
    a, arena = pool.heap(1).allocate(1000), pool.arena()
    arena.users = pool.captures = 1
    model.capturing.add(2)
    b = pool.heap(2, arena).allocate(1000)
    a.record_stream(2)
    b.record_stream(3)
    del a, b
    pool.heap(1).allocate(2000)
    assert pool.waiting() == 2048 and "event_record" not in model.calls
    model.capturing.clear()
    pool.captures = 0
    pool.poll()
    model.run_all()
    pool.poll()
    assert pool.waiting() == 0


def test_memory_that_runs_out_during_capture_leaves_captured_streams_alone():
    pool, model = pool_of(8 * MB)
    for stream in (1, 2):
        pool.heap(stream).allocate(3 * MB)
    arena = pool.arena()
    arena.users = pool.captures = 1
    model.capturing.add(2)
    assert pool.heap(2, arena).allocate(4 * MB).size == 4 * MB  # stream 1's were given back


# ---- page-locked host memory ---------------------------------------------------------------------


def test_host_memory_is_reused_after_the_copies_that_use_it():
    model = DeviceModel(MB)
    pool = HostPool(model, contextlib.nullcontext)
    heap = pool.host_heap()
    a = heap.allocate(5000)
    first = a.ptr
    a.record_stream(1)
    model.write(model.mem_alloc(512), "copied", 1)
    del a
    assert heap.allocate(5000).ptr != first
    model.run_all()
    held = heap.allocate(5000), heap.allocate(5000)
    assert first in (held[0].ptr, held[1].ptr) and len(model.host) == 2
    del held
    pool.release()
    assert not model.host


# ---- anything, in any order ----------------------------------------------------------------------

STREAMS = st.integers(1, 4)
SIZES = st.sampled_from([1, 512, 700, 5000, 65_536, 70_000, MB, MB + 1, 2 * MB, 3 * MB])


class Anything(RuleBasedStateMachine):
    """Random allocations, kernels, frees and progress of streams.

    The device checks every read (see DeviceModel); here no two live blocks may overlap, and the
    counters must equal those of the plain list of what is held.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.model = pool_of(24 * MB)
        self.held: list[tuple[Block, object]] = []
        self.peak = self.tag = 0

    @rule(size=SIZES, stream=STREAMS)
    def allocate(self, size: int, stream: int) -> None:
        try:
            block = self.pool.heap(stream).allocate(size)
        except OutOfMemoryError:
            # Only what is held may be left, and it must not fit.
            self.model.run_all()
            assert self.pool.totals.reserved == self.sum() == self.model.used()
            assert self.sum() + size_class(size) > self.model.total
            return
        assert block.size >= size
        self.tag += 1
        self.model.write(block.ptr, self.tag, stream)
        self.held.append((block, self.tag))
        self.peak = max(self.peak, self.sum())

    @precondition(lambda self: self.held)
    @rule(i=st.integers(0, 99))
    def read(self, i: int) -> None:
        block, tag = self.held[i % len(self.held)]
        self.model.read(block.ptr, tag, block.bin.heap.stream)

    @precondition(lambda self: self.held)
    @rule(i=st.integers(0, 99), stream=STREAMS)
    def read_on_another_stream(self, i: int, stream: int) -> None:
        block, tag = self.held[i % len(self.held)]
        event = self.model.event_create()
        self.model.event_record(event, block.bin.heap.stream)
        self.model.stream_wait_event(stream, event)
        self.model.read(block.ptr, tag, stream)
        block.record_stream(stream)

    @precondition(lambda self: self.held)
    @rule(i=st.integers(0, 99))
    def free(self, i: int) -> None:
        self.held.pop(i % len(self.held))

    @rule(stream=STREAMS, count=st.integers(1, 8))
    def progress(self, stream: int, count: int) -> None:
        self.model.run(stream, count)

    @rule(stream=STREAMS)
    def synchronize(self, stream: int) -> None:
        self.model.stream_synchronize(stream)

    @rule()
    def empty_cache(self) -> None:
        self.pool.release()
        assert self.pool.totals.reserved == self.sum() == self.model.used()

    @rule()
    def reset_peaks(self) -> None:
        self.pool.reset_peaks()
        self.peak = self.sum()

    def sum(self) -> int:
        return sum(block.size for block, _ in self.held)

    @invariant()
    def counters_are_those_of_the_list(self) -> None:
        totals = self.pool.totals
        assert (totals.allocated, totals.peak) == (self.sum(), self.peak)
        kept = sum(len(b.free) * b.size for h in self.pool.heaps.values()
                   for b in h.classes.values())  # fmt: skip
        assert totals.reserved == totals.allocated + self.pool.waiting() + kept
        assert totals.reserved <= self.model.used() <= self.model.total

    @invariant()
    def no_two_blocks_overlap(self) -> None:
        spans = sorted((block.ptr, block.ptr + block.size) for block, _ in self.held)
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start

    def teardown(self) -> None:
        self.model.run_all()
        self.held.clear()
        gc.collect()
        self.pool.release()
        self.model.run_all()
        assert self.model.used() == self.pool.totals.reserved == self.pool.totals.allocated == 0


# No database, so that a run depends on nothing that an earlier one left.
Anything.TestCase.settings = settings(
    max_examples=15, stateful_step_count=50, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
test_anything_in_any_order = Anything.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_long_histories_leave_no_overlap_and_no_leak(seed: int):
    """20,000 actions in all: a library that shrinks what it finds takes a millisecond for each."""
    draw, machine = random.Random(seed), Anything()
    sizes = [1, 700, 5000, 65_536, 70_000, MB, MB + 1, 2 * MB, 3 * MB]
    actions = {
        "allocate": lambda: machine.allocate(draw.choice(sizes), draw.randint(1, 4)),
        "read": lambda: machine.held and machine.read(draw.randrange(99)),
        "share": lambda: (
            machine.held and machine.read_on_another_stream(draw.randrange(99), draw.randint(1, 4))
        ),
        "free": lambda: machine.held and machine.free(draw.randrange(99)),
        "progress": lambda: machine.progress(draw.randint(1, 4), draw.randint(1, 8)),
        "synchronize": lambda: machine.synchronize(draw.randint(1, 4)),
        "empty_cache": machine.empty_cache,
        "reset_peaks": machine.reset_peaks,
    }
    weights = [30, 10, 15, 25, 30, 1, 1, 1]
    for name in draw.choices(list(actions), weights, k=5000):
        actions[name]()
        machine.counters_are_those_of_the_list()
        machine.no_two_blocks_overlap()
    assert machine.tag > 500 and machine.pool.totals.retries
    machine.teardown()
