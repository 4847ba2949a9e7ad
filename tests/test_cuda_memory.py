"""GPU memory as a program sees it: counts, limits, giving back, page-locked host memory."""

from __future__ import annotations

import gc
import pickle

import pytest

import tgrad
from tgrad import cuda

MB = 1 << 20


def test_counts_follow_what_is_held():
    gc.collect()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    x = tgrad.empty(MB, device="cuda")
    y = tgrad.empty(2 * MB, device="cuda")
    assert cuda.memory_allocated() == before + 12 * MB
    del y
    assert cuda.memory_allocated() == before + 4 * MB
    assert cuda.max_memory_allocated() == before + 12 * MB
    assert cuda.memory_reserved() >= before + 12 * MB
    cuda.empty_cache()
    assert before + 4 * MB <= cuda.memory_reserved() < before + 12 * MB
    assert cuda.max_memory_reserved() >= before + 12 * MB
    del x


def test_stats_have_pytorchs_names():
    x = tgrad.empty(MB, device="cuda")
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == cuda.memory_allocated()
    assert stats["allocated_bytes.all.peak"] == cuda.max_memory_allocated()
    assert stats["reserved_bytes.all.current"] == cuda.memory_reserved()
    for name in ("allocation", "segment", "active", "allocated_bytes", "active_bytes"):
        parts = [stats[f"{name}.{part}.current"] for part in ("large_pool", "small_pool")]
        assert stats[f"{name}.all.current"] == sum(parts)
    nested = cuda.memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["peak"] == stats["allocated_bytes.all.peak"]
    assert nested["num_ooms"] == stats["num_ooms"]
    cuda.reset_accumulated_memory_stats()
    assert cuda.memory_stats()["allocation.all.allocated"] == 0
    del x


def test_the_summary_is_a_table():
    x = tgrad.empty(3 * MB, device="cuda")
    text = cuda.memory_summary()
    assert "CUDA device 0" in text and "large pool" in text and "MiB" in text
    assert len(cuda.memory_summary(abbreviated=True).splitlines()) == 5
    del x


def test_a_program_goes_on_after_it_ran_out_of_memory():
    total = cuda.get_device_properties().total_memory
    cuda.empty_cache()
    cuda.set_per_process_memory_fraction((cuda.memory_reserved() + 64 * MB) / total)
    try:
        kept = tgrad.empty(4 * MB, device="cuda")
        with pytest.raises(tgrad.OutOfMemoryError, match=r"Tried to allocate 400\.00 MiB"):
            tgrad.empty(100 * MB, device="cuda")
        assert cuda.memory_stats()["num_ooms"] > 0
        assert (kept[:5].fill_(2) * 3).tolist() == [6.0] * 5
    finally:
        cuda.set_per_process_memory_fraction(1.0)
    assert tgrad.empty(100 * MB, device="cuda").numel() == 100 * MB
    cuda.empty_cache()


def test_fractions_are_checked():
    assert cuda.get_per_process_memory_fraction() == 1.0
    with pytest.raises(TypeError, match="must be `float`"):
        cuda.set_per_process_memory_fraction(1)
    with pytest.raises(ValueError, match="Allowed range"):
        cuda.set_per_process_memory_fraction(1.5)


def test_out_of_memory_is_one_class():
    assert cuda.OutOfMemoryError is tgrad.OutOfMemoryError
    assert issubclass(cuda.OutOfMemoryError, RuntimeError)
    error = pickle.loads(pickle.dumps(tgrad.OutOfMemoryError("text")))
    assert type(error) is tgrad.OutOfMemoryError


def test_memory_can_be_lent_to_other_libraries():
    s = cuda.Stream()
    address = cuda.caching_allocator_alloc(3 * MB, stream=s)
    other = cuda.caching_allocator_alloc(3 * MB, stream=s.cuda_stream)
    assert abs(address - other) >= 3 * MB
    cuda.caching_allocator_delete(address)
    cuda.caching_allocator_delete(other)
    with pytest.raises(ValueError, match="was not allocated"):
        cuda.caching_allocator_delete(address)
    with pytest.raises(TypeError, match="pointer to an existing stream"):
        cuda.caching_allocator_alloc(8, stream="x")  # pyright: ignore[reportArgumentType]


# ---- page-locked host memory ---------------------------------------------------------------------


def test_a_pinned_tensor_is_a_copy_in_page_locked_memory():
    x = tgrad.arange(6.0).reshape(2, 3)
    p = x.T.pin_memory()
    assert p.is_pinned() and not x.is_pinned() and p.is_contiguous()
    assert p.tolist() == x.T.tolist() and p.pin_memory() is p
    assert p[1:].is_pinned() and p.numpy().base is not None
    assert p.cuda().tolist() == p.tolist()
    p[0, 0] = 7
    assert x[0, 0] == 0
    with pytest.raises(RuntimeError, match="cannot pin"):
        x.cuda().pin_memory()


@pytest.mark.parametrize("dtype", [tgrad.bfloat16, tgrad.bool, tgrad.int64, tgrad.float16])
def test_every_dtype_can_be_pinned(dtype: tgrad.dtype):
    x = tgrad.tensor([0, 1, 1]).to(dtype)
    assert x.pin_memory().is_pinned() and x.pin_memory().tolist() == x.tolist()
    assert tgrad.empty(0, dtype=dtype).pin_memory().shape == (0,)


def test_tensors_are_created_pinned():
    for t in (tgrad.zeros(3, pin_memory=True), tgrad.tensor([1.0], pin_memory=True),
              tgrad.empty(2, 2, pin_memory=True)):  # fmt: skip
        assert t.is_pinned() and t.is_cpu
    with pytest.raises(RuntimeError, match="cannot pin"):
        tgrad.zeros(3, pin_memory=True, device="cuda")


def test_pinned_memory_is_kept_and_given_back():
    a = tgrad.zeros(MB).pin_memory()
    held = cuda.host_memory_stats()["allocated_bytes.all.current"]
    address = a.data_ptr()
    del a
    assert cuda.host_memory_stats()["allocated_bytes.all.current"] == held - 4 * MB
    b = tgrad.zeros(MB).pin_memory()
    assert b.data_ptr() == address
    del b
    cuda.empty_cache()
    stats = cuda.host_memory_stats()
    assert stats["reserved_bytes.all.current"] == stats["allocated_bytes.all.current"]


def test_a_numpy_view_keeps_pinned_memory():
    a = tgrad.arange(5000.0).pin_memory()
    view = a.numpy()[1:]
    del a
    others = [tgrad.zeros(5000).pin_memory() for _ in range(3)]
    assert view[0] == 1.0 and len(others) == 3


def test_record_stream_checks_its_argument():
    x = tgrad.ones(3, device="cuda")
    x.record_stream(cuda.Stream())
    with pytest.raises(TypeError, match="expected a Stream"):
        x.record_stream(1)
    with pytest.raises(ValueError, match="the tensor is on cpu"):
        tgrad.ones(3).record_stream(cuda.Stream())
