"""Streams, memory and CUDA graphs as the driver is told of them: on the fake driver."""

from __future__ import annotations

import gc
import struct

import pytest

from tests.fake_driver import on_fake_driver
from tests.fake_driver.record import Fake

MB = 1 << 20


@on_fake_driver()
def test_a_graph_is_launched_as_one_after_its_numbers_are_written():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    x = tgrad.ones(1000, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        y = x * 2
        z = tgrad.nn.functional.dropout(y, 0.5)
    captured = [c for c in fake.launches() if c.graph]
    assert len(captured) == 2 and "dropout" in captured[1].kernel
    (key,), (counter,) = (struct.unpack("<Q", p) for p in captured[1].params[3:5])
    fake.clear()
    for first in (0, 125):
        g.replay()
        fake.run()
        words = struct.unpack("<QQ", fake.read(key, 8) + fake.read(counter, 8))
        assert words == (cuda.initial_seed(), first)  # 1000 elements take 125 blocks
    names = [c.name for c in fake.calls("cuMemcpyHtoDAsync", "cuGraphLaunch", "cuLaunchKernel")]
    assert names == ["cuMemcpyHtoDAsync", "cuGraphLaunch"] * 2
    assert not fake.violations() and z.shape == (1000,)


@on_fake_driver()
def test_a_graph_has_memory_of_its_own_until_it_is_reset():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    x = tgrad.ones(MB, device="cuda")
    held, g = fake.live_bytes(), cuda.CUDAGraph()
    fake.clear()
    with cuda.graph(g):
        y = x * 2
        y = y + 1
        y = y * 3
        y = y - 1
    # Two blocks in turn: one is freed as soon as its reader was recorded.
    assert len(fake.calls("cuMemAlloc")) == 2 and not fake.calls("cuMemAllocAsync")
    cuda.empty_cache()
    assert fake.live_bytes() == held + 8 * MB
    g.replay()
    g.reset()
    assert fake.live_bytes() == held + 4 * MB and y.shape == (MB,)  # the result stays
    del y
    cuda.empty_cache()
    assert fake.live_bytes() == held and not fake.violations()
    live = fake.live()
    assert live["graph"] == live["exec"] == 0


@on_fake_driver()
def test_captured_streams_join_and_replays_of_other_streams_wait():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    side, x = cuda.Stream(), tgrad.ones(1000, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            y = tgrad.nn.functional.dropout(x, 0.5)
        cuda.current_stream().wait_stream(side)
        z = y * 2
    assert len([c for c in fake.launches() if c.graph]) == 2 and z.shape == (1000,)
    g.replay()
    fake.clear()
    with cuda.stream(side):
        g.replay()
    names = [c.name for c in fake.calls("cuStreamWaitEvent", "cuMemcpyHtoDAsync",
                                        "cuGraphLaunch")]  # fmt: skip
    assert names == ["cuStreamWaitEvent", "cuMemcpyHtoDAsync", "cuGraphLaunch"]
    fake.run()
    assert not fake.violations()


@on_fake_driver()
def test_memory_used_on_another_stream_is_not_reused_before_it():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    fake.still()
    s, x = cuda.Stream(), tgrad.ones(MB, device="cuda")
    s.wait_stream(cuda.current_stream())
    with cuda.stream(s):
        y = x + 1
    address = x.data_ptr()
    x.record_stream(s)
    del x
    assert cuda.memory_stats()["active_bytes.all.current"] == 8 * MB
    assert cuda.memory_allocated() == 4 * MB
    other = tgrad.ones(MB, device="cuda")
    assert other.data_ptr() != address
    fake.still(False)
    fake.run()
    assert tgrad.empty(MB, device="cuda").data_ptr() == address
    assert not fake.violations() and y.shape == (MB,)


@on_fake_driver()
def test_a_free_while_another_stream_is_current_waits_by_itself():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    fake.still()
    s, x = cuda.Stream(), tgrad.ones(MB, device="cuda")
    address = x.data_ptr()
    with cuda.stream(s):
        s.wait_stream(cuda.default_stream())
        y = x + 1
        del x
    assert tgrad.ones(MB, device="cuda").data_ptr() != address
    fake.run()
    assert not fake.violations() and y.shape == (MB,)


@on_fake_driver(memory=64 * MB)
def test_a_program_goes_on_after_the_gpu_is_full():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    kept = tgrad.empty(4 * MB, device="cuda")
    for n in (5, 6, 7):
        tgrad.empty(n * MB, device="cuda")  # 20 to 28 MB each, and all of them kept
    assert cuda.memory_reserved() < 64 * MB
    with pytest.raises(tgrad.OutOfMemoryError, match=r"Tried to allocate 120\.00 MiB") as caught:
        tgrad.empty(30 * MB, device="cuda")
    assert "holds 16.00 MiB in tensors and keeps 0 bytes more" in str(caught.value)
    assert cuda.memory_reserved() == fake.live_bytes() == 16 * MB == kept.nbytes
    assert tgrad.empty(11 * MB, device="cuda").numel() == 11 * MB


@on_fake_driver()
def test_timing_events_and_priorities_reach_the_driver():
    from tgrad import cuda

    fake = Fake()
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True, blocking=True)
    high = cuda.Stream(priority=-1)
    start.record(high)
    end.record(high)
    end.synchronize()
    assert start.elapsed_time(end) >= 0
    flags = [c.args[0] for c in fake.calls("cuEventCreate")]
    assert flags == [0, 1]
    assert fake.calls("cuStreamCreateWithPriority")[-1].args == (1, 2**64 - 1)
    del start, end
    assert fake.live()["event"] == 0


@on_fake_driver()
def test_a_captured_step_writes_its_numbers_before_each_replay():
    import tgrad
    from tgrad import cuda

    fake = Fake()
    w = tgrad.nn.Parameter(tgrad.ones(1000, device="cuda"))
    w.grad = tgrad.ones(1000, device="cuda")
    optimizer, g = tgrad.optim.Adam([w], lr=0.5), cuda.CUDAGraph()
    optimizer.step()
    with cuda.graph(g):
        optimizer.step()
    (launch,) = [c for c in fake.launches() if c.graph]
    (first,) = struct.unpack("<Q", launch.params[3])
    seen = []
    for lr in (0.5, 0.5, 0.25):
        optimizer.param_groups[0]["lr"] = lr
        g.replay()
        fake.run()
        seen.append(fake.read(first, 4 * (len(launch.params) - 5)))
    assert len(set(seen)) == 3 and optimizer.state[w]["step"].item() == 4.0
    assert not fake.violations()


@on_fake_driver(record=0)
def test_a_failure_of_any_call_leaves_no_capture_and_loses_nothing():
    import tgrad
    from tgrad import cuda

    fake = Fake()

    def program() -> None:
        x = tgrad.ones(5000, device="cuda")
        g = cuda.CUDAGraph()
        with cuda.graph(g):
            y = tgrad.nn.functional.dropout(x * 2, 0.5)
        g.replay()
        cuda.synchronize()
        g.reset()
        del x, y
        cuda.empty_cache()

    program()
    before, start = fake.live(), fake.count()
    program()
    calls, failures = fake.count() - start, 0
    for nth in range(1, calls + 1):
        fake.fail("", nth, 999)
        try:
            program()
        except RuntimeError as error:
            failures += 1
            assert "999" in str(error) or "CUDA_ERROR_UNKNOWN" in str(error), error
        fake.mend()
        assert gc.isenabled() and not cuda.is_current_stream_capturing()
        assert cuda.current_stream() == cuda.default_stream()
        gc.collect()
        cuda.empty_cache()
        now = fake.live()
        lost = {k: (before[k], n) for k, n in now.items() if k != "event" and n > before[k]}
        assert not lost, (nth, lost)
    assert failures > calls * 0.8
    program()
    assert fake.live()["event"] <= before["event"] + 8
