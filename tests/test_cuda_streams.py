"""``tgrad.cuda``: devices, streams and events, with the same program on a GPU and emulated."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest

import tgrad
from tgrad import cuda


def test_asking_whether_there_is_a_gpu_starts_nothing():
    code = (
        "import tgrad; from tgrad import cuda; cuda.is_available(); cuda.is_initialized();"
        "cuda.empty_cache(); cuda.is_current_stream_capturing(); cuda.manual_seed(1);"
        "print(cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_the_default_stream_is_current_at_first():
    s = cuda.current_stream()
    assert s == cuda.default_stream() and s.cuda_stream == 0 and s.device is tgrad.device("cuda:0")
    assert s.query() and hash(s) == hash(cuda.default_stream("cuda"))
    assert repr(s) == "<tgrad.cuda.Stream device=cuda:0 cuda_stream=0x0>"


def test_a_stream_is_current_inside_its_context():
    s, t = cuda.Stream(), cuda.Stream()
    assert s != t and s.cuda_stream != t.cuda_stream
    with cuda.stream(s):
        assert cuda.current_stream() == s
        with t:
            assert cuda.current_stream() is t
        with cuda.stream(None):
            assert cuda.current_stream() == s
    assert cuda.current_stream() == cuda.default_stream()
    cuda.set_stream(s)
    try:
        assert cuda.current_stream() == s
    finally:
        cuda.set_stream(cuda.default_stream())
    with pytest.raises(TypeError, match="expected a Stream"):
        cuda.stream("cuda")  # pyright: ignore[reportArgumentType]


def test_the_current_stream_is_each_threads_own():
    seen = []
    with cuda.stream(cuda.Stream()):
        thread = threading.Thread(target=lambda: seen.append(cuda.current_stream()))
        thread.start()
        thread.join()
    assert seen == [cuda.default_stream()]


def test_streams_come_from_a_ring():
    streams = [cuda.Stream() for _ in range(64)]
    assert len({s.cuda_stream for s in streams}) == 32
    assert streams[0] == streams[32]


def test_priorities_are_brought_into_range():
    least, greatest = cuda.Stream.priority_range()
    assert least == 0 > greatest
    assert cuda.Stream(priority=-100).priority == greatest
    assert cuda.Stream(priority=3).priority == least
    assert cuda.Stream(priority=-1) != cuda.Stream()


def test_a_stream_of_another_library_is_known_by_its_handle():
    s = cuda.Stream()
    other = cuda.ExternalStream(s.cuda_stream)
    assert other == s and other.__cuda_stream__()[1] == s.cuda_stream
    assert cuda.get_stream_from_external(0) == cuda.default_stream()


def test_work_on_two_streams_is_ordered_by_events():
    s, x = cuda.Stream(), tgrad.ones(1000, device="cuda")
    s.wait_stream(cuda.current_stream())
    with cuda.stream(s):
        y = x + 1
        x.record_stream(s)
        done = s.record_event()
    cuda.current_stream().wait_event(done)
    z = y * 2
    y.record_stream(cuda.current_stream())
    s.synchronize()
    assert z.tolist() == [4.0] * 1000 and done.query()


def test_events_measure_milliseconds():
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    assert start.query() and repr(start) == "<tgrad.cuda.Event uninitialized>"
    start.synchronize()
    start.record()
    (tgrad.ones(1000, device="cuda") * 2).sum()
    end.record()
    end.synchronize()
    assert 0 < start.elapsed_time(end) < 60_000
    assert repr(end).startswith("<tgrad.cuda.Event 0x") and end.cuda_event


def test_events_that_cannot_be_compared_are_refused():
    timed, plain = cuda.Event(enable_timing=True), cuda.Event()
    with pytest.raises(ValueError, match="enable_timing=True"):
        timed.elapsed_time(plain)
    with pytest.raises(ValueError, match="must be recorded"):
        timed.elapsed_time(cuda.Event(enable_timing=True))
    with pytest.raises(NotImplementedError, match="interprocess"):
        cuda.Event(interprocess=True)


def test_devices_can_be_chosen():
    cuda.set_device("cuda:0")
    cuda.set_device(-1)
    with cuda.device(0), cuda.device(None), cuda.device_of(tgrad.ones(1)):
        assert cuda.current_device() == 0
    with cuda.device_of(tgrad.ones(1, device="cuda")):
        assert tgrad.ones(1).is_cpu
    count = cuda.device_count()
    for refuse in (cuda.set_device, cuda.device, cuda.Stream, cuda.get_device_name,
                   cuda.synchronize):  # fmt: skip
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            refuse(count)
        with pytest.raises(ValueError, match="Expected a cuda device"):
            refuse("cpu")


def test_properties_tell_about_the_device():
    p = cuda.get_device_properties()
    assert p is cuda.get_device_properties("cuda:0") and p.name == cuda.get_device_name(0)
    assert cuda.get_device_capability() == (p.major, p.minor) >= (7, 0)
    assert p.total_memory > 1 << 28 and p.warp_size == 32 and p.multi_processor_count >= 1
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    assert cuda.is_bf16_supported() and cuda.is_tf32_supported() and cuda.get_arch_list() == []
    assert not cuda.can_device_access_peer(0, 0)


def test_generators_are_seeded_and_restored():
    cuda.manual_seed_all(7)
    states = cuda.get_rng_state_all()
    a = tgrad.rand(5, device="cuda")
    cuda.set_rng_state_all(states)
    assert a.tolist() == tgrad.rand(5, device="cuda").tolist() and cuda.initial_seed() == 7
    cuda.seed()
    assert cuda.initial_seed() != 7


@pytest.mark.parametrize("name", ["Stream", "Event", "CUDAGraph", "graph", "ExternalStream"])
def test_arguments_are_torchs(name: str):
    torch = pytest.importorskip("torch")
    import inspect

    theirs: Any = inspect.signature(getattr(torch.cuda, name)).parameters
    ours = inspect.signature(getattr(cuda, name)).parameters
    shared = [p for p in theirs if p in ours]
    assert shared == list(ours)
    assert [ours[p].default for p in ours] == [theirs[p].default for p in ours]
