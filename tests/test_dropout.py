"""Dropout: rates, scale, gradients through the same mask, the same mask on both devices."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.nn import functional as F

DEVICES = ("cpu", "cuda")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_scale(device, p):
    tgrad.manual_seed(3)
    y = F.dropout(tgrad.ones(100, 101, device=device), p).cpu().numpy()
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - p), rtol=1e-6)
    assert abs(kept.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / y.size)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 11), (20011,), (0, 3)])
@pytest.mark.parametrize("dtype", [tgrad.float64, tgrad.float32, tgrad.bfloat16])
def test_one_seed_gives_one_mask_on_both_devices(shape, dtype):
    results = []
    for device in DEVICES:
        tgrad.manual_seed(11)
        x = (tgrad.ones(shape) * 3).to(dtype).to(device)
        results.append([F.dropout(x, 0.3).cpu().float().numpy() for _ in range(2)])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    if len(results[0][0].reshape(-1)) > 10:
        assert (results[0][0] != results[0][1]).any()


@pytest.mark.parametrize("device", DEVICES)
def test_backward_and_double_backward_use_the_forward_mask(device):
    x = tgrad.ones(13, 7, dtype=tgrad.float64, device=device).requires_grad_()
    y = F.dropout(x.transpose(0, 1), 0.4)
    (g,) = tgrad.autograd.grad((y * y).sum(), x, create_graph=True)
    scale = y.detach().transpose(0, 1)
    np.testing.assert_allclose(g.detach().cpu().numpy(), 2 * (scale * scale).cpu().numpy())
    (gg,) = tgrad.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(gg.cpu().numpy(), 2 * (scale * scale).cpu().numpy())


def test_edges_of_the_probability():
    x = tgrad.tensor([1.0, 2.0])
    assert F.dropout(x, 0.0).tolist() == [1.0, 2.0]
    assert F.dropout(x, 1.0).tolist() == [0.0, 0.0]
    assert F.dropout(x, 0.5, training=False) is x
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(x, p)


def test_in_place_writes_the_input():
    x = tgrad.ones(100)
    assert F.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name, shape", [
    ("dropout1d", (4, 6, 5)), ("dropout2d", (4, 6, 3, 2)), ("dropout3d", (4, 6, 2, 2, 2)),
])  # fmt: skip
def test_whole_channels_are_dropped(name, shape, device):
    tgrad.manual_seed(0)
    y = getattr(F, name)(tgrad.ones(shape, device=device), 0.5).cpu().numpy()
    flat = y.reshape(4, 6, -1)
    assert (flat == flat[:, :, :1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance():
    tgrad.manual_seed(0)
    y = F.alpha_dropout(tgrad.randn(400, 500), 0.3, training=True)
    assert abs(y.mean().item()) < 0.02 and abs(y.std().item() - 1) < 0.02
    z = F.feature_alpha_dropout(tgrad.randn(200, 300, 4), 0.3, training=True)
    assert abs(z.mean().item()) < 0.05 and abs(z.std().item() - 1) < 0.05
