"""Copies on the CPU between layouts: blocks, threads, broadcasting, conversion, overlap."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import tgrad
from tgrad.kernels.cpu import moves

rng = np.random.default_rng(0)

SHAPES = [(277, 531), (3, 131, 317), (5, 3, 37, 129), (2, 1, 300, 130), (700, 1, 33, 2)]


def arrays(shape, order):
    """A dense array whose memory goes through the axes of ``shape`` in ``order``."""
    a = rng.standard_normal([shape[k] for k in order], dtype=np.float32)
    return a.transpose(np.argsort(order))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_order_of_axes_is_copied_into_every_other(shape):
    for order in itertools.permutations(range(len(shape))):
        x = arrays(shape, order)
        y = np.empty(shape, np.float32)
        moves.move(y, x)
        np.testing.assert_array_equal(y, x)
        back = np.empty_like(x)
        moves.move(back, y)
        np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_shares_of_threads_cover_a_large_array(threads):
    before = tgrad.get_num_threads()
    x = arrays((1501, 1407), (1, 0))
    y, z = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    try:
        tgrad.set_num_threads(threads)
        moves.move(y, x)
        moves.straight(z[:, ::-1], x[:, ::-1])
    finally:
        tgrad.set_num_threads(before)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(z, x)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float64, np.complex64, np.float16,
                                  ml_dtypes.bfloat16])  # fmt: skip
def test_a_transposed_copy_converts(kind):
    x = arrays((300, 257), (1, 0)) > 0 if kind is np.bool_ else arrays((300, 257), (1, 0))
    wide = np.complex128 if kind is np.complex64 else np.float64
    for source, target in ((x, np.empty(x.shape, kind)), (x.astype(kind), np.empty(x.shape, wide))):
        moves.move(target, source)
        with np.errstate(all="ignore"):
            want = source.astype(target.dtype)
        np.testing.assert_array_equal(target, want)


def test_reversed_and_skipping_views_are_copied():
    x = arrays((900, 701), (1, 0))
    for view in (x[::-1], x[:, ::-1], x[::2, ::3], x[::-3, 5:-7:2], x[:1], x[:, :1]):
        y = np.empty(view.shape, np.float32)
        moves.move(y, view)
        np.testing.assert_array_equal(y, view)
        wide = np.zeros((view.shape[0] * 2, view.shape[1] * 2), np.float32)
        moves.move(wide[::2, ::-2], view)
        np.testing.assert_array_equal(wide[::2, ::-2], view)


def test_a_smaller_source_is_broadcast():
    x, y = rng.standard_normal(300, dtype=np.float32), np.empty((200, 300), np.float32)
    moves.move(y, x)
    assert (y == x).all()
    moves.move(y, np.broadcast_to(x[:200, None], y.shape))
    assert (y == x[:200, None]).all()


def test_a_source_that_overlaps_is_read_before_it_is_written():
    x = tgrad.randn(300, 300)
    want = x.numpy().copy()
    x.copy_(x.t())
    np.testing.assert_array_equal(x.numpy(), want.T)
    x[1:].copy_(x[:-1])
    np.testing.assert_array_equal(x[1:].numpy(), want.T[:-1])


@pytest.mark.parametrize("size", [(300, 100), (400, 401), (6, 256, 257)])
def test_pointwise_ops_read_and_write_across(size):
    x = tgrad.tensor(rng.uniform(1, 2, size), dtype=tgrad.float32)
    z = tgrad.tensor(rng.uniform(1, 2, (*size[:-2], size[-1], size[-2])), dtype=tgrad.float32)
    a, b = x.numpy().copy(), z.numpy().swapaxes(-1, -2).copy()
    np.testing.assert_array_equal((x + z.mT).numpy(), a + b)
    np.testing.assert_array_equal(tgrad.where(x > z.mT, x, z.mT).numpy(), np.maximum(a, b))
    np.testing.assert_allclose((z.mT.exp() * 2).numpy(), 2 * np.exp(b), rtol=1e-6)
    z.mT.mul_(x).add_(x[..., :1, :])
    np.testing.assert_array_equal(z.mT.numpy(), a * b + a[..., :1, :])
