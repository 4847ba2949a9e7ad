"""Convolution and pooling: what their table rows do not say."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tests.rows.conv import conv2d as reference
from tgrad.dispatch import wrap
from tgrad.kernels.cpu import columns, depthwise, pool, winograd
from tgrad.nn import functional as F

on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))


def random(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tensor(a: np.ndarray, device: str = "cpu") -> tgrad.Tensor:
    return tgrad.from_numpy(a).to(device)


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def by_winograd(x: np.ndarray, w: np.ndarray, b: np.ndarray, pad: int, tile: int) -> np.ndarray:
    size = x.shape[2] + 2 * pad - 2, x.shape[3] + 2 * pad - 2
    y = np.empty((len(x), len(w), *size), x.dtype)
    winograd.correlate(y, x, w, b, (-pad, -pad), tile)
    return y


@pytest.mark.parametrize("pad", (0, 1, 3))
@pytest.mark.parametrize("tile, bound", ((2, 1e-6), (4, 3e-5)))
def test_winograd_agrees_with_direct_sums(tile: int, bound: float, pad: int):
    x, w, b = random(3, 5, 9, 7), random(4, 5, 3, 3, seed=1), random(4, seed=2)
    want = reference(x.astype(np.float64), w.astype(np.float64), b, padding=pad)
    assert error(by_winograd(x, w, b, pad, tile), want) < bound


def test_winograd_in_several_chunks_gives_the_same_bits(monkeypatch):
    x, w, b = random(5, 4, 8, 8), random(4, 4, 3, 3, seed=1), random(4, seed=2)
    whole = by_winograd(x, w, b, 1, 2)
    monkeypatch.setattr(winograd, "CHUNK", 2 * 16 * 16 * 4)
    np.testing.assert_allclose(by_winograd(x, w, b, 1, 2), whole, rtol=1e-5, atol=1e-5)


def test_large_3x3_convolutions_take_winograd_and_stay_exact():
    x, w, b = random(2, 32, 9, 8), random(32, 32, 3, 3, seed=1), random(32, seed=2)
    xs, ws, bs = (tensor(a).requires_grad_() for a in (x, w, b))
    y = tgrad.conv2d(xs, ws, bs, padding=1)
    assert winograd.pays(y.numpy(force=True), w[None], (1, 1), (1, 1))
    want = reference(x.astype(np.float64), w.astype(np.float64), b, padding=1)
    assert error(y.numpy(force=True), want) < 1e-6
    wide = [tensor(a.astype(np.float64)).requires_grad_() for a in (x, w, b)]
    g = random(*y.shape, seed=3)
    found = tgrad.autograd.grad(y, [xs, ws, bs], tensor(g))
    exact = tgrad.autograd.grad(tgrad.conv2d(*wide, padding=1), wide, tensor(g.astype(np.float64)))
    for a, e in zip(found, exact, strict=True):
        assert error(a.numpy(), e.numpy()) < 1e-6


def in_small_pieces(monkeypatch, nbytes: int, long: int) -> None:
    """Columns of so many bytes, by several threads; rows of ``long`` pixels have channels first."""
    for name, value in {"BYTES": nbytes, "PIXELS": 1, "PARALLEL": 0, "LONG": long}.items():
        monkeypatch.setattr(columns, name, value)


@pytest.mark.parametrize("long", (1, 1000), ids=("rows", "pixels"))
@pytest.mark.parametrize("nbytes", (4, 3 * 5 * 27 * 4, 2 * 25 * 27 * 4), ids=("row", "rows", "two"))
def test_im2col_in_several_pieces_gives_the_same_result(monkeypatch, nbytes: int, long: int):
    x, w, g = random(5, 3, 9, 9), random(4, 3, 3, 3, seed=1), random(5, 4, 5, 5, seed=2)

    def run():
        xs, ws = tensor(x).requires_grad_(), tensor(w).requires_grad_()
        y = tgrad.conv2d(xs, ws, stride=2, padding=1)
        return [y.detach(), *tgrad.autograd.grad(y, [xs, ws], tensor(g))]

    whole = run()
    in_small_pieces(monkeypatch, nbytes, long)
    for a, e in zip(run(), whole, strict=True):
        np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("nbytes", (4, 1 << 20), ids=("pieces", "whole"))
def test_a_gradient_of_few_channels_is_spread_over_the_image(monkeypatch, nbytes: int):
    w, g = random(9, 2, 3, 4, seed=1), random(3, 9, 12, 26, seed=2)
    size = {"padding": (2, 1), "output_padding": (1, 0), "stride": (2, 1), "dilation": (1, 2)}

    def run(dtype):
        w_, g_ = tensor(w.astype(dtype)), tensor(g.astype(dtype))
        return F.conv_transpose2d(g_, w_, **size).numpy()

    monkeypatch.setattr(columns, "LONG", 1000)
    exact = run(np.float64)
    in_small_pieces(monkeypatch, nbytes, 1)
    assert error(run(np.float32), exact) < 1e-6


@pytest.mark.parametrize("tiles", (1, 7, 40))
def test_winograd_in_pieces_stays_exact(monkeypatch, tiles: int):
    x, w, b = random(5, 33, 11, 13), random(34, 33, 3, 3, seed=1), random(34, seed=2)
    for name, value in {"CHUNK": 1, "TILES": tiles}.items():
        monkeypatch.setattr(winograd, name, value)
    y = tgrad.conv2d(tensor(x), tensor(w), tensor(b), padding=1)
    assert error(y.numpy(), reference(x.astype(np.float64), w, b, padding=1)) < 1e-6


def test_depthwise_sums_and_pools_in_threads_are_the_same_every_time(monkeypatch):
    x, w = random(4, 9, 14, 15), random(9, 1, 3, 3, seed=1)

    def run():
        xs, ws = tensor(x).requires_grad_(), tensor(w).requires_grad_()
        y = F.conv2d(xs, ws, padding=1, groups=9)
        z = F.avg_pool2d(y, 2) + F.avg_pool2d(y, 3, 2, 1, ceil_mode=False)[..., :7, :7]
        z = z + F.max_pool2d(y, 2)
        return [z.detach(), *tgrad.autograd.grad(z, [xs, ws], tensor(random(*z.shape, seed=2)))]

    whole = run()
    for module in (depthwise, pool):
        for name, value in {"CHUNK": 1000, "PARALLEL": 0}.items():
            monkeypatch.setattr(module, name, value)
    first = run()
    for a, e, again in zip(first, whole, run(), strict=True):
        np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(a.numpy(), again.numpy())


def test_channels_a_power_of_two_apart_are_read_right():
    x, w = random(2, 16, 16, 32), random(3, 16, 3, 2, seed=1)
    y = tgrad.conv2d(tensor(x), tensor(w), padding=1)
    assert error(y.numpy(), reference(x.astype(np.float64), w, padding=1)) < 1e-6


def channels_last(a: np.ndarray, device: str) -> tgrad.Tensor:
    """(N, C, H, W) over memory in the order (N, H, W, C)."""
    moved = tensor(np.ascontiguousarray(a.transpose(0, 2, 3, 1)), device)
    return wrap(moved.array.transpose(0, 3, 1, 2), moved.device)


@on_devices
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_channels_last_inputs_give_the_same_answer(device: str, dtype: str):
    x, w = random(2, 17, 5, 6), random(18, 17, 3, 3, seed=1)
    element = getattr(tgrad, dtype)
    xs = channels_last(x, device).to(element)
    if xs.array.strides[1] != xs.array.itemsize:  # a conversion makes it contiguous again
        moved = xs.permute(0, 2, 3, 1).contiguous()
        xs = wrap(moved.array.transpose(0, 3, 1, 2), moved.device)
    xs.requires_grad_()
    ws = tensor(w, device).to(element).requires_grad_()
    y = tgrad.conv2d(xs, ws, padding=1, stride=(1, 2))
    g = channels_last(random(*y.shape, seed=2), device).to(element)
    found = [y.detach(), *tgrad.autograd.grad(y, [xs, ws], g)]
    wide = [a.detach().cpu().double().contiguous().requires_grad_() for a in (xs, ws)]
    exact_y = tgrad.conv2d(*wide, padding=1, stride=(1, 2))
    exact = [exact_y.detach(), *tgrad.autograd.grad(exact_y, wide, g.cpu().double())]
    bound = 1e-6 if dtype == "float32" else 2e-2
    for a, e in zip(found, exact, strict=True):
        assert a.dtype is element
        assert error(a.cpu().double().numpy(), e.numpy()) < bound


@on_devices
def test_a_transposed_convolution_is_the_gradient_of_a_convolution(device: str):
    x, w = tensor(random(1, 3, 7, 8), device), tensor(random(4, 3, 3, 2, seed=1), device)
    x.requires_grad_()
    y = tgrad.conv2d(x, w, stride=(2, 3), padding=1)
    g = tensor(random(*y.shape, seed=2), device)
    (dx,) = tgrad.autograd.grad(y, [x], g)
    back = tgrad.conv_transpose2d(g, w, stride=(2, 3), padding=1, output_padding=(0, 2))
    np.testing.assert_array_equal(back.cpu().numpy(), dx.cpu().numpy())


@on_devices
def test_an_infinity_stays_in_the_windows_that_hold_it(device: str):
    x = random(1, 1, 6, 6)
    x[0, 0, 0, 0], x[0, 0, 5, 5] = np.inf, np.nan
    y = F.avg_pool2d(tensor(x, device), 2).cpu().numpy()[0, 0]
    assert y[0, 0] == np.inf and np.isnan(y[2, 2])
    assert np.isfinite(y).sum() == 7
    z = tgrad.conv2d(tensor(x, device), tensor(random(1, 1, 2, 2), device), stride=2)
    assert np.isfinite(z.cpu().numpy()).sum() == 7


@on_devices
def test_the_last_nan_of_a_window_wins(device: str):
    x = np.array([[[1.0, np.nan, 3, 0], [np.nan, 2, 5, 0]]])
    y, index = F.max_pool2d(tensor(x, device), 2, return_indices=True)
    np.testing.assert_array_equal(y.cpu().numpy(), [[[np.nan, 5]]])
    np.testing.assert_array_equal(index.cpu().numpy(), [[[4, 6]]])


@on_devices
def test_windows_without_a_finite_element_give_minus_infinity(device: str):
    x = tensor(np.full((1, 3, 3), -np.inf), device)
    y, index = F.max_pool2d(x, 2, 1, 1, return_indices=True)
    assert (y.cpu().numpy() == -np.inf).all()
    assert index.cpu().numpy()[0, 0].tolist() == [0, 0, 1, 2]


@on_devices
def test_max_pool_takes_integers(device: str):
    x = np.arange(16).reshape(1, 4, 4) - 20
    y = tgrad.max_pool2d(tensor(x, device), 3, 2, 1)
    assert y.dtype is tgrad.int64
    np.testing.assert_array_equal(y.cpu().numpy(), [[[-15, -13], [-7, -5]]])


def test_inputs_are_left_unchanged():
    x = random(2, 3, 6, 6)
    before = x.copy()
    F.max_pool2d(tensor(x), 3, 1, 1)
    F.avg_pool2d(tensor(x), 3, 1, 1)
    tgrad.conv2d(tensor(x), tensor(random(2, 3, 3, 3)))
    np.testing.assert_array_equal(x, before)


def test_pooling_without_gradient_makes_no_codes():
    x = tensor(random(1, 2, 4, 4))
    with tgrad.no_grad():
        assert F.max_pool2d(x.requires_grad_(), 2).grad_fn is None
    assert F.max_pool2d(x, 2).grad_fn is not None


@pytest.mark.parametrize("stride", (1, 2))
def test_depthwise_in_several_chunks_gives_the_same_result(monkeypatch, stride: int):
    x, w = random(3, 6, 7, 5), random(12, 1, 3, 3, seed=1)
    g = random(3, 12, (7 - 1) // stride + 1, (5 - 1) // stride + 1, seed=2)

    def run():
        xs, ws = tensor(x).requires_grad_(), tensor(w).requires_grad_()
        y = tgrad.conv2d(xs, ws, stride=stride, padding=1, groups=6)
        return [y.detach(), *tgrad.autograd.grad(y, [xs, ws], tensor(g))]

    whole = run()
    monkeypatch.setattr(depthwise, "CHUNK", 2 * 2 * g[0, 0].size)
    for a, e in zip(run(), whole, strict=True):
        np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-5, atol=1e-5)


def test_an_infinity_reaches_the_weight_gradient_of_the_taps_that_read_it_only():
    x = random(1, 2, 4, 4)
    x[0, 0, 1, 0] = np.inf  # the first column: tap 1 never reads it
    w = tensor(random(2, 1, 1, 2)).requires_grad_()
    g = np.zeros((1, 2, 4, 3), np.float32)
    g[0, 0, 0, 2] = 1
    (dw,) = tgrad.autograd.grad(tgrad.conv2d(tensor(x), w, groups=2), [w], tensor(g))
    assert np.isnan(dw.numpy()[0, 0, 0, 0])  # 0 * inf
    assert np.isfinite(dw.numpy()[0, 0, 0, 1]) and np.isfinite(dw.numpy()[1]).all()


@on_devices
def test_windows_of_more_than_256_elements_are_told_apart(device: str):
    x = np.zeros((1, 1, 260), np.float32)
    x[0, 0, 258] = 1
    xs = tensor(x, device).requires_grad_()
    y, index = F.max_pool2d(xs, (1, 257), (1, 3), return_indices=True)
    assert index.cpu().numpy().tolist() == [[[0, 258]]]
    y.backward(tensor(np.array([[[2, 3]]], np.float32), device))
    assert xs.grad is not None
    want = np.zeros_like(x)
    want[0, 0, [0, 258]] = 2, 3
    np.testing.assert_array_equal(xs.grad.cpu().numpy(), want)


# ---- on a GPU ------------------------------------------------------------------------------------


def gradients(x: np.ndarray, w: np.ndarray, device: str, **options) -> list[np.ndarray]:
    """y and both gradients of a convolution, in float64 where on the CPU."""
    xs, ws = (tensor(a, device) for a in (x, w))
    if device == "cpu":
        xs, ws = xs.double(), ws.double()
    xs.requires_grad_()
    ws.requires_grad_()
    y = tgrad.conv2d(xs, ws, **options)
    g = tensor(random(*y.shape, seed=5), device).to(y.dtype)
    found = [y.detach(), *tgrad.autograd.grad(y, [xs, ws], g)]
    return [a.cpu().double().numpy() for a in found]


CASES = (
    ((1, 40, 6, 5), (36, 20, 3, 2), {"padding": 1, "groups": 2}),  # channels padded by group
    ((2, 16, 7, 6), (24, 16, 3, 3), {"stride": (2, 3), "padding": (0, 1), "dilation": (1, 2)}),
    ((2, 16, 4, 4), (32, 16, 1, 1), {}),  # a product
    ((2, 32, 3, 3), (48, 16, 1, 1), {"groups": 2}),  # rows of 9 pixels, off 16 bytes
    ((1, 16, 5, 5), (16, 16, 1, 1), {"stride": 2}),
    ((1, 16, 5, 5), (16, 16, 1, 1), {"padding": 1}),
)


@pytest.mark.parametrize("shape, size, options", CASES)
def test_many_channels_agree_with_float64(shape, size, options):
    x, w = random(*shape), random(*size, seed=1)
    for got, want in zip(
        gradients(x, w, "cuda", **options), gradients(x, w, "cpu", **options), strict=True
    ):
        assert error(got, want) < 3e-6


@pytest.mark.parametrize(
    "shape, size", (((1, 20, 6, 5), (17, 20, 3, 3)), ((1, 3, 6, 5), (4, 3, 3, 2)))
)
def test_64_bit_offsets_give_the_same_convolution(monkeypatch, shape, size):
    from tgrad.kernels.cuda.limits import limits

    x, w = random(*shape), random(*size, seed=1)
    plain = gradients(x, w, "cuda", padding=1, stride=2)
    monkeypatch.setattr(limits, "index", 1)
    for a, b in zip(gradients(x, w, "cuda", padding=1, stride=2), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_layout_of_inputs_and_output_does_not_change_a_convolution():
    from tgrad.kernels.cuda.conv import _convolution

    x, w = random(2, 16, 6, 4), random(16, 16, 3, 3, seed=1)
    want = reference(x.astype(np.float64), w.astype(np.float64), padding=1)
    for xs in (tensor(x, "cuda"), channels_last(x, "cuda")):
        for y in (tensor(np.empty_like(x), "cuda"), channels_last(x, "cuda")):
            arrays = y.array, xs.array, tensor(w, "cuda").array
            _convolution(*arrays, None, (1, 1), (1, 1), (1, 1), 1, (6, 4))
            assert error(y.cpu().numpy(), want) < 1e-6


def test_quotients_by_multiplication_are_exact():
    from tgrad.kernels.cuda.implicit_gemm import reciprocal

    rng = np.random.default_rng(0)
    divisors = [2, 3, 7, 49, 64, 3136, 65535, 65536, 2**30, 2**31 - 1, *rng.integers(2, 2**31, 200)]
    for d in map(int, divisors):
        magic, shift = reciprocal(d)
        assert -(2**31) <= magic < 2**31
        edges = [0, 1, d - 1, d, 2 * d - 1, (2**31 - 1) // d * d - 1, 2**31 - 1]
        x = np.array([*edges, *rng.integers(0, 2**31, 200)], np.uint64)
        x = x[x < 2**31]
        high = (x * np.uint64(magic % 2**32)) >> np.uint64(32 + shift)
        np.testing.assert_array_equal(high, x // np.uint64(d))


@pytest.mark.parametrize("pixels", (1, 60, 1000, 10**6))
def test_the_parts_of_a_weight_gradient_cover_every_pixel_once(pixels):
    from tgrad.kernels.cuda.conv_tiles import Config, weight_parts

    for tiles in (1, 3, 1000):
        parts, each = weight_parts(Config(64, 64, 32), tiles, pixels)
        assert (parts - 1) * each < pixels <= parts * each


# ---- volumes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", (1, 1000), ids=("rows", "pixels"))
@pytest.mark.parametrize("groups", (1, 6))
def test_volumes_in_several_chunks_of_planes_give_the_same_result(monkeypatch, groups, long):
    from tgrad.kernels.cpu import volume

    x, w = random(2, 6, 7, 5, 4), random(6, 6 // groups, 3, 3, 2, seed=1)

    def run():
        xs, ws = tensor(x).requires_grad_(), tensor(w).requires_grad_()
        y = F.conv3d(xs, ws, stride=(2, 1, 1), padding=1, groups=groups)
        g = tensor(random(*y.shape, seed=2))
        return [y.detach(), *tgrad.autograd.grad(y, [xs, ws], g)]

    whole = run()
    in_small_pieces(monkeypatch, 2 * 25 * 108 * 4, long)
    monkeypatch.setattr(volume, "CHUNK", 3 * 18 * 20 * 4)
    for a, e in zip(run(), whole, strict=True):
        np.testing.assert_allclose(a.numpy(), e.numpy(), rtol=1e-5, atol=1e-5)


def test_volumes_of_many_channels_take_winograd_and_stay_exact():
    x, w = random(2, 16, 4, 9, 8), random(32, 16, 3, 3, 3, seed=1)
    assert winograd.pays(random(2, 32, 9, 8), random(1, 32, 48, 3, 3), (1, 1), (1, 1))
    found, exact = (
        F.conv3d(tensor(x).to(dtype), tensor(w).to(dtype), padding=1)
        for dtype in (tgrad.float32, tgrad.float64)
    )
    assert error(found.numpy(), exact.numpy()) < 1e-6
