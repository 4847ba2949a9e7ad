"""Single random numbers on the host, from the CPU's default generator.

Transforms draw a handful for each image; an op for each would cost ten times the draw.
"""

from __future__ import annotations

import numpy as np

from tgrad.device import CPU
from tgrad.runtime.random import default_generator, words


def _word() -> int:
    key, counter = default_generator(CPU).reserve(1)
    return int(words(key, counter, 1)[0])


def uniform(low: float = 0.0, high: float = 1.0) -> float:
    """Uniform in [low, high)."""
    return low + (high - low) * (_word() >> 11) * 2.0**-53


def integer(low: int, high: int) -> int:
    """One of low, ..., high - 1."""
    return low + int(uniform() * (high - low))


def order(n: int) -> list[int]:
    """0, ..., n - 1 in random order (Fisher & Yates)."""
    places = list(range(n))
    for i in range(n - 1, 0, -1):
        j = integer(0, i + 1)
        places[i], places[j] = places[j], places[i]
    return places


def choice(weights: list[float]) -> int:
    """An index, with probability in proportion to its weight."""
    ends = np.cumsum(weights)
    return int(np.searchsorted(ends[:-1], uniform() * ends[-1], side="right"))


def dirichlet(alphas: list[float]) -> list[float]:
    """Positive numbers that sum to 1: Dirichlet(alphas)."""
    return np.random.Generator(np.random.Philox(key=_word())).dirichlet(alphas).tolist()
