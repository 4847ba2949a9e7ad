"""DLPack, ``__cuda_array_interface__`` and ``__array__``: shared memory, lifetimes, streams."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.fake_driver import on_fake_driver
from tgrad.runtime import interop

DTYPES = tgrad.dtypes.ALL


class Producer:
    """An object that speaks DLPack: hands on a capsule of ``x`` and keeps what it was asked."""

    def __init__(self, x: Any, old: bool = False):
        self.x, self.old, self.asked = x, old, {}

    def __dlpack__(self, **options: Any) -> Any:
        if self.old and set(options) - {"stream"}:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        self.asked = options
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.x.__dlpack_device__()


# ---- host memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("old", [False, True])
def test_every_dtype_passes_with_shape_and_strides(dtype: tgrad.dtype, old: bool):
    x = tgrad.arange(24).reshape(2, 3, 4).to(dtype).permute(2, 0, 1)[1:]
    y = tgrad.from_dlpack(Producer(x, old))
    assert y.dtype is x.dtype and y.shape == x.shape and y.stride() == x.stride()
    assert y.data_ptr() == x.data_ptr() and y.tolist() == x.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1)])
def test_shapes_without_extent_pass(shape: tuple[int, ...]):
    x = tgrad.ones(shape)
    y = tgrad.from_dlpack(x.__dlpack__())
    assert y.shape == x.shape and y.tolist() == x.tolist()
    assert np.from_dlpack(x).shape == shape


def test_numpy_and_tgrad_share_memory_both_ways():
    x = tgrad.zeros(2, 3)
    a = np.from_dlpack(x.T)
    x[1, 2] = 5
    assert a[2, 1] == 5 and a.strides == (4, 12)
    b = np.zeros((4, 6), np.int16)
    y = tgrad.from_dlpack(b[::2, 1:])
    y += 3
    assert b[0, 1] == 3 and b[1, 1] == 0 and y.stride() == (12, 1)


def test_memory_lives_as_long_as_either_side_uses_it():
    a = np.zeros(5)
    alive = weakref.ref(a)
    y = tgrad.from_dlpack(a)
    view = y[1:]
    del a, y
    gc.collect()
    assert alive() is not None and view.tolist() == [0.0] * 4
    del view
    assert alive() is None
    before = len(interop._given)
    x = tgrad.ones(4)
    b = np.from_dlpack(x)
    assert len(interop._given) == before + 1
    del x
    assert b.sum() == 4
    del b
    assert len(interop._given) == before


def test_a_capsule_that_nobody_takes_keeps_nothing():
    before = len(interop._given)
    for version in (None, (1, 0)):
        capsule = tgrad.ones(4).__dlpack__(max_version=version)
        assert len(interop._given) == before + 1
        del capsule
        assert len(interop._given) == before


def test_capsules_can_be_made_and_taken_by_hand():
    x = tgrad.ones(3)
    y = tgrad.utils.dlpack.from_dlpack(tgrad.utils.dlpack.to_dlpack(x))
    assert y.data_ptr() == x.data_ptr()


def test_a_capsule_is_taken_once():
    capsule = tgrad.ones(4).__dlpack__()
    y = tgrad.from_dlpack(capsule)
    with pytest.raises(TypeError, match="nobody has used"):
        tgrad.from_dlpack(capsule)
    with pytest.raises(TypeError, match="capsule"):
        tgrad.from_dlpack(3)
    assert y.tolist() == [1.0] * 4


def test_copies_are_made_or_refused_as_asked():
    x = tgrad.ones(3)
    assert tgrad.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert tgrad.from_dlpack(Producer(x), copy=True).data_ptr() != x.data_ptr()
    assert tgrad.from_dlpack(Producer(x), copy=False).data_ptr() == x.data_ptr()
    assert tgrad.from_dlpack(x.__dlpack__(copy=True)).data_ptr() != x.data_ptr()
    assert tgrad.from_dlpack(x, device="cuda").is_cuda
    with pytest.raises(ValueError, match="without a copy"):
        tgrad.from_dlpack(x, device="cuda", copy=False)


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(BufferError, match="require gradient"):
        tgrad.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(TypeError, match="stream must be"):
        tgrad.ones(2).__dlpack__(stream=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BufferError, match="cannot move"):
        tgrad.ones(2).__dlpack__(dl_device=(2, 0))
    with pytest.raises(ValueError, match="negative"):
        tgrad.from_dlpack(np.ones(4)[::-1])
    with pytest.raises(BufferError, match="type code"):
        tgrad.from_dlpack(np.ones(2, np.uint32))


def test_read_only_memory_stays_read_only():
    a = np.ones(3)
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        x = tgrad.from_numpy(a)
    with pytest.raises(BufferError, match="no read-only memory"):
        x.__dlpack__()
    y = tgrad.from_dlpack(x.__dlpack__(max_version=(1, 0)))
    assert not y.numpy().flags.writeable and not np.from_dlpack(x).flags.writeable


def test_array_copies_only_where_it_must():
    x = tgrad.ones(3)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.asarray(x, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x, copy=True), x.numpy())
    assert x.__array__(np.dtype("float32"), copy=False) is not None
    with pytest.raises(ValueError, match="copy is needed"):
        x.__array__(np.dtype("float64"), copy=False)
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        np.asarray(tgrad.ones(1, device="cuda"))


def test_emulated_memory_is_not_given_to_other_cuda_libraries():
    x = tgrad.ones(2, device="cuda")
    assert x.__dlpack_device__() == (2, 0) and not hasattr(x, "__cuda_array_interface__")
    with pytest.raises(BufferError, match="emulated"):
        x.__dlpack__()
    assert np.from_dlpack(Producer(x).x.cpu()).tolist() == [1.0, 1.0]
    assert tgrad.from_dlpack(x.__dlpack__(dl_device=(1, 0))).is_cpu
    with pytest.raises(BufferError, match="a copy is needed"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    assert tgrad.from_dlpack(x).is_cuda


# ---- GPU memory ----------------------------------------------------------------------------------


def start() -> tuple[Any, Any]:
    from tests.fake_driver.record import Fake
    from tgrad.runtime import cuda

    return cuda.active(), Fake()


ORDER = ("cuEventRecord", "cuStreamWaitEvent")


@on_fake_driver(devices=2)
def test_gpu_memory_passes_without_a_copy():
    _, fake = start()
    for where in ("cuda:0", "cuda:1"):
        x = tgrad.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), device=where)
        producer = Producer(x)
        y = tgrad.from_dlpack(producer)
        assert producer.asked == {"max_version": (1, 0), "stream": 1}
        assert y.device is x.device and y.data_ptr() == x.data_ptr() and y.stride() == x.stride()
        z = tgrad.as_tensor(type("Array", (), {"__cuda_array_interface__":
                                               x.T.__cuda_array_interface__})())  # fmt: skip
        assert z.device is x.device and z.data_ptr() == x.data_ptr() and z.stride() == (1, 3)
        assert z.cpu().tolist() == x.T.cpu().tolist()
    assert not fake.calls(*ORDER)  # all on one stream


@on_fake_driver()
def test_the_consumers_stream_waits_for_ours_and_ours_for_the_producers():
    gpu, fake = start()
    x = tgrad.tensor([1.0, 2.0], device="cuda")
    other = gpu.driver.stream_create()
    fake.clear()
    for stream in (-1, 1, None):
        x.__dlpack__(stream=stream)
    assert not fake.calls(*ORDER)
    x.__dlpack__(stream=other)
    record, wait = fake.calls(*ORDER)
    assert record.stream == 1 and wait.args[0] == other and record.args[0] == wait.args[1]
    fake.clear()
    told = {**x.__cuda_array_interface__, "stream": other}
    tgrad.as_tensor(type("Array", (), {"__cuda_array_interface__": told})())
    record, wait = fake.calls(*ORDER)
    assert record.stream == other and wait.args[0] == 1
    with pytest.raises(BufferError, match="stream 0"):
        x.__dlpack__(stream=0)


@on_fake_driver()
def test_memory_given_away_is_not_reused_before_its_consumer_is_done():
    gpu, fake = start()
    x = tgrad.zeros(1000, device="cuda")
    address, other = x.data_ptr(), gpu.driver.stream_create()
    capsule = x.__dlpack__(stream=other)
    gpu.driver.memset_async(address, 1, 4000, other)  # the consumer's work
    fake.still()
    del x, capsule
    assert tgrad.empty(1000, device="cuda").data_ptr() != address
    fake.still(False)
    gpu.synchronize()
    again = [tgrad.empty(1000, device="cuda") for _ in range(3)]
    assert address in [t.data_ptr() for t in again]


@on_fake_driver(devices=2)
def test_memory_that_kernels_cannot_use_is_refused():
    start()
    x = tgrad.zeros(8, device="cuda")
    told = x.__cuda_array_interface__
    source: Any = type("Array", (), {})()
    for change, said in (
        ({"data": (x.data_ptr() + 2, False)}, "misaligned pointer"),
        ({"mask": x}, "masked"),
        ({"typestr": ">f4"}, "byte order"),
        ({"stream": 0}, "stream 0"),
    ):
        source.__cuda_array_interface__ = {**told, **change}
        with pytest.raises(BufferError, match=said):
            tgrad.as_tensor(source)
    source.__cuda_array_interface__ = {**told, "data": (id(source), False)}  # host memory
    with pytest.raises(RuntimeError, match="cuPointerGetAttribute"):
        tgrad.as_tensor(source)
    with pytest.raises(RuntimeError, match="requires grad"):
        tgrad.ones(2, device="cuda", requires_grad=True).__cuda_array_interface__  # noqa: B018
    assert not hasattr(tgrad.ones(2), "__cuda_array_interface__")


@on_fake_driver()
def test_a_gpu_tensor_is_copied_for_a_consumer_on_the_host():
    start()
    x = tgrad.tensor([[1.0, 2.0]], device="cuda")
    a = np.from_dlpack(x, device="cpu")
    assert a.tolist() == [[1.0, 2.0]]
    with pytest.raises(BufferError, match="a copy is needed"):
        x.__dlpack__(dl_device=(1, 0), copy=False)


def test_numpy_functions_of_a_tensor_give_tensors():
    x = tgrad.tensor([1.0, 4.0])
    assert tgrad.tensor([1.0, 2.0]).equal(np.sqrt(x)) and np.add(x, 1).dtype is tgrad.float32
    assert np.isfinite(x).dtype is tgrad.uint8  # as PyTorch has it
    with pytest.raises(RuntimeError, match="requires grad"):
        np.sqrt(x.requires_grad_())
