"""The CPU's caching allocator: reuse, views, peaks, the cap, giving back, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tgrad
from tgrad import cpu
from tgrad.runtime.memory import SMALL, CachingAllocator, size_class

MB = 1 << 20
F32 = np.dtype(np.float32)


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def test_a_freed_block_is_handed_out_again():
    allocator = CachingAllocator()
    a = allocator.empty((MB,), F32)
    first = address(a)
    del a
    assert address(allocator.empty((1024, 1024), F32)) == first
    assert allocator.reserved == 4 * MB


def test_a_view_keeps_its_block():
    allocator = CachingAllocator()
    a = allocator.empty((MB,), F32)
    view = a[5:10].reshape(5, 1)
    first = address(a)
    del a
    assert allocator.allocated() == 4 * MB
    assert address(allocator.empty((MB,), F32)) != first
    del view
    assert allocator.allocated() == 0


def test_blocks_are_aligned_and_little_is_wasted():
    allocator = CachingAllocator()
    for n in (SMALL // 4, 100_003, 1_000_001):
        assert address(allocator.empty((n,), F32)) % 64 == 0
        assert 4 * n <= size_class(4 * n) <= 5 * n + 4


def test_small_arrays_are_not_counted():
    allocator = CachingAllocator()
    a = allocator.empty((10,), F32)
    assert a.shape == (10,) and allocator.reserved == 0


def test_peaks_are_exact_after_a_reset():
    cpu.reset_peak_memory_stats()
    before = cpu.memory_allocated()
    x = tgrad.empty(MB)
    y = tgrad.empty(2 * MB)
    assert cpu.memory_allocated() == before + 12 * MB
    del y
    z = tgrad.empty(MB)
    assert cpu.max_memory_allocated() == before + 12 * MB
    assert cpu.memory_allocated() == before + 8 * MB
    del x, z
    cpu.reset_peak_memory_stats()
    assert cpu.max_memory_allocated() == before
    stats = cpu.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert stats["reserved_bytes.all.peak"] == cpu.max_memory_reserved()


def test_empty_cache_gives_free_blocks_back():
    kept = tgrad.empty(MB)
    dropped = tgrad.empty(3 * MB)
    held = cpu.memory_allocated() - 12 * MB
    del dropped
    cpu.empty_cache()
    assert cpu.memory_reserved() == cpu.memory_allocated() == held
    kept.fill_(2)
    assert kept[0].item() == 2


def test_a_cap_is_kept_by_giving_free_blocks_back():
    allocator = CachingAllocator()
    allocator.limit = 10 * MB
    a = allocator.empty((2 * MB,), F32)
    del a
    b = allocator.empty((MB,), F32)
    assert allocator.reserved == 4 * MB  # the free 8 MB went before 4 more were taken
    del b


def test_the_cap_is_public():
    cpu.set_cache_limit(0)
    try:
        assert cpu.memory_reserved() == cpu.memory_allocated()
        assert tgrad.ones(MB).sum().item() == MB
    finally:
        cpu.set_cache_limit(None)
    with pytest.raises(ValueError, match="expected a size in bytes"):
        cpu.set_cache_limit(-1)


def test_threads_never_share_a_block():
    allocator = CachingAllocator()
    wrong = []

    def work(value: int) -> None:
        for _ in range(300):
            a = allocator.empty((SMALL // 2,), F32)
            a.fill(value)
            if not (a == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and allocator.allocated() == 0


def test_numpy_views_of_a_tensor_outlive_it():
    x = tgrad.ones(MB)
    a = x.numpy()
    del x
    others = [tgrad.zeros(MB) for _ in range(3)]
    assert (a == 1).all() and len(others) == 3


def test_cuda_tensors_have_the_same_face():
    tgrad.cuda.reset_peak_memory_stats()
    before = tgrad.cuda.memory_allocated()
    x = tgrad.empty(MB, device="cuda")
    assert tgrad.cuda.memory_allocated() == before + 4 * MB
    assert tgrad.cuda.max_memory_allocated() >= before + 4 * MB
    del x
    assert tgrad.cuda.memory_allocated() == before
    tgrad.cuda.empty_cache()
    assert tgrad.cuda.memory_reserved() == tgrad.cuda.memory_allocated()


def test_the_block_used_last_is_handed_out_first():
    allocator = CachingAllocator()
    kept = [allocator.empty((MB,), F32) for _ in range(6)]
    last = address(kept.pop())
    kept.pop(0)
    assert address(allocator.empty((MB,), F32)) == last


def test_a_loop_with_many_live_blocks_reuses_them():
    allocator = CachingAllocator()
    weights = [allocator.empty((SMALL,), F32) for _ in range(50)]
    for _ in range(50):  # forward: results are kept; backward: one goes for each gradient
        live = [allocator.empty((SMALL,), F32) for _ in range(60)]
        g = None
        while live:
            live.pop()
            g = allocator.empty((SMALL,), F32)
        del g
    assert allocator.reserved <= 2 * (len(weights) + 61) * 4 * SMALL
