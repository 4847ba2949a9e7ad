"""Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1).

Every round has the same share of the time, spread over the arms that are left; after it the slower
half goes. Arms that are clearly slow cost little, and the last ones are measured long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Runner(Protocol):
    us: float  # what it takes, infinity where it failed
    rung: int  # rounds that it has run


R = TypeVar("R", bound=Runner)


def halving(arms: Sequence[R], measure: Callable[[R, float], None], seconds: float) -> list[R]:
    """The arms from best to worst; those that went later come first.

    ``measure(arm, seconds)`` measures for so long and sets ``us``. Arms that have run a round
    before (``rung``, of a race that was interrupted) are not measured for it again.
    """
    rounds = max(1, math.ceil(math.log2(max(len(arms), 1))))
    left, gone = list(arms), []
    for k in range(rounds):
        each = seconds / (rounds * max(len(left), 1))
        for arm in left:
            if arm.rung <= k:
                arm.rung = k + 1
                measure(arm, each)
        left.sort(key=lambda arm: arm.us)
        kept = max(1, len(left) // 2) if k < rounds - 1 else len(left)
        gone = left[kept:] + gone
        left = left[:kept]
    return left + gone
