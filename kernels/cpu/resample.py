"""Resampling in NumPy: a matrix product where the band is dense enough, else one pass a tap."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import each_piece

DENSE = 64  # pixels of an axis for each tap, up to which multiplying by zeros as well is faster


class Axis:
    """One axis' band: rows of ``weight`` (P, K) start at ``start``; None for one of ones."""

    def __init__(self, start, weight, limit: int, shift: int, dtype: np.dtype):
        taps = 1 if weight is None else weight.shape[1]
        self.at = [np.minimum(start + k, limit - 1) for k in range(taps)]
        self.weight, self.shift = weight, shift
        self.whole = None
        if weight is not None and not shift and dtype.kind == "f" and limit <= DENSE * taps:
            self.whole = np.zeros((len(start), limit), dtype)
            for at, w in zip(self.at, weight.T, strict=True):
                self.whole[np.arange(len(start)), at] += w

    def along(self, x: np.ndarray, dim: int) -> np.ndarray:
        """x (n, H, W) with this band along ``dim`` 1 or 2."""
        if self.weight is None:
            return np.take(x, self.at[0], dim)
        # 0 * inf would spread, so images that hold one are summed tap by tap.
        if self.whole is not None and np.isfinite(x.sum()):
            # One product an image, so small that BLAS leaves the threads to each_piece.
            return self.whole @ x if dim == 1 else x @ self.whole.T
        return self.by_taps(x, dim, self.weight)

    def by_taps(self, x: np.ndarray, dim: int, weight: np.ndarray) -> np.ndarray:
        shape = list(x.shape)
        shape[dim] = len(weight)
        total = np.zeros(shape, np.int32 if self.shift else x.dtype)
        for k, at in enumerate(self.at):
            w = weight[:, k] if dim == 2 else weight[:, k, None]
            term = np.take(x, at, dim)
            if self.shift:
                term = term.astype(np.int32)
            np.multiply(term, w, out=term)
            if (w == 0).any():  # also where the pixel is not finite
                np.copyto(term, 0, where=w == 0)
            total += term
        if self.shift:
            total += 1 << (self.shift - 1)
            total >>= self.shift
            total = np.clip(total, 0, 255, out=total).astype(np.uint8)
        return total


@kernel("_resample", "cpu")
def _resample(y, x, h_start, h_weight, w_start, w_weight, h_band, w_band, h_shift, w_shift):
    wide = np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype
    h = None if h_start is None else Axis(h_start, h_weight, x.shape[2], h_shift, wide)
    w = None if w_start is None else Axis(w_start, w_weight, x.shape[3], w_shift, wide)
    passes = [(axis, dim) for axis, dim in ((w, 2), (h, 1)) if axis is not None]
    if wide.kind == "f" and x.shape[3] * y.shape[2] < x.shape[2] * y.shape[3]:
        passes.reverse()  # the smaller of the two in the middle
    n = y.shape[0] * y.shape[1]
    if not y.size:
        return
    images, out = x.reshape(n, *x.shape[2:]), y.reshape(n, *y.shape[2:])

    def work(start: int, stop: int, thread: int) -> None:
        a = images[start:stop].astype(wide, copy=False)
        for axis, dim in passes:
            a = axis.along(a, dim)
        np.copyto(out[start:stop], a, casting="unsafe")

    each_piece(work, n, max(x.size, y.size) // n)
