"""Lookup tables: gradients that are not derivatives, determinism, renormalisation."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F
from tgrad.runtime.settings import use_deterministic_algorithms

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])
INDICES = np.array([[3, 1, 1], [0, 3, 3]])


def expected(g: np.ndarray, rows: int, padding_idx: int, by_frequency: bool) -> np.ndarray:
    dw, counts = np.zeros((rows, g.shape[-1])), np.zeros(rows)
    for i, row in zip(INDICES.reshape(-1), g.reshape(-1, g.shape[-1]), strict=True):
        if i != padding_idx:
            dw[i] += row
            counts[i] += 1
    return dw / np.maximum(counts, 1)[:, None] if by_frequency else dw


@on_devices
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("padding_idx, by_frequency", [(None, True), (3, False), (1, True)])
def test_gradient_skips_padding_and_divides_by_frequency(
    device, deterministic, padding_idx, by_frequency
):
    rng = np.random.default_rng(0)
    weight = tgrad.from_numpy(rng.standard_normal((5, 4))).to(device).requires_grad_()
    indices = tgrad.from_numpy(INDICES).to(device)
    g = rng.standard_normal((2, 3, 4))
    use_deterministic_algorithms(deterministic)
    try:
        y = F.embedding(indices, weight, padding_idx, scale_grad_by_freq=by_frequency)
        y.backward(tgrad.from_numpy(g).to(device))
    finally:
        use_deterministic_algorithms(False)
    want = expected(g, 5, -1 if padding_idx is None else padding_idx, by_frequency)
    np.testing.assert_allclose(weight.grad.cpu().numpy(), want, rtol=1e-12, atol=1e-12)


@on_devices
def test_second_gradient_follows_padding_and_frequency(device):
    rng = np.random.default_rng(1)
    weight = tgrad.from_numpy(rng.standard_normal((5, 4))).to(device).requires_grad_()
    g = tgrad.from_numpy(rng.standard_normal((2, 3, 4))).to(device).requires_grad_()
    indices = tgrad.from_numpy(INDICES).to(device)
    y = F.embedding(indices, weight, 1, scale_grad_by_freq=True)
    (dw,) = tgrad.autograd.grad(y, weight, g, create_graph=True)
    direction = rng.standard_normal((5, 4))
    (dg,) = tgrad.autograd.grad(dw, g, tgrad.from_numpy(direction).to(device))
    counts = np.array([1, 2, 0, 3, 0])
    want = direction[INDICES] / counts[INDICES][..., None] * (INDICES != 1)[..., None]
    np.testing.assert_allclose(dg.cpu().numpy(), want, rtol=1e-12, atol=1e-12)


@on_devices
def test_deterministic_sums_repeat_in_half_precision(device):
    weight = tgrad.ones(3, 2).to(device).half().requires_grad_()
    indices = tgrad.from_numpy(np.zeros(300, np.int64)).to(device)
    use_deterministic_algorithms(True)
    try:
        F.embedding(indices, weight).sum().backward()
    finally:
        use_deterministic_algorithms(False)
    np.testing.assert_array_equal(weight.grad.cpu().float().numpy()[:, 0], [300, 0, 0])


@on_devices
def test_max_norm_shrinks_the_rows_used_in_place(device):
    table = np.random.default_rng(2).standard_normal((5, 4)) * 3
    weight = tgrad.from_numpy(table.copy()).to(device).requires_grad_()
    version = weight._version
    indices = tgrad.from_numpy(INDICES).to(device)
    y = F.embedding(indices, weight, max_norm=1.0)
    norms = np.linalg.norm(weight.detach().cpu().numpy(), axis=1)
    assert (norms[[0, 1, 3]] <= 1 + 1e-6).all()
    np.testing.assert_array_equal(weight.detach().cpu().numpy()[[2, 4]], table[[2, 4]])
    np.testing.assert_array_equal(y.detach().cpu().numpy(), weight.detach().cpu().numpy()[INDICES])
    assert weight._version > version


def test_index_out_of_range_is_nan_on_a_gpu():
    weight = tgrad.ones(3, 2).to("cuda")
    y = F.embedding(tgrad.from_numpy(np.array([1, 3, -1])).to("cuda"), weight).cpu().numpy()
    np.testing.assert_array_equal(np.isnan(y).all(1), [False, True, True])
