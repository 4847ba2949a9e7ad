"""Initialisers: distributions by their moments and bounds, exact patterns, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.nn import init

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


def numpy_of(x: Any) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def mass(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("mean, std, a, b", [
    (0.0, 1.0, -2.0, 2.0), (1.0, 0.5, 0.0, 3.0), (0.0, 1.0, 1.5, 4.0), (0.0, 2.0, -9.0, -3.0),
])  # fmt: skip
def test_truncated_normals_have_their_moments(mean: float, std: float, a: float, b: float):
    tgrad.manual_seed(0)
    x = numpy_of(init.trunc_normal_(tgrad.empty(400, 500), mean, std, a, b))
    low, high = (a - mean) / std, (b - mean) / std
    z = mass(high) - mass(low)
    d = density(np.array([low, high]))
    expected = mean + std * (d[0] - d[1]) / z
    variance = std**2 * (1 + (low * d[0] - high * d[1]) / z - ((d[0] - d[1]) / z) ** 2)
    assert x.min() >= a and x.max() <= b
    assert abs(x.mean() - expected) < 5 * math.sqrt(variance / x.size)
    assert abs(x.var() - variance) < 0.02 * variance


def test_the_far_tail_of_a_normal_is_drawn_too():
    tgrad.manual_seed(0)
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        x = numpy_of(init.trunc_normal_(tgrad.empty(20000), 0.0, 1.0, 6.0, 9.0))
    assert x.min() >= 6 and x.max() <= 9
    # E[x | x > 6] of a normal.
    assert abs(x.mean() - density(np.array(6.0)) / (1 - mass(6.0))) < 5 * 0.16 / math.sqrt(x.size)


@on_devices
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_truncation_holds_in_every_dtype(dtype: str, device: str):
    x = tgrad.empty(300, dtype=getattr(tgrad, dtype), device=device)
    assert init.trunc_normal_(x, 0.0, 1.0, -0.7, 0.7) is x
    bound = float(tgrad.tensor(0.7, dtype=x.dtype))
    assert np.abs(numpy_of(x)).max() <= bound


@on_devices
def test_eye_fills_the_diagonal(device: str):
    x = init.eye_(tgrad.empty(3, 5, device=device))
    np.testing.assert_array_equal(numpy_of(x), np.eye(3, 5))


@on_devices
@pytest.mark.parametrize("shape, groups", [((4, 4, 3), 1), ((6, 2, 3, 3), 3), ((2, 5, 3, 1, 5), 1)])
def test_a_dirac_convolution_hands_its_input_on(shape: tuple, groups: int, device: str):
    w = numpy_of(init.dirac_(tgrad.empty(shape, device=device), groups))
    want = np.zeros(shape)
    size = shape[0] // groups
    for g in range(groups):
        for d in range(min(size, shape[1])):
            want[(g * size + d, d, *[n // 2 for n in shape[2:]])] = 1
    np.testing.assert_array_equal(w, want)


@on_devices
@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal_rows_or_columns(shape: tuple, device: str):
    w = numpy_of(init.orthogonal_(tgrad.empty(shape, device=device), gain=2.0))
    w = w.reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_orthogonal_matrices_are_uniform():
    tgrad.manual_seed(0)
    made = [numpy_of(init.orthogonal_(tgrad.empty(2, 2))) for _ in range(2000)]
    angles = np.arctan2([m[1, 0] for m in made], [m[0, 0] for m in made])
    counts, _ = np.histogram(angles, 8, (-np.pi, np.pi))
    assert ((counts - 250) ** 2 / 250).sum() < 24.3  # chi squared of 7 degrees, 0.1%
    assert 0.45 < np.mean([np.linalg.det(m) > 0 for m in made]) < 0.55


@on_devices
def test_sparse_zeroes_the_same_part_of_each_column(device: str):
    tgrad.manual_seed(0)
    w = numpy_of(init.sparse_(tgrad.empty(40, 7, device=device), 0.31, std=0.5))
    np.testing.assert_array_equal((w == 0).sum(0), math.ceil(0.31 * 40))
    kept = w[w != 0]
    assert 0.35 < kept.std() < 0.65
    assert len({tuple(np.flatnonzero(c == 0)) for c in w.T}) == 7  # other rows in every column


@pytest.mark.parametrize("name, args", [
    ("uniform", ()), ("normal", ()), ("constant", (3.0,)), ("eye", ()), ("xavier_uniform", ()),
    ("xavier_normal", ()), ("kaiming_uniform", ()), ("kaiming_normal", ()), ("orthogonal", ()),
    ("sparse", (0.1,)),
])  # fmt: skip
def test_old_names_warn_and_fill(name: str, args: tuple):
    x = tgrad.full((4, 4), 7.0)
    with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of"):
        assert getattr(init, name)(x, *args) is x
    assert (numpy_of(x) != 7).any()
    with pytest.warns(FutureWarning, match="`nn.init.dirac_`"):
        init.dirac(tgrad.empty(2, 2, 3))


BAD: list[tuple[Any, str]] = [
    (lambda: init.eye_(tgrad.empty(2)), "Only tensors with 2 dimensions"),
    (lambda: init.dirac_(tgrad.empty(2, 2)), "Only tensors with 3, 4, or 5 dimensions"),
    (lambda: init.dirac_(tgrad.empty(3, 2, 1), 2), "dim 0 must be divisible by groups"),
    (lambda: init.orthogonal_(tgrad.empty(2)), "Only tensors with 2 or more dimensions"),
    (lambda: init.sparse_(tgrad.empty(2), 0.5), "Only tensors with 2 dimensions"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[m for _, m in BAD])
def test_bad_tensors_are_refused(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call()
