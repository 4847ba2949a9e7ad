"""Every way through the CUDA kernels on small arrays: 64-bit offsets, tiles, splits, tails."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import tgrad
from tgrad.kernels.cuda.axes import tiles
from tgrad.kernels.cuda.limits import common_unit, limits

rng = np.random.default_rng(0)


@pytest.fixture
def small(request, monkeypatch):
    """Limits at which small arrays take the ways of large ones; every other case with 64 bits."""
    monkeypatch.setattr(limits, "inner", 8)
    monkeypatch.setattr(limits, "transposed", 8)
    monkeypatch.setattr(limits, "row", 32)
    monkeypatch.setattr(limits, "programs", 12)
    if len(request.node.name) % 2:
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


# ---- rows ----------------------------------------------------------------------------------------

F = tgrad.nn.functional
LONG = {  # rows of at most 32 are kept: these are walked, and split where there are few
    "rows": (rng.standard_normal((2, 71)), 1),
    "even rows": (rng.standard_normal((2, 80)), 1),
    "many rows": (rng.standard_normal((9, 41)), 1),
    "columns": (rng.standard_normal((71, 2)), 0),
    "planes": (rng.standard_normal((1, 70, 20)), 1),
    "strided": (rng.standard_normal((4, 150))[::2, ::2], 1),
    "short": (rng.standard_normal((40, 7)), 1),
}


def with_gradients(f, *arrays: np.ndarray):
    """f's result and the gradients of its inputs for a fixed gradient of it."""

    def run(*xs):
        xs = [x.detach().requires_grad_() for x in xs]
        y = f(*xs)
        g = tgrad.from_numpy(np.random.default_rng(1).standard_normal(y.shape)).to(y.device)
        return (y.detach(), *tgrad.autograd.grad(y, xs, g))

    agree(run, *arrays)


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("f", [tgrad.softmax, tgrad.log_softmax])
@pytest.mark.usefixtures("small")
def test_softmax_walks_and_splits_rows(case, f):
    x, dim = LONG[case]
    with_gradients(lambda x: f(x, dim), x)


@pytest.mark.parametrize("case", ["rows", "even rows", "many rows", "strided", "short"])
@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm])
@pytest.mark.usefixtures("small")
def test_norms_walk_and_split_rows(case, norm):
    x, _ = LONG[case]
    n = x.shape[1:]
    if norm is F.layer_norm:
        w, b = rng.standard_normal(n), rng.standard_normal(n)
        with_gradients(lambda x, w, b: norm(x, n, w, b), 100 + x, w, b)
    else:
        with_gradients(lambda x, w: norm(x, n, w, eps=1e-5), x, rng.standard_normal(n))


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.usefixtures("small")
def test_cross_entropy_walks_and_splits_rows(case, reduction):
    x, dim = LONG[case]
    x = np.moveaxis(x, dim, 1) if x.ndim == 3 else x if dim else x.T
    target = rng.integers(0, x.shape[1], (x.shape[0], *x.shape[2:]))
    target[0] = -100
    with_gradients(
        lambda x: F.cross_entropy(x, tgrad.from_numpy(target).to(x.device), reduction=reduction), x
    )


def test_split_rows_keep_infinities_apart(monkeypatch):
    monkeypatch.setattr(limits, "row", 32)
    x = np.zeros((3, 200))
    x[0, :150], x[1, 120], x[2, 30] = -np.inf, np.inf, np.nan
    for f in (tgrad.softmax, tgrad.log_softmax):
        y = f(tgrad.from_numpy(x).cuda(), 1).cpu().numpy()
        np.testing.assert_allclose(y[0], f(tgrad.from_numpy(x[:1]), 1).numpy()[0], rtol=1e-12)
        assert np.isnan(y[1, 120]) and np.isnan(y[2]).all()


# ---- reductions and scans ------------------------------------------------------------------------

AXES = {  # arrays and the axis to go along; with 12 programs these are split
    "rows": (rng.standard_normal((2, 96)), 1),
    "odd rows": (rng.standard_normal((2, 75)), 1),
    "columns": (rng.standard_normal((70, 8)), 0),
    "odd columns": (rng.standard_normal((70, 7)), 0),
    "middle": (rng.standard_normal((2, 70, 8)), 1),
    "strided": (rng.standard_normal((4, 160))[::2, ::2], 1),
    "turned": (rng.standard_normal((2, 6, 8)).transpose(2, 0, 1), 2),
}
REDUCTIONS = {
    "sum": lambda x, dim: x.sum(dim),
    "amax": lambda x, dim: x.amax(dim),
    "max": lambda x, dim: tuple(x.max(dim)),
    "argmin": lambda x, dim: x.argmin(dim),
    "var": lambda x, dim: x.var(dim),
    "logsumexp": lambda x, dim: x.logsumexp(dim),
    "all": lambda x, dim: x.sum(),
    "cumsum": lambda x, dim: x.cumsum(dim),
}


@pytest.fixture
def narrow(monkeypatch):
    """Tiles of few elements, so that short axes take several and are split."""
    for module in ("reduction", "extrema", "statistics", "norms", "batch_norm"):
        whole = importlib.import_module(f"tgrad.kernels.cuda.{module}")
        monkeypatch.setattr(whole, "tiles", lambda axes, elements, **more: tiles(axes, 32, **more))
    scan = importlib.import_module("tgrad.kernels.cuda.scan")
    monkeypatch.setattr(scan, "tile_elements", lambda function, itemsize=4: 32)


@pytest.mark.parametrize("case", AXES)
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.usefixtures("small", "narrow")
def test_reductions_and_scans_take_several_tiles_and_programs(case, name):
    x, dim = AXES[case]
    agree(lambda x: REDUCTIONS[name](x, dim), x)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "odd"])
@pytest.mark.usefixtures("small", "narrow")
def test_batch_norm_splits_channels(layout):
    x = rng.standard_normal((4, 8, 5, 8 if layout != "odd" else 7))

    def f(x, w, b):
        if layout == "channels last":
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return F.batch_norm(x, None, None, w, b, training=True)

    with_gradients(f, x, rng.standard_normal(8), rng.standard_normal(8))


# ---- rows found by index -------------------------------------------------------------------------

TABLE, WHERE = rng.standard_normal((9, 24)), np.array([[3, -1, 0], [8, 3, 3]])
MOVES = {
    "index": lambda x, i: x[i],
    "index columns": lambda x, i: x[:, i],
    "two indices": lambda x, i: x.reshape(3, 3, 24)[i % 3, i % 2],
    "narrow": lambda x, i: x[:, 1:20][i],
    "index_select": lambda x, i: x.index_select(0, i[1]),
    "put": lambda x, i: x.index_put((i[0],), x[:3] * 2),
    "fill": lambda x, i: x.index_fill(0, i[0] % 9, 7.0),
    "add": lambda x, i: x.index_add(0, i[1], x[:3] * 2),
}


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.usefixtures("small")
def test_rows_are_moved_whole(case):
    where = tgrad.from_numpy(WHERE)
    with_gradients(lambda x: MOVES[case](x, where.to(x.device)), TABLE)


# ---- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.usefixtures("small")
def test_few_of_long_rows_are_found_in_rounds(largest, dtype, dim):
    x = np.random.default_rng(3).integers(-50, 50, (2, 400)).astype(dtype)  # with many ties
    x = x if dim else x.T
    values, indices = tgrad.from_numpy(x).cuda().topk(7, dim, largest)
    order = np.argsort(-x if largest else x, dim, kind="stable").take(range(7), dim)
    np.testing.assert_array_equal(indices.cpu().numpy(), order)
    np.testing.assert_array_equal(values.cpu().numpy(), np.take_along_axis(x, order, dim))


@pytest.mark.parametrize("dtype", [np.float64, np.int16])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.usefixtures("small")
def test_long_rows_are_sorted_stably(dtype, descending):
    x = np.random.default_rng(4).integers(-9, 9, (2, 600)).astype(dtype)
    values, indices = tgrad.from_numpy(x).cuda().sort(1, descending, stable=True)
    order = np.argsort(-x if descending else x, 1, kind="stable")
    np.testing.assert_array_equal(indices.cpu().numpy(), order)
    np.testing.assert_array_equal(values.cpu().numpy(), np.take_along_axis(x, order, 1))


def test_counts_are_added_up_in_chunks(monkeypatch):
    monkeypatch.setattr(limits, "scan", 16)
    repeats = np.random.default_rng(5).integers(0, 3, 300)
    y = tgrad.repeat_interleave(tgrad.from_numpy(repeats).cuda())
    np.testing.assert_array_equal(y.cpu().numpy(), np.repeat(np.arange(300), repeats))


def test_common_unit_divides_everything():
    assert common_unit(16, 1000, 4096) == 8
    assert common_unit(16, 0, 48) == 16
    assert common_unit(16, 7) == 1
    assert common_unit(16, -12) == 4
