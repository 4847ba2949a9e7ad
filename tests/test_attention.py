"""Attention: dropout, long rows, memory, second gradients with dropout, extreme scores, tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tgrad
from tests.rows.attention import attention
from tgrad.nn import functional as F

DEVICES = ("cpu", "cuda")
on_devices = pytest.mark.parametrize("device", DEVICES)


def tensors(*shapes, device="cpu", dtype=tgrad.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [tgrad.tensor(rng.standard_normal(s), dtype=dtype, device=device) for s in shapes]


def by_matrices(q, k, v, p):
    """Attention with the dropout that a tensor of weights would get: key lengths in eights."""
    weights = tgrad.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
    return F.dropout(weights, p) @ v


@on_devices
def test_dropout_takes_the_weights_that_dropout_of_a_matrix_takes(device):
    xs = tensors((1, 2, 5, 4), (1, 2, 24, 4), (1, 2, 24, 3), device=device)
    xs = [x.requires_grad_() for x in xs]
    tgrad.manual_seed(5)
    y = F.scaled_dot_product_attention(*xs, dropout_p=0.3)
    gs = tgrad.autograd.grad((y * y).sum(), xs)
    tgrad.manual_seed(5)
    want = by_matrices(*xs, 0.3)
    wanted = tgrad.autograd.grad((want * want).sum(), xs)
    np.testing.assert_allclose(y.detach().cpu().numpy(), want.detach().cpu().numpy(), atol=1e-12)
    for g, w in zip(gs, wanted, strict=True):
        np.testing.assert_allclose(g.cpu().numpy(), w.cpu().numpy(), atol=1e-11)


@pytest.mark.parametrize("size", [7, 16, 35])
def test_one_seed_drops_the_same_weights_on_both_devices(size):
    results = []
    for device in DEVICES:
        tgrad.manual_seed(3)
        q, k, v = tensors((1, 4, 6, 5), (1, 2, size, 5), (1, 2, size, 5), device=device)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, is_causal=True, enable_gqa=True)
        results.append(y.cpu().numpy())
    np.testing.assert_allclose(*results, atol=1e-12)


def test_gradients_with_dropout_match_finite_differences():
    xs = [x.requires_grad_() for x in tensors((1, 3, 2), (1, 4, 2), (1, 4, 2), (3, 4))]

    def f(q, k, v, mask):
        tgrad.manual_seed(1)
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=0.4)

    assert tgrad.autograd.gradcheck(f, xs)
    assert tgrad.autograd.gradgradcheck(f, xs)


@pytest.mark.parametrize("scale", [1.0, 40.0])  # with and without a shift before exp
@pytest.mark.parametrize("causal", [False, True])
def test_rows_longer_than_a_block_of_keys_are_exact(scale, causal):
    q, k, v = tensors((1, 2, 300, 8), (1, 2, 2500, 8), (1, 2, 2500, 4))
    xs = [x.requires_grad_() for x in (q, k, v)]
    y = F.scaled_dot_product_attention(*xs, is_causal=causal, scale=scale)
    arrays: Any = [x.detach().numpy() for x in xs]
    np.testing.assert_allclose(
        y.detach().numpy(), attention(*arrays, is_causal=causal, scale=scale), atol=1e-11
    )
    weight = np.random.default_rng(2).standard_normal(y.shape)
    gs = tgrad.autograd.grad((y * tgrad.tensor(weight)).sum(), xs)
    direction = [np.random.default_rng(3).standard_normal(a.shape) for a in arrays]

    def f(step):
        moved = [a + step * d for a, d in zip(arrays, direction, strict=True)]
        return (attention(*moved, is_causal=causal, scale=scale) * weight).sum()

    got = sum((g.numpy() * d).sum() for g, d in zip(gs, direction, strict=True))
    assert got == pytest.approx((f(1e-6) - f(-1e-6)) / 2e-6, rel=1e-5)


def test_the_matrix_of_weights_is_never_whole_in_memory():
    length = 3000
    q, k, v = (x.requires_grad_() for x in tensors(*[(1, 1, length, 8)] * 3, dtype=tgrad.float32))
    tgrad.cpu.empty_cache()
    tgrad.cpu.reset_peak_memory_stats()
    F.scaled_dot_product_attention(q, k, v).sum().backward()
    assert tgrad.cpu.max_memory_allocated() < length * length * 4 / 4


@on_devices
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_large_scores_do_not_overflow(device, dtype):
    q, k, v = tensors((1, 9, 8), (1, 11, 8), (1, 11, 8), device=device)
    q, k, v = (x.to(getattr(tgrad, dtype)) for x in (q * 30, k * 30, v))
    y = F.scaled_dot_product_attention(q, k, v).double().cpu().numpy()
    want = attention(*(x.double().cpu().numpy() for x in (q, k, v)))
    assert np.abs(y - want).max() < {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}[dtype]


@on_devices
def test_a_row_of_nan_spoils_its_own_row_alone(device):
    q, k, v = tensors((1, 5, 4), (1, 6, 4), (1, 6, 4), device=device)
    q[0, 2, 1] = float("nan")
    y = F.scaled_dot_product_attention(q, k, v).cpu().numpy()
    assert np.isnan(y[0, 2]).all() and np.isfinite(np.delete(y, 2, 1)).all()


@on_devices
def test_expanded_inputs_and_gradients_are_read_as_they_seem(device):
    q, k, v = tensors((3, 4, 5, 6), (1, 1, 7, 6), (1, 1, 7, 6), device=device)
    results = []
    for dense in (False, True):
        xs = [q, k.expand(3, 2, 7, 6), v.expand(3, 2, 7, 6)]
        xs = [(x.contiguous() if dense else x).detach().requires_grad_() for x in xs]
        y = F.scaled_dot_product_attention(*xs, enable_gqa=True)
        g = tgrad.ones(1, 1, 1, 1, dtype=y.dtype, device=device).expand(y.shape)
        results.append([y, *tgrad.autograd.grad(y, xs, g.contiguous() if dense else g)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(*(x.detach().cpu().numpy() for x in (a, b)), atol=1e-12)


@on_devices
def test_heads_next_to_each_other_in_memory_are_read_in_place(device):
    packed = tensors((2, 5, 3 * 2 * 4), device=device)[0].requires_grad_()
    q, k, v = packed.unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v)
    assert y.transpose(1, 2).is_contiguous()
    want = attention(*(x.detach().cpu().numpy() for x in (q, k, v)))
    np.testing.assert_allclose(y.detach().cpu().numpy(), want, atol=1e-12)
    (y * y).sum().backward()
    assert packed.grad is not None and packed.grad.shape == packed.shape


def test_features_beyond_what_a_program_holds_are_multiplied_as_matrices():
    q, k, v = tensors((1, 3, 257), (1, 4, 257), (1, 4, 5), device="cuda")
    y = F.scaled_dot_product_attention(q, k, v).cpu().numpy()
    np.testing.assert_allclose(y, attention(*(x.cpu().numpy() for x in (q, k, v))), atol=1e-12)


@on_devices
def test_a_float32_mask_may_be_added_to_half_scores(device):
    q, k, v = tensors((2, 3, 8), (2, 4, 8), (2, 4, 8), device=device, dtype=tgrad.float16)
    (mask,) = tensors((3, 4), device=device, dtype=tgrad.float32)
    y = F.scaled_dot_product_attention(q, k, v, mask)
    q, k, v, mask = (x.double().cpu().numpy() for x in (q, k, v, mask))
    want = attention(q, k, v, mask)
    assert y.dtype is tgrad.float16
    np.testing.assert_allclose(y.double().cpu().numpy(), want, atol=4e-3)


def test_autocast_runs_it_in_the_lower_dtype():
    q, k, v = tensors((1, 3, 8), (1, 4, 8), (1, 4, 8), dtype=tgrad.float32)
    with tgrad.autocast("cpu", dtype=tgrad.bfloat16):
        assert F.scaled_dot_product_attention(q, k, v).dtype is tgrad.bfloat16


@pytest.mark.parametrize("features, precision", [(64, "highest"), (128, "high")])
def test_the_sliced_kernels_agree_with_the_whole_ones(monkeypatch, features, precision):
    from tgrad.kernels.cuda import attention as kernels

    q, k, v = tensors(*[(1, 1, 5, features)] * 3, dtype=tgrad.float32)
    results = []
    for table in (kernels.SLICED, {}):
        monkeypatch.setattr(kernels, "SLICED", table)
        tgrad.set_float32_matmul_precision(precision)
        try:
            xs = [x.to("cuda").requires_grad_() for x in (q, k, v)]
            mask = tgrad.zeros(5, 5, device="cuda", requires_grad=True)
            y = F.scaled_dot_product_attention(*xs, mask)
            results.append([y, *tgrad.autograd.grad((y * y).sum(), [*xs, mask])])
        finally:
            tgrad.set_float32_matmul_precision("highest")
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(
            a.detach().cpu().numpy(), b.detach().cpu().numpy(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("dtype, near", [("float64", 1e-11), ("bfloat16", 0.03)])
def test_features_that_one_program_cannot_sum_are_shared_out(dtype, near):
    results = []
    for device in DEVICES:
        shapes = (1, 2, 5, 200), (1, 1, 19, 200), (1, 1, 19, 200), (5, 19)
        xs = tensors(*shapes, device=device, dtype=getattr(tgrad, dtype))
        xs = [x.requires_grad_() for x in xs]
        tgrad.manual_seed(2)
        y = F.scaled_dot_product_attention(*xs, dropout_p=0.3, enable_gqa=True)
        results.append([y, *tgrad.autograd.grad(y.sum(), xs)])
    for a, b in zip(*results, strict=True):
        want, got = (x.detach().cpu().double().numpy() for x in (a, b))
        np.testing.assert_allclose(got, want, atol=near * np.abs(want).max())


@pytest.mark.parametrize("causal", [False, True])
def test_offsets_past_2_to_31_give_the_same(monkeypatch, causal):
    from tgrad.kernels.cuda.limits import limits

    results = []
    for index in (limits.index, 1):
        monkeypatch.setattr(limits, "index", index)
        xs = tensors((1, 2, 5, 3), (1, 2, 7, 3), (1, 2, 7, 3), (5, 7), device="cuda")
        xs = [x.requires_grad_() for x in xs]
        y = F.scaled_dot_product_attention(*xs, is_causal=causal)
        results.append([y, *tgrad.autograd.grad((y * y).sum(), xs)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a.detach().cpu().numpy(), b.detach().cpu().numpy())


def test_every_kind_of_product_has_a_tile_for_every_head_size():
    from tgrad.kernels.cuda.attention_tiles import TILES

    for kinds in TILES.values():
        for kind, tiles in kinds.items():
            assert [c.block_k for c in tiles] == [16, 32, 64, 128, 256], kind
