"""The Triton functions of recurrent layers; ``recurrent.py`` chooses tiles and launches them.

A program owns BLOCK_N sequences and runs all their steps in one launch: it depends on no other
program, so that no barrier over the grid is needed. At each step it streams the hidden weights
through shared memory, from L2 after the first, and passes the state to the next step through global
memory behind a barrier of its own threads.
"""

# Triton's types describe values inside kernels as those outside.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# pyright: reportAssignmentType=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths


@triton.jit
def rows_of(offsets_ptr, t, batch, PACKED: tl.constexpr):
    """First row of step t, of 64 bits, and how many sequences it has."""
    if PACKED:
        start = tl.load(offsets_ptr + t)
        return start, (tl.load(offsets_ptr + t + 1) - start).to(tl.int32)
    else:
        return tl.cast(t, tl.int64) * batch, batch


@triton.jit
def times(
    acc, a_ptrs, w_ptrs, mask_a, mask_w, ACC: tl.constexpr, PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """acc + a @ w for one tile of each."""
    a = tl.load(a_ptrs, mask=mask_a, other=0)
    w = tl.load(w_ptrs, mask=mask_w, other=0)
    if UPCAST:
        a, w = a.to(tl.float32), w.to(tl.float32)
    return tl.dot(a, w, acc, input_precision=PRECISION, out_dtype=ACC)


@triton.jit
def before(kept_ptr, first_ptr, rows, offs_h, count, mask, width, stride_first, ACC: tl.constexpr):
    """The state before a step: rows of ``kept`` for the first ``count`` sequences, else the first
    state's."""
    old = (rows < count)[:, None] & mask
    new = (rows >= count)[:, None] & mask
    at = rows[:, None] * width + offs_h[None, :]
    a = tl.load(kept_ptr + at, mask=old, other=0).to(ACC)
    b = tl.load(first_ptr + rows[:, None] * stride_first + offs_h[None, :], mask=new, other=0)
    return a + b.to(ACC)


@triton.jit
def pre(
    x_ptr, b_ptr, acc, rows, offs_h, mask, width, BIAS: tl.constexpr, ACC: tl.constexpr
):  # fmt: skip
    """What enters a gate: projection of x, with its bias, plus the product, with its own."""
    at = rows[:, None] * width + offs_h[None, :]
    a = acc + tl.load(x_ptr + at, mask=mask, other=0).to(ACC)
    if BIAS:
        a += tl.load(b_ptr + offs_h[None, :], mask=mask, other=0).to(ACC)
    return a


@triton.jit
def put(ptr, value, rows, offs_h, mask, width):
    at = rows[:, None] * width + offs_h[None, :]
    tl.store(ptr + at, maths.to(value, ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["batch", "steps"])
def recurrence_kernel(
    y_ptr, last_ptr, cell_ptr, cells_ptr, gates_ptr, state_ptr, m_ptr, w_ptr, b_ptr, wr_ptr, h_ptr,
    c_ptr, offsets_ptr, batch, steps, hidden, out,
    CELL: tl.constexpr, GATES: tl.constexpr, KEPT: tl.constexpr, BACKWARDS: tl.constexpr,
    BIAS: tl.constexpr, PROJECT: tl.constexpr, PACKED: tl.constexpr, KEEP: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """All steps of BLOCK_N sequences of a layer in one direction.

    ``gates`` (R, KEPT H), for tanh and relu ``y`` itself, holds W_ih x + b_ih and is overwritten by
    the gates. ``state`` (2, N, P) is h before and after a step, in turn; ``cell`` (N, H) is c in
    ACC, ``m`` (N, H) what is projected. Bytes moved a step: the hidden weights, G H P elements,
    from L2; gates, cells and y of its sequences once from and to memory. Flops: 2 G H P BLOCK_N.
    """
    pid = tl.program_id(0)
    rows = pid * BLOCK_N + tl.arange(0, BLOCK_N)
    plane = tl.cast(batch, tl.int64) * out
    for j in range(0, out, BLOCK_H):
        offs = j + tl.arange(0, BLOCK_H)
        mask = (rows < batch)[:, None] & (offs < out)[None, :]
        h = tl.load(h_ptr + rows[:, None] * out + offs[None, :], mask=mask, other=0)
        put(state_ptr, h, rows, offs, mask, out)
        put(state_ptr + plane, h, rows, offs, mask, out)
    if CELL == "lstm":
        for j in range(0, hidden, BLOCK_H):
            offs = j + tl.arange(0, BLOCK_H)
            mask = (rows < batch)[:, None] & (offs < hidden)[None, :]
            c = tl.load(c_ptr + rows[:, None] * hidden + offs[None, :], mask=mask, other=0)
            put(cell_ptr, c, rows, offs, mask, hidden)
    tl.debug_barrier()

    old_ptr = state_ptr
    new_ptr = state_ptr + plane
    for s in range(steps):
        t = s
        if BACKWARDS:
            t = steps - 1 - s
        start, count = rows_of(offsets_ptr, t, batch, PACKED)
        live = rows < count
        if KEPT > 0:
            x_ptr = gates_ptr + start * (KEPT * hidden)
        else:
            x_ptr = y_ptr + start * out
        y_at = y_ptr + start * out
        if pid * BLOCK_N < count:
            for j in range(0, hidden, BLOCK_H):
                offs = j + tl.arange(0, BLOCK_H)
                mask = live[:, None] & (offs < hidden)[None, :]
                acc0 = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                acc1 = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                acc2 = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                acc3 = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                for k in range(0, out, BLOCK_K):
                    offs_k = k + tl.arange(0, BLOCK_K)
                    a_ptrs = old_ptr + rows[:, None] * out + offs_k[None, :]
                    w_ptrs = w_ptr + offs[None, :] * out + offs_k[:, None]
                    mask_a = live[:, None] & (offs_k < out)[None, :]
                    mask_w = (offs_k < out)[:, None] & (offs < hidden)[None, :]
                    gate = hidden * out
                    acc0 = times(acc0, a_ptrs, w_ptrs, mask_a, mask_w, ACC, PRECISION, UPCAST)
                    if GATES > 1:
                        acc1 = times(
                            acc1, a_ptrs, w_ptrs + gate, mask_a, mask_w, ACC, PRECISION, UPCAST
                        )
                        acc2 = times(
                            acc2, a_ptrs, w_ptrs + 2 * gate, mask_a, mask_w, ACC, PRECISION, UPCAST
                        )
                    if GATES > 3:
                        acc3 = times(
                            acc3, a_ptrs, w_ptrs + 3 * gate, mask_a, mask_w, ACC, PRECISION, UPCAST
                        )
                width = hidden
                if KEPT > 0:
                    width = KEPT * hidden
                a = pre(x_ptr, b_ptr, acc0, rows, offs, mask, width, BIAS, ACC)
                if CELL == "tanh":
                    h = maths.tanh(a)
                elif CELL == "relu":
                    h = tl.where(a > 0, a, a - a)  # NaN stays
                else:
                    first = maths.sigmoid(a)
                    second = maths.sigmoid(
                        pre(
                            x_ptr + hidden, b_ptr + hidden, acc1, rows, offs, mask, width, BIAS, ACC
                        )
                    )
                    if KEEP:
                        put(x_ptr, first, rows, offs, mask, width)
                        put(x_ptr + hidden, second, rows, offs, mask, width)
                    if CELL == "gru":
                        if BIAS:
                            acc2 += tl.load(
                                b_ptr + 2 * hidden + offs[None, :], mask=mask, other=0
                            ).to(ACC)
                        n = maths.tanh(
                            pre(
                                x_ptr + 2 * hidden, b_ptr, first * acc2, rows, offs, mask, width,
                                False, ACC,
                            )
                        )  # fmt: skip
                        if KEEP:
                            put(x_ptr + 2 * hidden, n, rows, offs, mask, width)
                            put(x_ptr + 3 * hidden, acc2, rows, offs, mask, width)
                        at = rows[:, None] * out + offs[None, :]
                        h = tl.load(old_ptr + at, mask=mask, other=0).to(ACC)
                        h = n + second * (h - n)
                    else:
                        g = maths.tanh(
                            pre(
                                x_ptr + 2 * hidden, b_ptr + 2 * hidden, acc2, rows, offs, mask,
                                width, BIAS, ACC,
                            )
                        )  # fmt: skip
                        o = maths.sigmoid(
                            pre(
                                x_ptr + 3 * hidden, b_ptr + 3 * hidden, acc3, rows, offs, mask,
                                width, BIAS, ACC,
                            )
                        )  # fmt: skip
                        at = rows[:, None] * hidden + offs[None, :]
                        c = tl.load(cell_ptr + at, mask=mask, other=0)
                        c = second * c + first * g
                        tl.store(cell_ptr + at, c, mask=mask)
                        if KEEP:
                            put(x_ptr + 2 * hidden, g, rows, offs, mask, width)
                            put(x_ptr + 3 * hidden, o, rows, offs, mask, width)
                            put(cells_ptr + start * hidden, c, rows, offs, mask, hidden)
                        h = o * maths.tanh(c)
                if PROJECT:
                    put(m_ptr, h, rows, offs, mask, hidden)
                else:
                    put(new_ptr, h, rows, offs, mask, out)
                    put(last_ptr, h, rows, offs, mask, out)
                    put(y_at, h, rows, offs, mask, out)
            if PROJECT:
                tl.debug_barrier()
                for j in range(0, out, BLOCK_H):
                    offs = j + tl.arange(0, BLOCK_H)
                    mask = live[:, None] & (offs < out)[None, :]
                    acc0 = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                    for k in range(0, hidden, BLOCK_K):
                        offs_k = k + tl.arange(0, BLOCK_K)
                        a_ptrs = m_ptr + rows[:, None] * hidden + offs_k[None, :]
                        w_ptrs = wr_ptr + offs[None, :] * hidden + offs_k[:, None]
                        mask_a = live[:, None] & (offs_k < hidden)[None, :]
                        mask_w = (offs_k < hidden)[:, None] & (offs < out)[None, :]
                        acc0 = times(acc0, a_ptrs, w_ptrs, mask_a, mask_w, ACC, PRECISION, UPCAST)
                    put(new_ptr, acc0, rows, offs, mask, out)
                    put(last_ptr, acc0, rows, offs, mask, out)
                    put(y_at, acc0, rows, offs, mask, out)
        tl.debug_barrier()
        old_ptr, new_ptr = new_ptr, old_ptr


@triton.jit(do_not_specialize=["batch", "steps"])
def recurrence_backward_kernel(
    d_ptr, dh_ptr, dc_ptr, total_ptr, m_ptr, hs_ptr, gy_ptr, gh_ptr, gc_ptr, y_ptr, cells_ptr,
    gates_ptr, w_ptr, wr_ptr, h_ptr, c_ptr, offsets_ptr, batch, steps, hidden, out,
    CELL: tl.constexpr, GATES: tl.constexpr, KEPT: tl.constexpr, BACKWARDS: tl.constexpr,
    GY: tl.constexpr, GH: tl.constexpr, GC: tl.constexpr, PROJECT: tl.constexpr,
    PACKED: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """The gates' gradients d (R, D) of BLOCK_N sequences, from the last step computed to the first.

    D: the gates in their order; for gru dr, dz, r dn and dn, of which W_hh sees the first three.
    ``dh`` (N, P) and ``dc`` (N, H) in ACC carry the state's gradients from step to step and end as
    the first states'. PROJECT: ``total`` (R, P) is the gradient of each step's h, ``m`` (R, H) what
    was projected. PACKED: ``hs`` (R, P) is h before each step. Bytes and flops as forward.
    """
    pid = tl.program_id(0)
    rows = pid * BLOCK_N + tl.arange(0, BLOCK_N)
    D: tl.constexpr = KEPT if KEPT > 0 else 1
    for j in range(0, out, BLOCK_H):
        offs = j + tl.arange(0, BLOCK_H)
        mask = (rows < batch)[:, None] & (offs < out)[None, :]
        g = tl.zeros((BLOCK_N, BLOCK_H), ACC)
        if GH:
            g = tl.load(gh_ptr + rows[:, None] * out + offs[None, :], mask=mask, other=0)
        put(dh_ptr, g, rows, offs, mask, out)
    if CELL == "lstm":
        for j in range(0, hidden, BLOCK_H):
            offs = j + tl.arange(0, BLOCK_H)
            mask = (rows < batch)[:, None] & (offs < hidden)[None, :]
            g = tl.zeros((BLOCK_N, BLOCK_H), ACC)
            if GC:
                g = tl.load(gc_ptr + rows[:, None] * hidden + offs[None, :], mask=mask, other=0)
            put(dc_ptr, g, rows, offs, mask, hidden)
    tl.debug_barrier()

    for s in range(steps):
        t = steps - 1 - s
        t_before = t - 1
        if BACKWARDS:
            t = s
            t_before = s + 1
        start, count = rows_of(offsets_ptr, t, batch, PACKED)
        start_before = start
        count_before = 0
        if s < steps - 1:
            start_before, count_before = rows_of(offsets_ptr, t_before, batch, PACKED)
        live = rows < count
        d_at = d_ptr + start * (D * hidden)
        if pid * BLOCK_N < count:
            if PACKED or PROJECT:
                for j in range(0, out, BLOCK_H):
                    offs = j + tl.arange(0, BLOCK_H)
                    mask = live[:, None] & (offs < out)[None, :]
                    if PACKED:
                        h = before(
                            y_ptr + start_before * out, h_ptr, rows, offs, count_before, mask, out,
                            out, ACC,
                        )  # fmt: skip
                        put(hs_ptr + start * out, h, rows, offs, mask, out)
                    if PROJECT:
                        at = rows[:, None] * out + offs[None, :]
                        dh = tl.load(dh_ptr + at, mask=mask, other=0)
                        if GY:
                            dh += tl.load(gy_ptr + start * out + at, mask=mask, other=0).to(ACC)
                        put(total_ptr + start * out, dh, rows, offs, mask, out)
            if PROJECT:
                tl.debug_barrier()
            for j in range(0, hidden, BLOCK_H):
                offs = j + tl.arange(0, BLOCK_H)
                mask = live[:, None] & (offs < hidden)[None, :]
                at = rows[:, None] * hidden + offs[None, :]
                dh = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                if PROJECT:
                    for k in range(0, out, BLOCK_K):
                        offs_k = k + tl.arange(0, BLOCK_K)
                        a_ptrs = total_ptr + start * out + rows[:, None] * out + offs_k[None, :]
                        w_ptrs = wr_ptr + offs_k[:, None] * hidden + offs[None, :]
                        mask_a = live[:, None] & (offs_k < out)[None, :]
                        mask_w = (offs_k < out)[:, None] & (offs < hidden)[None, :]
                        dh = times(dh, a_ptrs, w_ptrs, mask_a, mask_w, ACC, PRECISION, UPCAST)
                else:
                    dh += tl.load(dh_ptr + at, mask=mask, other=0)
                    if GY:
                        dh += tl.load(gy_ptr + start * out + at, mask=mask, other=0).to(ACC)
                if KEPT == 0:
                    h = tl.load(y_ptr + start * out + at, mask=mask, other=0).to(ACC)
                    if CELL == "tanh":
                        d = dh * (1 - h * h)
                    else:
                        d = tl.where(h > 0, dh, 0)
                    put(d_at, d, rows, offs, mask, hidden)
                else:
                    s_at = gates_ptr + start * (KEPT * hidden)
                    s_at += rows[:, None] * (KEPT * hidden) + offs[None, :]
                    first = tl.load(s_at, mask=mask, other=0).to(ACC)
                    second = tl.load(s_at + hidden, mask=mask, other=0).to(ACC)
                    third = tl.load(s_at + 2 * hidden, mask=mask, other=0).to(ACC)
                    fourth = tl.load(s_at + 3 * hidden, mask=mask, other=0).to(ACC)
                    width = KEPT * hidden
                    if CELL == "gru":
                        h = before(
                            y_ptr + start_before * out, h_ptr, rows, offs, count_before, mask, out,
                            out, ACC,
                        )  # fmt: skip
                        dn = dh * (1 - second) * (1 - third * third)
                        dz = dh * (h - third) * second * (1 - second)
                        dr = dn * fourth * first * (1 - first)
                        put(d_at, dr, rows, offs, mask, width)
                        put(d_at + hidden, dz, rows, offs, mask, width)
                        put(d_at + 2 * hidden, dn * first, rows, offs, mask, width)
                        put(d_at + 3 * hidden, dn, rows, offs, mask, width)
                        tl.store(dh_ptr + at, dh * second, mask=mask)
                    else:
                        c = tl.load(cells_ptr + start * hidden + at, mask=mask, other=0).to(ACC)
                        c_before = before(
                            cells_ptr + start_before * hidden, c_ptr, rows, offs, count_before,
                            mask, hidden, hidden, ACC,
                        )  # fmt: skip
                        c = maths.tanh(c)
                        dc = tl.load(dc_ptr + at, mask=mask, other=0)
                        dc += dh * fourth * (1 - c * c)
                        put(d_at, dc * third * first * (1 - first), rows, offs, mask, width)
                        put(
                            d_at + hidden, dc * c_before * second * (1 - second), rows, offs, mask,
                            width,
                        )  # fmt: skip
                        put(
                            d_at + 2 * hidden, dc * first * (1 - third * third), rows, offs, mask,
                            width,
                        )  # fmt: skip
                        put(
                            d_at + 3 * hidden, dh * c * fourth * (1 - fourth), rows, offs, mask,
                            width,
                        )  # fmt: skip
                        tl.store(dc_ptr + at, dc * second, mask=mask)
                        if PROJECT:
                            put(m_ptr + start * hidden, c * fourth, rows, offs, mask, hidden)
            tl.debug_barrier()
            for j in range(0, out, BLOCK_H):
                offs = j + tl.arange(0, BLOCK_H)
                mask = live[:, None] & (offs < out)[None, :]
                at = rows[:, None] * out + offs[None, :]
                acc = tl.zeros((BLOCK_N, BLOCK_H), ACC)
                for k in range(0, GATES * hidden, BLOCK_K):
                    offs_k = k + tl.arange(0, BLOCK_K)
                    inside = offs_k < GATES * hidden
                    a_ptrs = d_at + rows[:, None] * (D * hidden) + offs_k[None, :]
                    w_ptrs = w_ptr + offs_k[:, None] * out + offs[None, :]
                    mask_a = live[:, None] & inside[None, :]
                    mask_w = inside[:, None] & (offs < out)[None, :]
                    acc = times(acc, a_ptrs, w_ptrs, mask_a, mask_w, ACC, PRECISION, UPCAST)
                if CELL == "gru":
                    acc += tl.load(dh_ptr + at, mask=mask, other=0)
                tl.store(dh_ptr + at, acc, mask=mask)
        tl.debug_barrier()
