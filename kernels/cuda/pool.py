"""Pooling in Triton: every kernel is a gather, so nothing is atomic and results repeat bit for bit.

Forward, a program reads the windows of its outputs; backward, the windows that hold its pixels, of
which there are at most ceil(extent / stride) along an axis.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.depthwise import is_wide
from tgrad.kernels.cuda.lines import block_of, declare_line
from tgrad.kernels.windows import pooling_axis
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit
def window(p, size, limit, kernel, stride, padding, dilation, ADAPTIVE: tl.constexpr):
    """(start, stop) of window p before it is cut to the image, padding included."""
    if ADAPTIVE:
        start = p * limit // size
        stop = ((p + 1) * limit + size - 1) // size
    else:
        start = p * stride - padding
        stop = start + (kernel - 1) * dilation + 1
    return start, stop


@triton.jit
def last_window(h, size, limit, stride, padding, ADAPTIVE: tl.constexpr):
    """The last window that starts at or before pixel h."""
    if ADAPTIVE:
        return ((h + 1) * size + limit - 1) // limit - 1
    else:
        return (h + padding) // stride


@triton.jit
def divisor_of(start, stop, limit, padding, INCLUDE_PAD: tl.constexpr):
    """How many elements along one axis a mean counts."""
    if INCLUDE_PAD:
        return tl.minimum(stop, limit + padding) - start
    else:
        return tl.minimum(stop, limit) - tl.maximum(start, 0)


@triton.jit
def max_pool2d_kernel(
    y_ptr, code_ptr, x_ptr,
    n, C, P, Q, H, W,
    stride_xn, stride_xc, stride_xh, stride_xw,
    kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w,
    ADAPTIVE: tl.constexpr, CODED: tl.constexpr, ACC: tl.constexpr, LOWEST: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = max of each window and its tap. One program computes BLOCK outputs in registers.

    Reads each pixel once per window that holds it (from cache beyond the first), writes y and code.
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
    h0, h1 = window(p, P, H, kernel_h, stride_h, padding_h, dilation_h, ADAPTIVE)
    v0, v1 = window(q, Q, W, kernel_w, stride_w, padding_w, dilation_w, ADAPTIVE)
    x_ptr += image * stride_xn + c * stride_xc
    best = tl.full((BLOCK,), LOWEST, ACC)
    code = tl.full((BLOCK,), -1, tl.int32)
    for r in range(kernel_h):
        h = h0 + r * dilation_h
        for s in range(kernel_w):
            v = v0 + s * dilation_w
            inside = mask & (h >= 0) & (h < tl.minimum(h1, H)) & (v >= 0) & (v < tl.minimum(v1, W))
            x = tl.load(x_ptr + h * stride_xh + v * stride_xw, mask=inside, other=0).to(ACC)
            better = inside & ((x > best) | (x != x) | (code < 0))
            best = tl.where(better, x, best)
            code = tl.where(better, r * kernel_w + s, code)
    tl.store(y_ptr + at, maths.to(best, y_ptr.dtype.element_ty), mask=mask)
    if CODED:
        tl.store(code_ptr + at, tl.maximum(code, 0).to(code_ptr.dtype.element_ty), mask=mask)


@triton.jit
def max_pool2d_backward_kernel(
    dx_ptr, g_ptr, code_ptr,
    n, C, P, Q, H, W,
    stride_gn, stride_gc, stride_gp, stride_gq, stride_cn, stride_cc, stride_cp, stride_cq,
    kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w,
    windows_h, windows_w,
    ADAPTIVE: tl.constexpr, ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx = sum of g over the windows that a pixel won. One program gathers for BLOCK pixels.

    Reads g and code once per window and pixel, from cache beyond the first; writes dx once.
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    at = start * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    v = at % W
    h = at // W % H
    c = at // (W * H) % C
    image = at // (W * H) // C
    g_ptr += image * stride_gn + c * stride_gc
    code_ptr += image * stride_cn + c * stride_cc
    p0 = last_window(h, P, H, stride_h, padding_h, ADAPTIVE)
    q0 = last_window(v, Q, W, stride_w, padding_w, ADAPTIVE)
    acc = tl.zeros((BLOCK,), ACC)
    for i in range(windows_h):
        p = p0 - i
        top, _ = window(p, P, H, kernel_h, stride_h, padding_h, dilation_h, ADAPTIVE)
        r = (h - top) // dilation_h
        row = mask & (p >= 0) & (p < P) & (r < kernel_h) & ((h - top) % dilation_h == 0)
        for j in range(windows_w):
            q = q0 - j
            left, _ = window(q, Q, W, kernel_w, stride_w, padding_w, dilation_w, ADAPTIVE)
            s = (v - left) // dilation_w
            inside = row & (q >= 0) & (q < Q) & (s < kernel_w) & ((v - left) % dilation_w == 0)
            code = tl.load(code_ptr + p * stride_cp + q * stride_cq, mask=inside, other=0)
            won = inside & (code.to(tl.int32) == r * kernel_w + s)
            acc += tl.load(g_ptr + p * stride_gp + q * stride_gq, mask=won, other=0).to(ACC)
    tl.store(dx_ptr + at, maths.to(acc, dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def winners_kernel(
    y_ptr, code_ptr, x_ptr,
    n, C, P, Q, H, W,
    stride_cn, stride_cc, stride_cp, stride_cq, stride_xn, stride_xc, stride_xh, stride_xw,
    kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w,
    ADAPTIVE: tl.constexpr, INDICES: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = the pixel of x that each window's code names, or with INDICES its index in the image."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    at = start * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    q = at % Q
    p = at // Q % P
    c = at // (Q * P) % C
    image = at // (Q * P) // C
    code_at = image * stride_cn + c * stride_cc + p * stride_cp + q * stride_cq
    code = tl.load(code_ptr + code_at, mask=mask, other=0).to(tl.int32)
    top, _ = window(p, P, H, kernel_h, stride_h, padding_h, dilation_h, ADAPTIVE)
    left, _ = window(q, Q, W, kernel_w, stride_w, padding_w, dilation_w, ADAPTIVE)
    h = top + code // kernel_w * dilation_h
    v = left + code % kernel_w * dilation_w
    if INDICES:
        tl.store(y_ptr + at, h.to(tl.int64) * W + v, mask=mask)
    else:
        inside = mask & (h >= 0) & (h < H) & (v >= 0) & (v < W)
        x_at = image * stride_xn + c * stride_xc + h * stride_xh + v * stride_xw
        tl.store(y_ptr + at, tl.load(x_ptr + x_at, mask=inside, other=0), mask=mask)


@triton.jit
def avg_pool2d_kernel(
    y_ptr, x_ptr,
    n, C, P, Q, H, W, divisor,
    stride_xn, stride_xc, stride_xh, stride_xw,
    kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w,
    ADAPTIVE: tl.constexpr, INCLUDE_PAD: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = the mean of each window. One program sums the windows of BLOCK outputs in registers."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    at = start * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    q = at % Q
    p = at // Q % P
    c = at // (Q * P) % C
    image = at // (Q * P) // C
    h0, h1 = window(p, P, H, kernel_h, stride_h, padding_h, 1, ADAPTIVE)
    v0, v1 = window(q, Q, W, kernel_w, stride_w, padding_w, 1, ADAPTIVE)
    x_ptr += image * stride_xn + c * stride_xc
    acc = tl.zeros((BLOCK,), ACC)
    for r in range(kernel_h):
        h = h0 + r
        for s in range(kernel_w):
            v = v0 + s
            inside = mask & (h >= 0) & (h < tl.minimum(h1, H)) & (v >= 0) & (v < tl.minimum(v1, W))
            acc += tl.load(x_ptr + h * stride_xh + v * stride_xw, mask=inside, other=0).to(ACC)
    if GIVEN:
        count = tl.full((BLOCK,), divisor, tl.int32)
    else:
        count = divisor_of(h0, h1, H, padding_h, INCLUDE_PAD)
        count *= divisor_of(v0, v1, W, padding_w, INCLUDE_PAD)
    tl.store(y_ptr + at, maths.to(acc / count.to(ACC), y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def avg_pool2d_backward_kernel(
    dx_ptr, g_ptr,
    n, C, P, Q, H, W, divisor,
    stride_gn, stride_gc, stride_gp, stride_gq,
    kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, windows_h, windows_w,
    ADAPTIVE: tl.constexpr, INCLUDE_PAD: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx = sum over the windows of a pixel of g / divisor. One program gathers for BLOCK pixels."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    at = start * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    v = at % W
    h = at // W % H
    c = at // (W * H) % C
    image = at // (W * H) // C
    g_ptr += image * stride_gn + c * stride_gc
    p0 = last_window(h, P, H, stride_h, padding_h, ADAPTIVE)
    q0 = last_window(v, Q, W, stride_w, padding_w, ADAPTIVE)
    acc = tl.zeros((BLOCK,), ACC)
    for i in range(windows_h):
        p = p0 - i
        h0, h1 = window(p, P, H, kernel_h, stride_h, padding_h, 1, ADAPTIVE)
        row = mask & (p >= 0) & (p < P) & (h < h1)
        for j in range(windows_w):
            q = q0 - j
            v0, v1 = window(q, Q, W, kernel_w, stride_w, padding_w, 1, ADAPTIVE)
            inside = row & (q >= 0) & (q < Q) & (v < v1)
            g = tl.load(g_ptr + p * stride_gp + q * stride_gq, mask=inside, other=0).to(ACC)
            if GIVEN:
                count = tl.full((BLOCK,), divisor, tl.int32)
            else:
                count = divisor_of(h0, h1, H, padding_h, INCLUDE_PAD)
                count *= divisor_of(v0, v1, W, padding_w, INCLUDE_PAD)
            acc += tl.where(inside, g / count.to(ACC), 0)
    tl.store(dx_ptr + at, maths.to(acc, dx_ptr.dtype.element_ty), mask=mask)


# ---- launching -----------------------------------------------------------------------------------


def blocks(kernel: str, a: CudaArray, taps: int) -> tuple[dict[str, int], tuple[int]]:
    """(constants, grid) of a launch over the elements of ``a``, which read ``taps`` each: a tuner's
    choice, else two elements a thread, one of 8 bytes, which would spill.
    """
    rule = 1024 if cuda.is_emulated() else 128 if a.itemsize == 8 else 256
    c = block_of(kernel, a.itemsize, (a.size, taps), rule)
    return {"BLOCK": c.block, "num_warps": c.num_warps}, (triton.cdiv(a.size, c.block),)


def accumulator(x: CudaArray) -> tl.dtype:
    if x.dtype.kind in "iu":
        return tl.int64
    return tl.float64 if x.dtype.itemsize == 8 else tl.float32


def windows_of_pixel(size, image, kernel, stride, dilation, adaptive) -> list[int]:
    """The most windows along each axis that hold one pixel."""
    if not adaptive:
        return [((kernel[i] - 1) * dilation[i]) // stride[i] + 1 for i in (0, 1)]
    most = []
    for p, h in zip(size, image, strict=True):
        axis = pooling_axis(p, h, 1, 1, 0, adaptive=True)
        held = [0] * h
        for start, n in zip(axis.source, axis.length, strict=True):
            for k in range(start, start + n):
                held[k] += 1
        most.append(max(held, default=0))
    return most


TINY = example(
    "nn.functional.max_pool2d", array(2, 3, 11, 9), 3, 2, padding=1, backward=True
)  # fmt: skip
declare_line("max_pool2d", TINY)
declare_line("max_pool2d_backward", TINY)
MEAN = example("nn.functional.avg_pool2d", array(2, 3, 11, 9), 3, 2, padding=1, backward=True)
INDICES = example("nn.functional.max_pool2d", array(2, 3, 11, 9), 3, 2, return_indices=True)
declare_line("pool_winners", INDICES)
declare_line("avg_pool2d", MEAN)
declare_line("avg_pool2d_backward", MEAN)


@kernel("_max_pool2d", "cuda")
def _max_pool2d(y, code, x, size, kernel, stride, padding, dilation, adaptive, coded):
    chosen, grid = blocks("max_pool2d", y, kernel[0] * kernel[1])
    acc = accumulator(x)
    lowest = float("-inf") if x.dtype.kind not in "iu" else -(2**63)
    cuda.launch(
        max_pool2d_kernel, grid, y, code, x, y.size, *y.shape[1:], *x.shape[2:], *x.steps,
        *kernel, *stride, *padding, *dilation, ADAPTIVE=adaptive, CODED=coded, ACC=acc,
        LOWEST=lowest, WIDE=is_wide(y, x), **chosen,
    )  # fmt: skip


@kernel("max_pool2d_backward", "cuda")
def max_pool2d_backward(dx, g, code, size, kernel, stride, padding, dilation, adaptive):
    windows = windows_of_pixel(g.shape[2:], size, kernel, stride, dilation, adaptive)
    chosen, grid = blocks("max_pool2d_backward", dx, windows[0] * windows[1])
    cuda.launch(
        max_pool2d_backward_kernel, grid, dx, g, code, dx.size, dx.shape[1], *g.shape[2:],
        *dx.shape[2:], *g.steps, *code.steps, *kernel, *stride, *padding, *dilation, *windows,
        ADAPTIVE=adaptive, ACC=accumulator(g), WIDE=is_wide(dx, g, code), **chosen,
    )  # fmt: skip


@kernel("_max_pool2d_winners", "cuda")
def _max_pool2d_winners(y, x, code, size, kernel, stride, padding, dilation, adaptive):
    chosen, grid = blocks("pool_winners", y, 1)
    cuda.launch(
        winners_kernel, grid, y, code, x, y.size, *y.shape[1:], *x.shape[2:], *code.steps,
        *x.steps, *kernel, *stride, *padding, *dilation, ADAPTIVE=adaptive, INDICES=False,
        WIDE=is_wide(y, x, code), **chosen,
    )  # fmt: skip


@kernel("_pool_indices", "cuda")
def _pool_indices(y, code, image, kernel, stride, padding, dilation, adaptive):
    chosen, grid = blocks("pool_winners", y, 1)
    cuda.launch(
        winners_kernel, grid, y, code, code, y.size, *y.shape[1:], *image, *code.steps,
        0, 0, 0, 0, *kernel, *stride, *padding, *dilation, ADAPTIVE=adaptive, INDICES=True,
        WIDE=is_wide(y, code), **chosen,
    )  # fmt: skip


@kernel("_avg_pool2d", "cuda")
def _avg_pool2d(y, x, size, kernel, stride, padding, include_pad, divisor, adaptive, dtype):
    chosen, grid = blocks("avg_pool2d", y, kernel[0] * kernel[1])
    cuda.launch(
        avg_pool2d_kernel, grid, y, x, y.size, *y.shape[1:], *x.shape[2:], divisor or 1, *x.steps,
        *kernel, *stride, *padding, ADAPTIVE=adaptive, INCLUDE_PAD=include_pad,
        GIVEN=divisor is not None, ACC=accumulator(x), WIDE=is_wide(y, x), **chosen,
    )  # fmt: skip


@kernel("avg_pool2d_backward", "cuda")
def avg_pool2d_backward(
    dx, g, size, kernel, stride, padding, include_pad, divisor, adaptive, dtype
):
    windows = windows_of_pixel(g.shape[2:], size, kernel, stride, (1, 1), adaptive)
    chosen, grid = blocks("avg_pool2d_backward", dx, windows[0] * windows[1])
    cuda.launch(
        avg_pool2d_backward_kernel, grid, dx, g, dx.size, dx.shape[1], *g.shape[2:],
        *dx.shape[2:], divisor or 1, *g.steps, *kernel, *stride, *padding, *windows,
        ADAPTIVE=adaptive, INCLUDE_PAD=include_pad, GIVEN=divisor is not None,
        ACC=accumulator(g), WIDE=is_wide(dx, g), **chosen,
    )  # fmt: skip
