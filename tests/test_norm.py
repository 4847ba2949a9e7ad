"""Normalisation: running statistics, accuracy far from zero, memory formats."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


def on(device: str, a: np.ndarray):
    return tgrad.from_numpy(np.array(a)).to(device)


@on_devices
@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 2, 3)])
def test_batch_norm_moves_running_statistics_by_momentum(device, shape):
    rng = np.random.default_rng(0)
    x, m, v = rng.standard_normal(shape), rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    mean, var = on(device, m), on(device, v)
    F.batch_norm(on(device, x), mean, var, training=True, momentum=0.3)
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(mean.cpu().numpy(), 0.7 * m + 0.3 * x.mean(axes), rtol=1e-12)
    unbiased = x.var(axes, ddof=1)
    np.testing.assert_allclose(var.cpu().numpy(), 0.7 * v + 0.3 * unbiased, rtol=1e-12)
    assert mean._version == var._version == 1


@on_devices
def test_evaluation_leaves_running_statistics_alone(device):
    mean, var = tgrad.zeros(3).to(device), tgrad.ones(3).to(device)
    F.batch_norm(tgrad.ones(2, 3).to(device), mean, var)
    assert mean._version == var._version == 0


@on_devices
def test_instance_norm_averages_statistics_over_samples(device):
    x = np.random.default_rng(1).standard_normal((4, 3, 6))
    mean, var = on(device, np.zeros(3)), on(device, np.ones(3))
    F.instance_norm(on(device, x), mean, var, momentum=0.5)
    np.testing.assert_allclose(mean.cpu().numpy(), 0.5 * x.mean(2).mean(0), rtol=1e-10, atol=1e-12)
    want = 0.5 + 0.5 * x.var(2, ddof=1).mean(0)
    np.testing.assert_allclose(var.cpu().numpy(), want, rtol=1e-10)


@on_devices
@pytest.mark.parametrize("width", [37, 1500])
def test_statistics_are_accurate_far_from_zero(device, width):
    x = np.random.default_rng(2).standard_normal((5, width)).astype(np.float32) + 1000
    exact = x.astype(np.float64)
    want = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    y = F.layer_norm(on(device, x), (width,)).cpu().numpy()
    np.testing.assert_allclose(y, want, atol=2e-3)
    want = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    y = F.batch_norm(on(device, x), None, None, training=True).cpu().numpy()
    np.testing.assert_allclose(y, want, atol=5e-3)


@on_devices
def test_half_input_takes_float32_parameters(device):
    x = on(device, np.random.default_rng(3).standard_normal((6, 4))).bfloat16()
    w = tgrad.ones(4).to(device).requires_grad_()
    for y in (
        F.layer_norm(x, (4,), w, w),
        F.batch_norm(x, None, None, w, w, True),
        F.batch_norm(x, w.detach(), w.detach(), w, w),
        F.group_norm(x, 2, w, w),
    ):
        assert y.dtype is tgrad.bfloat16
        y.float().sum().backward()
    assert w.grad.dtype is tgrad.float32


@on_devices
def test_large_batches_sum_in_several_pieces(device):
    x = np.random.default_rng(4).standard_normal((1100, 1024 if device == "cpu" else 40))
    a = on(device, x).requires_grad_()
    w = on(device, np.ones(x.shape[1])).requires_grad_()
    F.layer_norm(a, (x.shape[1],), w, w).pow(2).sum().backward()
    hat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    want = 2 * ((hat + 1) * (hat + 1)).sum(0)  # both gradients of the shared parameter
    np.testing.assert_allclose(w.grad.cpu().numpy(), want, rtol=1e-9)
