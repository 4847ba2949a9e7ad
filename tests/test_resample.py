"""Resampling: constants stay constant, bytes round, NaN stays where it has weight, layers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F
from tgrad import nn

DEVICES = pytest.mark.parametrize("device", ["cpu", "cuda"])
MODES = [
    {"mode": "bilinear"}, {"mode": "bilinear", "antialias": True},
    {"mode": "bicubic", "align_corners": True}, {"mode": "bicubic", "antialias": True},
    {"mode": "lanczos", "antialias": True},
]  # fmt: skip


@DEVICES
@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("value", [0, 137, 255])
def test_a_constant_image_stays_constant(device: str, options: dict, value: int):
    x = tgrad.full((1, 2, 9, 12), value, dtype=tgrad.uint8, device=device)
    y = F.interpolate(x, (5, 17), **options)
    assert y.dtype is tgrad.uint8
    assert y.cpu().numpy().tolist() == np.full((1, 2, 5, 17), value).tolist()


@pytest.mark.parametrize("options", MODES)
def test_bytes_are_the_same_on_both_devices_and_near_the_exact_result(options: dict):
    a = np.random.default_rng(0).integers(64, 192, (2, 1, 11, 9)).astype(np.uint8)
    x = tgrad.tensor(a)
    y = F.interpolate(x, (7, 13), **options).numpy()
    assert (F.interpolate(x.to("cuda"), (7, 13), **options).cpu().numpy() == y).all()
    exact = F.interpolate(x.double(), (7, 13), **options).numpy()
    assert np.abs(exact - y).max() <= 1.5  # rounded after each axis


@DEVICES
def test_a_nan_stays_where_it_has_a_weight(device: str):
    a = np.ones((1, 1, 8, 8))
    a[0, 0, 3, 3] = np.nan
    x = tgrad.tensor(a, device=device)
    y = F.interpolate(x, 16, mode="bilinear").cpu().numpy()
    touched = np.zeros(16, bool)
    touched[5:9] = True  # the outputs between the centres of pixels 2 and 4
    assert (np.isnan(y[0, 0]) == np.outer(touched, touched)).all()
    assert (F.interpolate(x, 8, mode="bicubic").isnan() == x.isnan()).all()


@DEVICES
def test_the_gradient_of_a_mean_is_shared_out(device: str):
    x = tgrad.ones(1, 1, 300, 7, device=device, requires_grad=True)
    F.interpolate(x, (2, 700), mode="nearest").sum().backward()
    g = x.grad.cpu().numpy()[0, 0]
    assert g.sum() == 1400 and sorted(set(g.ravel())) == [0, 100]


def test_tables_made_in_inference_mode_serve_training():
    with tgrad.inference_mode():
        F.interpolate(tgrad.ones(1, 1, 5, 3), (4, 11), mode="bicubic")
    x = tgrad.ones(1, 1, 5, 3, requires_grad=True)
    F.interpolate(x, (4, 11), mode="bicubic").sum().backward()
    assert x.grad.sum().item() == pytest.approx(44, rel=1e-5)


def test_the_older_names_warn_and_resample():
    x = tgrad.arange(4.0).reshape(1, 1, 2, 2)
    with pytest.warns(UserWarning, match="upsample_nearest` is deprecated"):
        assert F.upsample_nearest(x, scale_factor=2)[0, 0, 0].tolist() == [0, 0, 1, 1]
    with pytest.warns(UserWarning, match="upsample_bilinear` is deprecated"):
        assert F.upsample_bilinear(x, 3)[0, 0, 1].tolist() == [1, 1.5, 2]
    with pytest.warns(UserWarning, match="upsample` is deprecated"):
        assert F.upsample(x, 4, mode="bilinear").shape == (1, 1, 4, 4)


def test_layers_copy_and_pickle():
    x = tgrad.arange(12.0).reshape(1, 1, 3, 4)
    layer = nn.Upsample(scale_factor=(2, 1.5), mode="bilinear", align_corners=True)
    want = layer(x).tolist()
    assert copy.deepcopy(layer)(x).tolist() == want
    assert pickle.loads(pickle.dumps(layer))(x).tolist() == want
    assert nn.UpsamplingBilinear2d(scale_factor=(2, 1.5))(x).tolist() == want
    assert not list(layer.parameters())
