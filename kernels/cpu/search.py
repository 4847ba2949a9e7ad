"""Binary search by NumPy, row by row where every row has a sequence of its own.

Many numbers are sorted before, piece by piece: the processor then guesses each search's branches.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import PIECE, each_piece
from tgrad.kernels.cpu.sort import pack, unpack
from tgrad.runtime import memory

LONG = 256  # elements of a sequence from which sorting first pays, and numbers to be searched
PARALLEL = 1 << 15  # searches, of 30 ns or more each, from which another thread pays


def search(found: np.ndarray, sequence: np.ndarray, x: np.ndarray, side: Literal["left", "right"]):
    """found = np.searchsorted(sequence, x, side): 57 ns a number in 4096, sorted first 15.

    The shorter of the two sorted ones is searched for in the other.
    """
    n = x.size
    narrow = x.dtype == np.float32 or (x.dtype.kind in "iu" and x.itemsize <= 4)
    if min(n, sequence.size) < LONG or not narrow:
        found[...] = np.searchsorted(sequence, x, side)
        return
    low = (n - 1).bit_length()
    packed = memory.empty(x.shape, np.dtype(np.int64))
    pack(packed, x, np.arange(n), low, 0, False)
    packed.sort()
    ordered = memory.empty(x.shape, x.dtype)
    unpack(ordered, packed, low, 0, False)
    packed &= (1 << low) - 1
    if sequence.size < n:  # a number of the sequence stands before all from its own place on
        before = np.searchsorted(ordered, sequence, "right" if side == "left" else "left")
        found[packed] = np.add.accumulate(np.bincount(before, minlength=n + 1)[:n])
    else:
        found[packed] = np.searchsorted(sequence, ordered, side)


@kernel("_searchsorted", "cpu")
def _searchsorted(y, sequence, x, right, dtype):
    side = "right" if right else "left"
    if sequence.dtype.kind == "V":  # bfloat16, whose order NumPy's search does not know
        sequence, x = sequence.astype(np.float32), x.astype(np.float32)
    if sequence.ndim == 1:
        flat, found = x.reshape(-1), y.reshape(-1)

        def work(start: int, stop: int, worker: int) -> None:
            search(found[start:stop], sequence, flat[start:stop], side)

        each_piece(work, x.size, 1, PARALLEL, piece=PIECE)
        return
    rows = sequence.reshape(-1, sequence.shape[-1]) if sequence.size else sequence
    if not sequence.size:
        y[...] = 0
        return
    values, out = x.reshape(len(rows), -1), y.reshape(len(rows), -1)
    for row, v, o in zip(rows, values, out, strict=True):
        o[...] = np.searchsorted(row, v, side)
