"""Rows of differences and integrals."""

import numpy as np
import scipy.integrate

from tests.table import b, i, row, s, t


def diff(x, n=1, dim=-1, prepend=None, append=None):
    more = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return np.diff(x, n, dim, **more)


def trapezoid(y, x=None, dx=1.0, dim=-1):
    return np.trapezoid(y, x, dx, dim)


def running(y, x=None, dx=1.0, dim=-1):
    return scipy.integrate.cumulative_trapezoid(y, x, dx, dim)


INTEGRALS = (
    s(t(5)), s(t(3, 4), dim=0), s(t(3, 4), t(4)), s(t(3, 4), t(3, 4)), s(t(3, 4), dx=0.5),
    s(t(3, 4), t(3), dim=0),
)  # fmt: skip
ROWS = [
    row("diff", s(t(5)), s(t(3, 4), 2, 0), s(i(6)), s(b(6)), s(t(3, 2), 0),
        s(t(3, 4), prepend=t(3, 1), append=t(3, 2)), s(t(3), 5), ref=diff),
    row("trapezoid", *INTEGRALS, ref=trapezoid, covers=["trapz"]),
    row("cumulative_trapezoid", *INTEGRALS, ref=running),
]  # fmt: skip
