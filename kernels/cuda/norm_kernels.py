"""The kernels of layer and RMS norm; ``norm`` launches them."""

# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.rows import along, positions

PLAIN = ["rows", "n", "chunk", "splits", "programs", "g_row", "g_n", "x_row", "x_n"]


@triton.jit
def row_numbers(rows, WIDE: tl.constexpr, BLOCK_T: tl.constexpr):
    """This program's rows, and which of them there are."""
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    k = pid * BLOCK_T + tl.arange(0, BLOCK_T)
    return k, k < rows


@triton.jit
def row_offsets(k, row, UNIT: tl.constexpr, VEC: tl.constexpr):
    """Where rows k begin; the step between rows comes in units of VEC where they are dense."""
    if UNIT == "n":
        at = k * row * VEC
    else:
        at = k * row
    return at


@triton.jit
def moments(
    x_ptrs, mask_t, start, stop, x_n, CENTERED: tl.constexpr, ACC: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """(mean, squares around it) of BLOCK_T rows between two positions; not CENTERED, around 0.

    Tiles are merged as they come (Chan, Golub & LeVeque 1979).
    """
    mean = tl.zeros((BLOCK_T,), ACC)
    m2 = tl.zeros((BLOCK_T,), ACC)
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = mask_t[:, None] & (r < stop)[None, :]
        x = tl.load(x_ptrs + along(r, x_n, X_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        if CENTERED:
            here = tl.minimum(stop - at, BLOCK_N).to(ACC)
            before = at - start
            tile_mean = tl.sum(x, 1) / here
            d = tl.where(mask, x - tile_mean[:, None], 0)
            delta = tile_mean - mean
            share = here / (before + here)
            m2 += tl.sum(d * d, 1) + delta * delta * (share * before)
            mean += delta * share
        else:
            m2 += tl.sum(x * x, 1)
    return mean, m2


@triton.jit
def write_normalized(
    y_ptrs, x_ptrs, w_ptr, b_ptr, mask_t, mean, rstd, start, stop, x_n,
    W: tl.constexpr, B: tl.constexpr, ACC: tl.constexpr, X_UNIT: tl.constexpr,
    VEC: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y between two positions of BLOCK_T rows of known statistics."""
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask_n = r < stop
        mask = mask_t[:, None] & mask_n[None, :]
        x = tl.load(x_ptrs + along(r, x_n, X_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        y = (x - mean[:, None]) * rstd[:, None]
        if W:
            y *= tl.load(w_ptr + r, mask=mask_n, other=0).to(ACC)[None, :]
        if B:
            y += tl.load(b_ptr + r, mask=mask_n, other=0).to(ACC)[None, :]
        tl.store(y_ptrs + r[None, :], maths.to(y, y_ptrs.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_kernel(
    y_ptr, mean_ptr, rstd_ptr, x_ptr, w_ptr, b_ptr, rows, n, x_row, x_n, eps,
    W: tl.constexpr, B: tl.constexpr, CENTERED: tl.constexpr, ACC: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, ONE_PASS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd w + b for BLOCK_T rows. ONE_PASS reads x once, else twice."""
    k, mask_t = row_numbers(rows, WIDE, BLOCK_T)
    n = n * VEC
    x_ptrs = x_ptr + row_offsets(k, x_row, X_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + (k * n)[:, None]
    if ONE_PASS:
        offs = positions(BLOCK_N, WIDE)
        mask_n = offs < n
        mask = mask_t[:, None] & mask_n[None, :]
        x = tl.load(x_ptrs + along(offs, x_n, X_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        mean = tl.zeros((BLOCK_T,), ACC)
        if CENTERED:
            mean = tl.sum(x, 1) / n
            x = tl.where(mask, x - mean[:, None], 0)
        var = tl.sum(x * x, 1) / n
        rstd = 1 / maths.sqrt(var + eps)
        y = x * rstd[:, None]
        if W:
            y *= tl.load(w_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
        if B:
            y += tl.load(b_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
        tl.store(y_ptrs + offs[None, :], maths.to(y, y_ptr.dtype.element_ty), mask=mask)
    else:
        mean, m2 = moments(x_ptrs, mask_t, 0, n, x_n, CENTERED, ACC, X_UNIT, VEC, BLOCK_T, BLOCK_N)
        rstd = 1 / maths.sqrt(m2 / n + eps)
        write_normalized(
            y_ptrs, x_ptrs, w_ptr, b_ptr, mask_t, mean, rstd, 0, n, x_n,
            W, B, ACC, X_UNIT, VEC, BLOCK_N,
        )  # fmt: skip
    tl.store(mean_ptr + k, mean, mask=mask_t)
    tl.store(rstd_ptr + k, rstd, mask=mask_t)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_parts_kernel(
    means_ptr, m2s_ptr, x_ptr, rows, n, chunk, x_row, x_n,
    CENTERED: tl.constexpr, ACC: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Mean and squares around it of a chunk of BLOCK_T rows, to [part, row]."""
    k, mask_t = row_numbers(rows, WIDE, BLOCK_T)
    n = n * VEC
    x_ptrs = x_ptr + row_offsets(k, x_row, X_UNIT, VEC)[:, None]
    part = tl.program_id(1)
    start = part * (chunk * VEC)
    stop = tl.minimum(start + chunk * VEC, n)
    mean, m2 = moments(
        x_ptrs, mask_t, start, stop, x_n, CENTERED, ACC, X_UNIT, VEC, BLOCK_T, BLOCK_N
    )
    tl.store(means_ptr + part * rows + k, mean, mask=mask_t)
    tl.store(m2s_ptr + part * rows + k, m2, mask=mask_t)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_merge_kernel(
    y_ptr, mean_ptr, rstd_ptr, x_ptr, w_ptr, b_ptr, means_ptr, m2s_ptr, rows, n, chunk, splits,
    x_row, x_n, eps,
    W: tl.constexpr, B: tl.constexpr, CENTERED: tl.constexpr, ACC: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, SPLITS: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y of one chunk of BLOCK_T rows from the statistics of all chunks."""
    k, mask_t = row_numbers(rows, WIDE, BLOCK_T)
    n = n * VEC
    part = tl.program_id(1)
    others = tl.arange(0, SPLITS)
    mask = mask_t[:, None] & (others < splits)[None, :]
    at = others[None, :] * rows + k[:, None]
    m2s = tl.load(m2s_ptr + at, mask=mask, other=0)
    mean = tl.zeros((BLOCK_T,), ACC)
    m2 = tl.sum(m2s, 1)
    if CENTERED:
        number = tl.maximum(tl.minimum(n - others * (chunk * VEC), chunk * VEC), 0)
        number = number.to(ACC)[None, :]
        means = tl.load(means_ptr + at, mask=mask, other=0)
        mean = tl.sum(means * number, 1) / n
        away = means - mean[:, None]
        m2 += tl.sum(tl.where(mask, number * away * away, 0), 1)
    rstd = 1 / maths.sqrt(m2 / n + eps)
    start = part * (chunk * VEC)
    write_normalized(
        y_ptr + (k * n)[:, None], x_ptr + row_offsets(k, x_row, X_UNIT, VEC)[:, None], w_ptr,
        b_ptr, mask_t, mean, rstd, start, tl.minimum(start + chunk * VEC, n), x_n,
        W, B, ACC, X_UNIT, VEC, BLOCK_N,
    )  # fmt: skip
    if part == 0:
        tl.store(mean_ptr + k, mean, mask=mask_t)
        tl.store(rstd_ptr + k, rstd, mask=mask_t)


# ---- backward ------------------------------------------------------------------------------------


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_backward_kernel(
    dx_ptr, dw_ptr, db_ptr, g_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, rows, n,
    g_row, g_n, x_row, x_n,
    DX: tl.constexpr, DW: tl.constexpr, DB: tl.constexpr, W: tl.constexpr, CENTERED: tl.constexpr,
    ACC: tl.constexpr, G_UNIT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx of every num_programs-th block of rows, and the sums of g x_hat and g over those rows.

    Reads g and x once; the partial sums (programs, n) are all else that is written.
    """
    pid = tl.program_id(0)
    step = tl.num_programs(0)
    if WIDE:
        pid = pid.to(tl.int64)
    n = n * VEC
    offs = positions(BLOCK_N, WIDE)
    mask_n = offs < n
    dw = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    w = tl.full((1, 1), 1, ACC)
    if W:
        w = tl.load(w_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
    for block in range(pid, tl.cdiv(rows, BLOCK_T), step):
        k = block * BLOCK_T + tl.arange(0, BLOCK_T)
        mask_t = k < rows
        mask = mask_t[:, None] & mask_n[None, :]
        x_at = row_offsets(k, x_row, X_UNIT, VEC)[:, None] + along(offs, x_n, X_UNIT, VEC)[None, :]
        g_at = row_offsets(k, g_row, G_UNIT, VEC)[:, None] + along(offs, g_n, G_UNIT, VEC)[None, :]
        x = tl.load(x_ptr + x_at, mask=mask, other=0).to(ACC)
        g = tl.load(g_ptr + g_at, mask=mask, other=0).to(ACC)
        mean = tl.load(mean_ptr + k, mask=mask_t, other=0)
        rstd = tl.load(rstd_ptr + k, mask=mask_t, other=0)[:, None]
        x_hat = (x - mean[:, None]) * rstd
        if DW:
            dw += g * x_hat  # g is 0 where masked
        if DB:
            db += g
        if DX:
            g *= w
            dx = g - x_hat * (tl.sum(g * x_hat, 1) / n)[:, None]
            if CENTERED:
                dx -= (tl.sum(g, 1) / n)[:, None]
            dx_at = (k * n)[:, None] + offs[None, :]
            tl.store(dx_ptr + dx_at, maths.to(dx * rstd, dx_ptr.dtype.element_ty), mask=mask)
    if DW:
        tl.store(dw_ptr + pid * n + offs, tl.sum(dw, 0), mask=mask_n)
    if DB:
        tl.store(db_ptr + pid * n + offs, tl.sum(db, 0), mask=mask_n)


@triton.jit
def slope_and_level(
    g_ptr, x_ptr, w_ptr, mean, rstd, start, stop, g_n, x_n, W: tl.constexpr, ACC: tl.constexpr,
    G_UNIT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sums of g w x_hat and of g w between two positions of a row."""
    level = tl.zeros((BLOCK_N,), ACC)
    slope = tl.zeros((BLOCK_N,), ACC)
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = r < stop
        g = tl.load(g_ptr + along(r, g_n, G_UNIT, VEC), mask=mask, other=0).to(ACC)
        x = tl.load(x_ptr + along(r, x_n, X_UNIT, VEC), mask=mask, other=0).to(ACC)
        if W:
            g *= tl.load(w_ptr + r, mask=mask, other=0).to(ACC)
        level += g
        slope += g * ((x - mean) * rstd)
    return tl.sum(slope, 0), tl.sum(level, 0)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_backward_parts_kernel(
    slopes_ptr, levels_ptr, g_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, rows, n, chunk,
    g_row, g_n, x_row, x_n, W: tl.constexpr, ACC: tl.constexpr, G_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The sums of :func:`slope_and_level` over one chunk of one row, to [part, row]."""
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    part = tl.program_id(1)
    start = part * (chunk * VEC)
    slope, level = slope_and_level(
        g_ptr + row_offsets(k, g_row, G_UNIT, VEC), x_ptr + row_offsets(k, x_row, X_UNIT, VEC),
        w_ptr, tl.load(mean_ptr + k), tl.load(rstd_ptr + k), start,
        tl.minimum(start + chunk * VEC, n * VEC), g_n, x_n, W, ACC, G_UNIT, X_UNIT, VEC, BLOCK_N,
    )  # fmt: skip
    tl.store(slopes_ptr + part * rows + k, slope)
    tl.store(levels_ptr + part * rows + k, level)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_backward_long_kernel(
    dx_ptr, g_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, slopes_ptr, levels_ptr, rows, n, chunk, splits,
    g_row, g_n, x_row, x_n,
    W: tl.constexpr, CENTERED: tl.constexpr, ACC: tl.constexpr, G_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, SPLITS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx of one row, walked twice, first for mean(g w) and mean(g w x_hat).

    With SPLITS, of one chunk of a row, with the sums of all its chunks at hand.
    """
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    n = n * VEC
    mean = tl.load(mean_ptr + k)
    rstd = tl.load(rstd_ptr + k)
    g_ptr += row_offsets(k, g_row, G_UNIT, VEC)
    x_ptr += row_offsets(k, x_row, X_UNIT, VEC)
    if SPLITS:
        part = tl.arange(0, SPLITS)
        at = part * rows + k
        slope = tl.sum(tl.load(slopes_ptr + at, mask=part < splits, other=0), 0)
        level = tl.sum(tl.load(levels_ptr + at, mask=part < splits, other=0), 0)
        start = tl.program_id(1) * (chunk * VEC)
        stop = tl.minimum(start + chunk * VEC, n)
    else:
        slope, level = slope_and_level(
            g_ptr, x_ptr, w_ptr, mean, rstd, 0, n, g_n, x_n, W, ACC, G_UNIT, X_UNIT, VEC, BLOCK_N
        )
        start = 0
        stop = n
    a = slope / n
    b = level / n
    for first in range(start, stop, BLOCK_N):
        r = first + tl.arange(0, BLOCK_N)
        mask = r < stop
        g = tl.load(g_ptr + along(r, g_n, G_UNIT, VEC), mask=mask, other=0).to(ACC)
        x = tl.load(x_ptr + along(r, x_n, X_UNIT, VEC), mask=mask, other=0).to(ACC)
        if W:
            g *= tl.load(w_ptr + r, mask=mask, other=0).to(ACC)
        dx = g - ((x - mean) * rstd) * a
        if CENTERED:
            dx -= b
        tl.store(dx_ptr + k * n + r, maths.to(dx * rstd, dx_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=PLAIN)
def layer_norm_columns_kernel(
    dw_ptr, db_ptr, g_ptr, x_ptr, mean_ptr, rstd_ptr, rows, n, g_row, g_n, x_row, x_n,
    DW: tl.constexpr, DB: tl.constexpr, ACC: tl.constexpr, G_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sums of g x_hat and g over every num_programs-th block of rows, for BLOCK_N columns."""
    pid = tl.program_id(1)
    step = tl.num_programs(1)
    if WIDE:
        pid = pid.to(tl.int64)
    n = n * VEC
    offs = tl.program_id(0) * BLOCK_N + positions(BLOCK_N, WIDE)
    mask_n = offs < n
    dw = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    for block in range(pid, tl.cdiv(rows, BLOCK_T), step):
        k = block * BLOCK_T + tl.arange(0, BLOCK_T)
        mask_t = k < rows
        mask = mask_t[:, None] & mask_n[None, :]
        g_at = row_offsets(k, g_row, G_UNIT, VEC)[:, None] + along(offs, g_n, G_UNIT, VEC)[None, :]
        g = tl.load(g_ptr + g_at, mask=mask, other=0).to(ACC)
        if DW:
            x_at = along(offs, x_n, X_UNIT, VEC)[None, :]
            x_at += row_offsets(k, x_row, X_UNIT, VEC)[:, None]
            x = tl.load(x_ptr + x_at, mask=mask, other=0).to(ACC)
            mean = tl.load(mean_ptr + k, mask=mask_t, other=0)
            rstd = tl.load(rstd_ptr + k, mask=mask_t, other=0)
            dw += g * ((x - mean[:, None]) * rstd[:, None])
        if DB:
            db += g
    if DW:
        tl.store(dw_ptr + pid * n + offs, tl.sum(dw, 0), mask=mask_n)
    if DB:
        tl.store(db_ptr + pid * n + offs, tl.sum(db, 0), mask=mask_n)


@triton.jit(do_not_specialize=PLAIN)
def column_totals_kernel(
    dw_ptr, db_ptr, dws_ptr, dbs_ptr, programs, n, DW: tl.constexpr, DB: tl.constexpr,
    ACC: tl.constexpr, VEC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dw and db of BLOCK_N columns from the partial sums (programs, n), in their order."""
    n = n * VEC
    offs = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    mask_n = offs < n
    dw = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    for start in range(0, programs, BLOCK_T):
        k = start + tl.arange(0, BLOCK_T)
        mask = (k < programs)[:, None] & mask_n[None, :]
        at = (k.to(tl.int64) * n)[:, None] + offs[None, :]
        if DW:
            dw += tl.load(dws_ptr + at, mask=mask, other=0)
        if DB:
            db += tl.load(dbs_ptr + at, mask=mask, other=0)
    if DW:
        tl.store(dw_ptr + offs, maths.to(tl.sum(dw, 0), dw_ptr.dtype.element_ty), mask=mask_n)
    if DB:
        tl.store(db_ptr + offs, maths.to(tl.sum(db, 0), db_ptr.dtype.element_ty), mask=mask_n)
