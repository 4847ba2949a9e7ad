"""The driver's functions on the fake driver: what arrives, in which order, and what fails how."""

from __future__ import annotations

import ctypes
import struct

import pytest

from tests.fake_driver import on_fake_driver


def start(index: int = 0):
    """(tgrad.runtime.driver with a current context, the fake)."""
    from tests.fake_driver.record import Fake
    from tgrad.runtime import driver

    driver.init()
    driver.set_context(driver.retain_primary_context(index))
    return driver, Fake()


@on_fake_driver(devices=2, memory=1 << 20, arch=80)
def test_devices_tell_what_they_are():
    driver, _ = start()
    assert driver.device_count() == 2 and driver.driver_version() == 13000
    assert driver.device_name(1) == "Fake GPU 1" and driver.total_memory(0) == 1 << 20
    assert driver.device_attribute(0, "COMPUTE_CAPABILITY_MAJOR") == 8
    assert driver.device_uuid(0) != driver.device_uuid(1)
    assert driver.can_access_peer(0, 1) and not driver.can_access_peer(1, 1)
    with pytest.raises(driver.CudaError, match=r"cuDeviceGet: CUDA_ERROR_INVALID_DEVICE \(101\)"):
        driver.device_name(2)


@on_fake_driver(devices=2)
def test_the_current_context_is_each_threads_own():
    from concurrent.futures import ThreadPoolExecutor

    driver, _ = start(1)
    first = driver.retain_primary_context(0)
    assert driver.get_context() == driver.retain_primary_context(1) != first
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(driver.get_context).result() == 0
        pool.submit(driver.set_context, first).result()
    assert driver.get_context() != first
    driver.set_context(0)
    with pytest.raises(driver.CudaError, match="INVALID_CONTEXT"):
        driver.stream_create()


@on_fake_driver(memory=1 << 20)
def test_copies_are_done_in_the_order_of_their_stream_and_no_sooner():
    driver, fake = start()
    stream = driver.stream_create()
    a, b = driver.mem_alloc_async(64, stream), driver.mem_alloc_async(64, stream)
    host = driver.host_alloc(128)
    ctypes.memmove(host, b"x" * 64, 64)
    driver.memcpy_htod_async(a, host, 64, stream)
    driver.memcpy_dtod_async(b, a, 64, stream)
    driver.memset_async(b, 0x79, 32, stream)
    driver.memcpy_dtoh_async(host + 64, b, 64, stream)
    assert ctypes.string_at(host + 64, 64) == b"\xa5" * 64
    assert not driver.stream_query(stream)
    driver.stream_synchronize(stream)
    assert driver.stream_query(stream)
    assert ctypes.string_at(host + 64, 64) == b"y" * 32 + b"x" * 32
    driver.mem_free_async(a, stream)
    driver.mem_free_async(b, stream)
    driver.stream_synchronize(stream)
    driver.host_free(host)
    driver.stream_destroy(stream)
    held = fake.live()
    assert (held["block"], held["pinned"], held["stream"]) == (0, 0, 0)
    assert not fake.violations()


@on_fake_driver(memory=1 << 20)
def test_pageable_memory_has_been_read_when_the_copy_returns():
    driver, _ = start()
    stream = driver.stream_create()
    a = driver.mem_alloc_async(4, stream)
    host = ctypes.create_string_buffer(b"abcd", 4)
    driver.memcpy_htod_async(a, ctypes.addressof(host), 4, stream)
    host[:] = b"----"
    driver.memcpy_dtoh_async(ctypes.addressof(host), a, 4, stream)
    assert host.raw == b"----"
    driver.stream_synchronize(stream)
    assert host.raw == b"abcd"


@on_fake_driver()
def test_a_stream_waits_for_the_event_of_another():
    driver, fake = start()
    first, second = driver.stream_create(), driver.stream_create()
    a = driver.mem_alloc(8)
    event = driver.event_create()
    driver.memset_async(a, 1, 8, first)
    driver.event_record(event, first)
    driver.memset_async(a, 2, 8, first)  # after the event: not waited for
    driver.stream_wait_event(second, event)
    assert not driver.event_query(event) or fake.read(a, 1) == b"\1"
    driver.stream_synchronize(second)
    assert fake.read(a, 1) == b"\1" and driver.event_query(event)
    driver.synchronize_context()
    assert fake.read(a, 1) == b"\2"


@on_fake_driver()
def test_events_measure_and_those_without_timing_refuse_to():
    driver, _ = start()
    stream = driver.stream_create()
    events = [driver.event_create(timing=True) for _ in range(2)]
    for e in events:
        driver.event_record(e, stream)
    driver.event_synchronize(events[1])
    assert driver.event_elapsed_ms(*events) > 0
    plain = driver.event_create()
    assert driver.event_query(plain)  # never recorded
    driver.event_record(plain, stream)
    with pytest.raises(driver.CudaError, match="cuEventElapsedTime: CUDA_ERROR_INVALID_HANDLE"):
        driver.event_elapsed_ms(events[0], plain)


def packed(*values: ctypes._SimpleCData):
    """(address of a table of pointers to the values, what must stay alive)."""
    table = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
    return ctypes.addressof(table), (table, values)


@on_fake_driver()
def test_a_launch_arrives_with_its_parameters_in_order_and_width():
    driver, fake = start()
    stream = driver.stream_create()
    module = driver.module_load(b"fake kernel 8 4 8 4 1\0")
    function = driver.module_function(module, "kernel")
    pointer, i32, f64 = ctypes.c_uint64(0x1234), ctypes.c_int32(-5), ctypes.c_double(1.5)
    f32, i1 = ctypes.c_float(2.5), ctypes.c_bool(True)
    address, kept = packed(pointer, i32, f64, f32, i1)
    driver.function_set_shared(function, 65536)
    driver.launch(function, (1, 2, 3), (128, 1, 1), 65536, stream, address)
    pointer.value = 0x5678
    driver.launch(function, (4, 1, 1), (32, 1, 1), 0, stream, address)
    del kept
    one, two = fake.launches()
    assert (one.kernel, one.grid, one.block, one.shared) == (
        "kernel", (1, 2, 3), (128, 1, 1), 65536)  # fmt: skip
    assert one.stream == stream and one.context == driver.get_context()
    assert one.params == (
        struct.pack("<Q", 0x1234), struct.pack("<i", -5), struct.pack("<d", 1.5),
        struct.pack("<f", 2.5), b"\1",
    )  # fmt: skip
    assert two.params[0] == struct.pack("<Q", 0x5678)


@pytest.mark.parametrize(
    "grid, block, shared",
    [((0, 1, 1), (32, 1, 1), 0), ((1, 65536, 1), (32, 1, 1), 0), ((1, 1, 1), (2048, 1, 1), 0),
     ((1, 1, 1), (32, 1, 1), 49153)],
)  # fmt: skip
@on_fake_driver()
def test_a_launch_that_no_gpu_could_run_is_refused(
    grid: tuple[int, int, int], block: tuple[int, int, int], shared: int
):
    driver, _ = start()
    function = driver.module_function(driver.module_load(b"fake kernel\0"), "kernel")
    with pytest.raises(driver.CudaError, match=r"cuLaunchKernel: CUDA_ERROR_INVALID_VALUE \(1\)"):
        driver.launch(function, grid, block, shared, driver.stream_create(), 0)


@on_fake_driver()
def test_a_captured_graph_replays_in_order_and_only_when_launched():
    driver, fake = start()
    stream = driver.stream_create()
    a, b = driver.mem_alloc(4), driver.mem_alloc(4)
    driver.capture_begin(stream)
    assert driver.capture_status(stream) == driver.CAPTURING and driver.capture_id(stream)
    driver.memset_async(a, 1, 4, stream)
    driver.memcpy_dtod_async(b, a, 4, stream)
    driver.memset_async(a, 2, 4, stream)
    graph = driver.capture_end(stream)
    assert driver.capture_status(stream) == driver.NOT_CAPTURING
    assert [c.name for c in fake.calls() if c.graph == graph] == [
        "cuMemsetD8Async", "cuMemcpyDtoDAsync", "cuMemsetD8Async"]  # fmt: skip
    executable = driver.graph_instantiate(graph)
    driver.graph_destroy(graph)
    driver.synchronize_context()
    assert fake.read(b, 1) == b"\xa5"
    driver.graph_launch(executable, stream)
    driver.stream_synchronize(stream)
    assert (fake.read(a, 1), fake.read(b, 1)) == (b"\2", b"\1")
    driver.graph_exec_destroy(executable)
    assert fake.live()["graph"] == fake.live()["exec"] == 0


@on_fake_driver()
def test_a_call_that_cannot_be_captured_spoils_the_capture_unless_relaxed():
    driver, _ = start()
    stream = driver.stream_create()
    driver.capture_begin(stream)
    assert driver.exchange_capture_mode("relaxed") == "global"
    driver.mem_free(driver.mem_alloc(8))
    assert driver.exchange_capture_mode("global") == "relaxed"
    with pytest.raises(driver.CudaError, match=r"900\).*cannot be part of a CUDA graph"):
        driver.mem_alloc(8)
    assert driver.capture_status(stream) == driver.INVALIDATED
    with pytest.raises(driver.CudaError, match="STREAM_CAPTURE_INVALIDATED"):
        driver.capture_end(stream)
    driver.capture_begin(stream)
    driver.graph_destroy(driver.capture_end(stream))
    with pytest.raises(driver.CudaError, match="900"):
        driver.capture_begin(driver.LEGACY_STREAM)


@on_fake_driver(fault="cuInit:1:100")
def test_no_gpu_is_said_with_what_to_do():
    from tgrad.runtime import driver

    with pytest.raises(
        driver.CudaError, match=r"cuInit: CUDA_ERROR_NO_DEVICE \(100\): .*nvidia-smi"
    ):
        driver.init()
    driver.init()  # the next call works


@on_fake_driver(version=11080)
def test_a_driver_older_than_the_bindings_is_said_with_what_to_do():
    from tgrad.runtime import driver

    with pytest.raises(driver.CudaError, match=r"update the (NVIDIA )?driver"):
        driver.init()


@on_fake_driver(memory=1 << 20)
def test_no_memory_is_an_error_with_a_code():
    driver, _ = start()
    stream = driver.stream_create()
    with pytest.raises(driver.CudaError) as caught:
        driver.mem_alloc_async(1 << 21, stream)
    assert caught.value.code == driver.OUT_OF_MEMORY and caught.value.function == "cuMemAllocAsync"
    driver.mem_free_async(driver.mem_alloc_async(1 << 19, stream), stream)


@on_fake_driver()
def test_the_error_of_a_kernel_shows_at_a_later_call_and_says_how_to_find_it():
    driver, fake = start()
    stream = driver.stream_create()
    function = driver.module_function(driver.module_load(b"fake bad_kernel\0"), "bad_kernel")
    fake.poison("bad")
    driver.launch(function, (1, 1, 1), (32, 1, 1), 0, stream, 0)
    with pytest.raises(driver.CudaError, match=r"ILLEGAL_ADDRESS.*TGRAD_LAUNCH_BLOCKING"):
        driver.stream_synchronize(stream)
    with pytest.raises(driver.CudaError, match="cuMemAllocAsync: CUDA_ERROR_ILLEGAL_ADDRESS"):
        driver.mem_alloc_async(8, stream)
