"""Rows of incomplete gamma functions, polygamma, zeta and the normal law's tails."""

import numpy as np
from scipy import special

from tests.table import own, row, s, t, value

INF, NAN = np.inf, np.nan
LESS = "torch computes it less exactly"


def pairs(low, high, n=40):
    """(a, x) with x around a, where neither P nor Q is 0; only x has a gradient."""
    rng = np.random.default_rng(n)
    a = rng.uniform(low, high, n)
    x = np.abs(a + rng.standard_normal(n) * 2 * np.sqrt(a)) + 0.01
    return value(a, grad=False), value(x)


EDGES = (value([0.0, 0, 1, INF, 2, INF, -1, 1, NAN, 150, 150], grad=False),
         value([0.0, 1, 0, 1, INF, INF, 1, -1, 1, 0, INF], grad=False))  # fmt: skip
# a float32 of 100 is off by 4e-6: relative to a root of it, ten times that
GAMMAS = (s(*pairs(0.05, 3)), own(LESS, s(*pairs(3, 99))), own(LESS, s(*pairs(100, 900))),
          s(*EDGES), s(t(3, 1, low=0.5, high=3, grad=False), t(2, low=0.5, high=3)))  # fmt: skip
UNIT = (s(t(4, 5, low=0.02, high=0.98)), s(t(low=0.1, high=0.9)), s(t(0, 3)))


def multigamma(x, p):
    return sum(special.gammaln(x - j / 2) for j in range(p)) + p * (p - 1) / 4 * np.log(np.pi)


def zeta(x, q):
    return special.zeta(x, q)


ROWS = [
    row("special.erfcx", s(t(4, 5)), s(t()), s(value([30.0, -2.0, 0.0])),
        ref=special.erfcx),
    row("special.ndtri", *UNIT, s(value([0.0, 1.0, -0.1, 1.1], grad=False)), ref=special.ndtri),
    row("special.log_ndtr", s(t(4, 5)), s(value([-30.0, -8.0, -1.0, 0.0, 9.0])), s(t(0, 3)),
        ref=special.log_ndtr),
    row("special.zeta", s(t(4, 5, low=1.3, high=9, grad=False), t(4, 5, low=0.2, high=20)),
        s(t(3, 1, low=2, high=4, grad=False), t(4, low=1, high=4)), s(3.0, t(4, low=1, high=4)),
        s(value([1.0, 0.5, 2.0, 2.0, NAN], grad=False), value([2.0, 2, 0, -3, 1], grad=False)),
        ref=zeta),
    row("polygamma", *[s(n, t(4, 5, low=0.3, high=9)) for n in (0, 2, 5)],
        own(LESS, s(1, t(4, 5, low=0.3, high=9))),
        s(0, value([-0.3, 0.4])), s(1, value([-0.3, 0.4], grad=False)), ref=special.polygamma,
        gradgrad=False),
    row("igamma", *GAMMAS, ref=special.gammainc, covers=["gammainc"], tolerance=10),
    row("igammac", *GAMMAS, ref=special.gammaincc, covers=["gammaincc"], tolerance=10),
    row("mvlgamma", s(t(4, 5, low=2, high=9), 3), s(t(3, low=0.2, high=2), 1),
        ref=multigamma, covers=["multigammaln"]),
]  # fmt: skip
