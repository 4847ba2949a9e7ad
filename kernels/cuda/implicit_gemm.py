"""The Triton functions of the convolutions; ``conv.py`` prepares their arrays and launches them.

Source: implicit GEMM (Chetlur et al. 2014, arXiv:1410.0759; CUTLASS, whose division by
multiplication is used here too).
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths

UNIT = 8  # channels-last arrays have strides in multiples of so many elements: 16 bytes and more


@triton.jit
def quotient(x, divisor, magic, shift, WIDE: tl.constexpr):
    """x // divisor for 0 <= x < 2^31 by one multiplication (Granlund and Montgomery 1994).

    A division by a number that is not known to the compiler takes some twenty instructions, and
    the weight gradient needs two for each pixel and step. ``magic`` is :func:`reciprocal`'s.
    """
    if WIDE:
        return x // divisor
    else:
        high = tl.umulhi(x.to(tl.uint32), magic.to(tl.uint32, bitcast=True)) >> shift
        return tl.where(divisor == 1, x, high.to(tl.int32))


def reciprocal(divisor: int) -> tuple[int, int]:
    """(magic, shift): magic = ceil(2^(31 + s) / divisor) as an int32's bits, shift = s - 1."""
    s = (divisor - 1).bit_length()
    if divisor == 1:
        return 0, 0
    return -(-(1 << (31 + s)) // divisor) - (1 << 32), s - 1


@triton.jit(do_not_specialize=["pixels", "depth", "height", "width", "O", "Q"])
def correlate_kernel(
    y_ptr, x_ptr, w_ptr, b_ptr,
    pixels, depth, height, width, O, image, Q, filters, channels,
    stride_yn, stride_yk, stride_yo, stride_yp, stride_yq,
    stride_xn, stride_xc, stride_xd, stride_xh, stride_xw,
    stride_wg, stride_wk, stride_wc, stride_wt, stride_wr, stride_ws,
    stride_o, stride_p, stride_q, offset_d, offset_h, offset_w, step_t, step_r, step_s,
    T: tl.constexpr, R: tl.constexpr, S: tl.constexpr, DEEP: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, Y: tl.constexpr, UNIT: tl.constexpr,
    HAS_BIAS: tl.constexpr, EVEN_C: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """y[n,f,p,q] = sum over c,r,s of x[n, c, p*stride_p + offset_h + r*step_r, ...] w[f,c,r,s].

    One program computes BLOCK_F filters of one group by BLOCK_P output pixels (over all images)
    and keeps them in registers; the filters' tile runs fastest, so that neighbours share x in L2.
    With CHANNELS_LAST a step reads BLOCK_K channels of one tap, contiguous and with one mask per
    pixel, and the taps of the same channels follow each other, which L1 keeps; otherwise BLOCK_K of
    the (c, r, s) in the weight's own order, pixels side by side. Strides of x and w, and channels,
    are in multiples of UNIT. Y says what lies together in y: "channels", "pixels" (all of an
    image), or "rows". Bytes moved by a program: C * R * S * (BLOCK_F + BLOCK_P) elements, most of
    them from L2, and its tile of y; 2 * C * R * S * BLOCK_F * BLOCK_P flops.

    With DEEP x is a volume (D, H, W), the filter T x R x S and the pixels count (n, o, p, q);
    without it T is 1 and what concerns the depth is not compiled.

    Specialised: the filter's size; channels, filters, P * Q and strides on 16; strides on 1.
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
    channels *= UNIT
    mask_f = offs_f < filters
    mask_p = offs_p < pixels
    n = offs_p // image
    at = offs_p - n * image
    p = at // Q
    q = at % Q
    h = p * stride_p + offset_h
    v = q * stride_q + offset_w
    o = 0
    d = 0
    if DEEP:
        o = n % O
        n = n // O
        d = o * stride_o + offset_d
    x_at = n * (stride_xn * UNIT) + h * (stride_xh * UNIT) + v * (stride_xw * UNIT)
    if DEEP:
        x_at += d * (stride_xd * UNIT)
    w_ptr += group * (stride_wg * UNIT)
    w_at = offs_f * (stride_wk * UNIT)
    acc = tl.zeros((BLOCK_F, BLOCK_P), ACC)
    if CHANNELS_LAST:
        x_ptr += group * channels
        step_xh = step_r * (stride_xh * UNIT)
        step_xw = step_s * (stride_xw * UNIT)
        for i in range(T * R * S * tl.cdiv(channels, BLOCK_K)):
            tap = i % (T * R * S)  # pyright: ignore[reportOperatorIssue]
            r = tap // S
            s = tap % S
            t = 0
            if DEEP:
                t = r // R
                r = r % R
            c = i // (T * R * S) * BLOCK_K + offs_k
            inside = mask_p & (h + r * step_r >= 0) & (h + r * step_r < height)
            inside = inside & (v + s * step_s >= 0) & (v + s * step_s < width)
            x_tap = x_at + r * step_xh + s * step_xw
            w_tap = w_at + r * (stride_wr * UNIT) + s * (stride_ws * UNIT)
            if DEEP:
                inside = inside & (d + t * step_t >= 0) & (d + t * step_t < depth)
                x_tap += t * (step_t * stride_xd * UNIT)
                w_tap += t * (stride_wt * UNIT)
            if EVEN_C:
                mask_x = inside[:, None]
                mask_w = mask_f[:, None]
            else:
                mask_x = inside[:, None] & (c < channels)[None, :]
                mask_w = mask_f[:, None] & (c < channels)[None, :]
            x = tl.load(x_ptr + x_tap[:, None] + c[None, :], mask=mask_x, other=0)
            w = tl.load(w_ptr + w_tap[:, None] + c[None, :], mask=mask_w, other=0)
            if UPCAST:
                x = x.to(tl.float32)
                w = w.to(tl.float32)
            acc = tl.dot(w, tl.trans(x), acc, input_precision=PRECISION, out_dtype=ACC)
    else:
        x_ptr += group * channels * stride_xc
        total = channels * T * R * S
        for start in range(0, total, BLOCK_K):
            k = start + offs_k
            c = k // (T * R * S)
            r = k // S % R
            s = k % S
            h_k = h[None, :] + (r * step_r)[:, None]
            v_k = v[None, :] + (s * step_s)[:, None]
            inside = (h_k >= 0) & (h_k < height) & (v_k >= 0) & (v_k < width)
            inside = inside & mask_p[None, :] & (k < total)[:, None]
            x_k = c * stride_xc + r * step_r * stride_xh + s * step_s * stride_xw
            w_k = c * stride_wc + r * stride_wr + s * stride_ws
            if DEEP:
                t = k // (R * S) % T
                d_k = d[None, :] + (t * step_t)[:, None]  # pyright: ignore[reportIndexIssue]
                inside = inside & (d_k >= 0) & (d_k < depth)
                x_k += t * step_t * stride_xd
                w_k += t * stride_wt
            x = tl.load(x_ptr + x_k[:, None] + x_at[None, :], mask=inside, other=0)
            w = tl.load(
                w_ptr + w_at[:, None] + w_k[None, :],
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
    y = maths.to(acc, y_ptr.dtype.element_ty)
    if Y == "pixels":
        y_p = n * stride_yn + at
    else:
        y_p = n * stride_yn + p * stride_yp + q * stride_yq
    if DEEP:
        y_p += o * stride_yo
    if Y == "channels":  # neighbours in a thread's vector and in a warp
        at = y_p[:, None] + (f * stride_yk)[None, :]
        tl.store(y_ptr + at, tl.trans(y), mask=mask_p[:, None] & mask_f[None, :])
    else:
        at = (f * stride_yk)[:, None] + y_p[None, :]
        tl.store(y_ptr + at, y, mask=mask_f[:, None] & mask_p[None, :])


@triton.jit(
    do_not_specialize=[
        "pixels", "each", "depth", "height", "width", "O", "P", "Q",
        "magic_image", "shift_image", "magic_row", "shift_row",
    ]
)  # fmt: skip
def weight_kernel(
    dw_ptr, g_ptr, x_ptr,
    pixels, each, depth, height, width, O, P, Q, filters, channels,
    magic_image, shift_image, magic_row, shift_row,
    stride_z, stride_k, stride_c, stride_t, stride_r, stride_s,
    stride_gn, stride_gk, stride_go, stride_gp, stride_gq,
    stride_xn, stride_xc, stride_xd, stride_xh, stride_xw,
    stride_o, stride_p, stride_q, offset_d, offset_h, offset_w, step_t, step_r, step_s,
    T: tl.constexpr, R: tl.constexpr, S: tl.constexpr, DEEP: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, UNIT: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """dw[z,f,c,r,s] = sum over the z-th ``each`` pixels of g[n,f,p,q] x[n, c, p*stride_p + ...].

    One program keeps BLOCK_F filters by BLOCK_C channels of one tap (or, channels apart, BLOCK_C of
    the (c, r, s)) and walks its share of the pixels of all images, BLOCK_P a step. The parts z are
    added in order by :func:`add_parts_kernel`: no atomics, the same bits every time. Bytes moved by
    a program: each * (BLOCK_F + BLOCK_C) elements, most of them from L2, and its tile of a part;
    2 * each * BLOCK_F * BLOCK_C flops. With CHANNELS_LAST g's and x's strides are in multiples of
    UNIT, and both have their groups' channels padded to it. DEEP as above.

    Specialised: the filter's size; channels, filters and strides on 16; strides on 1.
    """
    pid = tl.program_id(0)
    tiles = tl.cdiv(filters, BLOCK_F)
    z = tl.program_id(1)
    group = tl.program_id(2)
    offs_f = (pid % tiles) * BLOCK_F + tl.arange(0, BLOCK_F)
    offs_p = tl.arange(0, BLOCK_P)
    rest = pid // tiles
    if WIDE:
        group = group.to(tl.int64)
        z = z.to(tl.int64)
        offs_f = offs_f.to(tl.int64)
        offs_p = offs_p.to(tl.int64)
    mask_f = offs_f < filters
    if CHANNELS_LAST:
        t = rest // (R * S) % T
        r = rest // S % R
        s = rest % S
        c = rest // (T * R * S) * BLOCK_C + tl.arange(0, BLOCK_C)
        mask_c = c < channels
        # Padding holds zeros: masks that end on a multiple of UNIT leave loads wide.
        x_ptr += group * (tl.cdiv(channels, UNIT) * UNIT)
        g_ptr += group * (tl.cdiv(filters, UNIT) * UNIT)
        pad_f = offs_f < tl.cdiv(filters, UNIT) * UNIT
        pad_c = c < tl.cdiv(channels, UNIT) * UNIT
    else:
        offs_c = rest * BLOCK_C + tl.arange(0, BLOCK_C)
        mask_c = offs_c < channels * T * R * S
        c = offs_c // (T * R * S)
        t = offs_c // (R * S) % T
        r = offs_c // S % R
        s = offs_c % S
        x_ptr += group * channels * stride_xc
        g_ptr += group * filters * stride_gk
        pad_f = mask_f
        pad_c = mask_c
    if WIDE:
        c = c.to(tl.int64)
    d_c = t * step_t + offset_d
    h_c = r * step_r + offset_h
    v_c = s * step_s + offset_w
    acc = tl.zeros((BLOCK_F, BLOCK_C), ACC)
    first = z * each
    last = tl.minimum(first + each, pixels)
    for start in range(first, last, BLOCK_P):
        at = start + offs_p
        mask_p = at < last
        n = quotient(at, P * Q, magic_image, shift_image, WIDE)
        at = at - n * (P * Q)
        p = quotient(at, Q, magic_row, shift_row, WIDE)
        q = at - p * Q
        o = 0
        d_p = 0
        if DEEP:
            o = n % O
            n = n // O
            d_p = o * stride_o
        g_p = n * (stride_gn * UNIT) + p * (stride_gp * UNIT) + q * (stride_gq * UNIT)
        if DEEP:
            g_p += o * (stride_go * UNIT)
        h_p = p * stride_p
        v_p = q * stride_q
        if CHANNELS_LAST:
            h = h_p + h_c
            v = v_p + v_c
            inside = mask_p & (h >= 0) & (h < height) & (v >= 0) & (v < width)
            x_p = n * (stride_xn * UNIT) + h * (stride_xh * UNIT) + v * (stride_xw * UNIT)
            if DEEP:
                d = d_p + d_c
                inside = inside & (d >= 0) & (d < depth)
                x_p += d * (stride_xd * UNIT)
            g = tl.load(
                g_ptr + g_p[:, None] + offs_f[None, :],
                mask=mask_p[:, None] & pad_f[None, :],
                other=0,
            )
            x = tl.load(
                x_ptr + x_p[:, None] + c[None, :],
                mask=inside[:, None] & pad_c[None, :],
                other=0,
            )
            g = tl.trans(g)  # (BLOCK_F, BLOCK_P)
        else:
            g = tl.load(
                g_ptr + (offs_f * stride_gk)[:, None] + g_p[None, :],
                mask=mask_f[:, None] & mask_p[None, :],
                other=0,
            )
            h = h_p[None, :] + h_c[:, None]
            v = v_p[None, :] + v_c[:, None]
            inside = (h >= 0) & (h < height) & (v >= 0) & (v < width)
            inside = inside & mask_p[None, :] & mask_c[:, None]
            x_p = n * stride_xn + h_p * stride_xh + v_p * stride_xw
            x_c = c * stride_xc + h_c * stride_xh + v_c * stride_xw
            if DEEP:
                d = d_p[None, :] + d_c[:, None]  # pyright: ignore[reportIndexIssue]
                inside = inside & (d >= 0) & (d < depth)
                x_p += d_p * stride_xd
                x_c += d_c * stride_xd
            x = tl.load(x_ptr + x_p[None, :] + x_c[:, None], mask=inside, other=0)
            x = tl.trans(x)  # (BLOCK_P, BLOCK_C)
        if UPCAST:
            g = g.to(tl.float32)
            x = x.to(tl.float32)
        acc = tl.dot(g, x, acc, input_precision=PRECISION, out_dtype=ACC)
    f = group * filters + offs_f
    out = c * stride_c + r * stride_r + s * stride_s
    if DEEP:
        out += t * stride_t
    tl.store(
        dw_ptr + z * stride_z + (f * stride_k)[:, None] + out[None, :],
        maths.to(acc, dw_ptr.dtype.element_ty),
        mask=mask_f[:, None] & mask_c[None, :],
    )


@triton.jit(do_not_specialize=["parts"])
def add_parts_kernel(y_ptr, part_ptr, n, parts, BLOCK: tl.constexpr):
    """y = the sum of ``parts`` arrays of n elements, always in the same order. Reads each once."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    acc = tl.zeros((BLOCK,), part_ptr.dtype.element_ty)
    for z in range(parts):
        acc += tl.load(part_ptr + z * n + offs, mask=mask, other=0)
    tl.store(y_ptr + offs, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)
