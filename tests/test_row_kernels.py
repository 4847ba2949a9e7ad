"""Ways through the CPU kernels of rows: pieces, threads, ties, long rows, not finite ones."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.kernels.cpu import norm, norms, rows, search, softmax, sort

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = (np.int8, np.uint8, np.int16, np.int32, np.int64)


# ---- sorting -------------------------------------------------------------------------------------


def hostile(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Numbers with ties, both zeros, infinities and NaN."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    zeros = np.round(x * 2) / 2
    zeros[zeros == 0] *= np.sign(x[zeros == 0])
    odd = zeros.copy()
    odd[x > 1.5], odd[x < -1.5], odd[(x > 1.2) & (x < 1.5)] = np.nan, -np.inf, np.inf
    rare = x.copy()
    rare.reshape(-1)[::7] = np.nan
    return {"normal": x, "ties": zeros, "odd": odd, "rare": rare, "all": np.full(shape, np.nan)}


def numbers(shape: tuple[int, ...]) -> list[tgrad.Tensor]:
    rng = np.random.default_rng(2)
    found = [
        tgrad.from_numpy(x).to(getattr(tgrad, name))
        for x in hostile(shape).values()
        for name in FLOATS
    ]
    integers = [rng.integers(0, 100, shape).astype(kind) for kind in INTEGERS]
    bounds = np.iinfo(np.int64)
    integers += [
        rng.integers(bounds.min, bounds.max, shape),
        np.where(rng.random(shape) < 0.5, bounds.min, bounds.max),
        rng.random(shape) < 0.5,
    ]
    return found + [tgrad.from_numpy(x) for x in integers]


def order(x: np.ndarray, descending: bool) -> np.ndarray:
    """By Python's stable sort, NaN as the greatest."""

    def place(row: list, i: int) -> tuple[bool, float]:
        v, nan = row[i], row[i] != row[i]
        return (not nan, 0 if nan else -v) if descending else (nan, 0 if nan else v)

    rows = [sorted(range(len(r)), key=lambda i: place(r, i)) for r in x.tolist()]
    return np.array(rows, np.int64).reshape(x.shape)


def host(x: tgrad.Tensor) -> np.ndarray:
    return x.double().numpy() if x.is_floating_point() else x.numpy()


def assert_same_elements(y: tgrad.Tensor, x: np.ndarray) -> None:
    np.testing.assert_array_equal(host(y), x)
    if x.dtype.kind == "f":  # the sign of zeros too
        number = x == x
        np.testing.assert_array_equal(np.signbit(host(y))[number], np.signbit(x)[number])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 200), (1, 1500)])
def test_sort_is_stable_for_every_dtype(shape: tuple[int, ...], descending: bool, monkeypatch):
    monkeypatch.setattr(sort, "FAR", 1000)  # the longest takes the way of a million
    for x in numbers(shape):
        at = order(host(x), descending)
        values, indices = tgrad.sort(x, 1, descending)
        np.testing.assert_array_equal(indices.numpy(), at, str(x.dtype))
        assert_same_elements(values, np.take_along_axis(host(x), at, 1))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 3, 16, 250])
def test_topk_takes_the_first_of_equal_ones(k: int, largest: bool):
    for x in numbers((3, 1500)):
        if x.dtype is tgrad.bool:
            continue
        at = order(host(x), largest)[:, :k]
        values, indices = tgrad.topk(x, k, 1, largest)
        np.testing.assert_array_equal(indices.numpy(), at, str(x.dtype))
        assert_same_elements(values, np.take_along_axis(host(x), at, 1))
        turned = tgrad.topk(x.t().contiguous(), k, 0, largest)[1]
        np.testing.assert_array_equal(turned.numpy().T, at)


# ---- pieces and threads --------------------------------------------------------------------------


@pytest.fixture(params=["one thread", "two threads"])
def pieces(request, monkeypatch):
    """Pieces of a few rows, so that small arrays take the ways of large ones."""
    threads = tgrad.get_num_threads()
    monkeypatch.setattr(rows, "PIECE", 512)
    monkeypatch.setattr(rows, "WIDE_PIECE", 1024)
    if request.param == "two threads":
        for module in (rows, softmax, norm, norms):
            monkeypatch.setattr(module, "BUSY", 4000)
        monkeypatch.setattr(rows, "PARALLEL", 4000)
        tgrad.set_num_threads(2)
    yield
    tgrad.set_num_threads(threads)


SHAPES = [(37, 300), (1, 20_000), (5, 4099), (20, 33, 17)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_and_threads_change_no_reduction(shape: tuple[int, ...], dtype: str, pieces):
    x = tgrad.from_numpy(np.random.default_rng(3).standard_normal(shape)).to(getattr(tgrad, dtype))
    a = x.double().numpy()
    bound = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(x.logsumexp(1).numpy(), np.log(np.exp(a).sum(1)), rtol=bound)
    np.testing.assert_allclose(
        tgrad.linalg.vector_norm(x, dim=1).numpy(), np.sqrt((a * a).sum(1)), rtol=bound
    )
    np.testing.assert_allclose(
        tgrad.softmax(x, 1).numpy(), np.exp(a) / np.exp(a).sum(1, keepdims=True), rtol=4 * bound
    )
    np.testing.assert_allclose(
        tgrad.nn.functional.layer_norm(x, shape[1:]).double().numpy(),
        (a - a.reshape(len(a), -1).mean(1).reshape(-1, *[1] * (a.ndim - 1)))
        / np.sqrt(a.reshape(len(a), -1).var(1) + 1e-5).reshape(-1, *[1] * (a.ndim - 1)),
        atol=20 * bound,
    )


def test_logsumexp_keeps_infinities_and_nan_to_their_rows(pieces):
    x = np.random.default_rng(4).standard_normal((60, 300))
    x[3, 5], x[20], x[21, 7], x[40, 9] = np.inf, -np.inf, -np.inf, np.nan
    with np.errstate(divide="ignore"):
        want = np.log(np.exp(x).sum(1))
    np.testing.assert_allclose(tgrad.from_numpy(x).logsumexp(1).numpy(), want, rtol=1e-12)
    large = tgrad.from_numpy(x * 1e3).logsumexp(1).numpy()  # beyond where exp overflows
    np.testing.assert_allclose(large, np.max(x, 1) * 1e3, rtol=1e-2)


# ---- running sums --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(3, 64), (5, 1000), (2, 40_003), (1, 131)])
def test_cumsum_of_long_rows_keeps_the_accuracy_of_float64(shape: tuple[int, ...], dtype: str):
    x = tgrad.from_numpy(np.random.default_rng(5).uniform(-1, 1.5, shape))
    x = x.to(getattr(tgrad, dtype)).requires_grad_()
    a = x.detach().double().numpy()
    y = x.cumsum(1)
    bound = {"float32": 3e-7, "float16": 1e-3}[dtype]
    want = a.cumsum(1)
    np.testing.assert_allclose(host(y.detach()), want, atol=bound * np.abs(want).max())
    y.backward(x.detach())  # sums from the end
    want = a[:, ::-1].cumsum(1)[:, ::-1]
    assert x.grad is not None
    np.testing.assert_allclose(host(x.grad), want, atol=bound * np.abs(want).max())


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 40, 99])
def test_cumsum_is_finite_up_to_the_first_element_that_is_not(odd: float, place: int):
    x = np.ones((3, 100), np.float32)
    x[1, place] = odd
    y = tgrad.from_numpy(x).cumsum(1).numpy()
    np.testing.assert_array_equal(y, x.cumsum(1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("size", [1, 50, 300, 5000])
def test_searches_of_sorted_pieces_find_what_numpy_finds(size: int, dtype: str, monkeypatch):
    monkeypatch.setattr(search, "PARALLEL", 1000)
    monkeypatch.setattr(search, "PIECE", 700)
    rng = np.random.default_rng(6)
    sequence, x = (rng.integers(-90, 90, n) / 8 for n in (size, 3030))
    if dtype != "int32":
        x[:5], x[5:9] = np.nan, -0.0
        sequence[: size // 3] = np.inf
    sequence = np.sort(sequence.astype(dtype))
    x = x.reshape(30, 101).astype(dtype)
    for side in ("left", "right"):
        found = tgrad.searchsorted(tgrad.from_numpy(sequence), tgrad.from_numpy(x), side=side)
        np.testing.assert_array_equal(found.numpy(), np.searchsorted(sequence, x, side))
