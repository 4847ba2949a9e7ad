"""Sampling at points: second gradients, identity maps, half dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F

CASES = [("bilinear", "zeros"), ("bilinear", "reflection"), ("nearest", "border"),
         ("bicubic", "zeros")]  # fmt: skip


@pytest.mark.parametrize("mode, padding", CASES)
def test_second_gradients_match_finite_differences(mode: str, padding: str):
    rng = np.random.default_rng(3)
    x = tgrad.tensor(rng.standard_normal((1, 2, 3, 4)), requires_grad=True)
    grid = tgrad.tensor(rng.uniform(-1.5, 1.5, (1, 2, 2, 2)), requires_grad=True)
    assert tgrad.autograd.gradgradcheck(
        lambda a, b: F.grid_sample(a, b, mode, padding, False), (x, grid)
    )


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_the_identity_map_gives_the_image_back(mode: str, corners: bool):
    x = tgrad.tensor(np.random.default_rng(0).standard_normal((1, 2, 5, 7)))
    theta = tgrad.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=tgrad.float64)
    y = F.grid_sample(x, F.affine_grid(theta, (1, 2, 5, 7), corners), mode, "border", corners)
    np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-12)


def test_half_dtypes_are_computed_in_float32():
    x, grid = tgrad.ones(1, 1, 4, 4).half(), tgrad.full((1, 1, 1, 2), 0.3).half()
    y = F.grid_sample(x, grid, align_corners=True)
    assert y.dtype is tgrad.float16 and y.item() == 1
