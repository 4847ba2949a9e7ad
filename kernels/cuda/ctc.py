"""Connectionist temporal classification in Triton: one program walks all frames of a sequence.

A frame's states lie in registers. What a state needs from its neighbour goes through memory that
the caches hold, on alternating sides, so that a frame takes one barrier.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.norm import dense
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

NEVER = tl.constexpr(float("-inf"))


@triton.jit
def log_sum(a, b):
    """log(e^a + e^b), -inf where both are."""
    top = tl.maximum(a, b)
    shift = tl.where(top == NEVER, 0, top)
    return tl.log(tl.exp(a - shift) + tl.exp(b - shift)) + shift


@triton.jit
def labels_of(targets_ptr, start, size, i, C):
    """(label, whether there is one, whether it may follow label i - 1 without a blank)."""
    inside = i < size
    label = tl.load(targets_ptr + start + i, mask=inside, other=0)
    before = tl.load(targets_ptr + start + i - 1, mask=inside & (i > 0), other=0)
    return label, inside, inside & (i > 0) & (label != before)


@triton.jit
def frame(x_ptr, label, inside, blank, C, stride_xc):
    """Log-probabilities of the labels and of the blank; NaN for a label out of range."""
    known = inside & (label >= 0) & (label < C)
    of_label = tl.load(x_ptr + label * stride_xc, mask=known, other=float("nan"))
    return tl.where(inside, of_label, NEVER), tl.load(x_ptr + blank * stride_xc)


@triton.jit
def ctc_alpha_kernel(
    loss_ptr, alpha_ptr, x_ptr, targets_ptr, starts_ptr, inputs_ptr, sizes_ptr,
    frames, C, blank, states, stride_xt, stride_xn, stride_xc,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The forward variables of one sequence and its loss.

    Reads the labels' log-probabilities of each frame once; writes alpha and reads it shifted.
    """
    n = tl.program_id(0).to(tl.int64)
    start, last = tl.load(starts_ptr + n), tl.load(inputs_ptr + n)
    size = tl.load(sizes_ptr + n)
    alpha_ptr += n * frames * 2 * states
    x_ptr += n * stride_xn
    i = tl.arange(0, BLOCK)
    label, inside, adjacent = labels_of(targets_ptr, start, size, i, C)
    row = i < states
    b = tl.full((BLOCK,), NEVER, ACC)
    a = tl.full((BLOCK,), NEVER, ACC)
    for t in range(last.to(tl.int32)):
        of_label, of_blank = frame(x_ptr, label, inside, blank, C, stride_xc)
        if t == 0:
            a = tl.where(i == 0, of_label, NEVER)
            b = tl.where(i == 0, of_blank, NEVER)
        else:
            shifted = tl.load(alpha_ptr - states + i - 1, mask=row & (i > 0), other=NEVER)
            stay = log_sum(a, b)
            b = tl.where(i <= size, log_sum(b, shifted) + of_blank, NEVER)
            a = log_sum(stay, tl.where(adjacent, shifted, NEVER)) + of_label
        tl.store(alpha_ptr + i, b, mask=row)
        tl.store(alpha_ptr + states + i, a, mask=row)
        tl.debug_barrier()
        alpha_ptr += 2 * states
        x_ptr += stride_xt
    ends = tl.where(i == size, b, NEVER)
    ends = log_sum(ends, tl.where(i == size - 1, a, NEVER))
    top = tl.max(ends, 0)
    shift = tl.where(top == NEVER, 0, top)
    loss = -(tl.log(tl.sum(tl.exp(ends - shift), 0)) + shift)
    if last == 0:
        loss = tl.where(size == 0, 0.0, float("inf")).to(ACC)
    # A maximum passes over NaN, and a label out of range is to show.
    wrong = tl.sum((inside & ((label < 0) | (label >= C))).to(tl.int32), 0) > 0  # pyright: ignore[reportOperatorIssue]
    tl.store(loss_ptr + n, tl.where(wrong, float("nan"), loss))


@triton.jit
def ctc_share_kernel(
    share_ptr, scratch_ptr, loss_ptr, alpha_ptr, x_ptr, targets_ptr, starts_ptr, inputs_ptr,
    sizes_ptr, frames, C, blank, states, stride_xt, stride_xn, stride_xc,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The share of the paths in each label, and in all blanks, at each frame of one sequence.

    share (N, T, L + 1) holds the blanks' at place size. The backward variables stay in registers.
    """
    n = tl.program_id(0).to(tl.int64)
    start, last = tl.load(starts_ptr + n), tl.load(inputs_ptr + n)
    size, loss = tl.load(sizes_ptr + n), tl.load(loss_ptr + n)
    alpha_ptr += (n * frames + last - 1) * 2 * states
    share_ptr += (n * frames + last - 1) * states
    scratch_ptr += n * 2 * BLOCK
    x_ptr += n * stride_xn + (last - 1) * stride_xt
    i = tl.arange(0, BLOCK)
    label, inside, adjacent = labels_of(targets_ptr, start, size, i, C)
    row = i < states
    b = tl.full((BLOCK,), NEVER, ACC)  # with the frame's own probability
    a = tl.full((BLOCK,), NEVER, ACC)
    side = 0
    for k in range(last.to(tl.int32)):
        # Where label i - 1 may go next: blank i, or label i.
        past = log_sum(b, tl.where(adjacent, a, NEVER))
        tl.store(scratch_ptr + side + i, past)
        tl.debug_barrier()
        past = tl.load(scratch_ptr + side + i + 1, mask=i + 1 < BLOCK, other=NEVER)
        side = BLOCK - side
        b = log_sum(b, a)
        a = log_sum(a, past)
        if k == 0:
            b = tl.where(i == size, 0, NEVER).to(ACC)
            a = tl.where(i == size - 1, 0, NEVER).to(ACC)
        in_blank = tl.load(alpha_ptr + i, mask=row & (i <= size), other=NEVER)
        in_label = tl.load(alpha_ptr + states + i, mask=inside, other=NEVER)
        blanks = tl.sum(tl.exp(in_blank + b + loss), 0)
        share = tl.exp(in_label + a + loss)
        share = tl.where(i == size, blanks, tl.where(inside, share, 0))
        tl.store(share_ptr + i, share, mask=row)
        of_label, of_blank = frame(x_ptr, label, inside, blank, C, stride_xc)
        b += of_blank
        a += of_label
        alpha_ptr -= 2 * states
        share_ptr -= states
        x_ptr -= stride_xt


@triton.jit
def ctc_gradient_kernel(
    dx_ptr, g_ptr, share_ptr, loss_ptr, x_ptr, targets_ptr, starts_ptr, inputs_ptr, sizes_ptr,
    frames, batch, C, blank, states, stride_xt, stride_xn, stride_xc,
    ZERO_INFINITY: tl.constexpr, ACC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """dx = g (exp(x) - shares) of BLOCK_T frames and BLOCK_C classes of one sequence.

    Labels are added up in their order, so that results repeat; those of other tiles cost a look.
    """
    n = tl.program_id(0).to(tl.int64)
    start, last = tl.load(starts_ptr + n), tl.load(inputs_ptr + n)
    size = tl.load(sizes_ptr + n)
    t = tl.program_id(1).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    first = tl.program_id(2) * BLOCK_C
    c = first + tl.arange(0, BLOCK_C)
    live = t < last
    mask = (t < frames)[:, None] & (c < C)[None, :]
    x = tl.load(
        x_ptr + t[:, None] * stride_xt + n * stride_xn + c[None, :] * stride_xc,
        mask=mask & live[:, None], other=0,
    )  # fmt: skip
    acc = maths.to(tl.exp(x), ACC)
    for i in range(size.to(tl.int32) + 1):
        label = tl.load(targets_ptr + start + i, mask=i < size, other=0)
        label = tl.where(i < size, label, blank)
        if (label >= first) & (label < first + BLOCK_C):
            share = tl.load(share_ptr + (n * frames + t) * states + i, mask=live, other=0)
            acc -= tl.where((c == label)[None, :], share[:, None], 0)
    loss = tl.load(loss_ptr + n)
    acc *= tl.load(g_ptr + n)
    if ZERO_INFINITY:
        acc = tl.where(loss == float("inf"), 0, acc)
    else:
        acc = tl.where(loss == float("inf"), float("nan"), acc)
    acc = tl.where(live[:, None], acc, 0)
    at = (t[:, None] * batch + n) * C + c[None, :]
    tl.store(dx_ptr + at, maths.to(acc, dx_ptr.dtype.element_ty), mask=mask)


# ---- launching -----------------------------------------------------------------------------------


def block_of(states: int) -> tuple[int, int]:
    """(lanes, warps) for the states of a sequence, blanks and labels side by side."""
    lanes = triton.next_power_of_2(max(states, 32))
    return lanes, min(max(lanes // 64, 1), 16)


def acc_of(x: CudaArray) -> tl.dtype:
    return tl.float64 if x.dtype.itemsize == 8 else tl.float32


@kernel("_ctc_loss", "cuda")
def _ctc_loss(
    loss, alpha, x, targets, starts, inputs, sizes, blank, longest, zero_infinity
):  # fmt: skip
    frames, n, classes = x.shape
    block, warps = block_of(longest + 1)
    cuda.launch(
        ctc_alpha_kernel, (n,), loss, alpha, x, dense(targets), dense(starts), dense(inputs),
        dense(sizes), frames, classes, blank, longest + 1, *x.steps, ACC=acc_of(x), BLOCK=block,
        num_warps=warps,
    )  # fmt: skip


@kernel("ctc_loss_backward", "cuda")
def ctc_loss_backward(
    dx, g, x, targets, starts, inputs, sizes, blank, loss, alpha, zero_infinity
):  # fmt: skip
    frames, n, classes = x.shape
    states = alpha.shape[3]
    block, warps = block_of(states)
    share = cuda.empty((n, frames, states), x.dtype)
    scratch = cuda.empty((n, 2, block), x.dtype)
    where = [dense(a) for a in (targets, starts, inputs, sizes)]
    acc = acc_of(x)
    cuda.launch(
        ctc_share_kernel, (n,), share, scratch, loss, alpha, x, *where, frames, classes, blank,
        states, *x.steps, ACC=acc, BLOCK=block, num_warps=warps,
    )  # fmt: skip
    block_t, block_c = 16, min(max(triton.next_power_of_2(classes), 16), 64)
    grid = (n, triton.cdiv(frames, block_t), triton.cdiv(classes, block_c))
    cuda.launch(
        ctc_gradient_kernel, grid, dx, dense(g), share, loss, x, *where, frames, n, classes, blank,
        states, *x.steps, ZERO_INFINITY=zero_infinity, ACC=acc, BLOCK_T=block_t, BLOCK_C=block_c,
    )  # fmt: skip
