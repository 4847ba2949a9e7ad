"""Rows of exchanged channels."""

import numpy as np

from tests.table import row, s, t


def shuffle(x, r):
    *batch, c, h, w = x.shape
    y = np.empty((*batch, c // r**2, h * r, w * r))
    for i in range(r):
        for j in range(r):
            y[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
    return y


def unshuffle(x, r):
    *batch, c, h, w = x.shape
    y = np.empty((*batch, c * r**2, h // r, w // r))
    for i in range(r):
        for j in range(r):
            y[..., i * r + j :: r * r, :, :] = x[..., i::r, j::r]
    return y


def deal(x, groups):
    order = np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
    return x[:, order]


ROWS = [
    row("pixel_shuffle", s(t(2, 8, 3, 2), 2), s(t(9, 2, 2), 3), s(t(2, 4, 0, 2), 1), ref=shuffle),
    row("pixel_unshuffle", s(t(2, 2, 4, 6), 2), s(t(1, 3, 3), 3), ref=unshuffle),
    row("channel_shuffle", s(t(2, 6, 3), 2), s(t(1, 6, 2, 2), 3), ref=deal),
    row("native_channel_shuffle", s(t(2, 6, 3, 1), 2), ref=deal,
        why_no_torch_grad="torch has none"),
]  # fmt: skip
