"""Convolutions in groups of few channels: too small for tensor cores, so plain sums of taps."""

from __future__ import annotations

import math
from typing import NamedTuple

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import (
    Case,
    Space,
    array,
    ask,
    away,
    declare,
    example,
    storage_kind,
)
from tgrad.kernels.windows import deep
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

Pair = tuple[int, ...]  # (height, width), or (depth, height, width)


@triton.jit
def correlate_by_taps_kernel(
    y_ptr, x_ptr, w_ptr, b_ptr,
    pixels, depth, height, width, O, P, Q, filters, each,
    stride_yn, stride_yk, stride_yo, stride_yp, stride_yq,
    stride_xn, stride_xc, stride_xd, stride_xh, stride_xw,
    stride_wg, stride_wk, stride_wc, stride_wt, stride_wr, stride_ws,
    stride_o, stride_p, stride_q, offset_d, offset_h, offset_w, step_t, step_r, step_s,
    C: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr, DEEP: tl.constexpr,
    HAS_BIAS: tl.constexpr, ACC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """y[n,f,p,q] = sum over c,r,s of x[n, group(f) * C + c, p*stride_p + ...] w[f,c,r,s].

    One program computes BLOCK_F filters by BLOCK_P pixels. x is read R * S times, all but the first
    from cache; w once for each block of pixels. DEEP as in :mod:`implicit_gemm`.
    """
    offs_p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    f = tl.program_id(1) * BLOCK_F + tl.arange(0, BLOCK_F)
    if WIDE:
        offs_p = offs_p.to(tl.int64)
        f = f.to(tl.int64)
    mask_p = offs_p < pixels
    mask_f = f < filters
    n = offs_p // (P * Q)
    p = offs_p // Q % P
    q = offs_p % Q
    h = p * stride_p + offset_h
    v = q * stride_q + offset_w
    group = f // each
    x_at = h * stride_xh + v * stride_xw
    o = 0
    d = 0
    if DEEP:
        o = n % O
        n = n // O
        d = o * stride_o + offset_d
        x_at += d * stride_xd
    x_at += n * stride_xn
    x_f = group * C * stride_xc
    w_at = group * stride_wg + f % each * stride_wk
    acc = tl.zeros((BLOCK_F, BLOCK_P), ACC)
    for k in range(C * T):
        c = k // T
        t = k % T  # pyright: ignore[reportOperatorIssue]
        for r in range(R):
            for s in range(S):
                inside = mask_p & (h + r * step_r >= 0) & (h + r * step_r < height)
                inside = inside & (v + s * step_s >= 0) & (v + s * step_s < width)
                x_tap = x_at + r * step_r * stride_xh + s * step_s * stride_xw
                w_tap = w_at + c * stride_wc + r * stride_wr + s * stride_ws
                if DEEP:
                    inside = inside & (d + t * step_t >= 0) & (d + t * step_t < depth)
                    x_tap += t * step_t * stride_xd
                    w_tap += t * stride_wt
                x = tl.load(
                    x_ptr + (x_f + c * stride_xc)[:, None] + x_tap[None, :],
                    mask=mask_f[:, None] & inside[None, :],
                    other=0,
                ).to(ACC)
                w = tl.load(w_ptr + w_tap, mask=mask_f, other=0).to(ACC)
                acc += w[:, None] * x
    if HAS_BIAS:
        acc += tl.load(b_ptr + f, mask=mask_f, other=0).to(ACC)[:, None]
    y_at = n * stride_yn + p * stride_yp + q * stride_yq
    if DEEP:
        y_at += o * stride_yo
    tl.store(
        y_ptr + (f * stride_yk)[:, None] + y_at[None, :],
        maths.to(acc, y_ptr.dtype.element_ty),
        mask=mask_f[:, None] & mask_p[None, :],
    )


@triton.jit
def weight_by_taps_kernel(
    dw_ptr, g_ptr, x_ptr,
    pixels, depth, height, width, O, P, Q, filters, each,
    stride_k, stride_c, stride_t, stride_r, stride_s,
    stride_gn, stride_gk, stride_go, stride_gp, stride_gq,
    stride_xn, stride_xc, stride_xd, stride_xh, stride_xw,
    stride_o, stride_p, stride_q, offset_d, offset_h, offset_w, step_t, step_r, step_s,
    C: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr, DEEP: tl.constexpr,
    ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """dw[f,c,r,s] = sum over n,p,q of g[n,f,p,q] x[n, group(f) * C + c, p*stride_p + ...].

    One program sums all pixels for BLOCK_F filters and one (c, r, s). g and x are read R * S times.
    """
    f = tl.program_id(0) * BLOCK_F + tl.arange(0, BLOCK_F)
    tap = tl.program_id(1)
    c = tap // (T * R * S)
    t = tap // (R * S) % T
    r = tap // S % R
    s = tap % S
    offs = tl.arange(0, BLOCK_P)
    if WIDE:
        f = f.to(tl.int64)
        offs = offs.to(tl.int64)
    mask_f = f < filters
    x_f = (f // each * C + c) * stride_xc
    g_f = f * stride_gk
    acc = tl.zeros((BLOCK_F, BLOCK_P), ACC)
    for start in range(0, pixels, BLOCK_P):
        at = start + offs
        n = at // (P * Q)
        p = at // Q % P
        q = at % Q
        h = p * stride_p + offset_h + r * step_r
        v = q * stride_q + offset_w + s * step_s
        inside = (at < pixels) & (h >= 0) & (h < height) & (v >= 0) & (v < width)
        g_at = p * stride_gp + q * stride_gq
        x_at = h * stride_xh + v * stride_xw
        if DEEP:
            o = n % O
            n = n // O
            d = o * stride_o + offset_d + t * step_t
            inside = inside & (d >= 0) & (d < depth)
            g_at += o * stride_go
            x_at += d * stride_xd
        mask = mask_f[:, None] & inside[None, :]
        g_at += n * stride_gn
        x_at += n * stride_xn
        g = tl.load(g_ptr + g_f[:, None] + g_at[None, :], mask=mask, other=0).to(ACC)
        x = tl.load(x_ptr + x_f[:, None] + x_at[None, :], mask=mask, other=0).to(ACC)
        acc += g * x
    out = f * stride_k + c * stride_c + r * stride_r + s * stride_s
    if DEEP:
        out += t * stride_t
    tl.store(dw_ptr + out, maths.to(tl.sum(acc, axis=1), dw_ptr.dtype.element_ty), mask=mask_f)


def accumulator(x: CudaArray) -> tl.dtype:
    return tl.float64 if x.dtype.itemsize == 8 else tl.float32


def is_wide(*arrays: CudaArray) -> bool:
    """Whether an offset into one of them may pass 2^31."""
    reach = [sum(abs(s) * n for s, n in zip(a.steps, a.shape, strict=True)) for a in arrays]
    return max(reach) >= 2**31


class TapConfig(NamedTuple):
    """The choices of a launch: filters x pixels of a program, and its warps."""

    block_f: int
    block_p: int
    num_warps: int


def chosen(kernel: str, x: CudaArray, filters: int, pixels: int) -> TapConfig | None:
    """A tuner's choice."""
    return ask(kernel, storage_kind(x.itemsize), (filters, pixels))


def refusal(c: TapConfig, case: Case) -> str:
    """Why a tile cannot be good, "" where it may be."""
    filters, pixels = case.sizes
    if c.block_f > triton.next_power_of_2(filters) or c.block_p > max(pixels, 64):
        return "is larger than the output"
    each = c.block_f * c.block_p // (32 * c.num_warps)
    if not 1 <= each <= 32:
        return f"keeps {each} sums a thread"
    return ""


def order(c: TapConfig, case: Case) -> float:
    """Sooner: 4 sums a thread, 4 warps."""
    return away(c.block_f * c.block_p / (32 * c.num_warps), 4) + away(c.num_warps, 4)


VALUES = {
    "block_f": (1, 2, 4, 8, 16), "block_p": (64, 128, 256, 512, 1024), "num_warps": (1, 2, 4, 8),
}  # fmt: skip
TINY = example(
    "nn.functional.conv2d", array(1, 8, 6, 6), array(8, 1, 3, 3), padding=1, groups=8, backward=True
)
for _name in ("depthwise", "depthwise_backward_weight"):
    declare(Space(_name, VALUES, refusal, TapConfig, order=order, tiny=TINY))


def correlate_by_taps(
    y: CudaArray,
    x: CudaArray,
    w: CudaArray,
    b: CudaArray | None,
    stride: Pair,
    offset: Pair,
    step: Pair,
) -> None:
    n, k, *size = y.shape
    _, each, channels, *kernel = w.shape
    pixels = n * math.prod(size)
    t, r, s = deep(kernel)
    c = chosen("depthwise", x, k, pixels) or TapConfig(4, 64 if cuda.is_emulated() else 128, 4)
    cuda.launch(
        correlate_by_taps_kernel,
        (triton.cdiv(pixels, c.block_p), triton.cdiv(k, c.block_f)),
        y, x, w, w if b is None else b,
        pixels, *deep(x.shape[2:]), *deep(size), k, each,
        *deep(y.steps, 2), *deep(x.steps, 2), *deep(w.steps, 3),
        *deep(stride), *deep(offset), *deep(step),
        C=channels, T=t, R=r, S=s, DEEP=len(size) == 3, HAS_BIAS=b is not None, ACC=accumulator(x),
        WIDE=is_wide(y, x, w), BLOCK_F=c.block_f, BLOCK_P=c.block_p, num_warps=c.num_warps,
    )  # fmt: skip


def weight_by_taps(
    dw: CudaArray, g: CudaArray, x: CudaArray, geometry: tuple[int, ...], groups: int
) -> None:
    n, k, *size = g.shape
    _, channels, *kernel = dw.shape
    pixels = n * math.prod(size)
    t, r, s = deep(kernel)
    rule = TapConfig(8, 64, 4) if cuda.is_emulated() else TapConfig(4, 256, 4)
    c = chosen("depthwise_backward_weight", x, k, pixels) or rule
    cuda.launch(
        weight_by_taps_kernel,
        (triton.cdiv(k, c.block_f), channels * t * r * s),
        dw, g, x,
        pixels, *deep(x.shape[2:]), *deep(size), k, k // groups,
        *deep(dw.steps, 2), *deep(g.steps, 2), *deep(x.steps, 2), *geometry,
        C=channels, T=t, R=r, S=s, DEEP=len(size) == 3, ACC=accumulator(x),
        WIDE=is_wide(dw, g, x), BLOCK_F=c.block_f, BLOCK_P=c.block_p, num_warps=c.num_warps,
    )  # fmt: skip
