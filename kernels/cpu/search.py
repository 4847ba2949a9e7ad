"""Binary search by NumPy, row by row where every row has a sequence of its own."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel


@kernel("_searchsorted", "cpu")
def _searchsorted(y, sequence, x, right, dtype):
    side = "right" if right else "left"
    if sequence.dtype.kind == "V":  # bfloat16, whose order NumPy's search does not know
        sequence, x = sequence.astype(np.float32), x.astype(np.float32)
    if sequence.ndim == 1:
        y[...] = np.searchsorted(sequence, x, side)
        return
    rows = sequence.reshape(-1, sequence.shape[-1]) if sequence.size else sequence
    if not sequence.size:
        y[...] = 0
        return
    values, out = x.reshape(len(rows), -1), y.reshape(len(rows), -1)
    for row, v, o in zip(rows, values, out, strict=True):
        o[...] = np.searchsorted(row, v, side)
