"""Poisson and binomial samples: their laws, the same on both devices, edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tgrad as library

tgrad: Any = library


def agrees(samples: np.ndarray, law: Any) -> None:
    """Pearson's test over bins that expect 20 samples or more."""
    n = samples.size
    low, high = int(law.ppf(1e-6)), int(law.ppf(1 - 1e-6)) + 1
    k = np.arange(low, high + 1)
    expected = law.pmf(k) * n
    counts = np.bincount(np.clip(samples, low, high).astype(int) - low, minlength=k.size)
    wide = expected >= 20
    rest = (counts[~wide].sum(), expected[~wide].sum())
    observed, wanted = np.append(counts[wide], rest[0]), np.append(expected[wide], rest[1])
    statistic = ((observed - wanted) ** 2 / np.maximum(wanted, 1)).sum()
    assert stats.chi2.sf(statistic, observed.size - 1) > 1e-4
    assert abs(samples.mean() - law.mean()) < 5 * law.std() / n**0.5


@pytest.mark.parametrize("mean", [0.3, 4.0, 9.9, 10.1, 60.0, 2e4])
def test_poisson_samples_follow_their_law(mean: float):
    tgrad.manual_seed(1)
    agrees(tgrad.poisson(tgrad.full((40000,), mean)).numpy(), stats.poisson(mean))


@pytest.mark.parametrize("n, p", [(1, 0.3), (20, 0.2), (20, 0.9), (60, 0.3), (500, 0.7), (9, 0.5)])
def test_binomial_samples_follow_their_law(n: int, p: float):
    tgrad.manual_seed(2)
    counts = tgrad.full((40000,), float(n))
    agrees(tgrad.binomial(counts, tgrad.full((40000,), p)).numpy(), stats.binom(n, p))


def test_samples_are_the_same_on_both_devices_and_by_seed():
    rate = tgrad.tensor([0.0, 0.5, 3.0, 12.0, 250.0, 1e6], dtype=tgrad.float64)
    n, p = tgrad.tensor([0.0, 5, 40, 1000]), tgrad.tensor([0.5, 1.0, 0.5, 0.25])
    found = []
    for device in ("cpu", "cuda", "cpu"):
        tgrad.manual_seed(7)
        a = tgrad.poisson(rate.to(device))
        b = tgrad.binomial(n.to(device), p.to(device))
        assert a.dtype is tgrad.float64 and b.dtype is tgrad.float32 and a.device.type == device
        found.append((a.tolist(), b.tolist()))
    assert found[0] == found[1] == found[2]
    assert found[0][0][0] == 0 and found[0][1][:2] == [0, 5]
    assert (tgrad.poisson(rate) != tgrad.poisson(rate)).any()


def test_a_generator_of_ones_own_is_used():
    rate = tgrad.full((50,), 20.0)
    a, b = (tgrad.poisson(rate, tgrad.Generator().manual_seed(4)) for _ in range(2))
    assert tgrad.equal(a, b)


@pytest.mark.parametrize("call, match", [
    (lambda: tgrad.poisson(tgrad.tensor([-1.0])), "non-negative"),
    (lambda: tgrad.binomial(tgrad.ones(2), tgrad.tensor([0.5, 1.5])), "probabilities in"),
    (lambda: tgrad.binomial(-tgrad.ones(1), tgrad.ones(1)), "counts of at least 0"),
])  # fmt: skip
def test_what_is_no_law_raises(call, match):
    with pytest.raises(RuntimeError, match=match):
        call()


def test_integers_are_refused():
    with pytest.raises(NotImplementedError, match="poisson"):
        tgrad.poisson(tgrad.tensor([1]))
    with pytest.raises(NotImplementedError, match="binomial"):
        tgrad.binomial(tgrad.ones(1), tgrad.tensor([1]))


def test_nan_stays():
    p = tgrad.binomial(tgrad.tensor([5.0, math.nan, 5.0]), tgrad.tensor([math.nan, 0.5, 1.0]))
    assert p.isnan().tolist() == [True, True, False] and p[2].item() == 5.0
    assert tgrad.poisson(tgrad.tensor([math.nan])).isnan().all()
