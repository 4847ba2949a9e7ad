"""Lookup tables: rows taken, and added back as a sparse matrix product."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.places import add_rows
from tgrad.kernels.cpu.rows import as_wide, wide_dtype


@kernel("embedding", "cpu")
def embedding(y, weight, indices, padding_idx, scale_grad_by_freq, sparse):
    if y.size:
        # The card has checked the range; mode "raise" would copy through a buffer.
        np.take(weight, indices, axis=0, out=y, mode="clip")


@kernel("embedding_backward", "cpu")
def embedding_backward(dw, g, indices, rows, padding_idx, scale_grad_by_freq):
    where = indices.reshape(-1)
    values = g.reshape(where.size, g.shape[-1])
    if padding_idx >= 0:
        kept = where != padding_idx
        where, values = where[kept], values[kept]
    total = dw if dw.dtype.itemsize >= 4 else np.empty(dw.shape, np.float32)
    total.fill(0)
    add_rows(total, 0, where, np.ascontiguousarray(as_wide(values, wide_dtype(values))), 1)
    if scale_grad_by_freq:
        counts = np.bincount(where, minlength=rows)
        total /= np.maximum(counts, 1)[:, None].astype(total.dtype)
    if total is not dw:
        np.copyto(dw, total, casting="unsafe")
