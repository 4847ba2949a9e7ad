"""SyncBatchNorm, CrossMapLRN2d, nn.grad and pooling with indices, without torch."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn import functional as F

on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))


def test_sync_batch_norm_is_batch_norm_in_one_process():
    x = tgrad.randn(4, 3, 5, 6)
    for layer in (nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None, bias=False).eval()):
        sync = nn.SyncBatchNorm.convert_sync_batchnorm(layer)
        assert type(sync) is nn.SyncBatchNorm and sync.training is layer.training
        assert sync.weight is layer.weight and sync.running_var is layer.running_var
        y = sync(x)
        sync.reset_running_stats()
        assert tgrad.equal(y, layer(x))


def test_conversion_reaches_every_batch_norm():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.InstanceNorm1d(3)))
    made = nn.SyncBatchNorm.convert_sync_batchnorm(net, "a group")
    assert made is net and type(net[1][0]) is nn.SyncBatchNorm
    assert net[1][0].process_group == "a group" and type(net[1][1]) is nn.InstanceNorm1d
    with pytest.raises(ValueError, match="at least 2D"):
        nn.SyncBatchNorm(3)(tgrad.ones(3))
    with pytest.raises(ValueError, match="should be non-zero"):
        nn.SyncBatchNorm(0)(tgrad.ones(3, 0))


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_cross_map_lrn_divides_by_the_channels_around(size: int):
    x = np.random.default_rng(0).standard_normal((2, 7, 2, 3))
    side = (size - 1) // 2
    windows = [(x[:, max(0, c - side) : c + side + 1] ** 2).sum(1) for c in range(7)]
    want = x / (2.0 + 0.5 / size * np.stack(windows, 1)) ** 0.75
    got = nn.CrossMapLRN2d(size, 0.5, 0.75, 2.0)(tgrad.tensor(x))
    np.testing.assert_allclose(got, want, rtol=1e-12)
    with pytest.raises(ValueError, match="input to be 4D, got 3D"):
        nn.CrossMapLRN2d(3)(tgrad.ones(2, 3, 4))


GEOMETRY = [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}]


@on_devices
@pytest.mark.parametrize("options", GEOMETRY)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_gradients_of_convolutions_are_autograds(n: int, options: dict, device: str):
    convolve = getattr(F, f"conv{n}d")
    shape = (2, 4, *(6, 5, 5)[:n])
    groups = options.get("groups", 1)
    x = tgrad.randn(shape, dtype=tgrad.float64, device=device, requires_grad=True)
    w = tgrad.randn((6, 4 // groups, *(3, 2, 2)[:n]), dtype=tgrad.float64, device=device,
                    requires_grad=True)  # fmt: skip
    y = convolve(x, w, **options)
    g = tgrad.randn(y.shape, dtype=tgrad.float64, device=device)
    dx, dw = tgrad.autograd.grad(y, (x, w), g)
    got_x = getattr(nn.grad, f"conv{n}d_input")(x.shape, w, g, **options)
    got_w = getattr(nn.grad, f"conv{n}d_weight")(x, w.shape, g, **options)
    np.testing.assert_allclose(got_x.detach().cpu(), dx.cpu(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got_w.detach().cpu(), dw.cpu(), rtol=1e-10, atol=1e-12)


def test_gradients_of_convolutions_check_shapes():
    with pytest.raises(RuntimeError, match=r"grad_output of shape \[1, 2, 3\], got \[1, 2, 4\]"):
        nn.grad.conv1d_input((1, 3, 5), tgrad.ones(2, 3, 3), tgrad.ones(1, 2, 4))
    with pytest.raises(RuntimeError, match="channels"):
        nn.grad.conv2d_weight(tgrad.ones(1, 3, 5, 5), (2, 4, 3, 3), tgrad.ones(1, 2, 3, 3))


def test_pooling_with_indices_returns_both():
    x = tgrad.randn(2, 3, 6, 5, 4)
    samples = tgrad.rand(2, 3, 3)
    cases = {
        "max_pool1d": (x[:, :, 0, 0], 2), "max_pool2d": (x[:, :, 0], 2), "max_pool3d": (x, 2),
        "adaptive_max_pool1d": (x[:, :, 0, 0], 2), "adaptive_max_pool2d": (x[:, :, 0], 2),
        "adaptive_max_pool3d": (x, 2),
    }  # fmt: skip
    for name, args in cases.items():
        y, i = getattr(F, f"{name}_with_indices")(*args)
        a, b = getattr(F, name)(*args, return_indices=True)
        assert tgrad.equal(y, a) and tgrad.equal(i, b), name
    y, i = F.fractional_max_pool3d_with_indices(x, 2, output_size=2, _random_samples=samples)
    assert i.dtype is tgrad.int64 and tgrad.equal(
        y.flatten(2), x.flatten(2).gather(2, i.flatten(2))
    )
    y, i = F.fractional_max_pool2d_with_indices(
        x[:, :, 0], 2, output_ratio=0.5, return_indices=False, _random_samples=samples[..., :2]
    )
    assert y.shape == i.shape == (2, 3, 2, 2)
    with pytest.raises(TypeError, match="max_pool2d_with_indices"):
        F.max_pool2d_with_indices(x)


def test_the_old_name_of_nll_loss_warns():
    with pytest.warns(FutureWarning, match="NLLLoss2d"):
        assert isinstance(nn.NLLLoss2d(), nn.NLLLoss)
