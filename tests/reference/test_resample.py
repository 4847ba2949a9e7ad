"""Resampling against torch: every mode, many sizes, bytes bit for bit; the layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")

MODES = [
    *[("nearest", n, False) for n in (1, 2, 3)], *[("nearest-exact", n, False) for n in (1, 2, 3)],
    ("linear", 1, False), ("bilinear", 2, False), ("trilinear", 3, False), ("bicubic", 2, False),
    *[(mode, 2, True) for mode in ("bilinear", "bicubic", "lanczos")],
]  # fmt: skip
HOW = [
    {"size": (7, 5, 3)}, {"size": (2, 9, 11)}, {"scale_factor": 2}, {"scale_factor": (0.4, 1.7, 2)},
    {"scale_factor": 1.7}, {"scale_factor": 0.61, "recompute_scale_factor": True},
    {"scale_factor": 0.61, "recompute_scale_factor": False},
]  # fmt: skip
SHAPES = [(2, 3, 6, 8, 5), (1, 2, 3, 11, 4), (1, 1, 2, 2, 2)]


def calls(mode: str, space: int, antialias: bool):
    corners = (False, True) if mode in ("linear", "bilinear", "bicubic", "trilinear") else (None,)
    for how, shape, c in itertools.product(HOW, SHAPES, corners):
        cut = {k: v[:space] if isinstance(v, tuple) else v for k, v in how.items()}
        yield shape[: 2 + space], {"mode": mode, "antialias": antialias, "align_corners": c, **cut}


@pytest.mark.parametrize("mode, space, antialias", MODES)
@pytest.mark.parametrize("dtype, bound", [("float64", 1e-12), ("float32", 1e-5), ("uint8", 0)])
def test_interpolate_agrees(mode: str, space: int, antialias: bool, dtype: str, bound: float):
    if dtype == "uint8" and mode in ("linear", "trilinear"):
        pytest.skip("torch has these for floating dtypes only")
    rng = np.random.default_rng(0)
    for shape, options in calls(mode, space, antialias):
        a = rng.standard_normal(shape) if bound else rng.integers(0, 256, shape)
        z = torch.tensor(a.astype(dtype), requires_grad=dtype == "float64")
        x = tgrad.tensor(a.astype(dtype), requires_grad=dtype == "float64")
        factors = np.broadcast_to(options.get("scale_factor", 1), space)
        if (np.array(shape[2:]) * factors).min() < 1:
            continue  # an error in both: tests/bad/resample.py
        want = torch.nn.functional.interpolate(z, **options)
        got = tgrad.nn.functional.interpolate(x, **options)
        assert_near(got, want, bound, f"{shape} {options}")
        if x.requires_grad:
            g = rng.standard_normal(tuple(want.shape))
            want.backward(torch.tensor(g))
            got.backward(tgrad.tensor(g))
            assert_near(x.grad, z.grad, bound, f"gradient {shape} {options}")


def assert_near(ours, theirs, bound: float, what: str) -> None:
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    assert a.dtype == b.dtype and a.shape == b.shape, what
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound, err_msg=what)


LAYERS = [
    lambda nn: nn.Upsample((3, 9)),
    lambda nn: nn.Upsample(scale_factor=(1.5, 2), mode="bilinear", align_corners=True),
    lambda nn: nn.Upsample(scale_factor=1.3, mode="bicubic", recompute_scale_factor=True),
    lambda nn: nn.UpsamplingNearest2d(scale_factor=2),
    lambda nn: nn.UpsamplingBilinear2d((5, 7)),
]


@pytest.mark.parametrize("make", LAYERS)
def test_layers_agree(make):
    theirs, ours = make(torch.nn), make(tgrad.nn)
    assert repr(ours) == repr(theirs) and not ours.state_dict()
    assert {k for k in vars(theirs) if k[0] != "_"} == {k for k in vars(ours) if k[0] != "_"}
    a = np.random.default_rng(1).standard_normal((2, 1, 4, 5))
    assert_near(ours(tgrad.tensor(a)), theirs(torch.tensor(a)), 1e-12, repr(ours))
