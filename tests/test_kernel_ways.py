"""Every way through the CUDA kernels on small arrays: 64-bit offsets, tiles, splits, tails."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.kernels.cuda.limits import common_unit, limits

rng = np.random.default_rng(0)


@pytest.fixture(params=[False, True], ids=["32 bits", "64 bits"])
def small(request, monkeypatch):
    """Limits at which small arrays take the ways of large ones."""
    monkeypatch.setattr(limits, "inner", 8)
    monkeypatch.setattr(limits, "transposed", 8)
    monkeypatch.setattr(limits, "row", 32)
    monkeypatch.setattr(limits, "programs", 12)
    if request.param:
        monkeypatch.setattr(limits, "index", 1)


def agree(f, *arrays: np.ndarray, exact: bool = False, rtol: float = 1e-10) -> None:
    """The same from the GPU's kernels as from the CPU's."""
    with_numpy = [tgrad.from_numpy(a) for a in arrays]
    want = f(*with_numpy)
    got = f(*[x.cuda() for x in with_numpy])
    for g, w in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, want)), strict=True):
        assert g.dtype is w.dtype
        if exact:
            np.testing.assert_array_equal(g.cpu().numpy(), w.numpy())
        else:
            np.testing.assert_allclose(g.cpu().numpy(), w.numpy(), rtol=rtol, atol=rtol)


# ---- pointwise -----------------------------------------------------------------------------------

X, ROW = rng.standard_normal((37, 24)), rng.standard_normal(24)
COLUMN = rng.standard_normal((37, 1))
CUBE, CHANNEL = rng.standard_normal((3, 20, 9)), rng.standard_normal((20, 1))
POINTWISE = {
    "rows": lambda x, row, column, cube, channel: x * row - column,
    "one element": lambda x, row, column, cube, channel: x * row[:1] + column[0, 0],
    "columns alone": lambda x, row, column, cube, channel: column * row[None, ::2],
    "odd rows": lambda x, row, column, cube, channel: x[:, :23] * row[1:] - column,
    "planes": lambda x, row, column, cube, channel: cube * channel + channel[:1],
    "turned": lambda x, row, column, cube, channel: x.t() * row[:, None] + column[:, 0],
    "turned batch": lambda x, row, column, cube, channel: cube.transpose(1, 2) * channel[:, 0],
    "turned outside in": lambda x, row, column, cube, channel: cube.permute(2, 1, 0) * 2,
    "strided": lambda x, row, column, cube, channel: x[::2, ::3] + x[1::2, 1::3].sum(),
    "short rows": lambda x, row, column, cube, channel: x[:, :3] * row[:3] + column,
    "conditions": lambda x, row, column, cube, channel: tgrad.where(column > 0, x, row),
    "one condition": lambda x, row, column, cube, channel: tgrad.where(row[:1] > 9, x, column),
    "backwards": lambda x, row, column, cube, channel: x.flip(1) * x,
}


@pytest.mark.parametrize("case", POINTWISE)
@pytest.mark.usefixtures("small")
def test_pointwise_addresses_any_strides(case):
    agree(POINTWISE[case], X, ROW, COLUMN, CUBE, CHANNEL)


@pytest.mark.usefixtures("small")
def test_pointwise_writes_views_in_place():
    def f(x, row):
        x = x.clone()
        x.t().add_(row[:, None])
        x[:, 1:20:2].mul_(3)
        x[3:, 5].copy_(x[3:, 6])
        return x

    agree(f, X, ROW)


def test_common_unit_divides_everything():
    assert common_unit(16, 1000, 4096) == 8
    assert common_unit(16, 0, 48) == 16
    assert common_unit(16, 7) == 1
    assert common_unit(16, -12) == 4
