"""Rows of the losses over classes."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.rows.softmax import log_softmax
from tests.table import i, row, s, t, value


def classes(target, c, weight, ignore_index):
    """(one-hot weights (N, C, *), weight of each target)."""
    w = np.ones(c) if weight is None else weight
    hot = np.moveaxis(target[..., None] == np.arange(c), -1, 1) & (target != ignore_index)[:, None]
    hot = hot * w.reshape(1, -1, *[1] * (target.ndim - 1))
    return hot, hot.sum(1)


def reduced(losses, total, reduction):
    if reduction == "none":
        return losses
    return losses.sum() / total if reduction == "mean" else losses.sum()


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    if x.ndim == 1:
        y = nll_loss(x[None], target.reshape(1), weight, ignore_index, reduction)
        return y.reshape(target.shape) if reduction == "none" else y
    hot, w = classes(target, x.shape[1], weight, ignore_index)
    return reduced(-(hot * x).sum(1), w.sum(), reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if x.ndim == 1:
        soft = target.dtype.kind == "f"
        target = target[None] if soft else target.reshape(1)
        y = cross_entropy(x[None], target, weight, ignore_index, reduction, label_smoothing)
        return y.reshape(()) if reduction == "none" else y
    c, logs = x.shape[1], log_softmax(x, 1)
    w = (np.ones(c) if weight is None else weight).reshape(1, -1, *[1] * (x.ndim - 2))
    if target.dtype.kind == "f":
        p = target * (1 - label_smoothing) + label_smoothing / c
        return reduced(-(p * logs * w).sum(1), x.size / max(c, 1), reduction)
    hot, total = classes(target, c, weight, ignore_index)
    kept = (target != ignore_index)[:, None]
    p = hot * (1 - label_smoothing) + kept * w * label_smoothing / c
    return reduced(-(p * logs).sum(1), total.sum(), reduction)


W = t(5, low=0.5, high=2.0, grad=False)
FIXED = value([0, 2, 2, 4, 1, 2], "int")
SAMPLES = (
    s(t(6, 5), FIXED), s(t(6, 5), FIXED, W), s(t(6, 5), FIXED, ignore_index=2),
    s(t(6, 5), FIXED, W, ignore_index=2, reduction="sum"), s(t(6, 5), FIXED, W, reduction="none"),
    s(t(5), i(high=5)),
    s(t(5), i(high=5), reduction="none"),
    s(t(2, 5, 7), i(2, 7, high=5), W, ignore_index=1), s(t(2, 5, 3, 2), i(2, 3, 2, high=5)),
    s(t(2, 5, 3, 2), i(2, 3, 2, high=5), ignore_index=0, reduction="none"),
    s(t(2, 5, 37), i(2, 37, high=5), W), s(t(3, 1100), i(3, high=1100), reduction="none"),  # walked
    s(t(2, 70, 19), i(2, 19, high=70)), s(t(1500, 3), i(1500, high=3)),  # and several programs
    s(t(3, 5, grad=False), value([1, 1, 1], "int"), ignore_index=1),  # none is left: NaN
    s(t(0, 5), i(0, high=5)), s(t(0, 5), i(0, high=5), reduction="sum"),
    s(t(2, 5, 0), i(2, 0, high=5)),
)  # fmt: skip

ROWS = [
    row("nn.functional.nll_loss", *SAMPLES, ref=nll_loss),
    row(
        "nn.functional.cross_entropy",
        *SAMPLES,
        s(t(6, 5), FIXED, W, ignore_index=2, label_smoothing=0.1),
        s(t(6, 5), FIXED, label_smoothing=0.3, reduction="none"),
        s(t(2, 5, 3), i(2, 3, high=5), W, reduction="sum", label_smoothing=1.0),
        s(t(4, 5), t(4, 5, low=0.0, high=1.0)),
        s(t(4, 5), t(4, 5, low=0.0, high=1.0), W, reduction="none"),
        s(t(2, 5, 3), t(2, 5, 3, low=0.0, high=1.0), W, label_smoothing=0.1),
        s(t(5), t(5, low=0.0, high=1.0), reduction="sum"),
        s(t(0, 5), t(0, 5)),
        ref=cross_entropy,
    ),
]
