"""The forward Triton kernel of attention, and what it shares with the backward ones.

FlashAttention-2 (Dao 2023, arXiv:2307.08691, algorithm 1).

No program ever holds more than a tile of the scores, and none is written to memory. Scores are in
units of log 2, so that exp is the hardware's exp2. Tensors are (B, L, H, E) by any strides; head
sizes are padded to BLOCK_D and BLOCK_DV, powers of two, by masks.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.random import philox4x64, word

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
SLICE = tl.constexpr(32)  # features of a slice
PLAIN = ["L", "S", "heads", "groups", "key", "counter", "threshold", "padded", "scale", "keep",
         "masks", "of_b", "of_h"]  # fmt: skip


@triton.jit
def fetch(ptr, rows, cols, stride_r, stride_c, n, d, EVEN: tl.constexpr, UPCAST: tl.constexpr):
    """Rows of a matrix, 0 past its n rows and d columns; EVEN, no column is past the end."""
    mask = (rows < n)[:, None]
    if not EVEN:
        mask = mask & (cols < d)[None, :]
    x = tl.load(ptr + rows[:, None] * stride_r + cols[None, :] * stride_c, mask=mask, other=0)
    if UPCAST:
        x = x.to(tl.float32)
    return x


@triton.jit
def scores(
    a, b, a_ptr, b_ptr, rows_a, rows_b, stride_ar, stride_ac, stride_br, stride_bc, n_a, n_b, d,
    EVEN: tl.constexpr, SLICED: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    ACC: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """a b^T of two tiles with one row each for a query or key.

    SLICED: read again, SLICE features at a time. FMAs take their factors from registers, of which
    a row of 128 leaves none.
    """
    if SLICED:
        s = tl.zeros((BLOCK_A, BLOCK_B), ACC)
        for start in range(0, BLOCK_D, SLICE):
            cols = start + tl.arange(0, SLICE)
            x = fetch(a_ptr, rows_a, cols, stride_ar, stride_ac, n_a, d, EVEN, UPCAST)
            z = fetch(b_ptr, rows_b, cols, stride_br, stride_bc, n_b, d, EVEN, UPCAST)
            s = tl.dot(x, tl.trans(z), s, input_precision=PRECISION, out_dtype=ACC)
    else:
        s = tl.dot(a, tl.trans(b), input_precision=PRECISION, out_dtype=ACC)
    return s


@triton.jit
def store(ptr, x, rows, cols, stride_r, stride_c, n, d):
    mask = (rows < n)[:, None] & (cols < d)[None, :]
    at = ptr + rows[:, None] * stride_r + cols[None, :] * stride_c
    tl.store(at, maths.to(x, ptr.dtype.element_ty), mask=mask)


@triton.jit
def hidden(
    s, rows, cols, m_ptr, stride_mm, stride_mn, L, S,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """Scores with the mask added, -inf where it hides; EDGE: where keys end or are in the future.

    ``rows`` and ``cols`` broadcast to s, in whichever orientation.
    """
    if MASK != "none":
        at = m_ptr + rows * stride_mm + cols * stride_mn
        m = tl.load(at, mask=(rows < L) & (cols < S), other=0)
        if MASK == "bool":
            s = tl.where(m != 0, s, float("-inf"))
        else:
            s += m.to(s.dtype) * LOG2E
    if EDGE:
        inside = cols < S
        if CAUSAL:
            inside = inside & (cols <= rows)
        s = tl.where(inside, s, float("-inf"))
    return s


@triton.jit
def kept(
    key, counter, threshold, first_row, rows, n, padded, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Which weights of rows and BLOCK_N keys from n on dropout keeps, (BLOCK_M, BLOCK_N).

    ``padded`` is 1/8 of the bits of a row, which begin with a Philox block.
    """
    blocks = (first_row + rows).to(tl.int64)[:, None] * padded + n // 8
    blocks += tl.arange(0, BLOCK_N // 8)[None, :]
    w0, w1, w2, w3 = philox4x64(word(key), word(counter) + blocks.to(tl.uint64))
    w = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
    bits = tl.interleave(w.to(tl.uint32), (w >> 32).to(tl.uint32))
    return bits.to(tl.uint64) >= word(threshold)


@triton.jit
def forward_step(
    acc, total, top, q, n, rows, q_ptr, k_ptr, v_ptr, m_ptr, scale, key, counter, threshold,
    first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
    stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr, DROP: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    WIDE: tl.constexpr, SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """One tile of keys and values: the running maximum, sum and weighted sum brought up to date."""
    offs_n = n + tl.arange(0, BLOCK_N)
    if WIDE:
        offs_n = offs_n.to(tl.int64)
    k = q
    if not SLICED:
        k = fetch(k_ptr, offs_n, offs_d, stride_kn, stride_kd, S, D, EVEN_D, UPCAST)
    s = scores(
        q, k, q_ptr, k_ptr, rows, offs_n, stride_qm, stride_qd, stride_kn, stride_kd, L, S, D,
        EVEN_D, SLICED, PRECISION, UPCAST, ACC, BLOCK_M, BLOCK_N, BLOCK_D,
    )  # fmt: skip
    s = hidden(
        s * scale, rows[:, None], offs_n[None, :], m_ptr, stride_mm, stride_mn, L, S,
        MASK, CAUSAL, EDGE,
    )  # fmt: skip
    new = tl.maximum(top, tl.max(s, 1))
    shift = new
    if MASK != "none":  # a row may have seen nothing yet
        shift = tl.where(new == float("-inf"), 0.0, new)
    p = tl.exp2(s - shift[:, None])
    factor = tl.exp2(top - shift)
    total = total * factor + tl.sum(p, 1)
    if DROP:
        keep = kept(key, counter, threshold, first_row, rows, n, padded, BLOCK_M, BLOCK_N)
        p = tl.where(keep, p, 0.0)
    v = fetch(v_ptr, offs_n, offs_dv, stride_vn, stride_vd, S, DV, EVEN_DV, UPCAST)
    acc = acc * factor[:, None]
    acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION, out_dtype=ACC)
    return acc, total, new


@triton.jit(do_not_specialize=PLAIN)
def attention_kernel(
    y_ptr, lse_ptr, q_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key, counter, threshold, padded,
    heads, groups, L, S, D, DV,
    stride_yb, stride_ym, stride_yh, stride_yd, stride_qb, stride_qm, stride_qh, stride_qd,
    stride_kb, stride_kn, stride_kh, stride_kd, stride_vb, stride_vn, stride_vh, stride_vd,
    stride_mb, stride_mh, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr, EVEN_D: tl.constexpr,
    EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """BLOCK_M rows of y and of their logsumexp, for one head.

    On chip: a tile of q, the tiles of k and v in flight, BLOCK_M x BLOCK_DV sums. Keys are gone
    through in tiles of BLOCK_N: first those that every row sees whole, then the edge. Bytes moved:
    q and y once, k and v once for each program, mostly from L2. Causal rows that see most come
    first, so that the last programs to end are short.
    """
    tiles = tl.cdiv(L, BLOCK_M)
    pid = tl.program_id(0)
    start_m = pid % tiles
    if CAUSAL:
        start_m = tiles - 1 - start_m
    b = (pid // tiles // heads).to(tl.int64)
    h = (pid // tiles % heads).to(tl.int64)
    rows = start_m * BLOCK_M + tl.arange(0, BLOCK_M)
    if WIDE:
        rows = rows.to(tl.int64)
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    q_ptr += b * stride_qb + h * stride_qh
    k_ptr += b * stride_kb + h // groups * stride_kh
    v_ptr += b * stride_vb + h // groups * stride_vh
    m_ptr += b * stride_mb + h * stride_mh
    first_row = (b * heads + h) * L
    q = 0
    if not SLICED:
        q = fetch(q_ptr, rows, offs_d, stride_qm, stride_qd, L, D, EVEN_D, UPCAST)
    acc = tl.zeros((BLOCK_M, BLOCK_DV), ACC)
    total = tl.zeros((BLOCK_M,), ACC)
    top = tl.full((BLOCK_M,), float("-inf"), ACC)
    whole = S // BLOCK_N * BLOCK_N
    end = S
    if CAUSAL:
        whole = tl.minimum(whole, start_m * BLOCK_M // BLOCK_N * BLOCK_N)
        end = tl.minimum(end, (start_m + 1) * BLOCK_M)
    for n in range(0, whole, BLOCK_N):
        acc, total, top = forward_step(
            acc, total, top, q, n, rows, q_ptr, k_ptr, v_ptr, m_ptr, scale, key, counter,
            threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
            stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
            MASK, CAUSAL, False, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
            ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    for n in range(whole, end, BLOCK_N):
        acc, total, top = forward_step(
            acc, total, top, q, n, rows, q_ptr, k_ptr, v_ptr, m_ptr, scale, key, counter,
            threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
            stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
            MASK, CAUSAL, True, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
            ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    blind = total == 0
    lse = tl.where(blind, float("inf"), (top + tl.log2(tl.where(blind, 1.0, total))) * LN2)
    tl.store(lse_ptr + first_row + rows, lse, mask=rows < L)
    y = acc * tl.where(blind, 0.0, keep / total)[:, None]
    y_ptr += b * stride_yb + h * stride_yh
    store(y_ptr, y, rows, offs_dv, stride_ym, stride_yd, L, DV)
