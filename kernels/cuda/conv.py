"""Convolutions as implicit GEMM (Chetlur et al. 2014, arXiv:1410.0759): no im2col matrix exists.

As on the CPU, forward and input gradient are one *correlation*, a gather without a stride of its
own; the transpose of a strided convolution is one launch for each residue class of pixels, on
strided views. All strides are true ones: channels-last inputs are read as they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.depthwise import correlate_by_taps, is_wide, weight_by_taps
from tgrad.kernels.windows import taps
from tgrad.runtime import cuda, precision
from tgrad.runtime.array import CudaArray, as_strided

Pair = tuple[int, ...]  # (height, width)
PROGRAMS = 264  # two for each multiprocessor of an H100: what the weight gradient is split for


@triton.jit
def correlate_kernel(
    y_ptr, x_ptr, w_ptr, b_ptr,
    pixels, height, width, P, Q, filters, channels,
    stride_yn, stride_yk, stride_yp, stride_yq,
    stride_xn, stride_xc, stride_xh, stride_xw,
    stride_wg, stride_wk, stride_wc, stride_wr, stride_ws,
    stride_p, stride_q, offset_h, offset_w, step_r, step_s,
    R: tl.constexpr, S: tl.constexpr, CHANNELS_LAST: tl.constexpr, HAS_BIAS: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """y[n,f,p,q] = sum over c,r,s of x[n, c, p*stride_p + offset_h + r*step_r, ...] w[f,c,r,s].

    One program computes BLOCK_F filters of one group by BLOCK_P output pixels (over all images)
    and keeps them in registers; the filters' tile runs fastest, so that neighbours share x in L2.
    With CHANNELS_LAST a step reads BLOCK_K channels of one tap, contiguous and with one mask per
    pixel; otherwise BLOCK_K of the (c, r, s) in the weight's own order, pixels contiguous.
    """
    pid = tl.program_id(0)
    tiles = tl.cdiv(filters, BLOCK_F)
    group = tl.program_id(1)
    offs_f = (pid % tiles) * BLOCK_F + tl.arange(0, BLOCK_F)
    offs_p = (pid // tiles) * BLOCK_P + tl.arange(0, BLOCK_P)
    offs_k = tl.arange(0, BLOCK_K)
    if WIDE:
        group = group.to(tl.int64)
        offs_f = offs_f.to(tl.int64)
        offs_p = offs_p.to(tl.int64)
        offs_k = offs_k.to(tl.int64)
    mask_f = offs_f < filters
    mask_p = offs_p < pixels
    n = offs_p // (P * Q)
    p = offs_p // Q % P
    q = offs_p % Q
    h = p * stride_p + offset_h
    v = q * stride_q + offset_w
    x_ptr += group * channels * stride_xc
    x_at = n * stride_xn + h * stride_xh + v * stride_xw
    w_ptr += group * stride_wg
    w_at = offs_f * stride_wk
    acc = tl.zeros((BLOCK_F, BLOCK_P), ACC)
    if CHANNELS_LAST:
        blocks = tl.cdiv(channels, BLOCK_K)
        for i in range(R * S * blocks):
            tap = i // blocks
            r = tap // S
            s = tap % S
            c = i % blocks * BLOCK_K + offs_k
            inside = mask_p & (h + r * step_r >= 0) & (h + r * step_r < height)
            inside = inside & (v + s * step_s >= 0) & (v + s * step_s < width)
            x_tap = x_at + r * step_r * stride_xh + s * step_s * stride_xw
            x = tl.load(
                x_ptr + x_tap[:, None] + c[None, :],  # stride_xc is 1
                mask=inside[:, None] & (c < channels)[None, :],
                other=0,
            )
            x = tl.trans(x)  # (BLOCK_K, BLOCK_P)
            w = tl.load(
                w_ptr + w_at[:, None] + (r * stride_wr + s * stride_ws + c * stride_wc)[None, :],
                mask=mask_f[:, None] & (c < channels)[None, :],
                other=0,
            )
            if UPCAST:
                x = x.to(tl.float32)
                w = w.to(tl.float32)
            acc = tl.dot(w, x, acc, input_precision=PRECISION, out_dtype=ACC)
    else:
        total = channels * R * S
        for start in range(0, total, BLOCK_K):
            k = start + offs_k
            c = k // (R * S)
            r = k // S % R
            s = k % S
            h_k = h[None, :] + (r * step_r)[:, None]
            v_k = v[None, :] + (s * step_s)[:, None]
            inside = (h_k >= 0) & (h_k < height) & (v_k >= 0) & (v_k < width)
            inside = inside & mask_p[None, :] & (k < total)[:, None]
            x_k = c * stride_xc + r * step_r * stride_xh + s * step_s * stride_xw
            x = tl.load(x_ptr + x_k[:, None] + x_at[None, :], mask=inside, other=0)
            w = tl.load(
                w_ptr + w_at[:, None] + (c * stride_wc + r * stride_wr + s * stride_ws)[None, :],
                mask=mask_f[:, None] & (k < total)[None, :],
                other=0,
            )
            if UPCAST:
                x = x.to(tl.float32)
                w = w.to(tl.float32)
            acc = tl.dot(w, x, acc, input_precision=PRECISION, out_dtype=ACC)
    f = group * filters + offs_f
    if HAS_BIAS:
        acc += tl.load(b_ptr + f, mask=mask_f, other=0).to(ACC)[:, None]
    y_at = n * stride_yn + p * stride_yp + q * stride_yq
    tl.store(
        y_ptr + (f * stride_yk)[:, None] + y_at[None, :],
        maths.to(acc, y_ptr.dtype.element_ty),
        mask=mask_f[:, None] & mask_p[None, :],
    )


@triton.jit
def weight_kernel(
    dw_ptr, g_ptr, x_ptr,
    pixels, each, height, width, P, Q, filters, channels,
    stride_z, stride_k, stride_c, stride_r, stride_s,
    stride_gn, stride_gk, stride_gp, stride_gq,
    stride_xn, stride_xc, stride_xh, stride_xw,
    stride_p, stride_q, offset_h, offset_w, step_r, step_s,
    R: tl.constexpr, S: tl.constexpr, G_LAST: tl.constexpr, X_LAST: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """dw[z,f,c,r,s] = sum over the z-th ``each`` pixels of g[n,f,p,q] x[n, c, p*stride_p + ...].

    One program keeps BLOCK_F filters by BLOCK_C of the (c, r, s) and walks its share of the pixels
    of all images, BLOCK_P a step. G_LAST and X_LAST: channels lie contiguous, and tiles are read
    along them; otherwise along pixels.
    """
    pid = tl.program_id(0)
    tiles = tl.cdiv(filters, BLOCK_F)
    z = tl.program_id(1)
    group = tl.program_id(2)
    offs_f = (pid % tiles) * BLOCK_F + tl.arange(0, BLOCK_F)
    offs_c = (pid // tiles) * BLOCK_C + tl.arange(0, BLOCK_C)
    offs_p = tl.arange(0, BLOCK_P)
    if WIDE:
        group = group.to(tl.int64)
        z = z.to(tl.int64)
        offs_f = offs_f.to(tl.int64)
        offs_c = offs_c.to(tl.int64)
        offs_p = offs_p.to(tl.int64)
    mask_f = offs_f < filters
    mask_c = offs_c < channels * R * S
    if X_LAST:
        c = offs_c % channels
        r = offs_c // channels // S
        s = offs_c // channels % S
    else:
        c = offs_c // (R * S)
        r = offs_c // S % R
        s = offs_c % S
    h_c = r * step_r + offset_h
    v_c = s * step_s + offset_w
    x_c = h_c * stride_xh + v_c * stride_xw
    x_c += c if X_LAST else c * stride_xc
    x_ptr += group * channels * stride_xc
    g_ptr += group * filters * stride_gk
    acc = tl.zeros((BLOCK_F, BLOCK_C), ACC)
    first = z * each
    last = tl.minimum(first + each, pixels)
    for start in range(first, last, BLOCK_P):
        at = start + offs_p
        mask_p = at < last
        n = at // (P * Q)
        p = at // Q % P
        q = at % Q
        g_p = n * stride_gn + p * stride_gp + q * stride_gq
        x_p = n * stride_xn + p * stride_p * stride_xh + q * stride_q * stride_xw
        h_p = p * stride_p
        v_p = q * stride_q
        if G_LAST:
            g = tl.load(
                g_ptr + g_p[:, None] + offs_f[None, :],
                mask=mask_p[:, None] & mask_f[None, :],
                other=0,
            )
            g = tl.trans(g)  # (BLOCK_F, BLOCK_P)
        else:
            g = tl.load(
                g_ptr + (offs_f * stride_gk)[:, None] + g_p[None, :],
                mask=mask_f[:, None] & mask_p[None, :],
                other=0,
            )
        if X_LAST:
            h = h_p[:, None] + h_c[None, :]
            v = v_p[:, None] + v_c[None, :]
            inside = (h >= 0) & (h < height) & (v >= 0) & (v < width)
            inside = inside & mask_p[:, None] & mask_c[None, :]
            x = tl.load(x_ptr + x_p[:, None] + x_c[None, :], mask=inside, other=0)
        else:
            h = h_p[None, :] + h_c[:, None]
            v = v_p[None, :] + v_c[:, None]
            inside = (h >= 0) & (h < height) & (v >= 0) & (v < width)
            inside = inside & mask_p[None, :] & mask_c[:, None]
            x = tl.load(x_ptr + x_p[None, :] + x_c[:, None], mask=inside, other=0)
            x = tl.trans(x)  # (BLOCK_P, BLOCK_C)
        if UPCAST:
            g = g.to(tl.float32)
            x = x.to(tl.float32)
        acc = tl.dot(g, x, acc, input_precision=PRECISION, out_dtype=ACC)
    f = group * filters + offs_f
    out = c * stride_c + r * stride_r + s * stride_s
    tl.store(
        dw_ptr + z * stride_z + (f * stride_k)[:, None] + out[None, :],
        maths.to(acc, dw_ptr.dtype.element_ty),
        mask=mask_f[:, None] & mask_c[None, :],
    )


@triton.jit
def add_parts_kernel(y_ptr, part_ptr, n, parts, BLOCK: tl.constexpr):
    """y = the sum of ``parts`` arrays of n elements, always in the same order. Reads each once."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    acc = tl.zeros((BLOCK,), part_ptr.dtype.element_ty)
    for z in range(parts):
        acc += tl.load(part_ptr + z * n + offs, mask=mask, other=0)
    tl.store(y_ptr + offs, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)


# ---- launching -----------------------------------------------------------------------------------


def options(x: CudaArray) -> dict[str, Any]:
    """Accumulator and precision for a dtype. The interpreter cannot multiply bfloat16 tiles."""
    return {
        "ACC": tl.float64 if x.dtype == np.float64 else tl.float32,
        "PRECISION": precision.input_precision(),
        "UPCAST": cuda.is_emulated() and x.dtype.itemsize == 2,
    }


def blocks(x: CudaArray, filters: int) -> tuple[int, int, int, int]:
    """(filters, pixels, reduction) of a tile, and warps."""
    if cuda.is_emulated():
        return 16, 64, 32, 4
    rows = max(16, min(128, triton.next_power_of_2(filters)))
    if x.dtype.itemsize == 2:
        return rows, 128, 64, 8 if rows >= 64 else 4
    if x.dtype.itemsize == 8:
        return min(rows, 32), 64, 16, 4
    return min(rows, 64), 128 if rows < 64 else 64, 32, 4  # float32 outside tensor cores


def weight_blocks(x: CudaArray, filters: int) -> tuple[int, int, int, int]:
    """(filters, (c, r, s), reduction) of a tile, and warps: the largest without register spills."""
    if cuda.is_emulated():
        return 16, 64, 32, 4
    rows = max(16, min(128, triton.next_power_of_2(filters)))
    if x.dtype.itemsize == 2:
        return (rows, 128, 32, 8) if rows >= 64 else (rows, 64, 32, 4)
    return (min(rows, 32), 32, 16, 4) if x.dtype.itemsize == 8 else (min(rows, 64), 64, 16, 4)


def is_channels_last(x: CudaArray, channels: int) -> bool:
    return x.steps[1] == 1 and channels >= 16


def correlate(
    y: CudaArray,  # (N, K, P, Q)
    x: CudaArray,  # (N, C, H, W)
    w: CudaArray,  # (G, K / G, C / G, R, S)
    b: CudaArray | None,
    stride: Pair,
    offset: Pair,
    step: Pair,
) -> None:
    """Fill y: b[k] + sum over c,r,s of x[n, c, p*stride + offset + r*step, ...] w[g,k,c,r,s]."""
    n, _, p, q = y.shape
    groups, filters, channels, r, s = w.shape
    if y.size == 0:
        return
    if r * s == 0:  # no tap reaches these pixels: a sum over no channels
        channels, r, s = 0, 1, 1
    elif groups > 1 and channels * filters <= 16:
        correlate_by_taps(y, x, w, b, stride, offset, step)
        return
    block_f, block_p, block_k, warps = blocks(x, filters)
    cuda.launch(
        correlate_kernel,
        (triton.cdiv(filters, block_f) * triton.cdiv(n * p * q, block_p), groups),
        y, x, w, w if b is None else b,
        n * p * q, x.shape[2], x.shape[3], p, q, filters, channels,
        *y.steps, *x.steps, *w.steps, *stride, *offset, *step,
        R=r, S=s, CHANNELS_LAST=is_channels_last(x, channels), HAS_BIAS=b is not None,
        WIDE=is_wide(y, x, w), BLOCK_F=block_f, BLOCK_P=block_p, BLOCK_K=block_k,
        num_warps=warps, **options(x),
    )  # fmt: skip


def by_group(w: CudaArray, groups: int) -> CudaArray:
    """(K, C / G, R, S) seen as (G, K / G, C / G, R, S); splitting an axis needs no copy."""
    each = w.shape[0] // groups
    return as_strided(w, (groups, each, *w.shape[1:]), (each * w.strides[0], *w.strides))  # pyright: ignore[reportReturnType]


@kernel("_conv2d", "cuda")
def _conv2d(y, x, w, b, stride, padding, dilation, groups, size):
    offset = (-padding[0], -padding[1])
    correlate(y, x, by_group(w, groups), packed(b), stride, offset, dilation)


def packed(b: CudaArray | None) -> CudaArray | None:
    if b is None or b.is_contiguous:
        return b
    out = cuda.empty(b.shape, b.dtype)
    copy(out, b)
    return out


@kernel("conv2d_backward_input", "cuda")
def conv2d_backward_input(dx, g, w, stride, padding, dilation, groups, size):
    w = by_group(w, groups).transpose(0, 2, 1, 3, 4)
    for i in range(min(stride[0], size[0])):
        for j in range(min(stride[1], size[1])):
            h = taps(i, stride[0], padding[0], dilation[0], w.shape[3])
            v = taps(j, stride[1], padding[1], dilation[1], w.shape[4])
            part = w[:, :, :, h.start :: h.every, v.start :: v.every]
            correlate(
                dx[:, :, i :: stride[0], j :: stride[1]],
                g,
                part[:, :, :, : h.number, : v.number],
                None,
                (1, 1),
                (h.offset, v.offset),
                (h.step, v.step),
            )


@kernel("conv2d_backward_weight", "cuda")
def conv2d_backward_weight(dw, g, x, stride, padding, dilation, groups, size):
    if dw.size == 0:
        return
    n, k, p, q = g.shape
    filters, channels, (r, s) = k // groups, dw.shape[1], size
    geometry = (*stride, -padding[0], -padding[1], *dilation)
    if groups > 1 and channels * filters <= 16:
        weight_by_taps(dw, g, x, geometry, groups)
        return
    block_f, block_c, block_p, warps = weight_blocks(x, filters)
    tiles = triton.cdiv(filters, block_f) * triton.cdiv(channels * r * s, block_c) * groups
    wanted = 4 if cuda.is_emulated() else PROGRAMS
    steps = triton.cdiv(max(n * p * q, 1), block_p)
    least = 1 if cuda.is_emulated() else 4  # steps that are worth a program
    each = max(triton.cdiv(steps, max(wanted // tiles, 1)), min(least, steps)) * block_p
    parts = triton.cdiv(max(n * p * q, 1), each)
    acc = np.dtype(np.float64 if dw.dtype == np.float64 else np.float32)
    out = dw if parts == 1 else cuda.empty((parts, *dw.shape), acc)
    cuda.launch(
        weight_kernel,
        (tiles // groups, parts, groups),
        out, g, x,
        n * p * q, each, x.shape[2], x.shape[3], p, q, filters, channels,
        dw.size, *out.steps[-4:], *g.steps, *x.steps, *geometry,
        R=r, S=s, G_LAST=is_channels_last(g, filters), X_LAST=is_channels_last(x, channels),
        WIDE=is_wide(g, x, out), BLOCK_F=block_f, BLOCK_C=block_c, BLOCK_P=block_p,
        num_warps=warps, **options(x),
    )  # fmt: skip
    if parts > 1:
        block = 1024
        cuda.launch(
            add_parts_kernel, (triton.cdiv(dw.size, block),), dw, out, dw.size, parts, BLOCK=block
        )
