"""Launches on the fake driver: which variant is compiled, and the bytes that arrive."""
# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl

from tests.fake_driver import on_fake_driver
from tests.small_kernels import broken_kernel, described_kernel, double_kernel
from tgrad.runtime.array import CudaArray, contiguous_strides


@triton.jit
def every_kind_kernel(
    y_ptr, flag, small, scale, wide, x_ptr, exact, stride_xm, stride_xn, n, BLOCK: tl.constexpr
):
    """One parameter of every kind, of sizes that do not follow each other evenly."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs * stride_xm + stride_xn, mask=offs < n)
    tl.store(y_ptr + offs, x * scale * exact + wide + small + flag, mask=offs < n)


@triton.jit(do_not_specialize=["n"], do_not_specialize_on_alignment=["stride_x"])
def opted_out_kernel(x_ptr, n, m, stride_x, stride_y):
    tl.store(x_ptr + n + m * stride_x * stride_y, 0)


def fake_array(shape=(64,), dtype="float32", ptr=1 << 20) -> CudaArray:
    """An array of which nobody will touch the memory."""
    kind = np.dtype(dtype)
    return CudaArray(None, ptr, shape, contiguous_strides(shape, kind.itemsize), kind)


def start(**options):
    """(a launcher on the fake driver, a stream, the fake, the sizes that it allocated)."""
    from tests.fake_driver.record import Fake
    from tgrad.runtime import driver
    from tgrad.runtime.launcher import Launcher

    driver.init()
    driver.set_context(driver.retain_primary_context(0))
    stream, sizes = driver.stream_create(), []

    def allocate(nbytes):
        sizes.append(nbytes)
        return fake_array((nbytes,), "uint8", driver.mem_alloc_async(nbytes, stream))

    return Launcher(driver, 90, allocate, **options), stream, Fake(), sizes


def launched(result):
    assert result is not None
    return result[0]


@on_fake_driver()
def test_parameters_arrive_in_order_and_width():
    launcher, stream, fake, _ = start()
    y, x = fake_array(ptr=0x7000_0000_1000), fake_array(dtype="bfloat16", ptr=0x7000_0000_2002)
    args = (y, True, -5, 0.1, 1 << 40, x, np.float64(0.1), 1, 3, 64)
    launcher.launch(every_kind_kernel, (2, 3), args, {"BLOCK": 64}, stream, num_warps=2)
    (call,) = fake.launches()
    assert (call.grid, call.block, call.stream) == ((2, 3, 1), (64, 1, 1), stream)
    assert call.kernel == "every_kind_kernel"
    assert call.params == (
        struct.pack("<Q", y.ptr), b"\1", struct.pack("<i", -5), struct.pack("<f", 0.1),
        struct.pack("<q", 1 << 40), struct.pack("<Q", x.ptr), struct.pack("<d", 0.1),
        # stride_xm is 1 and compiled in
        struct.pack("<i", 3), struct.pack("<i", 64), bytes(8), bytes(8),
    )  # fmt: skip


@on_fake_driver()
def test_a_variant_is_compiled_and_loaded_once():
    launcher, stream, fake, _ = start()

    def launch(n, ptr=1 << 20, scale=1.0, **constants):
        args = (fake_array(), fake_array(ptr=ptr), n, scale)
        launcher.launch(double_kernel, (1,), args, constants, stream)
        return len(fake.calls("cuModuleLoadData"))

    counts = [launch(16), launch(32), launch(32, scale=2.0), launch(32, 1 << 21)]
    assert counts == [1, 1, 1, 1]  # values and addresses change no code
    assert [launch(17), launch(33), launch(16, (1 << 20) + 4)] == [2, 2, 3]  # alignment does
    assert [launch(1 << 31), launch((1 << 31) + 16)] == [4, 4]  # and width
    assert [launch(16, BLOCK=1), launch(16, BLOCK=True)] == [5, 6]  # and constants, by type
    assert [launch(16, scale=np.float64(1)), launch(16)] == [7, 7]
    assert not fake.calls("cuModuleUnload")


@on_fake_driver()
def test_the_rule_of_specialisation():
    from tgrad.runtime.launcher import specialise

    x = fake_array(ptr=8)
    assert specialise(opted_out_kernel, (x, 1, 1, 1, 1), {}) == (
        {"x_ptr": "*fp32", "n": "i32", "m": "i32", "stride_x": "i32"}, {"stride_y": 1}, ()
    )  # fmt: skip
    assert specialise(opted_out_kernel, (x, 16, 32, 16, 48), {}).divisible == ("m", "stride_y")
    wide = specialise(opted_out_kernel, (x, np.int64(3), 1 << 31, -(1 << 31), -(1 << 31) - 1), {})
    assert list(wide.signature.values()) == ["*fp32", "i64", "i64", "i32", "i64"]
    with pytest.raises(TypeError, match="not str"):
        specialise(opted_out_kernel, (x, "n", 1, 1, 1), {})


@on_fake_driver()
def test_every_dtype_is_a_pointer_that_triton_knows():
    from tgrad import dtypes
    from tgrad.runtime.launcher import TYPES

    kinds = [k for k in dtypes.FROM_NUMPY.values() if not k.is_complex]
    assert len(kinds) > 8
    for kind in kinds:
        pointer: Any = tl.str_to_ty("*" + TYPES[kind.numpy.name], None)
        assert max(pointer.element_ty.primitive_bitwidth, 8) == 8 * kind.numpy.itemsize


@on_fake_driver()
def test_descriptors_get_scratch_for_every_program():
    launcher, stream, fake, sizes = start()
    x = fake_array((640, 64))
    args = (fake_array(), x, 640, 64, 64)
    function = launched(launcher.launch(described_kernel, (10, 2), args, {}, stream))
    assert function.binary.global_scratch >= 128
    assert sizes == [20 * function.binary.global_scratch]
    (call,) = fake.launches()
    scratch, profile = call.params[-2:]
    assert struct.unpack("<Q", scratch)[0] == fake.calls("cuMemAllocAsync")[0].result
    assert profile == bytes(8)


@on_fake_driver()
def test_shared_memory_past_48_kib_is_asked_for_and_past_the_limit_refused():
    launcher, stream, fake, _ = start()
    args = (fake_array(), fake_array((640, 128)), 640, 128, 128)
    function = launched(launcher.launch(described_kernel, (5,), args, {"BLOCK": 128}, stream))
    assert function.shared > 48 * 1024
    (asked,) = fake.calls("cuFuncSetAttribute")
    assert asked.args[-1] == function.shared == fake.launches()[0].shared
    launcher.max_shared = function.shared - 1
    launcher.functions.clear()
    with pytest.raises(RuntimeError, match="bytes of shared memory, and this GPU gives"):
        launcher.launch(described_kernel, (5,), args, {"BLOCK": 128}, stream)


@on_fake_driver()
def test_an_empty_grid_launches_nothing():
    launcher, stream, fake, _ = start()
    args = (fake_array(), fake_array(), 0, 1.0)
    assert launcher.launch(double_kernel, (0,), args, {}, stream) is None
    assert not fake.calls("cuModuleLoadData", "cuLaunchKernel")


class Entry:
    name = "an_op"


def run_as_op(launch):
    """As the dispatcher does: the op is a local variable called entry."""
    entry = Entry()
    assert entry
    launch()


@on_fake_driver()
def test_errors_name_the_op_the_kernel_and_the_shapes():
    from tgrad.runtime.compiler import CompileError
    from tgrad.runtime.driver import CudaError

    launcher, stream, fake, _ = start()
    y = fake_array((37, 19))
    with pytest.raises(CompileError, match=r"(?s)an_op: broken_k.*BLOCK=65.*float32 \(37, 19\)"):
        run_as_op(lambda: launcher.launch(broken_kernel, (1,), (y,), {"BLOCK": 65}, stream))
    args = (y, y, 703, 1.0)
    with pytest.raises(CudaError, match=r"an_op: double_kernel over a grid of \(1, 70000, 1\)"):
        run_as_op(lambda: launcher.launch(double_kernel, (1, 70000), args, {}, stream))
    run_as_op(lambda: launcher.launch(double_kernel, (1,), args, {}, stream))
    assert len([c for c in fake.launches() if not c.code]) == 1


@on_fake_driver(TGRAD_LAUNCH_BLOCKING="1")
def test_blocking_launches_name_the_op_that_failed():
    from tgrad.runtime.driver import CudaError

    launcher, stream, fake, _ = start()
    args = (fake_array(), fake_array(), 64, 1.0)
    launcher.launch(double_kernel, (1,), args, {}, stream)
    assert [c.name for c in fake.calls("cuLaunchKernel", "cuStreamSynchronize")] == [
        "cuLaunchKernel", "cuStreamSynchronize"
    ]  # fmt: skip
    fake.poison("double_kernel")
    with pytest.raises(CudaError, match=r"an_op: double_kernel .*\(700\)"):
        run_as_op(lambda: launcher.launch(double_kernel, (1,), args, {}, stream))


@on_fake_driver(TGRAD_LAUNCH_BLOCKING="1")
def test_blocking_does_not_wait_inside_a_capture():
    from tgrad.runtime import driver

    launcher, stream, fake, _ = start()
    args = (fake_array(), fake_array(), 64, 1.0)
    launcher.launch(double_kernel, (1,), args, {}, stream)
    driver.capture_begin(stream)
    launcher.launch(double_kernel, (1,), args, {}, stream)
    assert driver.capture_end(stream)
    assert len(fake.calls("cuStreamSynchronize")) == 1


@on_fake_driver()
def test_threads_do_not_mix_up_their_parameters():
    from concurrent.futures import ThreadPoolExecutor

    from tgrad.runtime import driver

    launcher, stream, fake, _ = start()
    context = driver.get_context()
    launcher.launch(double_kernel, (1,), (fake_array(), fake_array(), 64, 1.0), {}, stream)
    fake.clear()

    def work(k):
        driver.set_context(context)
        for i in range(200):
            ptr = (k + 1 << 32) + 16 * i
            launcher.launch(
                double_kernel, (1,), (fake_array(ptr=ptr), fake_array(ptr=ptr), 64, 1.0), {}, stream
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    calls = fake.launches()
    assert len(calls) == 800 and all(c.params[0] == c.params[1] for c in calls)
    assert len({c.params[0] for c in calls}) == 800


@on_fake_driver(memory=1 << 42)
def test_kernels_over_2_31_elements_are_told_that_offsets_are_wide():
    from tests.replays import start as start_tgrad

    tgrad, _ = start_tgrad()
    from tgrad.runtime.launcher import Launcher

    seen, function = [], Launcher.function

    def watched(self, kernel, args, constants, options):
        seen.append((kernel.__name__, constants))
        return function(self, kernel, args, constants, options)

    Launcher.function = watched
    n = (1 << 31) + 64
    x = tgrad.empty(n, dtype=tgrad.uint8, device="cuda")
    m = tgrad.empty(4, n // 4, dtype=tgrad.uint8, device="cuda")
    half = tgrad.empty(n // 64, 64, dtype=tgrad.float16, device="cuda")
    calls = {
        "add": lambda: x + x, "strided": lambda: m.T + m.T, "sum": lambda: x.sum(),
        "rows": lambda: m.sum(1), "columns": lambda: m.sum(0), "max": lambda: m.amax(0),
        "copy": lambda: m.T.contiguous(), "any": lambda: x.any(), "cumsum": lambda: x.cumsum(0),
        "softmax": lambda: half.softmax(-1), "gather": lambda: m[:, 5:].flip(1),
    }  # fmt: skip
    for name, call in calls.items():
        seen.clear()
        call()
        # The first launch of each goes over the large array; a second pass may be small.
        kernel, constants = seen[0]
        assert constants.get("WIDE", True), (name, kernel, constants)
