"""The memory pool's counts by PyTorch's names, worked out from its free lists when asked for.

Nothing of this is counted while memory is handed out: an allocation increments ``Bin.taken`` and
the two numbers of ``Totals`` alone.
"""

from __future__ import annotations

from typing import Any, Protocol

from tgrad.runtime.pool import LARGE, Rows


class Counted(Protocol):
    """A pool, or what the emulator has in its place."""

    baseline: dict[str, int]
    totals: Any

    def rows(self) -> Rows: ...


PARTS = ("all", "large_pool", "small_pool")
COUNTS = {"allocation": "allocated_bytes", "segment": "reserved_bytes", "active": "active_bytes"}
EVER = ("allocated", "freed")


def stats(pool: Counted) -> dict[str, int]:
    """``allocation``, ``segment`` and ``active`` with their bytes; see tgrad.cuda.memory_stats."""
    result = {
        f"{name}.{part}.{column}": 0
        for pair in COUNTS.items() for name in pair for part in PARTS
        for column in ("current", *EVER)
    }  # fmt: skip
    for size, held, active, there in pool.rows():
        counts = {"allocation": held, "active": active, "segment": there}
        for part in ("all", "large_pool" if size >= LARGE else "small_pool"):
            for name, (current, allocated) in counts.items():
                for full, unit in ((name, 1), (COUNTS[name], size)):
                    result[f"{full}.{part}.current"] += current * unit
                    result[f"{full}.{part}.allocated"] += allocated * unit
                    result[f"{full}.{part}.freed"] += (allocated - current) * unit
    for name, before in pool.baseline.items():
        result[name] -= before
    totals = pool.totals
    result["allocated_bytes.all.peak"] = totals.peak
    result["reserved_bytes.all.peak"] = totals.peak_reserved
    result["num_alloc_retries"], result["num_ooms"] = totals.retries, totals.ooms
    return result


def reset_accumulated(pool: Counted) -> None:
    """Count ``allocated`` and ``freed`` from 0, and retries too."""
    pool.baseline = {}
    pool.totals.retries = pool.totals.ooms = 0
    pool.baseline = {k: v for k, v in stats(pool).items() if k.endswith(EVER)}
