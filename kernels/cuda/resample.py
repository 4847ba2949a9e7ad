"""Resampling in Triton: both axes in one launch, or one after the other where taps are many.

Every output gathers its taps, backward too, where the band is the transposed one: no atomics.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.depthwise import is_wide
from tgrad.kernels.cuda.lines import declare_line
from tgrad.kernels.cuda.pool import blocks
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

FUSED = 16  # taps of both axes together, up to which one launch reads less than two


@triton.jit
def tap(
    weight_ptr, row, taps, k, mask, WEIGHTED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """Weight k of each output's row."""
    if WEIGHTED:
        w = tl.load(weight_ptr + row * taps + k, mask=mask, other=0).to(ACC)
    else:
        w = tl.full((BLOCK,), 1, ACC)
    return w


@triton.jit
def row_of_taps(
    x_ptrs, stride_xw, w_ptr, q, taps_w, wr, mask,
    W: tl.constexpr, TAPS_W: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """wr * sum over s of w[q,s] x[v + s]; where a weight is 0 nothing is read."""
    acc = tl.zeros((BLOCK,), ACC)
    inside = mask & (wr != 0)
    if TAPS_W:
        for s in tl.static_range(TAPS_W):  # pyright: ignore[reportGeneralTypeIssues]
            ws = tap(w_ptr, q, TAPS_W, s, mask, W, ACC, BLOCK)
            read = inside & (ws != 0)
            acc += ws * tl.load(x_ptrs + s * stride_xw, mask=read, other=0).to(ACC)
    else:
        for s in range(taps_w):
            ws = tap(w_ptr, q, taps_w, s, mask, W, ACC, BLOCK)
            read = inside & (ws != 0)
            acc += ws * tl.load(x_ptrs + s * stride_xw, mask=read, other=0).to(ACC)
    return wr * acc


@triton.jit
def resample_kernel(
    y_ptr, x_ptr, h_start_ptr, h_ptr, w_start_ptr, w_ptr,
    n, C, P, Q, stride_xn, stride_xc, stride_xh, stride_xw, taps_h, taps_w,
    H_BAND: tl.constexpr, H: tl.constexpr, W_BAND: tl.constexpr, W: tl.constexpr,
    TAPS_H: tl.constexpr, TAPS_W: tl.constexpr, SHIFT: tl.constexpr, ACC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = the weighted taps of BLOCK outputs, summed in registers.

    Reads each pixel once per output that it has a weight in, from cache beyond the first. H and W:
    the axis has weights; H_BAND and W_BAND: it has a band at all. SHIFT: weights are integers.
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    at = start * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    q = at % Q
    p = at // Q % P
    c = at // (Q * P) % C
    image = at // (Q * P) // C
    h = p
    if H_BAND:
        h = tl.load(h_start_ptr + p, mask=mask, other=0).to(at.dtype)
    v = q
    if W_BAND:
        v = tl.load(w_start_ptr + q, mask=mask, other=0).to(at.dtype)
    x_ptrs = x_ptr + image * stride_xn + c * stride_xc + h * stride_xh + v * stride_xw
    acc = tl.zeros((BLOCK,), ACC)
    if TAPS_H:
        for r in tl.static_range(TAPS_H):  # pyright: ignore[reportGeneralTypeIssues]
            wr = tap(h_ptr, p, TAPS_H, r, mask, H, ACC, BLOCK)
            acc += row_of_taps(
                x_ptrs + r * stride_xh, stride_xw, w_ptr, q, taps_w, wr, mask, W, TAPS_W, ACC, BLOCK
            )
    else:
        for r in range(taps_h):
            wr = tap(h_ptr, p, taps_h, r, mask, H, ACC, BLOCK)
            acc += row_of_taps(
                x_ptrs + r * stride_xh, stride_xw, w_ptr, q, taps_w, wr, mask, W, TAPS_W, ACC, BLOCK
            )
    if SHIFT:
        half: tl.constexpr = 1 << (SHIFT - 1)  # pyright: ignore[reportOperatorIssue]
        acc = (acc + half) >> SHIFT
        acc = tl.minimum(tl.maximum(acc, 0), 255)
    tl.store(y_ptr + at, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)


class Side:
    """One axis of a launch: the arrays of its band, absent ones stood in for by ``x``."""

    def __init__(self, start: CudaArray | None, weight: CudaArray | None, x: CudaArray):
        self.banded, self.weighted = start is not None, weight is not None
        self.arrays = (x if start is None else start, x if weight is None else weight)
        self.taps = 1 if weight is None else weight.shape[1]


def launch(y: CudaArray, x: CudaArray, h: Side, w: Side, shift: int = 0) -> None:
    chosen, grid = blocks("resample", y, h.taps * w.taps)
    few = max(h.taps, w.taps) <= 4
    if x.dtype.kind == "u":
        acc = tl.int32
    else:
        acc = tl.float64 if x.dtype.itemsize == 8 else tl.float32
    cuda.launch(
        resample_kernel, grid, y, x, *h.arrays, *w.arrays, y.size, *y.shape[1:], *x.steps,
        h.taps, w.taps, H_BAND=h.banded, H=h.weighted, W_BAND=w.banded, W=w.weighted,
        TAPS_H=h.taps if few else 0, TAPS_W=w.taps if few else 0, SHIFT=shift, ACC=acc,
        WIDE=is_wide(y, x), **chosen,
    )  # fmt: skip


declare_line(
    "resample",
    example("nn.functional.interpolate", array(2, 3, 7, 5), (11, 9), None, "bilinear"),
)  # fmt: skip


@kernel("_resample", "cuda")
def _resample(y, x, h_start, h_weight, w_start, w_weight, h_band, w_band, h_shift, w_shift):
    h, w, none = Side(h_start, h_weight, x), Side(w_start, w_weight, x), Side(None, None, x)
    if h.taps * w.taps <= FUSED and not (h_shift or w_shift):
        launch(y, x, h, w)
        return
    n, c, p, q = y.shape
    fixed = bool(h_shift or w_shift)
    wide = x.dtype if fixed or x.dtype.itemsize >= 4 else np.dtype(np.float32)
    if not fixed and x.shape[3] * p < x.shape[2] * q:  # the smaller of the two in the middle
        middle = cuda.empty((n, c, p, x.shape[3]), wide)
        launch(middle, x, h, none)
        launch(y, middle, none, Side(w_start, w_weight, middle))
    else:
        middle = cuda.empty((n, c, x.shape[2], q), wide)
        launch(middle, x, none, w, w_shift)
        launch(y, middle, Side(h_start, h_weight, middle), none, h_shift)
