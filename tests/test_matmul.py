"""Matrix products beyond the table: tiles, splits, blocks, in-place forms, precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tgrad
from tgrad.ops.products import chain_order

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
