"""Rows of the pointwise family."""

import numpy as np

from tests.table import row, s, t

ROWS = [
    row("add", s(t(5, 7), t(5, 7)), s(t(3, 1, 4), t(2, 1)), s(t(), 2.5), s(t(0, 3), t(3)),
        s(t(4), t(4), alpha=3), ref=lambda x, y, alpha=1: x + alpha * y),
    row("exp", s(t(4, 5)), s(t()), ref=np.exp),
]  # fmt: skip
