"""The Triton functions of the matrix products; ``matmul.py`` chooses and launches them.

A tiled product by pointers for every layout and dtype, one by tensor descriptors (TMA) for tensor
cores on sm_90 and later, one for vectors, and the second pass of a split K. All four transposes are
read in place; alpha, beta * C and the activation are applied in registers before the one store.
Sources: Triton tutorials 03 and 09 (grouped order, persistent descriptors), CUTLASS (tiles,
epilogues, split K), Osama et al. 2023 (arXiv:2301.03598) for why a short K is not worth splitting.
"""

# Triton's types describe values inside kernels as those outside.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths


@triton.jit
def place_of(tile, tiles_m, tiles_n, GROUP_M: tl.constexpr):
    """Row and column of a tile, in groups of GROUP_M rows.

    Programs that run together then share rows of a and columns of b in L2: a wave of 132 tiles
    reads 8 + 17 stripes instead of 1 + 132.
    """
    group = GROUP_M * tiles_n
    first_m = (tile // group) * GROUP_M
    rows = min(tiles_m - first_m, GROUP_M)
    return first_m + (tile % group) % rows, (tile % group) // rows


@triton.jit
def share_of(steps, split, splits):
    """First and last step along K of one split; all but the last ones have the same number."""
    each = tl.cdiv(steps, splits)
    first = split * each
    return first, min(first + each, steps)


@triton.jit
def epilogue(acc, alpha, beta, c, SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr):
    """activation(alpha * acc + beta * c), in the accumulator's dtype."""
    if SCALED:
        acc = acc * alpha
    if C != "none":
        acc += beta * c.to(acc.dtype)
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    return acc


@triton.jit
def addend(c_ptr, offs_m, offs_n, mask_m, mask_n, stride_cm, stride_cn, C: tl.constexpr):
    """c's values for a tile: (1, N) where all rows are alike ("row": a bias), else (M, N)."""
    if C == "none":
        return 0
    elif C == "row":
        return tl.load(c_ptr + offs_n * stride_cn, mask=mask_n, other=0)[None, :]
    else:
        at = offs_m[:, None] * stride_cm + offs_n[None, :] * stride_cn
        return tl.load(c_ptr + at, mask=mask_m[:, None] & mask_n[None, :], other=0)


@triton.jit(do_not_specialize=["inner", "splits"])
def matmul_kernel(
    y_ptr, a_ptr, b_ptr, c_ptr, alpha, beta, M, N, K, inner, splits,
    stride_yo, stride_yi, stride_ym, stride_yn,
    stride_ao, stride_ai, stride_am, stride_ak,
    stride_bo, stride_bi, stride_bk, stride_bn,
    stride_co, stride_ci, stride_cm, stride_cn,
    stride_ys,
    ACC: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr, WIDE: tl.constexpr,
    EVEN_K: tl.constexpr, SPLIT: tl.constexpr, GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One BLOCK_M x BLOCK_N tile of y = epilogue(a @ b), for one batch entry and one split of K.

    Batch entries are (outer, inner) pairs with a stride each, 0 where an operand is broadcast. The
    accumulator stays in registers; tiles of a and b pass through shared memory, num_stages deep.
    Bytes moved by a program: K / splits * (BLOCK_M + BLOCK_N) elements, most of them from L2, and
    its tile of y (and c); 2 * BLOCK_M * BLOCK_N * K / splits flops. With SPLIT, y is a workspace of
    partial sums and :func:`sum_splits_kernel` does the rest.

    Specialised: M, N, K and every stride on divisibility by 16 (the width of loads and stores),
    the strides on 1 (the contiguous axis); the number of batch entries and of splits on nothing.
    """
    pid = tl.program_id(0)
    split = tl.program_id(1)
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    entry = pid // (tiles_m * tiles_n)
    pid_m, pid_n = place_of(pid % (tiles_m * tiles_n), tiles_m, tiles_n, GROUP_M)
    outer = (entry // inner).to(tl.int64)
    entry = (entry % inner).to(tl.int64)

    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    offs_k = tl.arange(0, BLOCK_K)
    mask_m = offs_m < M
    mask_n = offs_n < N
    first_k, last_k = share_of(tl.cdiv(K, BLOCK_K), split, splits)
    if WIDE:
        offs_m, offs_n, offs_k = offs_m.to(tl.int64), offs_n.to(tl.int64), offs_k.to(tl.int64)
    start_k = first_k.to(tl.int64) * BLOCK_K
    a_ptr += outer * stride_ao + entry * stride_ai + start_k * stride_ak
    b_ptr += outer * stride_bo + entry * stride_bi + start_k * stride_bk
    a_ptrs = a_ptr + offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn

    acc = tl.zeros((BLOCK_M, BLOCK_N), ACC)
    for k in range(first_k, last_k):
        if EVEN_K:
            a = tl.load(a_ptrs, mask=mask_m[:, None], other=0)
            b = tl.load(b_ptrs, mask=mask_n[None, :], other=0)
        else:
            mask_k = offs_k < K - k * BLOCK_K
            a = tl.load(a_ptrs, mask=mask_m[:, None] & mask_k[None, :], other=0)
            b = tl.load(b_ptrs, mask=mask_k[:, None] & mask_n[None, :], other=0)
        if UPCAST:
            a, b = a.to(tl.float32), b.to(tl.float32)
        if DOT:
            acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
        else:
            acc += tl.sum(a.to(ACC)[:, :, None] * b.to(ACC)[None, :, :], axis=1)
        a_ptrs += BLOCK_K * stride_ak
        b_ptrs += BLOCK_K * stride_bk

    if not SPLIT:
        c_ptr += outer * stride_co + entry * stride_ci
        c = addend(c_ptr, offs_m, offs_n, mask_m, mask_n, stride_cm, stride_cn, C)
        acc = epilogue(acc, alpha, beta, c, SCALED, C, ACTIVATION)
    y_ptr += split.to(tl.int64) * stride_ys + outer * stride_yo + entry * stride_yi
    y_ptrs = y_ptr + offs_m[:, None] * stride_ym + offs_n[None, :] * stride_yn
    tl.store(y_ptrs, maths.to(acc, y_ptr.dtype.element_ty), mask=mask_m[:, None] & mask_n[None, :])


@triton.jit
def descriptor(
    ptr, outer, inner, rows, cols, stride_o, stride_i, stride,
    BATCHED: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Row-major matrices for the copy engine, in tiles of ROWS x COLS.

    A batch axis of stride 0 counts as one entry; its stride is then never used, but must be valid.
    """
    if BATCHED:
        return tl.make_tensor_descriptor(
            ptr,
            [tl.where(stride_o == 0, 1, outer), tl.where(stride_i == 0, 1, inner), rows, cols],
            [tl.where(stride_o == 0, stride, stride_o), tl.where(stride_i == 0, stride, stride_i),
             stride, 1],
            [1, 1, ROWS, COLS],
        )  # fmt: skip
    else:
        return tl.make_tensor_descriptor(ptr, [rows, cols], [stride, 1], [ROWS, COLS])


@triton.jit
def fetch(
    desc, outer, inner, row, col, stride_o, stride_i,
    BATCHED: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """The tile at (row, col) of one batch entry of a :func:`descriptor`."""
    if BATCHED:
        o = tl.where(stride_o == 0, 0, outer)
        i = tl.where(stride_i == 0, 0, inner)
        return desc.load([o, i, row, col]).reshape(ROWS, COLS)
    else:
        return desc.load([row, col])


@triton.jit
def finish(
    acc, y_desc, y_ptr, c_ptr, alpha, beta, M, N, outer, entry, m, n,
    stride_ym, stride_yn, stride_cm, stride_cn,
    SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr, WIDE: tl.constexpr,
    SPLIT: tl.constexpr, STORE: tl.constexpr, BATCHED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Store epilogue(acc) at row m, column n of one batch entry of y."""
    offs_m = m + tl.arange(0, BLOCK_M)
    offs_n = n + tl.arange(0, BLOCK_N)
    mask_m = offs_m < M
    mask_n = offs_n < N
    if WIDE:
        offs_m, offs_n = offs_m.to(tl.int64), offs_n.to(tl.int64)
    if not SPLIT:
        c = addend(c_ptr, offs_m, offs_n, mask_m, mask_n, stride_cm, stride_cn, C)
        acc = epilogue(acc, alpha, beta, c, SCALED, C, ACTIVATION)
    y = maths.to(acc, y_ptr.dtype.element_ty)
    if STORE and BATCHED:
        y_desc.store([outer, entry, m, n], y.reshape(1, 1, BLOCK_M, BLOCK_N))
    elif STORE:
        y_desc.store([m, n], y)
    else:
        at = offs_m[:, None] * stride_ym + offs_n[None, :] * stride_yn
        tl.store(y_ptr + at, y, mask=mask_m[:, None] & mask_n[None, :])


@triton.jit(
    do_not_specialize=[
        "M", "N", "K", "outer", "inner", "splits", "programs",
        "stride_yo", "stride_yi", "stride_ao", "stride_ai", "stride_a",
        "stride_bo", "stride_bi", "stride_b", "stride_co", "stride_ci", "stride_ys",
    ]
)  # fmt: skip
def matmul_descriptor_kernel(
    y_ptr, a_ptr, b_ptr, c_ptr, alpha, beta, M, N, K, outer, inner, splits, programs,
    stride_yo, stride_yi, stride_ym, stride_yn,
    stride_ao, stride_ai, stride_a,
    stride_bo, stride_bi, stride_b,
    stride_co, stride_ci, stride_cm, stride_cn,
    stride_ys,
    ACC: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    A_T: tl.constexpr, B_T: tl.constexpr,
    SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr, WIDE: tl.constexpr,
    SPLIT: tl.constexpr, STORE: tl.constexpr, BATCHED: tl.constexpr, GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    FLATTEN: tl.constexpr, SPECIALIZE: tl.constexpr, SUBTILES: tl.constexpr,
):  # fmt: skip
    """Tiles of y = epilogue(a @ b) with the operands brought by the copy engine (TMA, sm_90+).

    The program takes every ``programs``-th tile of all splits and batch entries: as many programs
    as tiles give one each, one for each multiprocessor makes the kernel *persistent*. FLATTEN joins
    the loops over tiles and over K, so that the next tile's operands arrive while this one is
    stored; SPECIALIZE gives loads and products warps of their own instead (on sm_90 with 4 warps
    and without a batch only). SUBTILES = 2 stores a tile in two halves, which frees shared memory
    for one more stage.
    A_T, B_T: the operand lies column by column, ``stride_a`` and ``stride_b`` are the other axis'.
    STORE: y leaves by the copy engine too. Bytes and flops as in :func:`matmul_kernel`; what lies
    outside a matrix is never read and arrives as 0, so that there are no masks.

    Global scratch: 128 bytes for each of the three descriptors. Specialised: strides of y's and c's
    rows and columns on 1 and 16. No size is: one binary serves all shapes of a layout.
    """
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    OUT: tl.constexpr = BLOCK_N // SUBTILES
    A_ROWS: tl.constexpr = BLOCK_K if A_T else BLOCK_M
    A_COLS: tl.constexpr = BLOCK_M if A_T else BLOCK_K
    B_ROWS: tl.constexpr = BLOCK_N if B_T else BLOCK_K
    B_COLS: tl.constexpr = BLOCK_K if B_T else BLOCK_N
    a_desc = descriptor(
        a_ptr, outer, inner, K if A_T else M, M if A_T else K,
        stride_ao, stride_ai, stride_a, BATCHED, A_ROWS, A_COLS,
    )  # fmt: skip
    b_desc = descriptor(
        b_ptr, outer, inner, N if B_T else K, K if B_T else N,
        stride_bo, stride_bi, stride_b, BATCHED, B_ROWS, B_COLS,
    )  # fmt: skip
    if STORE:
        y_desc = descriptor(
            y_ptr, outer, inner, M, N, stride_yo, stride_yi, stride_ym, BATCHED, BLOCK_M, OUT
        )
    else:
        y_desc = y_ptr
    batch = outer * inner
    tiles = tiles_m * tiles_n
    steps = tl.cdiv(K, BLOCK_K)
    for work in tl.range(
        tl.program_id(0), tiles * batch * splits, programs,
        flatten=FLATTEN, warp_specialize=SPECIALIZE,
    ):  # fmt: skip
        pid_m, pid_n = place_of(work % tiles, tiles_m, tiles_n, GROUP_M)
        o = work // tiles % batch // inner
        i = work // tiles % batch % inner
        split = work // tiles // batch
        m = pid_m * BLOCK_M
        n = pid_n * BLOCK_N
        first_k, last_k = share_of(steps, split, splits)
        acc = tl.zeros((BLOCK_M, BLOCK_N), ACC)
        for step in range(first_k, last_k):
            k = step * BLOCK_K
            a = fetch(
                a_desc, o, i, k if A_T else m, m if A_T else k,
                stride_ao, stride_ai, BATCHED, A_ROWS, A_COLS,
            )  # fmt: skip
            b = fetch(
                b_desc, o, i, n if B_T else k, k if B_T else n,
                stride_bo, stride_bi, BATCHED, B_ROWS, B_COLS,
            )  # fmt: skip
            if A_T:
                a = a.T
            if B_T:
                b = b.T
            if UPCAST:
                a, b = a.to(tl.float32), b.to(tl.float32)
            acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)

        o_wide = o.to(tl.int64)
        i_wide = i.to(tl.int64)
        c_at = c_ptr + o_wide * stride_co + i_wide * stride_ci
        y_at = y_ptr + split.to(tl.int64) * stride_ys + o_wide * stride_yo + i_wide * stride_yi
        if SUBTILES == 2:
            halves = tl.permute(tl.reshape(acc, (BLOCK_M, 2, OUT)), (0, 2, 1))
            left, right = tl.split(halves)
            finish(
                left, y_desc, y_at, c_at, alpha, beta, M, N, o, i, m, n,
                stride_ym, stride_yn, stride_cm, stride_cn,
                SCALED, C, ACTIVATION, WIDE, SPLIT, STORE, BATCHED, BLOCK_M, OUT,
            )  # fmt: skip
            finish(
                right, y_desc, y_at, c_at, alpha, beta, M, N, o, i, m, n + OUT,
                stride_ym, stride_yn, stride_cm, stride_cn,
                SCALED, C, ACTIVATION, WIDE, SPLIT, STORE, BATCHED, BLOCK_M, OUT,
            )  # fmt: skip
        else:
            finish(
                acc, y_desc, y_at, c_at, alpha, beta, M, N, o, i, m, n,
                stride_ym, stride_yn, stride_cm, stride_cn,
                SCALED, C, ACTIVATION, WIDE, SPLIT, STORE, BATCHED, BLOCK_M, OUT,
            )  # fmt: skip


@triton.jit(do_not_specialize=["inner", "splits"])
def matvec_kernel(
    y_ptr, a_ptr, x_ptr, c_ptr, alpha, beta, M, K, inner, splits,
    stride_yo, stride_yi, stride_ym,
    stride_ao, stride_ai, stride_am, stride_ak,
    stride_xo, stride_xi, stride_xk,
    stride_co, stride_ci, stride_cm,
    stride_ys,
    ACC: tl.constexpr, SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr,
    WIDE: tl.constexpr, SPLIT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """BLOCK_M elements of y = epilogue(a @ x), x a vector, for one batch entry and split of K.

    Products are kept in BLOCK_M x BLOCK_K lanes and summed across at the end. Reads a once, M * K
    elements for 2 * M * K flops: the kernel runs at the speed of memory, and wastes no tensor-core
    columns on a single vector. Specialised as :func:`matmul_kernel`.
    """
    pid = tl.program_id(0)
    split = tl.program_id(1)
    tiles_m = tl.cdiv(M, BLOCK_M)
    entry = pid // tiles_m
    outer = (entry // inner).to(tl.int64)
    entry = (entry % inner).to(tl.int64)
    offs_m = (pid % tiles_m) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_k = tl.arange(0, BLOCK_K)
    mask_m = offs_m < M
    first_k, last_k = share_of(tl.cdiv(K, BLOCK_K), split, splits)
    if WIDE:
        offs_m, offs_k = offs_m.to(tl.int64), offs_k.to(tl.int64)
    start_k = first_k.to(tl.int64) * BLOCK_K
    a_ptr += outer * stride_ao + entry * stride_ai + start_k * stride_ak
    a_ptrs = a_ptr + offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    x_ptr += outer * stride_xo + entry * stride_xi + start_k * stride_xk
    x_ptrs = x_ptr + offs_k * stride_xk

    acc = tl.zeros((BLOCK_M, BLOCK_K), ACC)
    for k in range(first_k, last_k):
        mask_k = offs_k < K - k * BLOCK_K
        a = tl.load(a_ptrs, mask=mask_m[:, None] & mask_k[None, :], other=0).to(ACC)
        x = tl.load(x_ptrs, mask=mask_k, other=0).to(ACC)
        acc += a * x[None, :]
        a_ptrs += BLOCK_K * stride_ak
        x_ptrs += BLOCK_K * stride_xk

    y = tl.sum(acc, axis=1)
    if not SPLIT:
        c = 0
        if C != "none":
            c_ptrs = c_ptr + outer * stride_co + entry * stride_ci + offs_m * stride_cm
            c = tl.load(c_ptrs, mask=mask_m, other=0)
        y = epilogue(y, alpha, beta, c, SCALED, C, ACTIVATION)
    y_ptr += split.to(tl.int64) * stride_ys + outer * stride_yo + entry * stride_yi
    tl.store(y_ptr + offs_m * stride_ym, maths.to(y, y_ptr.dtype.element_ty), mask=mask_m)


@triton.jit(do_not_specialize=["inner", "splits"])
def sum_splits_kernel(
    y_ptr, parts_ptr, c_ptr, alpha, beta, M, N, inner, n, splits,
    stride_yo, stride_yi, stride_ym, stride_yn,
    stride_co, stride_ci, stride_cm, stride_cn,
    SCALED: tl.constexpr, C: tl.constexpr, ACTIVATION: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = epilogue(sum of partial products), BLOCK elements a program.

    The order of the sum is fixed, so results repeat bit by bit, which atomic addition would not.
    Reads splits * n partial sums of the accumulator's dtype, contiguous as (split, batch, M, N).
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    acc = tl.load(parts_ptr + offs, mask=mask, other=0)
    for _ in range(1, splits):
        parts_ptr += n
        acc += tl.load(parts_ptr + offs, mask=mask, other=0)
    col, row, batch = offs % N, offs // N % M, offs // N // M
    outer, entry = batch // inner, batch % inner
    c = 0
    if C != "none":
        c_at = outer * stride_co + entry * stride_ci + row * stride_cm + col * stride_cn
        c = tl.load(c_ptr + c_at, mask=mask, other=0)
    acc = epilogue(acc, alpha, beta, c, SCALED, C, ACTIVATION)
    y_at = outer * stride_yo + entry * stride_yi + row * stride_ym + col * stride_yn
    tl.store(y_ptr + y_at, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)
