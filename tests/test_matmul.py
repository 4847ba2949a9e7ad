"""Matrix products beyond the table: tiles, splits, blocks, in-place forms, precision."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.fake_driver import on_fake_driver
from tgrad.ops.products import chain_order
from tgrad.runtime import cuda, plan

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


def normal(*shape: int, dtype: str = "float64", device: str = "cpu", seed: int = 0):
    """A tensor and the float64 array of its values."""
    a = np.random.default_rng(seed + len(shape)).standard_normal(shape)
    x = tgrad.tensor(a, dtype=getattr(tgrad, dtype))
    return x.to(device), x.double().numpy().copy()


def close(y, want: np.ndarray, tolerance: float = 1e-10) -> None:
    got = y.detach().cpu().double().numpy()
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


# ---- layouts, tiles and splits -------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("flip", list(itertools.product([False, True], repeat=2)))
def test_all_four_transposes_agree(device, flip):
    shapes = [(37, 45), (45, 41)]
    xs = [
        normal(*(s[::-1] if f else s), device=device, seed=k)
        for k, (s, f) in enumerate(zip(shapes, flip, strict=True))
    ]
    (x, a), (y, b) = ((t.mT, v.T) if f else (t, v) for (t, v), f in zip(xs, flip, strict=True))
    close(x @ y, a @ b)


@on_devices
def test_broadcast_and_reversed_operands_are_ordinary(device):
    x, a = normal(4, 5, device=device)
    row = x[:1].expand(6, 5)  # stride 0
    close(row @ x.mT, np.broadcast_to(a[:1], (6, 5)) @ a.T)
    close(x.expand(3, 4, 5) @ x.mT, np.broadcast_to(a @ a.T, (3, 4, 4)))
    wide, v = normal(6, 3, 10, device=device)
    part = wide[::2, :, 1::3]  # no axis has unit stride
    close(part @ x[:3].mT[:3], v[::2, :, 1::3] @ a[:3].T[:3])


def test_few_rows_of_a_permuted_batch_are_folded_into_one_product():
    x, a = normal(4, 6, 5)
    w, b = normal(5, 7)
    close(x.transpose(0, 1) @ w, a.transpose(1, 0, 2) @ b)
    grid, c = normal(3, 3, 70, 5)
    close(grid.transpose(0, 1) @ w, c.transpose(1, 0, 2, 3) @ b)  # too many rows to copy


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

    space = configs.SPACES["matmul"]
    for arch in (80, 90, 100):
        for kind in tiles.TILES:
            found = list(space.candidates(space, kind, arch))
            assert len(found) == len(set(found)) >= len(tiles.shipped(kind, arch))
            for c in found:
                assert tiles.shared_bytes(c, kind) <= tiles.SHARED_MEMORY[arch]
                assert arch >= 90 or not c.tma
            for c in tiles.shipped(kind, arch):
                assert tiles.refusal(c, kind, arch) == "", (kind, arch, c)


# ---- dtypes --------------------------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_sums_are_kept_in_float32_and_rounded_once(device, dtype):
    x = tgrad.tensor(np.full((2, 4096), 0.01), dtype=getattr(tgrad, dtype)).to(device)
    one = tgrad.tensor(np.ones((4096, 2)), dtype=getattr(tgrad, dtype)).to(device)
    exact = tgrad.tensor(4096 * x.double().cpu()[0, 0].item()).to(getattr(tgrad, dtype))
    assert ((x @ one).cpu() == exact).all()


def test_large_half_products_are_done_in_blocks(monkeypatch):
    from tgrad.kernels.cpu import matmul

    monkeypatch.setattr(matmul, "CONVERTED", 300)
    monkeypatch.setattr(matmul, "BLOCK", 8)
    for shapes in ([(40, 9), (9, 12)], [(12, 9), (9, 40)], [(5, 12, 9), (1, 9, 12)]):
        (x, a), (w, b) = (normal(*s, dtype="float16", seed=k) for k, s in enumerate(shapes))
        close(x @ w, a @ b, 2e-3)
    (x, a), (w, b), (c, d) = (
        normal(*s, dtype="bfloat16", seed=k) for k, s in enumerate([(3, 20, 9), (3, 9, 20), (20,)])
    )
    close(tgrad.baddbmm(c, x, w, beta=0.5, alpha=2.0), 0.5 * d + 2 * (a @ b), 2e-2)


@on_devices
def test_integer_products_wrap_and_are_exact(device):
    rng = np.random.default_rng(0)
    for name, scale in (("uint8", 255), ("int8", 127), ("int32", 2**30), ("int64", 2**60)):
        a, b = (
            rng.integers(0, scale, s).astype(name) for s in ((40, 33), (33, 40))
        )  # too large for float64 where 32 bits and more
        x, w = (tgrad.tensor(v).to(device) for v in (a, b))
        np.testing.assert_array_equal((x @ w).cpu().numpy(), a @ b)
    small = tgrad.tensor(a % 1000).to(device)
    np.testing.assert_array_equal((small @ w[:, :1]).cpu().numpy(), a % 1000 @ b[:, :1])
    np.testing.assert_array_equal((small @ small.mT).cpu().numpy(), (a % 1000) @ (a % 1000).T)


@on_devices
def test_nan_and_inf_spread_without_a_warning(device):
    x = tgrad.tensor(np.array([[np.inf, 0.0], [1.0, np.nan]])).to(device)
    y = (x @ tgrad.tensor(np.array([[0.0, 1.0], [1.0, 1.0]])).to(device)).cpu().numpy()
    assert np.isnan(y[0, 0]) and y[0, 1] == np.inf and np.isnan(y[1]).all()


def test_the_precision_setting_has_three_levels():
    from tgrad.runtime.precision import input_precision

    assert tgrad.get_float32_matmul_precision() == "highest"
    try:
        for level, mode in (("high", "tf32x3"), ("medium", "tf32"), ("highest", "ieee")):
            tgrad.set_float32_matmul_precision(level)
            assert (tgrad.get_float32_matmul_precision(), input_precision()) == (level, mode)
            x, a = normal(20, 20, dtype="float32", device="cuda")
            close(x @ x, a @ a, 1e-5)
    finally:
        tgrad.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError, match="expected one of"):
        tgrad.set_float32_matmul_precision("low")


def tf32(a: np.ndarray) -> np.ndarray:
    """float32 rounded to the 11 bits that a tensor core reads, to nearest with ties away."""
    bits = a.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def products(a: np.ndarray, b: np.ndarray, mode: str) -> np.ndarray:
    """a @ b of float32 as ``tl.dot`` computes it: which factors meet, with sums in float32."""
    if mode == "ieee":
        return a @ b
    big_a, big_b = tf32(a), tf32(b)
    if mode == "tf32":
        return big_a @ big_b
    small_a, small_b = tf32(a - big_a), tf32(b - big_b)
    return (small_a @ big_b + big_a @ small_b) + big_a @ big_b


def test_float32_products_are_by_default_the_most_exact_of_the_three_levels():
    from tgrad.runtime.precision import input_precision

    assert input_precision() == "ieee"
    a, b = (np.random.default_rng(k).standard_normal((64, 512)).astype(np.float32) for k in (0, 1))
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    errors = {m: np.abs(products(a, b.T, m) - exact).max() for m in ("ieee", "tf32x3", "tf32")}
    for device in ("cpu", "cuda"):
        x, w = (tgrad.tensor(v).to(device) for v in (a, b))
        got = (x @ w.mT).cpu().numpy()
        # Sums in another order differ by a few roundings and no more.
        assert np.abs(got - exact).max() < 4 * errors["ieee"]
    assert errors["tf32x3"] < 8 * errors["ieee"] < errors["tf32"]
    assert errors["tf32"] > 100 * errors["ieee"]


@pytest.mark.reference
def test_the_default_is_as_exact_as_pytorchs():
    torch = pytest.importorskip("torch")
    assert torch.get_float32_matmul_precision() == tgrad.get_float32_matmul_precision()
    a, b = (np.random.default_rng(k).standard_normal((48, 400)).astype(np.float32) for k in (0, 1))
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    theirs = np.abs((torch.tensor(a) @ torch.tensor(b).T).numpy() - exact).max()
    for device in ("cpu", "cuda"):
        x, w = (tgrad.tensor(v).to(device) for v in (a, b))
        assert np.abs((x @ w.mT).cpu().numpy() - exact).max() < 4 * theirs


# ---- in place and out= ---------------------------------------------------------------------------


@on_devices
def test_addmm_in_place_writes_views_and_may_read_itself(device):
    base, a = normal(6, 8, device=device)
    x, w = base[:, ::2], normal(6, 4, device=device)
    x.addmm_(w[0].mT.mT, tgrad.tensor(np.eye(4)).to(device), beta=2)
    a[:, ::2] = 2 * a[:, ::2] + w[1]
    close(base, a)
    square, s = normal(5, 5, device=device)
    square.addmm_(square, square.mT, alpha=0.5)
    close(square, s + 0.5 * s @ s.T)
    batch, b = normal(2, 3, 3, device=device)
    batch.baddbmm_(batch, batch)
    close(batch, b + b @ b)


@on_devices
def test_in_place_forms_carry_gradients(device):
    x = normal(3, 3, device=device)[0].requires_grad_()
    w, b = normal(3, 3, device=device, seed=1)
    w.requires_grad_()
    (x * 1).addmm_(w, w, beta=3, alpha=2).sum().backward()
    assert x.grad is not None and w.grad is not None
    close(x.grad, np.full((3, 3), 3.0))
    ones = np.ones((3, 3))
    close(w.grad, 2 * (ones @ b.T + b.T @ ones))
    for name, args in (("addmv_", ((3, 4), (4,))), ("addr_", ((3,), (3,)))):
        y = tgrad.tensor(np.ones(3 if name == "addmv_" else (3, 3))).to(device)
        parts = [normal(*s, device=device, seed=k) for k, s in enumerate(args)]
        want = 1 + (np.outer if name == "addr_" else np.matmul)(*(v for _, v in parts))
        close(getattr(y, name)(*(t for t, _ in parts)), want)


@on_devices
def test_a_beta_of_zero_does_not_read_the_input(device):
    nan = tgrad.tensor(np.full((2, 2), np.nan)).to(device)
    eye = tgrad.tensor(np.eye(2)).to(device)
    close(tgrad.addmm(nan, eye, eye, beta=0), np.eye(2))
    close(tgrad.baddbmm(nan, eye[None], eye[None], beta=0), np.eye(2)[None])
    close(tgrad.addr(nan, eye[0], eye[0], beta=0), np.diag([1.0, 0.0]))
    close(nan.addmm_(eye, eye, beta=0), np.eye(2))


def test_out_is_filled_and_must_have_the_dtype():
    x, a = normal(3, 3)
    out = tgrad.tensor(np.zeros((3, 3)))
    for f in (tgrad.matmul, tgrad.mm):
        assert f(x, x, out=out) is out
        close(out, a @ a)
    with pytest.raises(RuntimeError, match="out"):
        tgrad.mm(x, x, out=out.float())


def test_reflected_and_in_place_operators():
    x, a = normal(3, 3)
    with pytest.raises(TypeError):
        _ = x @ 3.0
    x @= x
    close(x, a @ a)


# ---- gradients -----------------------------------------------------------------------------------


def test_only_the_gradients_that_are_needed_are_computed():
    x, _ = normal(3, 4)
    w, _ = normal(5, 4)
    y = tgrad.nn.functional.linear(x.requires_grad_(), w)
    assert len(y.grad_fn.rules) == 1
    y.sum().backward()
    assert x.grad is not None and w.grad is None


def test_a_shared_matrix_gets_the_sum_over_the_batch():
    x, a = normal(4, 3)
    batch, b = normal(5, 3, 2)
    (x.requires_grad_() @ batch).sum().backward()
    assert x.grad is not None
    close(x.grad, np.broadcast_to(b.sum((0, 2)), a.shape))


# ---- chains and equations ------------------------------------------------------------------------


def test_chains_are_multiplied_in_the_best_order():
    # Cormen et al., Introduction to Algorithms, figure 15.5: ((A1 (A2 A3)) ((A4 A5) A6))
    order = chain_order([30, 35, 15, 5, 10, 20, 25])
    assert (order[0, 5], order[0, 2], order[3, 5]) == (2, 0, 4)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        (" b i k , b k j -> b i j ", [(2, 4, 3), (2, 3, 5)]),
        ("ij->", [(4, 3)]),
        ("ba", [(4, 3)]),
        ("aB", [(4, 3)]),
        ("ii", [(4, 4)]),
        ("", [()]),
        ("->", [()]),
        (",ij", [(), (4, 3)]),
        ("i...->...", [(4, 3, 2)]),
        ("...i,i->...", [(2, 4, 3), (3,)]),
        ("i...,...j", [(2, 4), (4, 3)]),
        ("ij,j...->i...", [(2, 3), (3,)]),
        ("ij,kl,jk", [(2, 3), (4, 5), (3, 4)]),
        ("ij,jk,kl->il", [(4, 3), (3, 5), (5, 2)]),
        ("ijk,ijk->j", [(2, 3, 4), (2, 3, 4)]),
        ("ij,jk", [(0, 3), (3, 2)]),
    ],
)
def test_einsum_reads_every_form_of_equation(equation, shapes):
    pairs = [normal(*shape, seed=k) for k, shape in enumerate(shapes)]
    want = np.asarray(np.einsum(equation, *(v for _, v in pairs)))
    y = tgrad.einsum(equation, *(x for x, _ in pairs))
    assert y.shape == want.shape
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(tgrad.einsum(equation, [x for x, _ in pairs]).numpy(), y.numpy())


def test_einsum_broadcasts_dims_of_size_1():
    (x, a), (w, b) = normal(4, 1), normal(5, 2, seed=1)
    close(tgrad.einsum("ij,jk->ik", x, w), a * b.sum(0))
    close(tgrad.einsum("i,i->i", x[0], w[:, 0]), a[0] * b[:, 0])
    ints = tgrad.tensor(np.arange(6).reshape(2, 3))
    assert tgrad.einsum("ij,kj->ik", ints, ints).tolist() == [[5, 14], [14, 50]]


def test_einsum_of_one_operand_is_a_view():
    x, a = normal(3, 4)
    y = tgrad.einsum("ij->ji", x)
    y.zero_()
    assert not x.numpy().any() and a.any()


def test_einsum_multiplies_the_cheapest_pair_first():
    x, a = normal(50, 2)
    y, b = normal(2, 50, seed=1)
    z, c = normal(50, 2, seed=2)
    close(tgrad.einsum("ij,jk,kl->il", x, y, z), a @ b @ c)
    close(tgrad.einsum(x, [0, 1], y, [1, 2]), a @ b)
