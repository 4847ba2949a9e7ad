"""``tgrad.accelerator``, and what ``tgrad.cuda`` tells of waits, memory and the GPU's sensors."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import warnings

import pytest

import tgrad
from tests.fake_driver import on_fake_driver
from tgrad import accelerator


def test_the_accelerator_is_the_gpu():
    assert accelerator.is_available() and accelerator.device_count() == 1
    assert accelerator.current_accelerator() is tgrad.device("cuda")
    assert accelerator.current_accelerator(check_available=True) is tgrad.device("cuda")
    assert accelerator.current_device_index() == 0
    accelerator.set_device_index("cuda:0")
    accelerator.set_device_index(-1)
    with accelerator.device_index(0), accelerator.device_index(None):
        accelerator.synchronize()
    for name, arguments in (("current_device_idx", ()), ("set_device_idx", (0,))):
        with pytest.warns(FutureWarning, match="takes its place"):
            getattr(accelerator, name)(*arguments)
    assert tgrad.bfloat16 in accelerator.get_device_capability()["supported_dtypes"]


@pytest.mark.parametrize("call, error, match", [
    (lambda: accelerator.set_device_index("cpu"), ValueError, "cpu doesn't match"),
    (lambda: accelerator.set_device_index("cuda"), ValueError, "specified index"),
    (lambda: accelerator.set_device_index(None), ValueError, "specified index"),
    (lambda: accelerator.set_device_index(5), RuntimeError, "invalid device ordinal"),
    (lambda: accelerator.synchronize("cpu"), ValueError, "cpu doesn't match"),
    (lambda: accelerator.memory_stats("cpu"), ValueError, "cpu doesn't match"),
])  # fmt: skip
def test_other_devices_are_refused(call, error, match):
    tgrad.ones(1, device="cuda")
    with pytest.raises(error, match=match):
        call()
    assert accelerator.current_device_index() == 0


def test_its_memory_is_that_of_cuda():
    x = tgrad.ones(1 << 16, device="cuda")
    assert accelerator.memory_allocated() == tgrad.cuda.memory_allocated() >= x.nbytes
    assert accelerator.memory_reserved() == tgrad.cuda.memory_reserved()
    accelerator.reset_peak_memory_stats()
    accelerator.reset_accumulated_memory_stats()
    assert accelerator.max_memory_allocated(0) >= accelerator.memory_allocated("cuda")
    assert accelerator.max_memory_reserved() >= accelerator.memory_reserved()
    free, total = accelerator.get_memory_info()
    assert 0 < free <= total
    accelerator.empty_cache()
    accelerator.empty_host_cache()


def test_a_stream_is_set_with_its_device():
    before, other = accelerator.current_stream(), tgrad.cuda.Stream()
    try:
        accelerator.set_stream(other)
        assert accelerator.current_stream(0) == tgrad.cuda.current_stream() == other
    finally:
        accelerator.set_stream(before)


def test_every_device_has_a_module():
    assert tgrad.get_device_module("cuda:0") is tgrad.get_device_module() is tgrad.cuda
    assert tgrad.get_device_module(tgrad.device("cpu")) is tgrad.cpu
    for wrong in (3, "tpu"):
        with pytest.raises(RuntimeError):
            tgrad.get_device_module(wrong)  # pyright: ignore[reportArgumentType]


WITHOUT = """
import tgrad
from tgrad import accelerator as a
print(a.is_available(), a.current_accelerator(), a.device_count(), tgrad.get_device_module())
print(tgrad.cuda.default_generators, tgrad.backends.cuda.is_built() in (True, False))
with a.device_index(None):
    pass
a.set_device_index(-1) if a.is_available() else None
for call in (a.current_device_index, a.synchronize, a.empty_cache, a.memory_stats, a.current_stream,
             a.get_device_capability, lambda: a.set_device_index(0)):
    try:
        call()
    except RuntimeError as error:
        assert "Cannot access accelerator device when none is available" in str(error)
    else:
        raise AssertionError(call)
"""


def test_without_a_gpu_there_is_no_accelerator():
    command = [sys.executable, "-c", WITHOUT]
    env = {**os.environ, "TRITON_INTERPRET": "0", "CUDA_VISIBLE_DEVICES": ""}
    made = subprocess.run(command, capture_output=True, text=True, env=env)
    assert made.returncode == 0, made.stderr
    first, second = made.stdout.splitlines()
    assert first.startswith("False None 0 <module 'tgrad.cpu'") and second == "() True"


# ---- waits ---------------------------------------------------------------------------------------


@pytest.fixture
def mode():
    yield tgrad.cuda.set_sync_debug_mode
    tgrad.cuda.set_sync_debug_mode("default")


WAITS = {
    "item": lambda x: x.sum().item(),
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool(x[0] > 0),
    "print": repr,
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 1],
    "stream": lambda x: tgrad.cuda.current_stream().synchronize(),
}
DOES_NOT = {
    "arithmetic": lambda x: (x * 2 + 1).softmax(0),
    "upload": lambda x: tgrad.ones(3).to("cuda"),
    "event": lambda x: tgrad.cuda.current_stream().record_event().synchronize(),
    "synchronize": lambda x: tgrad.cuda.synchronize(),
    "masked write": lambda x: x.masked_fill(x > 1, 0.0),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_for_the_gpu_is_told_or_refused(mode, name: str):
    x = tgrad.tensor([1.0, 2.0, 3.0], device="cuda")
    mode("warn")
    assert tgrad.cuda.get_sync_debug_mode() == 1
    with pytest.warns(UserWarning, match="called a synchronizing CUDA operation") as caught:
        WAITS[name](x)
    assert caught[0].filename == __file__  # the line of the program, not one of the library
    mode(2)
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        WAITS[name](x)
    mode("default")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WAITS[name](x)


@pytest.mark.parametrize("name", DOES_NOT)
def test_what_does_not_wait_is_let_go(mode, name: str):
    x = tgrad.tensor([1.0, 2.0, 3.0], device="cuda")
    mode("error")
    DOES_NOT[name](x)


@pytest.mark.parametrize("wrong", ["loud", 3, -1, 1.5, True, None])
def test_other_modes_of_waiting_are_refused(mode, wrong):
    mode(1)
    with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
        mode(wrong)
    assert tgrad.cuda.get_sync_debug_mode() == 1


@on_fake_driver()
def test_the_drivers_runtime_tells_of_the_same_waits():
    import tgrad

    x, page_locked = tgrad.ones(3, device="cuda"), tgrad.ones(3).pin_memory()
    tgrad.cuda.set_sync_debug_mode("error")
    x.mul(2)
    page_locked.to("cuda", non_blocking=True)
    tgrad.ones(3).to("cuda")
    x.to("cpu", non_blocking=True)
    tgrad.cuda.synchronize()
    for call in (x.cpu, lambda: page_locked.to("cuda"), tgrad.cuda.current_stream().synchronize):
        try:
            call()
        except RuntimeError as error:
            assert "synchronizing CUDA operation" in str(error)
        else:
            raise AssertionError(call)


# ---- names ---------------------------------------------------------------------------------------


def test_older_names_of_memory_warn():
    cuda = tgrad.cuda
    tgrad.ones(1, device="cuda")
    with pytest.warns(FutureWarning, match="memory_reserved"):
        assert cuda.memory_cached() == cuda.memory_reserved()
    with pytest.warns(FutureWarning, match="max_memory_reserved"):
        assert cuda.max_memory_cached() == cuda.max_memory_reserved()
    with pytest.warns(FutureWarning, match="reset_peak_memory_stats"):
        cuda.reset_max_memory_cached()


def test_every_gpu_has_a_default_generator():
    (generator,) = tgrad.cuda.default_generators
    generator.manual_seed(5)
    first = tgrad.rand(2, device="cuda").tolist()
    tgrad.cuda.manual_seed(5)
    assert tgrad.rand(2, device="cuda").tolist() == first
    assert tgrad.cuda.has_half and not tgrad.cuda.has_magma and not tgrad.cuda.get_gencode_flags()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tgrad.cuda.nothing  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


SENSORS = {
    "temperature": 40, "power_draw": 70000, "clock_rate": 1980, "utilization": 99,
    "memory_usage": 12, "device_memory_used": 1 << 30,
}  # fmt: skip


RUNNING = [types.SimpleNamespace(pid=41, usedGpuMemory=3 << 20),
           types.SimpleNamespace(pid=42, usedGpuMemory=None)]  # fmt: skip


def fake_nvml(loaded: bool) -> types.ModuleType:
    """The package, for a GPU at the emulator's place on the bus."""

    class NotLoaded(Exception):
        pass

    def start() -> None:
        if not loaded:
            raise NotLoaded

    def handle(place: bytes) -> str:
        assert place == b"00000000:00:00.0"
        return "handle"

    made = types.ModuleType("pynvml")
    rates = types.SimpleNamespace(gpu=99, memory=12)
    made.__dict__.update(
        NVMLError_DriverNotLoaded=NotLoaded, NVMLError_LibraryNotFound=NotLoaded,
        nvmlInit=start, nvmlDeviceGetHandleByPciBusId=handle,
        nvmlDeviceGetTemperature=lambda h, sensor: {0: 40}[sensor],
        nvmlDeviceGetPowerUsage=lambda h: 70000,
        nvmlDeviceGetClockInfo=lambda h, clock: {1: 1980}[clock],
        nvmlDeviceGetUtilizationRates=lambda h: rates,
        nvmlDeviceGetMemoryInfo=lambda h: types.SimpleNamespace(used=1 << 30),
        nvmlDeviceGetComputeRunningProcesses=lambda h: RUNNING,
    )  # fmt: skip
    return made


@pytest.mark.parametrize("name", SENSORS)
def test_sensors_are_read_through_nvml(name: str, monkeypatch):
    read = getattr(tgrad.cuda, name)
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(True))
    assert read() == read("cuda:0") == SENSORS[name]
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(False))
    with pytest.raises(RuntimeError, match="cuda driver can't be loaded"):
        read()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(ModuleNotFoundError, match="nvidia-ml-py"):
        read()


def test_processes_on_the_gpu_are_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(True))
    first, *lines = tgrad.cuda.list_gpu_processes().splitlines()
    assert first == "GPU:0" and [line.split()[1:4:2] for line in lines] == [
        ["41", "3.000"], ["42", "0.000"]
    ]  # fmt: skip
    monkeypatch.setattr(sys.modules["pynvml"], "nvmlDeviceGetComputeRunningProcesses", lambda h: [])
    assert tgrad.cuda.list_gpu_processes(0) == "GPU:0\nno processes are running"
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(False))
    assert "driver can't be loaded" in tgrad.cuda.list_gpu_processes()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "install nvidia-ml-py" in tgrad.cuda.list_gpu_processes()


@on_fake_driver()
def test_counts_of_page_locked_memory_start_again():
    import tgrad

    x = tgrad.ones(1000).pin_memory()
    nested = tgrad.cuda.host_memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["allocated"] >= x.nbytes
    tgrad.cuda.reset_accumulated_host_memory_stats()
    nested = tgrad.cuda.host_memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["allocated"] == 0
    assert nested["allocated_bytes"]["all"]["current"] >= x.nbytes
    tgrad.cuda.ipc_collect()


# ---- profilers -----------------------------------------------------------------------------------


def fake_nvtx(calls: list) -> types.ModuleType:
    made = types.ModuleType("nvtx")
    for name in ("push_range", "pop_range", "start_range", "end_range", "mark"):
        made.__dict__[name] = lambda *a, name=name: calls.append((name, *a)) or (7, *a)
    return made


def test_ranges_are_named_through_nvtx(monkeypatch):
    nvtx, calls = tgrad.cuda.nvtx, []
    monkeypatch.setitem(sys.modules, "nvtx", fake_nvtx(calls))
    assert nvtx.range_push("step") == 0
    with pytest.raises(KeyError), nvtx.range("part {} of {n}", 1, n=2):
        assert nvtx.range_push("inner") == 2 and nvtx.range_pop() == 2
        raise KeyError
    assert nvtx.range_pop() == 0
    nvtx.range_end(nvtx.range_start("apart"))
    nvtx.range_end(None)
    nvtx.mark("now")
    assert calls == [
        ("push_range", "step"), ("push_range", "part 1 of 2"), ("push_range", "inner"),
        ("pop_range",), ("pop_range",), ("pop_range",), ("start_range", "apart"),
        ("end_range", (7, "apart")), ("mark", "now"),
    ]  # fmt: skip
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with pytest.raises(RuntimeError, match="NVTX functions not installed"):
        nvtx.range_push("step")


def test_the_emulator_has_no_profiler_to_start():
    with tgrad.cuda.profiler.profile():
        tgrad.ones(1, device="cuda")


@on_fake_driver()
def test_the_drivers_profiler_is_started_and_stopped():
    import tgrad
    from tests.fake_driver.record import Fake

    tgrad.ones(1, device="cuda")
    fake = Fake()
    fake.calls()
    try:
        with tgrad.cuda.profiler.profile():
            raise KeyError
    except KeyError:
        names = [call.name for call in fake.calls()]
    assert [n for n in names if "Profiler" in n] == ["cuProfilerStart", "cuProfilerStop"]
