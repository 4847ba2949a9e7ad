"""Samples of recurrent layers: every cell, forward and backward, and each way of its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tgrad.kernels.samples import Table, i, t
from tgrad.registry import OPS

SUMS = "multiplies matrices step by step; judged by its instructions, not the width of its loads"
GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}


def layer(cell: str, backwards: bool) -> Callable[..., Any]:
    """One layer in one direction: (x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets) to (y, h, c)."""

    def run(*args: Any) -> Any:
        keep = any(a is not None and a.requires_grad for a in args)
        return OPS["_recurrence"].function(*args, cell, backwards, keep)[:3]

    return run


def shapes(
    cell: str, L: int, N: int, I: int, H: int, P: int = 0, bias: bool = True, packed: bool = False
) -> tuple:
    rows, P = GATES[cell] * H, P or H
    b = t(rows) if bias else None
    return (
        t(L * N, I), t(rows, I), t(rows, P), b, b, t(P, H) if P != H else None, t(N, P),
        t(N, H) if cell == "lstm" else None, i(L + 1) if packed else None,
    )  # fmt: skip


recurrent = Table("recurrent")
for cell in GATES:
    recurrent("_recurrence", *shapes(cell, 128, 64, 256, 512), narrow=SUMS, run=layer(cell, False))
    for precision in ("high", "medium"):
        recurrent("_recurrence", *shapes(cell, 128, 64, 256, 512), narrow=SUMS, dtypes=("float32",),
                  precision=precision, run=layer(cell, False))  # fmt: skip
    recurrent("_recurrence", *shapes(cell, 128, 64, 256, 512), narrow=SUMS, backward=False,
              run=layer(cell, False))  # fmt: skip
    recurrent("_recurrence", *shapes(cell, 128, 64, 100, 24, bias=False, packed=True), narrow=SUMS,
              run=layer(cell, True))  # small, packed, from the last step  # fmt: skip
recurrent("_recurrence", *shapes("lstm", 128, 64, 256, 512, 128), narrow=SUMS,
          run=layer("lstm", False))  # projected  # fmt: skip

TABLES = [recurrent]
