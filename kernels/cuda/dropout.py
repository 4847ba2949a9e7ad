"""Dropout: random bits made in registers, one read and one write of the tensor."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.lines import declare_line
from tgrad.kernels.cuda.random import (
    PLAIN,
    launch,
    narrow,
    program_offsets,
    put,
    signed,
    take,
    word,
)
from tgrad.runtime import cuda
from tgrad.runtime.array import is_contiguous


@triton.jit(do_not_specialize=PLAIN)
def dropout_kernel(
    y_ptr, x_ptr, n, key, counter, threshold, scale,
    T: tl.constexpr, EVEN: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """y = x * scale where the element's 32 bits reach ``threshold``, else 0; 8 a Philox block."""
    offs = program_offsets(8 * BLOCKS)
    keep = narrow(key, counter, BLOCKS).to(tl.uint64) >= word(threshold)
    x = take(x_ptr, offs, n, EVEN).to(T)
    y = x * tl.where(keep, tl.full((1,), scale, T), 0)
    put(y_ptr, y, offs, n, EVEN)


declare_line("dropout", example("nn.functional.dropout", array(500), 0.5, True))


@kernel("_dropout", "cuda")
def _dropout(y, x, p, key, counter):
    if not is_contiguous(x):
        fresh = cuda.empty(x.shape, x.dtype)
        copy(fresh, x)
        x = fresh
    double = x.dtype == np.float64
    threshold = np.int64(min(int(p * 2.0**32 + 0.5), 2**32 - 1))
    scale = np.float64(1 / (1 - p)) if double else 1 / (1 - p)
    T = tl.float64 if double else tl.float32
    launch(
        dropout_kernel, y, 8, x, y.size, signed(key), signed(counter), threshold, scale, T=T,
        kernel="dropout",
    )  # fmt: skip
