"""The backward Triton kernels of attention: FlashAttention-2 (arXiv:2307.08691, algorithm 2).

One kernel for keys and values and one for queries, so that no sum needs atomics.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.attention_kernels import (
    LN2,
    LOG2E,
    PLAIN,
    fetch,
    hidden,
    kept,
    scores,
    store,
)


@triton.jit(do_not_specialize=["rows", "L", "heads"])
def row_dots_kernel(
    delta_ptr, g_ptr, y_ptr, rows, L, heads, D,
    stride_gb, stride_gm, stride_gh, stride_gd, stride_yb, stride_ym, stride_yh, stride_yd,
    ACC: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """delta = sum(g * y) of BLOCK_M rows (b, l, h), in memory's order. Reads g and y once."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.arange(0, BLOCK_D)
    h, m, b = row % heads, row // heads % L, row // heads // L
    mask = (row < rows)[:, None] & (cols < D)[None, :]
    g_at = (b * stride_gb + m * stride_gm + h * stride_gh)[:, None] + cols[None, :] * stride_gd
    y_at = (b * stride_yb + m * stride_ym + h * stride_yh)[:, None] + cols[None, :] * stride_yd
    g = tl.load(g_ptr + g_at, mask=mask, other=0).to(ACC)
    y = tl.load(y_ptr + y_at, mask=mask, other=0).to(ACC)
    tl.store(delta_ptr + (b * heads + h) * L + m, tl.sum(g * y, 1), mask=row < rows)


@triton.jit
def keys_step(
    dk, dv, k, v, m, offs_n, n, q_ptr, g_ptr, k_ptr, v_ptr, lse_ptr, delta_ptr, m_ptr, scale,
    keep, key, counter, threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv,
    stride_qm, stride_qd, stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd,
    stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr, DROP: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    WIDE: tl.constexpr, SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """One tile of queries: what it adds to the sums of dk and dv. Scores are (keys, queries)."""
    rows = m + tl.arange(0, BLOCK_M)
    if WIDE:
        rows = rows.to(tl.int64)
    q = fetch(q_ptr, rows, offs_d, stride_qm, stride_qd, L, D, EVEN_D, UPCAST)
    lse = tl.load(lse_ptr + rows, mask=rows < L, other=float("inf")) * LOG2E
    s = scores(
        k, q, k_ptr, q_ptr, offs_n, rows, stride_kn, stride_kd, stride_qm, stride_qd, S, L, D,
        EVEN_D, SLICED, PRECISION, UPCAST, ACC, BLOCK_N, BLOCK_M, BLOCK_D,
    )  # fmt: skip
    s = hidden(
        s * scale, rows[None, :], offs_n[:, None], m_ptr, stride_mm, stride_mn, L, S,
        MASK, CAUSAL, EDGE,
    )  # fmt: skip
    p = tl.exp2(s - lse[None, :])
    g = fetch(g_ptr, rows, offs_dv, stride_gm, stride_gd, L, DV, EVEN_DV, UPCAST)
    dp = scores(
        v, g, v_ptr, g_ptr, offs_n, rows, stride_vn, stride_vd, stride_gm, stride_gd, S, L, DV,
        EVEN_DV, SLICED, PRECISION, UPCAST, ACC, BLOCK_N, BLOCK_M, BLOCK_DV,
    )  # fmt: skip
    delta = tl.load(delta_ptr + rows, mask=rows < L, other=0)
    if DROP:
        left = kept(key, counter, threshold, first_row, rows, n, padded, BLOCK_M, BLOCK_N)
        left = tl.trans(left)
        dropped = tl.where(left, p * keep, 0.0)
        dv = tl.dot(dropped.to(g.dtype), g, dv, input_precision=PRECISION, out_dtype=ACC)
        dp = tl.where(left, dp * keep, 0.0)
    else:
        dv = tl.dot(p.to(g.dtype), g, dv, input_precision=PRECISION, out_dtype=ACC)
    ds = p * (dp - delta[None, :])
    dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION, out_dtype=ACC)
    return dk, dv


@triton.jit(do_not_specialize=PLAIN)
def attention_backward_keys_kernel(
    dk_ptr, dv_ptr, g_ptr, q_ptr, k_ptr, v_ptr, m_ptr, lse_ptr, delta_ptr, scale, keep, key,
    counter, threshold, padded, heads, groups, L, S, D, DV,
    stride_dkb, stride_dkn, stride_dkh, stride_dkd, stride_dvb, stride_dvn, stride_dvh, stride_dvd,
    stride_gb, stride_gm, stride_gh, stride_gd, stride_qb, stride_qm, stride_qh, stride_qd,
    stride_kb, stride_kn, stride_kh, stride_kd, stride_vb, stride_vn, stride_vh, stride_vd,
    stride_mb, stride_mh, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr, EVEN_D: tl.constexpr,
    EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """BLOCK_N rows of dk and dv for one head of keys, over all queries and heads that read it.

    On chip: tiles of k and v, the tiles of q and g in flight, BLOCK_N x (BLOCK_D + BLOCK_DV) sums.
    A weight is computed again from the row's logsumexp; the sums need no atomics, since a program
    goes through the group's heads itself. Causal: rows above the diagonal are never visited.
    PARTS: where SLICED, programs that share the features of a tile's sums.
    """
    tiles = tl.cdiv(S, BLOCK_N)
    pid = tl.program_id(0) // PARTS
    part = tl.program_id(0) % PARTS
    n = pid % tiles * BLOCK_N
    few = heads // groups
    b = (pid // tiles // few).to(tl.int64)
    h_k = (pid // tiles % few).to(tl.int64)
    offs_n = n + tl.arange(0, BLOCK_N)
    if WIDE:
        offs_n = offs_n.to(tl.int64)
    offs_d = part * (BLOCK_D // PARTS) + tl.arange(0, BLOCK_D // PARTS)
    offs_dv = part * (BLOCK_DV // PARTS) + tl.arange(0, BLOCK_DV // PARTS)
    k_ptr += b * stride_kb + h_k * stride_kh
    v_ptr += b * stride_vb + h_k * stride_vh
    k = 0
    v = 0
    if not SLICED:
        k = fetch(k_ptr, offs_n, offs_d, stride_kn, stride_kd, S, D, EVEN_D, UPCAST)
        v = fetch(v_ptr, offs_n, offs_dv, stride_vn, stride_vd, S, DV, EVEN_DV, UPCAST)
    dk = tl.zeros((BLOCK_N, BLOCK_D // PARTS), ACC)
    dv = tl.zeros((BLOCK_N, BLOCK_DV // PARTS), ACC)
    first = 0
    middle = 0
    if CAUSAL:
        first = tl.minimum(n // BLOCK_M * BLOCK_M, L)
        middle = tl.minimum(tl.cdiv(n + BLOCK_N - 1, BLOCK_M) * BLOCK_M, L)
    for i in range(groups):
        h = h_k * groups + i
        first_row = (b * heads + h) * L
        q_at = q_ptr + b * stride_qb + h * stride_qh
        g_at = g_ptr + b * stride_gb + h * stride_gh
        m_at = m_ptr + b * stride_mb + h * stride_mh
        if CAUSAL:
            for m in range(first, middle, BLOCK_M):
                dk, dv = keys_step(
                    dk, dv, k, v, m, offs_n, n, q_at, g_at, k_ptr, v_ptr, lse_ptr + first_row,
                    delta_ptr + first_row, m_at, scale, keep, key, counter, threshold, first_row,
                    padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd, stride_gm,
                    stride_gd, stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
                    MASK, CAUSAL, True, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
                    ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
                )  # fmt: skip
        for m in range(middle, L, BLOCK_M):
            dk, dv = keys_step(
                dk, dv, k, v, m, offs_n, n, q_at, g_at, k_ptr, v_ptr, lse_ptr + first_row,
                delta_ptr + first_row, m_at, scale, keep, key, counter, threshold, first_row,
                padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd, stride_gm,
                stride_gd, stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
                MASK, CAUSAL, False, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
                ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
            )  # fmt: skip
    dk_ptr += b * stride_dkb + h_k * stride_dkh
    dv_ptr += b * stride_dvb + h_k * stride_dvh
    store(dk_ptr, dk * (scale * LN2), offs_n, offs_d, stride_dkn, stride_dkd, S, D)
    store(dv_ptr, dv, offs_n, offs_dv, stride_dvn, stride_dvd, S, DV)


@triton.jit
def score_gradient(
    q, g, n, rows, lse, delta, k, q_ptr, g_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key, counter,
    threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
    stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr, DROP: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    WIDE: tl.constexpr, SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """dS of BLOCK_M queries and BLOCK_N keys."""
    offs_n = n + tl.arange(0, BLOCK_N)
    if WIDE:
        offs_n = offs_n.to(tl.int64)
    s = scores(
        q, k, q_ptr, k_ptr, rows, offs_n, stride_qm, stride_qd, stride_kn, stride_kd, L, S, D,
        EVEN_D, SLICED, PRECISION, UPCAST, ACC, BLOCK_M, BLOCK_N, BLOCK_D,
    )  # fmt: skip
    s = hidden(
        s * scale, rows[:, None], offs_n[None, :], m_ptr, stride_mm, stride_mn, L, S,
        MASK, CAUSAL, EDGE,
    )  # fmt: skip
    p = tl.exp2(s - lse[:, None])
    v = g
    if not SLICED:
        v = fetch(v_ptr, offs_n, offs_dv, stride_vn, stride_vd, S, DV, EVEN_DV, UPCAST)
    dp = scores(
        g, v, g_ptr, v_ptr, rows, offs_n, stride_gm, stride_gd, stride_vn, stride_vd, L, S, DV,
        EVEN_DV, SLICED, PRECISION, UPCAST, ACC, BLOCK_M, BLOCK_N, BLOCK_DV,
    )  # fmt: skip
    if DROP:
        left = kept(key, counter, threshold, first_row, rows, n, padded, BLOCK_M, BLOCK_N)
        dp = tl.where(left, dp * keep, 0.0)
    return p * (dp - delta[:, None])


@triton.jit
def queries_step(
    dq, q, g, n, rows, lse, delta, q_ptr, g_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key, counter,
    threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
    stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr, DROP: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    WIDE: tl.constexpr, SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """dq with what one tile of keys adds."""
    offs_n = n + tl.arange(0, BLOCK_N)
    if WIDE:
        offs_n = offs_n.to(tl.int64)
    k = q
    if not SLICED:
        k = fetch(k_ptr, offs_n, offs_d, stride_kn, stride_kd, S, D, EVEN_D, UPCAST)
    ds = score_gradient(
        q, g, n, rows, lse, delta, k, q_ptr, g_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key,
        counter, threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm, stride_qd,
        stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd, stride_mm, stride_mn,
        MASK, CAUSAL, EDGE, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED, ACC,
        BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
    )  # fmt: skip
    if SLICED:
        k = fetch(k_ptr, offs_n, offs_d, stride_kn, stride_kd, S, D, EVEN_D, UPCAST)
    return tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION, out_dtype=ACC)


@triton.jit(do_not_specialize=PLAIN)
def attention_backward_queries_kernel(
    dq_ptr, g_ptr, q_ptr, k_ptr, v_ptr, m_ptr, lse_ptr, delta_ptr, scale, keep, key, counter,
    threshold, padded, heads, groups, L, S, D, DV,
    stride_dqb, stride_dqm, stride_dqh, stride_dqd,
    stride_gb, stride_gm, stride_gh, stride_gd, stride_qb, stride_qm, stride_qh, stride_qd,
    stride_kb, stride_kn, stride_kh, stride_kd, stride_vb, stride_vn, stride_vh, stride_vd,
    stride_mb, stride_mh, stride_mm, stride_mn,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr, EVEN_D: tl.constexpr,
    EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr, WIDE: tl.constexpr,
    SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """BLOCK_M rows of dq for one head. On chip: tiles of q and g, the tiles of k and v in flight,
    BLOCK_M x BLOCK_D sums. Keys are gone through as in :func:`attention_kernel`."""
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
    g_ptr += b * stride_gb + h * stride_gh
    k_ptr += b * stride_kb + h // groups * stride_kh
    v_ptr += b * stride_vb + h // groups * stride_vh
    m_ptr += b * stride_mb + h * stride_mh
    first_row = (b * heads + h) * L
    q = 0
    g = 0
    if not SLICED:
        q = fetch(q_ptr, rows, offs_d, stride_qm, stride_qd, L, D, EVEN_D, UPCAST)
        g = fetch(g_ptr, rows, offs_dv, stride_gm, stride_gd, L, DV, EVEN_DV, UPCAST)
    lse = tl.load(lse_ptr + first_row + rows, mask=rows < L, other=float("inf")) * LOG2E
    delta = tl.load(delta_ptr + first_row + rows, mask=rows < L, other=0)
    dq = tl.zeros((BLOCK_M, BLOCK_D), ACC)
    whole = S // BLOCK_N * BLOCK_N
    end = S
    if CAUSAL:
        whole = tl.minimum(whole, start_m * BLOCK_M // BLOCK_N * BLOCK_N)
        end = tl.minimum(end, (start_m + 1) * BLOCK_M)
    for n in range(0, whole, BLOCK_N):
        dq = queries_step(
            dq, q, g, n, rows, lse, delta, q_ptr, g_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key,
            counter, threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm,
            stride_qd, stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd,
            stride_mm, stride_mn,
            MASK, CAUSAL, False, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
            ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    for n in range(whole, end, BLOCK_N):
        dq = queries_step(
            dq, q, g, n, rows, lse, delta, q_ptr, g_ptr, k_ptr, v_ptr, m_ptr, scale, keep, key,
            counter, threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv, stride_qm,
            stride_qd, stride_gm, stride_gd, stride_kn, stride_kd, stride_vn, stride_vd,
            stride_mm, stride_mn,
            MASK, CAUSAL, True, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
            ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
        )  # fmt: skip
    dq_ptr += b * stride_dqb + h * stride_dqh
    store(dq_ptr, dq * (scale * LN2), rows, offs_d, stride_dqm, stride_dqd, L, D)


@triton.jit(do_not_specialize=PLAIN)
def attention_backward_mask_kernel(
    dm_ptr, g_ptr, q_ptr, k_ptr, v_ptr, m_ptr, lse_ptr, delta_ptr, scale, keep, key, counter,
    threshold, padded, heads, groups, L, S, D, DV, masks, of_b, of_h,
    stride_dmb, stride_dmh, stride_dmm, stride_dmn,
    stride_gb, stride_gm, stride_gh, stride_gd, stride_qb, stride_qm, stride_qh, stride_qd,
    stride_kb, stride_kn, stride_kh, stride_kd, stride_vb, stride_vn, stride_vh, stride_vd,
    stride_mb, stride_mh, stride_mm, stride_mn,
    CAUSAL: tl.constexpr, DROP: tl.constexpr, ONE_ROW: tl.constexpr, ONE_COLUMN: tl.constexpr,
    EVEN_D: tl.constexpr, EVEN_DV: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    WIDE: tl.constexpr, SLICED: tl.constexpr, ACC: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """A tile of the gradient of a floating mask: dS summed over what the mask was broadcast along.

    ``masks`` of the mask's heads make a batch entry; each stands for ``of_b`` x ``of_h`` entries
    of batch and heads, which the program goes through, so that no sum is written twice. ONE_ROW:
    the mask has one row for all queries, ONE_COLUMN: one for all keys; the program then goes
    through those too.
    """
    tiles_m = 1 if ONE_ROW else tl.cdiv(L, BLOCK_M)
    tiles_n = 1 if ONE_COLUMN else tl.cdiv(S, BLOCK_N)
    pid = tl.program_id(0)
    start_n = pid % tiles_n
    start_m = pid // tiles_n % tiles_m
    entry = pid // tiles_n // tiles_m
    mask_b = entry // masks
    mask_h = entry % masks
    last_m = tl.cdiv(L, BLOCK_M) if ONE_ROW else start_m + 1
    last_n = tl.cdiv(S, BLOCK_N) if ONE_COLUMN else start_n + 1
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    acc = tl.zeros((BLOCK_M, BLOCK_N), ACC)
    for shared in range(of_b * of_h):
        b = (mask_b * of_b + shared // of_h).to(tl.int64)
        h = (mask_h * of_h + shared % of_h).to(tl.int64)
        q_at = q_ptr + b * stride_qb + h * stride_qh
        g_at = g_ptr + b * stride_gb + h * stride_gh
        k_at = k_ptr + b * stride_kb + h // groups * stride_kh
        v_at = v_ptr + b * stride_vb + h // groups * stride_vh
        m_at = m_ptr + b * stride_mb + h * stride_mh
        first_row = (b * heads + h) * L
        for m in range(start_m, last_m):
            rows = m * BLOCK_M + tl.arange(0, BLOCK_M)
            if WIDE:
                rows = rows.to(tl.int64)
            q = 0
            g = 0
            if not SLICED:
                q = fetch(q_at, rows, offs_d, stride_qm, stride_qd, L, D, EVEN_D, UPCAST)
                g = fetch(g_at, rows, offs_dv, stride_gm, stride_gd, L, DV, EVEN_DV, UPCAST)
            lse = tl.load(lse_ptr + first_row + rows, mask=rows < L, other=float("inf")) * LOG2E
            delta = tl.load(delta_ptr + first_row + rows, mask=rows < L, other=0)
            for n in range(start_n, last_n):
                offs_n = n * BLOCK_N + tl.arange(0, BLOCK_N)
                if WIDE:
                    offs_n = offs_n.to(tl.int64)
                k = q
                if not SLICED:
                    k = fetch(k_at, offs_n, offs_d, stride_kn, stride_kd, S, D, EVEN_D, UPCAST)
                acc += score_gradient(
                    q, g, n * BLOCK_N, rows, lse, delta, k, q_at, g_at, k_at, v_at, m_at, scale,
                    keep, key, counter, threshold, first_row, padded, L, S, D, DV, offs_d, offs_dv,
                    stride_qm, stride_qd, stride_gm, stride_gd, stride_kn, stride_kd,
                    stride_vn, stride_vd, stride_mm, stride_mn,
                    "float", CAUSAL, True, DROP, EVEN_D, EVEN_DV, PRECISION, UPCAST, WIDE, SLICED,
                    ACC, BLOCK_M, BLOCK_N, BLOCK_D, BLOCK_DV,
                )  # fmt: skip
    dm_ptr += mask_b.to(tl.int64) * stride_dmb + mask_h.to(tl.int64) * stride_dmh
    rows = start_m * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = start_n * BLOCK_N + tl.arange(0, BLOCK_N)
    if WIDE:
        rows, cols = rows.to(tl.int64), cols.to(tl.int64)
    if ONE_ROW and ONE_COLUMN:
        tl.store(dm_ptr, maths.to(tl.sum(acc), dm_ptr.dtype.element_ty))
    elif ONE_ROW:
        sums = maths.to(tl.sum(acc, 0), dm_ptr.dtype.element_ty)
        tl.store(dm_ptr + cols * stride_dmn, sums, mask=cols < S)
    elif ONE_COLUMN:
        sums = maths.to(tl.sum(acc, 1), dm_ptr.dtype.element_ty)
        tl.store(dm_ptr + rows * stride_dmm, sums, mask=rows < L)
    else:
        store(dm_ptr, acc, rows, cols, stride_dmm, stride_dmn, L, S)
