"""Softmax and cross entropy at the edges of their domain."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])
INF = float("inf")


def on(device: str, a):
    return tgrad.from_numpy(np.array(a, np.float32)).to(device)


@on_devices
def test_softmax_is_stable_for_large_inputs(device):
    y = on(device, [[1000.0, 1001.0], [-1000.0, -1001.0]]).softmax(1).cpu().numpy()
    p = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(y, [[1 - p, p], [p, 1 - p]], rtol=1e-6)


@on_devices
@pytest.mark.parametrize("width", [5, 5000])
def test_infinite_and_undefined_inputs_give_what_the_formula_gives(device, width):
    x = np.zeros((4, width), np.float32)
    x[0, :2], x[1, 1], x[2], x[3, 0] = -INF, INF, -INF, np.nan
    for f in (tgrad.softmax, tgrad.log_softmax):
        y = f(on(device, x), 1).cpu().numpy()
        assert np.isnan(y[1, 1]) and np.isnan(y[2:]).all()
        assert np.isfinite(y[0, 2:]).all()
        assert (y[0, :2] == (0 if f is tgrad.softmax else -INF)).all()


def test_pieces_of_a_large_array_agree_with_its_rows():
    x = np.random.default_rng(0).standard_normal((1200, 1000)).astype(np.float32)
    x[700] += 100  # a piece that has to be shifted
    y = tgrad.from_numpy(x).softmax(1).numpy()
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=2e-6)


@on_devices
def test_dtype_converts_before_the_exponential(device):
    y = on(device, [[70.0, 0.0]]).half().softmax(1, dtype=tgrad.float32)
    assert y.dtype is tgrad.float32
    assert y[0, 1].item() == pytest.approx(np.exp(-70.0), rel=1e-4)
    assert tgrad.from_numpy(np.arange(3)).softmax(0, dtype=tgrad.float64).dtype is tgrad.float64


@on_devices
def test_implicit_dim_warns_and_follows_the_rank(device):
    for shape, dim in (((3,), 0), ((2, 3), 1), ((2, 3, 4), 0)):
        x = on(device, np.random.default_rng(0).standard_normal(shape))
        for f in (F.softmax, F.log_softmax, F.softmin):
            with pytest.warns(UserWarning, match="Implicit dimension"):
                y = f(x)
            np.testing.assert_array_equal(y.cpu().numpy(), f(x, dim=dim).cpu().numpy())


@on_devices
def test_loss_of_nothing_is_nan_with_zero_gradient(device):
    x = on(device, np.ones((2, 3))).requires_grad_()
    target = tgrad.from_numpy(np.array([-100, -100])).to(device)
    loss = F.cross_entropy(x, target)
    assert np.isnan(loss.item())
    loss.backward()
    assert (x.grad.cpu().numpy() == 0).all()


def test_class_out_of_range_is_nan_on_a_gpu():
    x = on("cuda", np.ones((2, 3)))
    target = tgrad.from_numpy(np.array([1, 3])).to("cuda")
    for f in (F.cross_entropy, F.nll_loss):
        loss = f(x, target, reduction="none").cpu().numpy()
        np.testing.assert_array_equal(np.isnan(loss), [False, True])


@on_devices
def test_cross_entropy_accepts_bytes_and_older_reductions(device):
    x = on(device, np.random.default_rng(0).standard_normal((4, 3)))
    target = tgrad.from_numpy(np.array([0, 2, 1, 1])).to(device)
    want = F.cross_entropy(x, target, reduction="sum").item()
    assert F.cross_entropy(x, target.to(tgrad.uint8), size_average=False).item() == want
    assert F.cross_entropy(x, target, reduce=False).shape == (4,)
