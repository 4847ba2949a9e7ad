"""The driver's runtime on the fake driver: copies, devices, threads, forks, failures."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.fake_driver import FakeDriver, on_fake_driver
from tgrad.runtime import cuda


def start() -> tuple[Any, Any]:
    """(the runtime, the fake)."""
    from tests.fake_driver.record import Fake

    gpu: Any = cuda.active()
    assert not gpu.is_emulated
    return gpu, Fake()


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


# ---- copies --------------------------------------------------------------------------------------

VIEWS = {
    "whole": lambda a: a,
    "turned": lambda a: a.transpose(2, 0, 1),
    "reversed": lambda a: a[::-1],
    "row": lambda a: a[1],
    "gaps": lambda a: a[:, 1::2],
    "column": lambda a: a[:, :, 3],
    "nothing": lambda a: a[:, 2:2],
    "one": lambda a: a[1, 2, 3],
}
PACKED = ("reversed", "gaps", "column")


@on_fake_driver(memory=1 << 24)
def test_a_copy_to_the_host_has_the_elements_of_the_view():
    gpu, fake = start()
    a = numbers(5, 7, 11)
    for name, view in VIEWS.items():
        fake.clear()
        got, want = gpu.to_host(view(gpu.from_host(a))), view(a)
        kernels = [c.kernel for c in fake.launches()]
        assert got.flags.c_contiguous and got.dtype == want.dtype and got.shape == want.shape
        if name in PACKED:  # by a kernel, which this GPU does not run
            assert kernels == ["pointwise_kernel"], name
        else:
            assert not kernels, name
            np.testing.assert_array_equal(got, want, name)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float64"])
@on_fake_driver()
def test_every_dtype_comes_back_as_it_went(dtype: str):
    gpu, _ = start()
    element = getattr(tgrad, dtype).numpy if dtype == "bfloat16" else np.dtype(dtype)
    a = numbers(3, 5).astype(element)
    b = gpu.to_host(gpu.from_host(a))
    assert b.dtype == element and b.tobytes() == a.tobytes()


@pytest.mark.parametrize("size", [1, 65536, 65537, 3 * 65536, 10 * 65536 + 1])
@on_fake_driver(memory=1 << 24)
def test_large_copies_pass_through_two_pieces(size: int):
    from tgrad.runtime import staging

    staging.PIECE = 65536
    gpu, fake = start()
    a = numbers(size, dtype="uint8")
    kept = a.copy()
    x = gpu.from_host(a)
    a[:] = 0  # may be overwritten at once, though the GPU has fetched nothing yet
    np.testing.assert_array_equal(gpu.to_host(x), kept)
    assert fake.live()["pinned"] <= 4 and not fake.violations()


@pytest.mark.parametrize("size", [1, 65536, 65537])
@on_fake_driver(memory=1 << 24, pageable=1)
def test_a_gpu_that_reads_ordinary_memory_gets_it_from_where_it_stays(size: int):
    gpu, _ = start()
    a = numbers(size, dtype="uint8") + 1
    kept = a.copy()
    x = gpu.from_host(a)
    a[:] = 0
    np.testing.assert_array_equal(gpu.to_host(x), kept)


@on_fake_driver()
def test_an_upload_does_not_wait_for_the_gpu():
    gpu, fake = start()
    gpu.from_host(numbers(100_000))
    waits = [c.name for c in fake.calls() if "Synchronize" in c.name or "Query" in c.name]
    assert not waits


@on_fake_driver()
def test_page_locked_memory_is_copied_from_and_to_without_waiting():
    from tgrad.runtime import pinned

    gpu, fake = start()
    a = pinned.empty((1000,), np.dtype("float32"))
    a[:] = 1
    x = gpu.from_host(a, non_blocking=True)
    a[:] = 2  # the copy has not been done yet
    y = gpu.to_host(x, non_blocking=True)
    assert pinned.is_pinned(y) and not (y == 2).any()
    address, size = a.ctypes.data, len(fake.calls("cuMemHostAlloc"))
    del a
    b = pinned.empty((1000,), np.dtype("float32"))
    assert b.ctypes.data != address  # the copy still reads the old block
    gpu.synchronize()
    assert (y == 2).all()
    del b, y
    c = [pinned.empty((1000,), np.dtype("float32")) for _ in range(3)]
    assert address in [d.ctypes.data for d in c]
    assert len(fake.calls("cuMemHostAlloc")) == size + 1
    blocking = gpu.from_host(c[0])
    c[0][:] = 5
    assert not (gpu.to_host(blocking) == 5).any()


@on_fake_driver()
def test_writing_over_a_view_keeps_the_elements_around_it():
    gpu, _ = start()
    a = numbers(4, 6)
    x = gpu.from_host(a)
    gpu.copy_from_host(x.transpose(1, 0), np.full((6, 4), 7, np.float32))
    assert (gpu.to_host(x) == 7).all()
    gpu.copy_from_host(x[1:3], a[1:3])
    want = np.full((4, 6), 7, np.float32)
    want[1:3] = a[1:3]
    np.testing.assert_array_equal(gpu.to_host(x), want)


@on_fake_driver()
def test_copies_inside_a_graph_repeat_at_every_replay():
    _, fake = start()
    x = tgrad.zeros(4, device="cuda")
    source, result = tgrad.ones(4).pin_memory(), tgrad.zeros(4).pin_memory()
    fixed = tgrad.full((4,), 5.0)
    y = tgrad.zeros(4, device="cuda")
    graph, gpu = tgrad.cuda.CUDAGraph(), start()[0]
    with tgrad.cuda.graph(graph):
        gpu.copy_from_host(x.array, source.array)
        gpu.copy_from_host(y.array, fixed.array)
        result.copy_(x, non_blocking=True)
        with pytest.raises(RuntimeError, match="a CUDA graph is being captured"):
            x.tolist()
        with pytest.raises(RuntimeError, match="a CUDA graph is being captured"):
            tgrad.cuda.synchronize()
    assert result.tolist() == [0.0] * 4
    for value in (2.0, 3.0):
        source.fill_(value)  # page-locked: read at the replay
        fixed.fill_(-1.0)  # pageable: read at the capture
        graph.replay()
        tgrad.cuda.synchronize()
        assert result.tolist() == [value] * 4 and y.tolist() == [5.0] * 4
    graph.reset()
    assert not fake.violations()


@on_fake_driver()
def test_non_blocking_copies_are_those_of_page_locked_memory():
    _, fake = start()
    a = tgrad.ones(1000).pin_memory()
    assert a.is_pinned() and not tgrad.ones(1).is_pinned()
    fake.clear()
    x = a.to("cuda", non_blocking=True)
    b = x.to("cpu", non_blocking=True)
    c = tgrad.zeros(1000).pin_memory()
    c.copy_(x, non_blocking=True)
    assert b.is_pinned() and not [call.name for call in fake.calls() if "Synchro" in call.name]
    assert b.sum() != 1000 and c.sum() == 0
    tgrad.cuda.synchronize()
    assert b.sum() == c.sum() == 1000
    plain = tgrad.zeros(1000)
    plain.copy_(x, non_blocking=True)  # pageable: waited for
    assert plain.sum() == 1000 and x.cpu().sum() == 1000 and not x.cpu().is_pinned()


# ---- devices -------------------------------------------------------------------------------------


@on_fake_driver(devices=2)
def test_a_tensor_on_the_second_gpu_lives_and_is_worked_on_there():
    gpu, fake = start()
    a = tgrad.ones(5, 3, device="cuda:1")
    b = (a * 2 + a.T.contiguous().T).sum(0)
    for t in (a, b, a.exp_(), tgrad.zeros_like(a), a.clone()):
        assert t.device is tgrad.device("cuda:1") and t.array.device == 1
        assert gpu.driver.pointer_device(t.data_ptr()) == 1
    context = gpu.unit(1).context
    launches = fake.launches()
    assert len(launches) >= 6 and {c.context for c in launches} == {context}
    assert fake.live_bytes(1) > 0 == fake.live_bytes(0)
    assert tgrad.cuda.current_device() == 0


@on_fake_driver(devices=2)
def test_the_current_gpu_is_each_threads_own():
    from tgrad.runtime.current import on

    start()
    seen: dict[str, Any] = {}

    def work(name: str, index: int) -> None:
        with on(index):
            barrier.wait(10)
            seen[name] = tgrad.ones(3, device="cuda").array.device
            x = tgrad.tensor([1.0, 2.0], device="cuda")
            seen[name + " copy"] = x.array.device
            assert x.tolist() == [1.0, 2.0]

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=work, args=(f"t{i}", i)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == {"t0": 0, "t0 copy": 0, "t1": 1, "t1 copy": 1}
    assert tgrad.ones(1, device="cuda").array.device == 0


@on_fake_driver(devices=2)
def test_a_copy_between_gpus_is_ordered_with_the_work_of_both():
    gpu, fake = start()
    x = tgrad.tensor(numbers(6, 4), device="cuda:0")
    fake.clear()
    y = x.T.to("cuda:1")
    assert y.device is tgrad.device("cuda:1") and y.shape == (4, 6)
    names = [c.name for c in fake.calls()
             if c.name.startswith(("cuEventRecord", "cuStreamWait", "cuMemcpyPeer"))]  # fmt: skip
    assert names == ["cuEventRecord", "cuStreamWaitEvent", "cuMemcpyPeerAsync", "cuEventRecord",
                     "cuStreamWaitEvent"]  # fmt: skip
    (copy,) = fake.calls("cuMemcpyPeerAsync")
    assert copy.args[1] == gpu.unit(1).context and copy.args[3] == gpu.unit(0).context
    z = tgrad.tensor(numbers(6, 4), device="cuda:0").to("cuda:1")
    np.testing.assert_array_equal(z.cpu().numpy(), numbers(6, 4))
    assert not fake.violations()


@on_fake_driver(devices=2)
def test_gradients_come_back_to_the_gpu_of_their_tensor():
    start()
    x = tgrad.ones(3, device="cuda:1", requires_grad=True)
    (x.to("cuda:0") * 2).sum().backward()
    assert x.grad.device is tgrad.device("cuda:1")


@on_fake_driver(devices=2)
def test_tensors_of_different_devices_are_refused_before_anything_is_done():
    _, fake = start()
    a, b = tgrad.ones(3, 3, device="cuda:0"), tgrad.ones(3, 3, device="cuda:1")
    c = tgrad.ones(3, 3)
    fake.clear()
    for x, y in ((a, b), (a, c), (c, b)):
        for call in (tgrad.add, tgrad.matmul):
            with pytest.raises(
                RuntimeError, match=r"Expected all tensors to be on the same device"
            ):
                call(x, y)
    assert not fake.calls()
    for make in (lambda: tgrad.ones(2, device="cuda:2"), lambda: c.to("cuda:2"),
                 lambda: a.to("cuda:2")):  # fmt: skip
        with pytest.raises(RuntimeError, match="invalid device ordinal: cuda:2"):
            make()


@on_fake_driver(devices=2)
def test_a_context_that_another_library_made_current_changes_nothing():
    gpu, fake = start()
    a = tgrad.tensor([1.0, 2.0], device="cuda:0")
    b = a + a
    for work in (lambda: a + a, lambda: a.tolist(), lambda: tgrad.tensor([3.0], device="cuda:0")):
        gpu.driver.set_context(gpu.unit(1).context)
        fake.clear()
        work()
        done = [c for c in fake.calls("cuLaunchKernel", "cuMemcpyDtoHAsync", "cuMemcpyHtoDAsync")
                if not c.code]  # fmt: skip
        assert done and {c.context for c in done} == {gpu.unit(0).context}
    del b


# ---- processes -----------------------------------------------------------------------------------


def in_child(work: Any) -> str:
    """What ``work()`` returns, or the text of its exception, in a forked child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = str(work())
        except BaseException as e:
            text = f"{type(e).__name__}: {e}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as f:
        return f.read()


@on_fake_driver()
def test_asking_whether_there_is_a_gpu_leaves_a_process_that_can_fork():
    assert tgrad.cuda.is_available() and not tgrad.cuda.is_initialized()
    assert in_child(lambda: tgrad.tensor([1.0, 2.0], device="cuda").tolist()) == "[1.0, 2.0]"
    assert tgrad.tensor([3.0], device="cuda").tolist() == [3.0]


@on_fake_driver()
def test_a_child_forked_after_the_start_of_cuda_is_told_to_spawn():
    x = tgrad.tensor([1.0], device="cuda")
    for work in (lambda: tgrad.ones(1, device="cuda"), lambda: x + 1, x.tolist):
        said = in_child(work)
        assert said.startswith("RuntimeError: Cannot re-initialize CUDA in forked subprocess")
    assert in_child(lambda: (tgrad.ones(2) + 1).tolist()) == "[2.0, 2.0]"
    assert x.tolist() == [1.0]


def test_import_and_questions_load_no_cuda(fake_driver: FakeDriver):
    source = (
        "import tgrad, sys\n"
        "assert not {'torch', 'triton', 'cuda'} & set(sys.modules)\n"
        "assert tgrad.cuda.is_available()\n"
        "assert not {m for m in sys.modules if m.startswith(('torch', 'triton', 'cuda.'))}\n"
        "print(tgrad.tensor([1.5], device='cuda').tolist())\n"
    )
    done = fake_driver.program(source)
    assert done.stdout == "[1.5]\n", done.stdout + done.stderr


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"fault": "cuInit:1:100"}, "nvidia-smi"),
        ({"fault": "cuInit:1:803"}, "restart the machine"),
        ({"version": 11040}, "update the"),
        ({"LD_LIBRARY_PATH": ""}, "TRITON_INTERPRET=1"),
    ],
)
def test_no_usable_gpu_is_said_with_what_to_do(settings: dict, said: str, fake_driver: FakeDriver):
    source = (
        "import tgrad\n"
        "try:\n"
        "    tgrad.ones(1, device='cuda')\n"
        "except RuntimeError as e:\n"
        "    print(e)\n"
        "print(tgrad.cuda.is_available(), tgrad.ones(1).tolist())\n"
    )
    done = fake_driver.program(source, **settings)
    assert "Found no NVIDIA GPU that tgrad can use" in done.stdout, done.stdout + done.stderr
    assert said in done.stdout and "[1.0]" in done.stdout


# ---- failures ------------------------------------------------------------------------------------


def forget() -> None:
    """As in a new process: no runtime, no context, nothing current."""
    from tgrad.runtime.current import here

    cuda._active = None
    here.__init__()


def work() -> None:
    """Copies of every kind, and a launch, on two GPUs."""
    gpu: Any = cuda.active()
    a = numbers(2500, 2)
    x = gpu.from_host(a)
    with_gaps = gpu.from_host(numbers(4, 4))
    gpu.copy_from_host(with_gaps[1:3], numbers(2, 4))
    y = gpu.to_device(x, 1)
    z = gpu.to_host(y, non_blocking=True)
    gpu.synchronize(1)
    np.testing.assert_array_equal(z, a)
    np.testing.assert_array_equal(gpu.to_host(x.transpose(1, 0)), a.T)
    gpu.synchronize(0)
    t = tgrad.ones(3, device="cuda:1") + 1
    assert t.device.index == 1


def release() -> None:
    """All memory that nobody holds goes back to the driver."""
    gpu: Any = cuda.active()
    for unit in gpu.units.values():
        unit.pool.release()
    gpu.pinned.release()


def free_events() -> int:
    """How many of the driver's events wait to be used again."""
    gpu: Any = cuda.active()
    units = gpu.units.values()
    free = sum(len(unit.events) + len(unit.pool.spare_events) for unit in units)
    return free + sum(len(mark.events) for mark in gpu.pinned.driver.marks)


@on_fake_driver(devices=2)
def test_an_error_of_the_driver_at_any_call_is_told_and_leaves_nothing_behind():
    from tests.fake_driver.record import Fake
    from tgrad.runtime import driver, staging

    staging.PIECE, staging.DIRECT = 1 << 13, 1 << 12
    fake = Fake()
    work()
    calls = [c.name for c in fake.calls()]
    release()
    calm = fake.live()
    loaded, events = calm["module"], calm["event"]
    assert events == free_events() > 0
    forget()
    for i, name in enumerate(calls):
        fake.mend()
        forget()
        fake.clear()
        fake.fail("", nth=i + 1, code=999)
        driver.device_handle.cache_clear()
        driver.device_pool.cache_clear()
        try:
            work()
        except RuntimeError as error:
            failed = next(c.name for c in fake.calls() if c.code)
            assert failed in str(error) and "(999)" in str(error), f"{i} {name}: {error}"
        fake.mend()
        work()  # the program goes on, with what it has
        gpu: Any = cuda.active()
        loaded += sum(len(unit.launcher.functions) for unit in gpu.units.values())
        assert fake.live()["module"] == loaded, f"{i} {name}"
        release()
        fake.run()
        held = fake.live()
        assert (held["block"], held["pinned"]) == (0, 0), f"{i} {name}: {held}"
        events += free_events()
        assert held["event"] == events, f"{i} {name}: {held}"
        for kind in ("context", "stream", "graph", "exec"):
            assert held[kind] == calm[kind], f"{i} {name}: {held}"
        assert not fake.violations()
