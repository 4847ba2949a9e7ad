"""3x3 convolutions by Winograd's minimal filtering (Lavin and Gray 2015, arXiv:1509.09308).

F(m x m, 3 x 3) makes an m x m tile of the output from a tile of m + 2 pixels a side, with (m + 2)^2
multiplications per channel in the place of 9 m^2: 16 for 36 at m = 2. A whole transform, both axes,
is one GEMM with the Kronecker square of its matrix; the products are (m + 2)^2 batched GEMMs.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tgrad.kernels.cpu.frame import Frame, Window
from tgrad.runtime import memory

CHUNK = 1 << 16  # elements of transformed input at a time: work buffers then stay in the cache
TILES = 64  # at least at a time: with fewer, BLAS repacks the weights too often

TILE = 2  # m: 2 is as exact as direct sums (3e-7 of the largest output), 4 is faster, 1e-5


# B^T, G and A^T of F(2, 3) and F(4, 3).
MATRICES = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
         [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
         [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}  # fmt: skip


@functools.cache
def squares(m: int) -> tuple[np.ndarray, ...]:
    """Each matrix's Kronecker square, in float64."""
    found = [np.array(a, np.float64) for a in MATRICES[m]]
    return tuple(np.kron(a, a) for a in found)


def pays(y: np.ndarray, w: np.ndarray, stride: tuple, step: tuple) -> bool:
    """Whether a correlation can go through Winograd and is large enough to gain by it."""
    groups, filters, channels, r, s = w.shape
    fits = (groups, r, s, *stride, *step) == (1, 3, 3, 1, 1, 1, 1) and w.dtype == np.float32
    return fits and channels >= 32 and filters >= 32 and y.shape[2] * y.shape[3] >= 64


def correlate(
    y: np.ndarray,  # (N, K, P, Q)
    x: np.ndarray,  # (N, C, H, W)
    w: np.ndarray,  # (K, C, 3, 3)
    b: np.ndarray | None,
    offset: tuple[int, ...],
    tile: int = 0,
) -> None:
    """y[n,k,p,q] = b[k] + sum over c,r,s of x[n, c, p + offset + r, q + offset + s] w[k,c,r,s].

    ``tile`` is m, TILE where it is 0.
    """
    m = tile or TILE
    back, filters, forth = (a.astype(x.dtype) for a in squares(m))
    k, c = w.shape[:2]
    points = (m + 2) ** 2
    u = filters @ w.transpose(2, 3, 1, 0).reshape(9, c * k)  # transformed weights
    u = u.reshape(points, c, k)
    n, _, p, q = y.shape
    down, across = -(-p // m), -(-q // m)
    windows = [Window(offset[i], (down, across)[i] * m + 2, x.shape[2 + i]) for i in (0, 1)]
    most = max(CHUNK // (points * c), TILES)
    images = min(n, -(-most // (down * across)))
    rows = max(1, min(down, most // across))  # of tiles at a time
    rows = -(-down // -(-down // rows))

    frame = Frame(images, x, windows)
    count = images * rows * across
    gathered, transformed = (memory.empty((points * count * c,), x.dtype) for _ in range(2))
    products = memory.empty((points * count * k,), x.dtype)
    with np.errstate(all="ignore"):  # products go to BLAS, which has threads of its own
        for i in range(0, n, images):
            padded = frame.fill(x[i : i + images])
            for j in range(0, down, rows):
                size = (len(padded), min(rows, down - j), across)
                count = math.prod(size)
                a, h, v, e = padded.strides
                tiles = as_strided(
                    padded[:, j * m :], (m + 2, m + 2, *size, c), (h, v, a, h * m, v * m, e)
                )
                d = gathered[: tiles.size].reshape(tiles.shape)
                d[...] = tiles
                t = transformed[: tiles.size].reshape(points, count, c)
                np.matmul(back, d.reshape(points, -1), out=t.reshape(points, -1))
                f = products[: points * count * k].reshape(points, count, k)
                np.matmul(t, u, out=f)
                out = gathered if c >= k else memory.empty((m * m * count * k,), x.dtype)
                out = out[: m * m * count * k].reshape(m * m, -1)
                np.matmul(forth, f.reshape(points, -1), out=out)
                target = y[i : i + len(padded), :, j * m : (j + size[1]) * m]
                store(target, out.reshape(m, m, *size, k), b)


def store(y: np.ndarray, tiles: np.ndarray, b: np.ndarray | None) -> None:
    """Put tiles (m, m, N, down, across, K) side by side, cut them to y and add the bias."""
    m, _, n, down, across, k = tiles.shape
    whole = memory.empty((n, down, m, across, m, k), tiles.dtype)
    whole[...] = tiles.transpose(2, 3, 0, 4, 1, 5)
    if b is not None:
        whole += b
    whole = whole.reshape(n, down * m, across * m, k)[:, : y.shape[2], : y.shape[3]]
    y[...] = whole.transpose(0, 3, 1, 2)
