"""Samples of the Poisson and binomial laws.

Small means by inversion, one uniform number an element; others by Hörmann's transformed rejection,
two a trial. Every trial draws for all elements, so that an element's numbers depend on its place
and on the seed alone: both devices give the same samples. All is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.dispatch import OPS, composite
from tgrad.ops.random import require_floating

if TYPE_CHECKING:
    from tgrad.runtime.random import Generator
    from tgrad.tensor import Tensor

SMALL = 10.0  # means below are sampled by inversion
STEPS = 110  # of inversion: beyond, the probability is below 2^-64


def _uniform(like: Any, generator: Generator | None) -> Any:
    """Numbers in (0, 1), 2^-53 apart."""
    return like.new_empty(like.shape).uniform_(generator=generator).clamp(min=2.0**-54)


def inverted(u: Any, first: Any, ratio: Callable[[Any, int], Any]) -> Any:
    """The k whose distribution function first reaches u; p_k+1 = p_k ``ratio(k)``."""
    p, total = first, first
    found = u * 0
    for k in range(STEPS):
        more = u > total
        if not bool(more.any()):
            break
        found = found + more
        p = p * ratio(p, k)
        total = total + p
    return found


def by_rejection(
    like: Any, active: Any, generator: Generator | None, propose: Callable[[Any], Any],
    quick: Any, accepts: Callable[[Any, Any, Any], Any],
) -> Any:  # fmt: skip
    """Trials of ``propose(u) -> (k, us)`` until every ``active`` element has accepted one."""
    found = like * 0
    while bool(active.any()):
        u, v = _uniform(like, generator) - 0.5, _uniform(like, generator)
        us = 0.5 - u.abs()
        k = propose(u)
        taken = ((us >= 0.07) & (v <= quick)) | accepts(k, us, v)
        found = OPS["where"].function(active & taken, k, found)
        active = active & ~taken
    return found


@composite(spaces=("tgrad",))
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of the Poisson law, the input being the means. Without gradient.

    Shape and dtype: the input's, floating. A GPU is waited for after every trial.
    Raises: RuntimeError for negative means, integers.
    Source: Hörmann 1993, "The transformed rejection method for generating Poisson random
    variables", algorithm PTRS.
    """
    require_floating("poisson", input.dtype)
    mean = input.detach().to(dtypes.float64)
    if bool((mean < 0).any()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    small = mean < SMALL
    low = mean.clamp(max=SMALL)
    y = inverted(_uniform(mean, generator), (-low).exp(), lambda p, k: low / (k + 1))
    high = mean.clamp(min=SMALL)
    log, b = high.log(), 0.931 + 2.53 * high.sqrt()
    a, inverse = -0.059 + 0.02483 * b, 1.1239 + 1.1328 / (b - 3.4)

    def propose(u: Any) -> Any:
        return ((2 * a / (0.5 - u.abs()).clamp(min=1e-300) + b) * u + high + 0.43).floor()

    def accepts(k: Any, us: Any, v: Any) -> Any:
        wrong = (k < 0) | ((us < 0.013) & (v > us))
        left = (v * inverse / (a / (us * us) + b)).log()
        return ~wrong & (left <= k * log - high - (k.clamp(min=0) + 1).lgamma())

    large = by_rejection(high, ~small & (mean == mean), generator, propose,
                         0.9277 - 3.6224 / (b - 2), accepts)  # fmt: skip
    return OPS["where"].function(small, y, large).to(input.dtype)


@composite(spaces=("tgrad",))
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Samples of the binomial law: how many of ``count`` trials succeed, each with ``prob``.

    Shape: of both, broadcast. dtype: the counts', floating. Without gradient. A GPU is waited for
    after every trial.
    Raises: RuntimeError for counts below 0, probabilities outside [0, 1], integers and shapes that
    do not broadcast.
    Source: Hörmann 1993, "The generation of binomial random variates", algorithm BTRS.
    """
    for x in (count, prob):
        require_floating("binomial", x.dtype)
    n, p = (x.detach().to(dtypes.float64) for x in (count, prob))
    if bool((n < 0).any()) or bool(((p < 0) | (p > 1)).any()):
        raise RuntimeError("binomial: expected counts of at least 0 and probabilities in [0, 1]")
    n, p = OPS["broadcast_tensors"].function(n.floor(), p)
    flipped = p > 0.5
    q = OPS["where"].function(flipped, 1 - p, p)
    small = n * q < SMALL
    odds = q / (1 - q)
    start = OPS["where"].function(small, (n * (-q).log1p()).exp(), 1.0)
    y = inverted(_uniform(n, generator), start, lambda _, k: (n - k).clamp(min=0) / (k + 1) * odds)
    high = OPS["where"].function(small, 4 * SMALL, n)
    r = OPS["where"].function(small, 0.5, q)
    spread = (high * r * (1 - r)).sqrt()
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * r
    alpha, centre = (2.83 + 5.1 / b) * spread, high * r + 0.5
    mode, log = ((high + 1) * r).floor(), (r / (1 - r)).log()
    top = (mode + 1).lgamma() + (high - mode + 1).lgamma()

    def propose(u: Any) -> Any:
        return ((2 * a / (0.5 - u.abs()).clamp(min=1e-300) + b) * u + centre).floor()

    def accepts(k: Any, us: Any, v: Any) -> Any:
        inside = (k >= 0) & (k <= high)
        k = k.clamp(min=0)
        left = (v * alpha / (a / (us * us) + b)).log()
        right = top - (k + 1).lgamma() - ((high - k).clamp(min=0) + 1).lgamma() + (k - mode) * log
        return inside & (left <= right)

    large = by_rejection(n, ~small & (n * q == n * q), generator, propose, 0.92 - 4.2 / b, accepts)
    y = OPS["where"].function(small, y, large)
    y = OPS["where"].function(flipped, n - y, y) + n * p * 0  # NaN of either stays
    return y.to(count.dtype)
