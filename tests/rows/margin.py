"""Rows of the margin losses."""

import numpy as np

from tests.rows.likelihood import reduce
from tests.table import i, row, s, t, value


def multi_margin(
    x, target, p=1, margin=1.0, weight=None, size_average=None, reduce_=None, reduction="mean"
):
    rows, at = np.atleast_2d(x), np.atleast_1d(target)
    y = np.zeros(len(rows))
    for n, k in enumerate(at):
        w = 1 if weight is None else weight[k]
        terms = [max(0, margin - rows[n, k] + v) ** p for j, v in enumerate(rows[n]) if j != k]
        y[n] = w * sum(terms) / rows.shape[1]
    return reduce(y.reshape(np.shape(target)) if x.ndim < 2 else y, reduction)


def multilabel_margin(x, target, reduction="mean"):
    y = []
    for scores, labels in zip(np.atleast_2d(x), np.atleast_2d(target), strict=True):
        stop = np.append(labels, -1).tolist().index(-1)
        own = labels[:stop]
        others = [v for k, v in enumerate(scores) if k not in own]
        y.append(sum(max(0, 1 - scores[j] + v) for j in own for v in others) / len(scores))
    return reduce(np.array(y).reshape(x.shape[:-1]), reduction)


def multilabel_soft_margin(x, target, weight=None, reduction="mean"):
    y = target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    return reduce((y if weight is None else y * weight).mean(-1), reduction)


def triplet(a, p, n, margin=1.0, swap=False, reduction="mean"):
    def far(u, v):
        return np.sqrt(((u - v + 1e-6) ** 2).sum(-1))

    negative = np.minimum(far(a, n), far(p, n)) if swap else far(a, n)
    return reduce(np.maximum(margin + far(a, p) - negative, 0), reduction)


F = "nn.functional."
LABELS = value([[3, 0, -1, 1], [1, -1, 0, 0], [-1, 2, 2, 2], [2, 2, 1, 0]], "int")

ROWS = [
    row(
        F + "multi_margin_loss",
        s(t(5, 4), i(5, high=4)),
        s(t(5, 4), i(5, high=4), 2, 0.7, reduction="none"),
        s(t(5, 4), i(5, high=4), weight=t(4, low=0.5, high=2, grad=False), reduction="sum"),
        s(t(4), i(high=4), reduction="none"),
        s(t(4), i(1, high=4), reduction="none"),
        s(t(0, 4), i(0, high=4), reduction="none"),
        ref=multi_margin,
    ),
    row(
        F + "multilabel_margin_loss",
        s(t(4, 4), LABELS),
        s(t(4, 4), LABELS, reduction="none"),
        s(t(3), value([1, 0, -1], "int"), reduction="sum"),
        s(t(0, 4), i(0, 4), reduction="none"),
        ref=multilabel_margin,
    ),
    row(
        F + "multilabel_soft_margin_loss",
        s(t(3, 4), t(3, 4, low=0, high=1)),
        s(t(2, 3, 4), t(2, 3, 4, low=0, high=1), reduction="none"),
        s(t(3, 4), t(3, 4, low=0, high=1), t(4, low=0.5, high=2), reduction="sum"),
        ref=multilabel_soft_margin,
    ),
    row(
        F + "triplet_margin_with_distance_loss",
        s(t(4, 3), t(4, 3), t(4, 3)),
        s(t(4, 3), t(4, 3), t(4, 3), margin=2.5, swap=True, reduction="none"),
        s(t(3), t(3), t(3), reduction="sum"),
        ref=triplet,
    ),
]  # fmt: skip
