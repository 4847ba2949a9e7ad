"""Rows of the bilinear form."""

import numpy as np

from tests.table import row, s, t

ROWS = [
    row(
        "nn.functional.bilinear",
        s(t(3, 4), t(3, 5), t(2, 4, 5), t(2)),
        s(t(2, 3, 4), t(2, 3, 5), t(6, 4, 5)),
        s(t(4), t(5), t(2, 4, 5), t(2)),
        s(t(0, 4), t(0, 5), t(2, 4, 5)),
        ref=lambda a, b, w, c=0: np.einsum("...i,oij,...j->...o", a, w, b) + c,
    ),
]
