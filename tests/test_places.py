"""Gather and scatter on the CPU over more places than a piece holds."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.kernels.cpu import places

rng = np.random.default_rng(0)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_pieces_go_to_the_places_of_the_whole(dim):
    shape = (41, 37, 43)
    want = rng.standard_normal(shape)
    part = tuple(n - (k != dim) for k, n in enumerate(shape))  # the index may be smaller
    index = rng.integers(0, shape[dim], part)
    assert index.size > places.PIECE
    at = list(np.ix_(*[np.arange(n) for n in part]))
    at[dim] = index
    x, i = tgrad.tensor(want), tgrad.tensor(index)
    np.testing.assert_array_equal(x.gather(dim, i).numpy(), want[tuple(at)])
    np.testing.assert_array_equal(x.mT.mT.gather(dim, i).numpy(), want[tuple(at)])
    src = rng.standard_normal(part)
    total = want.copy()
    np.add.at(total, tuple(at), src)
    np.testing.assert_array_equal(x.scatter_add(dim, i, tgrad.tensor(src)).numpy(), total)
    put = want.copy()
    put[tuple(at)] = 3.5
    np.testing.assert_array_equal(x.scatter(dim, i, 3.5).numpy(), put)
    put[tuple(at)] = src
    np.testing.assert_array_equal(x.scatter(dim, i, tgrad.tensor(src)).numpy(), put)


def test_threads_take_what_one_thread_takes():
    n = 1 << 10
    x, i = tgrad.randn(n, n), tgrad.randint(0, n, (n, n))
    assert n * n > places.PARALLEL
    want = np.take_along_axis(x.numpy(), i.numpy(), 1)
    np.testing.assert_array_equal(x.gather(1, i).numpy(), want)
