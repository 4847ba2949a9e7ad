"""Which parts of an array an op moves: what kernels of both devices work out alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

REVERSED = slice(None, None, -1)
Window = tuple[slice, ...]


def overlaps(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether two positions of a window may be one element (never False where they are)."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(stride, size, strict=True) if n > 1):
        if s <= reach:
            return True
        reach += s * (n - 1)
    return False


def rolled(
    shape: Sequence[int], shifts: Sequence[int], dims: Sequence[int]
) -> Iterator[tuple[Window, Window]]:
    """(where in y, where in x) of the blocks that a roll moves: two along each shifted dim."""
    by = dict(zip(dims, shifts, strict=True))
    halves = []
    for k, n in enumerate(shape):
        s = by.get(k, 0)
        if s == 0:
            halves.append([(slice(None), slice(None))])
        else:
            halves.append([(slice(s, n), slice(0, n - s)), (slice(0, s), slice(n - s, n))])
    for blocks in itertools.product(*halves):
        yield tuple(b[0] for b in blocks), tuple(b[1] for b in blocks)
