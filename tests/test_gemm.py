"""The GPU's matrix kernels: tiles, the copy engine, splits, and which config is chosen."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.fake_driver import on_fake_driver
from tests.test_matmul import normal
from tgrad.runtime import cuda, plan


def tiles(dtype: str):
    from tgrad.kernels.cuda import tiles

    kinds = {tiles.kind_of(np.dtype(dtype), "ieee", aligned) for aligned in (True, False)}
    return [tile for kind in sorted(kinds) for tile in tiles.TILES[kind]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_every_tile_gives_the_same_product(dtype):
    from tgrad.kernels.cuda.matmul import gemm

    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (37, 29)), rng.integers(-3, 4, (29, 43))
    x, w = (tgrad.tensor(v, dtype=getattr(tgrad, dtype)).cuda().array for v in (a, b))
    for tile in tiles(dtype):
        y = cuda.empty((37, 43), x.dtype)
        gemm(y, x, w, choice=tile._replace(group_m=2))
        np.testing.assert_array_equal(cuda.active().to_host(y), a @ b)


def laid_out(a: np.ndarray, by_columns: bool, dtype: str):
    """``a`` on the device, its last two axes exchanged in memory or not; and its values."""
    x = tgrad.tensor(a.swapaxes(-1, -2).copy() if by_columns else a, dtype=getattr(tgrad, dtype))
    values = x.double().numpy()
    x = x.cuda().array
    if by_columns:
        x, values = x.transpose(*range(x.ndim - 2), -1, -2), values.swapaxes(-1, -2)
    return x, values


def engine_tile(**options):
    from tgrad.kernels.cuda.tiles import Config

    return Config(16, 16, 16, tma=True, group_m=2, **options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("flip", list(itertools.product([False, True], repeat=2)))
def test_the_copy_engine_reads_all_four_transposes(dtype, flip):
    from tgrad.kernels.cuda import matmul

    rng = np.random.default_rng(0)
    shapes = [(2, 3, 24, 40), (40, 56)]  # the batch is broadcast to b
    (x, a), (w, b) = (
        laid_out(rng.integers(-3, 4, s).astype(float), f, dtype)
        for s, f in zip(shapes, flip, strict=True)
    )
    y = cuda.empty((2, 3, 24, 56), x.dtype)
    p = matmul.Problem(y, x, w, None)
    assert p.described(1) is not None and p.described(2) is not None
    for tile in (engine_tile(), engine_tile(persistent=True, subtiles=2, split_k=2)):
        matmul.gemm(y, x, w, choice=tile)
        got = cuda.active().to_host(y).astype(float)
        np.testing.assert_array_equal(got, a @ b)


def test_the_copy_engine_takes_batches_addends_and_any_output():
    from tgrad.kernels.cuda import maths
    from tgrad.kernels.cuda.matmul import gemm

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 2, 20, 36)), rng.standard_normal((2, 36, 28))
    (x, _), (w, _) = laid_out(a, False, "float32"), laid_out(b, True, "float32")
    for shape in ((28,), (20, 1), (3, 1, 20, 28)):  # a bias, a column, a full addend
        (c, d), tile = laid_out(rng.standard_normal((1, *shape)), False, "float32"), engine_tile()
        d = d.reshape(shape)
        c = c.reshape(shape)
        out = cuda.empty((3, 2, 20, 29), x.dtype)[..., :28]  # rows off 16 bytes: stored by pointers
        for y in (cuda.empty((3, 2, 20, 28), x.dtype), out, out.transpose(1, 0, 2, 3)[:, :3]):
            if y.shape[0] == 2:
                continue
            gemm(y, x, w, 2.0, -1.0, c, maths.tanh, tile._replace(persistent=True, subtiles=2))
            want = np.tanh(2 * a @ b - d)
            np.testing.assert_allclose(cuda.active().to_host(y), want, rtol=1e-4, atol=1e-5)


def test_the_copy_engine_is_asked_only_for_what_it_can_read():
    from tgrad.kernels.cuda.matmul import Problem

    half = np.dtype(np.float16)
    x, y = cuda.empty((64, 64), half), cuda.empty((64, 64), half)

    def readable(a, b=x):
        out = cuda.empty((a.shape[0], b.shape[1]), half)
        return Problem(out, a, b, None).described(1) is not None

    assert readable(x) and readable(x.T) and Problem(y, x, x, None).described(0) == (False, 64)
    assert readable(x[8:, :56], x[:56]) and readable(x[:, 8:], x[:56])
    assert not readable(x[:, 1:], x[:63])  # off 16 bytes
    assert not readable(x[:, ::2], x[:32])  # no contiguous axis
    assert not readable(x[::-1])  # downwards
    assert not readable(cuda.empty((64, 60), half), x[:60])  # rows of 120 bytes
    row = x.restride((64, 64), (0, 2), 0)
    assert not readable(row)


def test_a_program_without_a_product_still_finishes():
    from tgrad.kernels.cuda.matmul import gemm

    x, w = (cuda.empty(s, np.dtype(np.float32)) for s in ((16, 0), (0, 16)))
    y, c = cuda.empty((16, 16), x.dtype), laid_out(np.ones(16), False, "float32")[0]
    gemm(y, x, w, 1, 3, c)
    np.testing.assert_array_equal(cuda.active().to_host(y), np.full((16, 16), 3.0))


def test_64_bit_offsets_give_the_same_product(monkeypatch):
    from tgrad.kernels.cuda import matmul
    from tgrad.kernels.cuda.limits import limits

    rng = np.random.default_rng(0)
    (x, a), (w, b) = (
        laid_out(rng.integers(-3, 4, s).astype(float), f, "float32")
        for s, f in (((2, 20, 24), False), ((24, 36), True))
    )
    monkeypatch.setattr(limits, "index", 1)
    tile = matmul.Config(16, 16, 16)
    tiles = (tile, tile._replace(split_k=2), engine_tile(), engine_tile(split_k=2))
    for choice in tiles:
        y = cuda.empty((2, 20, 36), x.dtype)
        matmul.gemm(y, x, w, choice=choice)
        np.testing.assert_array_equal(cuda.active().to_host(y), a @ b)
    y = cuda.empty((2, 20, 1), x.dtype)
    matmul.gemm(y, x, w[:, :1])
    np.testing.assert_array_equal(cuda.active().to_host(y), a @ b[:, :1])


def test_a_split_sum_scales_adds_and_activates_once():
    from tgrad.kernels.cuda import maths
    from tgrad.kernels.cuda.matmul import gemm
    from tgrad.kernels.cuda.tiles import Config

    (x, a), (w, b), (c, d) = (
        normal(*s, device="cuda", seed=k) for k, s in enumerate([(2, 19, 70), (70, 18), (19, 1)])
    )
    for split in (1, 3, 8):  # 5 tiles along K: with 8 splits some have none
        y = cuda.empty((2, 19, 18), x.array.dtype)
        choice = Config(16, 16, 16, split_k=split)
        gemm(y, x.array, w.array, 2.0, -1.0, c.array, maths.sigmoid, choice)
        want = 1 / (1 + np.exp(d - 2 * a @ b))
        np.testing.assert_allclose(cuda.active().to_host(y), want, rtol=1e-9)


def test_the_heuristics_fill_a_gpu(monkeypatch):
    from tgrad.kernels.cuda import tiles

    half = np.dtype(np.float16)
    monkeypatch.setattr(tiles, "machine", lambda: tiles.H100)
    large = tiles.config(8192, 8192, 8192, half)
    assert (large.block_m, large.block_n, large.split_k) == (128, 256, 1)
    deep = tiles.config(64, 64, 100_000, half)
    assert deep.split_k >= 32
    assert tiles.config(4, 4096, 64, half).block_m == 16
    assert tiles.config(1823, 781, 500, half, aligned=False) in tiles.TILES["ragged"]
    assert tiles.config(50, 50, 50, half, batch=1000).split_k == 1
    assert tiles.vector_config(1, 1_000_000, 1).split_k >= 32
    by_engine = tiles.config(8192, 8192, 8192, half, described=True)
    assert by_engine.tma and by_engine.persistent
    assert not tiles.config(8192, 8192, 8192, np.dtype(np.float64), described=True).tma
    monkeypatch.setattr(tiles, "machine", lambda: tiles.A100)
    assert not tiles.config(8192, 8192, 8192, half, described=True).tma


def launched_product() -> Any:
    """The one launch of a square product on the fake driver."""
    from tests.fake_driver.record import Fake

    fake: Any = Fake()
    x = tgrad.empty(4096, 4096, dtype=tgrad.float16, device="cuda")
    _ = x @ x.mT
    (call,) = [c for c in fake.launches() if c.kernel.startswith("matmul")]
    return call


@on_fake_driver(arch=80, memory=1 << 28)
def test_pointers_read_a_product_on_sm_80():
    call = launched_product()
    assert call.kernel == "matmul_kernel" and call.grid[0] > 132


@on_fake_driver(arch=90, memory=1 << 28)
def test_a_persistent_kernel_computes_a_product_on_sm_90():
    call = launched_product()
    assert call.kernel == "matmul_descriptor_kernel"
    assert call.grid == (132, 1, 1)  # one program for each multiprocessor


def test_a_tuned_config_comes_before_the_heuristic_for_its_whole_bucket():
    from tgrad.kernels.cuda import configs, tiles

    half = np.dtype(np.float16)
    before = tiles.config(300, 300, 300, half)
    mine, shipped = configs.Config(16, 64, 32), configs.Config(64, 16, 32)
    case = configs.Case("matmul", "half", tiles.machine().arch, (300, 400, 500, 1))
    try:
        configs.override({case: shipped}, "shipped")
        assert tiles.config(290, 500, 510, half) == shipped
        epoch = plan.State.epoch
        configs.override({case: mine})
        assert plan.State.epoch > epoch  # recorded launches of the former tile are dropped
        assert tiles.config(290, 500, 510, half) == mine
        assert tiles.config(290, 513, 510, half) not in (mine, shipped)
        vector = configs.Case("matvec", "any", tiles.machine().arch, (100, 1, 100, 1), "n")
        configs.override({vector: mine})
        assert tiles.vector_config(65, 128, 1) == mine
    finally:
        configs.clear("user")
        configs.clear("shipped")
    assert tiles.config(300, 300, 300, half) == before


def test_every_candidate_of_a_space_fits_the_architecture():
    from tgrad.kernels.cuda import configs, tiles
    from tgrad.kernels.cuda.limits import SHARED_MEMORY

    space = configs.SPACES["matmul"]
    for arch in (80, 90, 100):
        for kind in tiles.TILES:
            case = configs.Case("matmul", kind, arch, (4096, 4096, 4096, 1), "nn")
            found = space.candidates(case)
            assert len(found) == len(set(found)) >= len(tiles.shipped(kind, arch))
            for c in found:
                assert tiles.shared_bytes(c, kind) <= SHARED_MEMORY[arch]
                assert arch >= 90 or not c.tma
            for c in tiles.shipped(kind, arch):
                assert tiles.refusal(c, case) == "", (kind, arch, c)
                assert space.accepts(c, case)
