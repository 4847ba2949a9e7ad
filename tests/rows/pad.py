"""Rows of padding."""

from typing import Any

import numpy as np

from tests.table import i, row, s, t

MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x, pad, mode="constant", value=None):
    widths = [(0, 0)] * (x.ndim - len(pad) // 2)
    widths += [(pad[2 * k], pad[2 * k + 1]) for k in reversed(range(len(pad) // 2))]
    for d, (a, b) in enumerate(widths):  # what is negative is cut off
        x = np.moveaxis(np.moveaxis(x, d, 0)[max(-a, 0) : x.shape[d] - max(-b, 0)], 0, d)
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    if mode == "constant":
        return np.pad(x, widths, constant_values=0 if value is None else value)
    return np.pad(x, widths, MODES[mode])


ROWS = [
    row(
        "nn.functional.pad", s(t(3, 4), (1, 2)), s(t(3, 4), (1, 0, 0, 2), "constant", 2.5),
        s(t(5, 6), (-1, 2, 3, -2)), s(t(2, 3), ()), s(i(4), (2, 0), value=7), s(t(0, 3), (1, 1)),
        s(t(2, 3, 5), (2, 1), "reflect"),
        s(t(2, 4, 5), (1, 2, 3, 0), "reflect"), s(t(2, 3, 4), (2, 5), "replicate"),
        s(t(1, 2, 3, 4), (1, 1, 2, 0), "replicate"), s(t(2, 5), (3, 2), "circular"),
        s(t(1, 2, 3, 4), (1, 2, 3, 0), "circular"),
        s(t(1, 2, 2, 3, 3), (1, 1, 1, 0, 0, 1), "reflect"),
        ref=pad,
    ),
]  # fmt: skip
