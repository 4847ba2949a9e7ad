"""Rows of the losses that compare element with element."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import row, s, t, value

F = "nn.functional."


def loss(formula):
    """The reference of a loss: ``formula``, then the reduction."""

    def ref(*args, reduction="mean", **kwargs):
        y = formula(*args, **kwargs)
        if reduction == "none":
            return y
        if reduction == "batchmean":
            return y.sum() / len(y)
        return y.sum() / y.size if reduction == "mean" else y.sum()

    return ref


def weighted(formula):
    def ref(x, target, weight=None, reduction="mean"):
        y = formula(x, target)
        if weight is None:
            return loss(lambda: y)(reduction=reduction)
        return loss(lambda: y * weight)(reduction=reduction) * (
            y.size / weight.sum() if reduction == "mean" else 1
        )

    return ref


def huber(x, target, delta=1.0):
    d = np.abs(x - target)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def smooth_l1(x, target, beta=1.0):
    return np.abs(x - target) if beta == 0 else huber(x, target, beta) / beta


def bce(x, target, weight=1.0):
    logs = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return -weight * (target * logs[0] + (1 - target) * logs[1])


def bce_logits(x, target, weight=1.0, pos_weight=1.0):
    log1pexp = np.logaddexp(0, -x)
    return weight * ((1 - target) * x + (1 + (pos_weight - 1) * target) * log1pexp)


def kl_div(x, target, log_target=False):
    if log_target:
        return np.exp(target) * (target - x)
    return np.where(target == 0, 0, target * np.log(target)) - target * x


def hinge(x, target, margin=1.0):
    return np.where(target == 1, x, np.maximum(margin - x, 0))


def ranking(a, b, target, margin=0.0):
    return np.maximum(-target * (a - b) + margin, 0)


def cosine(a, b, target, margin=0.0):
    cos = (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + 1e-12) * ((b * b).sum(-1) + 1e-12))
    return np.where(target == 1, 1 - cos, np.maximum(cos - margin, 0))


def triplet(a, p, n, margin=1.0, order=2, eps=1e-6, swap=False):
    def norm(d):
        return (np.abs(d + eps) ** order).sum(-1) ** (1 / order)

    far = np.minimum(norm(a - n), norm(p - n)) if swap else norm(a - n)
    return np.maximum(norm(a - p) - far + margin, 0)


def pairs(**more):
    return (
        s(t(4, 3), t(4, 3), **more), s(t(4, 3), t(4, 3), reduction="sum", **more),
        s(t(4, 3), t(4, 3), reduction="none", **more), s(t(), t(), **more),
    )  # fmt: skip


SIGNS = value([1.0, -1.0, -1.0, 1.0], grad=False)
P = t(4, 3, low=0.1, high=0.9)
W = t(4, 3, low=0.5, high=2.0, grad=False)

ROWS = [
    row(
        F + "mse_loss", *pairs(), s(t(0), t(0)), s(t(4, 3), t(4, 3), weight=W),
        s(t(4, 3), t(4, 3), weight=W, reduction="none"), s(t(170, 241), t(170, 241)),
        ref=weighted(lambda x, y: (x - y) ** 2),
    ),
    row(
        F + "l1_loss", *pairs(), s(t(4, 3), t(4, 3), weight=W),
        ref=weighted(lambda x, y: np.abs(x - y)),
    ),
    row(F + "huber_loss", *pairs(), *pairs(delta=0.3), ref=loss(huber)),
    row(F + "smooth_l1_loss", *pairs(), *pairs(beta=0.3), *pairs(beta=0), ref=loss(smooth_l1)),
    row(
        F + "binary_cross_entropy", s(P, P), s(P, P, reduction="none"), s(P, P, W),
        s(value([0.0, 1.0, 1.0], grad=False), value([0.0, 1.0, 0.0], grad=False)),
        ref=loss(bce),
        tolerance=4.0,  # log(1 - x) of an x rounded to half precision
    ),
    row(
        F + "binary_cross_entropy_with_logits", s(t(4, 3), P), s(t(4, 3), P, W, reduction="none"),
        s(t(4, 3), P, pos_weight=t(3, low=0.5, high=2.0, grad=False), reduction="sum"),
        s(value([1000.0, -1000.0], grad=False), value([1.0, 1.0], grad=False)),
        ref=loss(bce_logits),
    ),
    row(
        F + "kl_div", s(t(4, 3), P, reduction="sum"), s(t(4, 3), P, reduction="batchmean"),
        s(t(4, 3), P, reduction="none"), s(t(4, 3), t(4, 3), reduction="sum", log_target=True),
        s(t(2), value([0.0, 1.0], grad=False), reduction="sum"),
        ref=loss(kl_div),
    ),
    row(F + "hinge_embedding_loss", s(t(4), SIGNS), s(t(3, 4), SIGNS, 0.5, reduction="none"),
        ref=loss(hinge)),
    row(F + "margin_ranking_loss", s(t(4), t(4), SIGNS), s(t(4), t(4), SIGNS, 0.5, reduction="sum"),
        ref=loss(ranking)),
    row(F + "soft_margin_loss", s(t(4), SIGNS), s(t(3, 4), SIGNS, reduction="none"),
        ref=loss(lambda x, y: np.logaddexp(0, -y * x))),
    row(F + "cosine_embedding_loss", s(t(4, 3), t(4, 3), SIGNS),
        s(t(4, 3), t(4, 3), SIGNS, 0.2, reduction="none"), s(t(3), t(3), value(1.0, grad=False)),
        ref=loss(cosine)),
    row(F + "triplet_margin_loss", s(t(4, 3), t(4, 3), t(4, 3)),
        s(t(4, 3), t(4, 3), t(4, 3), 2.0, reduction="none"),
        s(t(4, 3), t(4, 3), t(4, 3), swap=True, reduction="sum"), ref=loss(triplet)),
]  # fmt: skip
