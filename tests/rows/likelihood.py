"""Rows of the likelihood losses."""

import numpy as np

from tests.table import own, row, s, t


def reduce(y, reduction):
    return y if reduction == "none" else y.mean() if reduction == "mean" else y.sum()


def gaussian(x, target, var, full=False, eps=1e-6, reduction="mean"):
    if np.ndim(var) == x.ndim - 1:
        var = np.expand_dims(var, -1)
    var = np.maximum(var, eps)
    y = 0.5 * (np.log(var) + (x - target) ** 2 / var)
    return reduce(y + 0.5 * np.log(2 * np.pi) * full, reduction)


def poisson(
    x, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce_=None,
    reduction="mean",
):  # fmt: skip
    y = np.exp(x) - target * x if log_input else x - target * np.log(x + eps)
    if full:
        stirling = target * np.log(target) - target + 0.5 * np.log(2 * np.pi * target)
        y = y + np.where(target > 1, stirling, 0)
    return reduce(y, reduction)


F = "nn.functional."

ROWS = [
    row(
        F + "gaussian_nll_loss",
        s(t(3, 4), t(3, 4), t(3, 4, low=0.2, high=2)),
        s(t(3, 4), t(3, 4), t(3, low=0.2, high=2), True, reduction="none"),
        s(t(3, 4), t(3, 4), t(3, 1, low=0.2, high=2), reduction="sum"),
        s(t(2, 3, 4), t(2, 3, 4), t(2, 1, 4, low=0.2, high=2), eps=0.1),
        s(t(3, 4), t(3, 4), 0.5),
        own("the gradient of a clamped variance is none of the clamp",
            s(t(3, 4), t(3, 4), t(3, 4, low=0.2, high=2, grad=False), eps=1.0)),
        ref=gaussian,
    ),
    row(
        F + "poisson_nll_loss",
        s(t(3, 4), t(3, 4)),
        s(t(3, 4, low=0.5, high=3), t(3, 4, low=0.1, high=5), False, reduction="none"),
        s(t(3, 4), t(3, 4, low=1.2, high=5), full=True, reduction="sum"),
        s(t(3, 4), t(4, low=0.1, high=0.9), full=True),
        s(t(3, 4, low=0.5, high=3), t(3, 4), False, eps=0.1),
        ref=poisson,
    ),
]  # fmt: skip
