"""Rows of the loss of a linear layer's outputs, at once and in parts."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.rows.loss import cross_entropy
from tests.table import i, own, row, s, t, value
from tgrad.nn import LinearCrossEntropyOptions

PARTS = LinearCrossEntropyOptions(batch_chunk_size=3, chunking_method=None)
EXACT = LinearCrossEntropyOptions(acc_policy="accurate")
W = t(5, low=0.5, high=2.0, grad=False)
FIXED = value([0, 2, 2, 4, 1, 2, 3], "int")


def linear_cross_entropy(x, w, target, linear_bias=None, options=None, ignore_index=None, **rest):
    logits = np.tensordot(x, w, (-1, -1))
    logits = logits if linear_bias is None else logits + linear_bias
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(logits, target, ignore_index=ignored, **rest)


def torch_way(*args, options=None, **rest):
    import torch

    return torch.nn.functional.linear_cross_entropy(*args, **rest)


def parts(*args, **rest):
    """The same call in parts of 3 rows."""
    return s(*args, options=PARTS, **rest)


ROWS = [
    row("nn.functional.linear_cross_entropy",
        s(t(7, 4), t(5, 4), FIXED), s(t(7, 4), t(5, 4), FIXED, linear_bias=t(5), weight=W),
        s(t(4), t(5, 4), value(3, "int"), reduction="none"),
        s(t(3, 4), t(5, 2, 4), i(3, 2, high=5), linear_bias=t(5, 2), label_smoothing=0.1),
        s(t(3, 4), t(5, 4), t(3, 5, low=0.1, high=0.9, grad=False)),
        parts(t(7, 4), t(5, 4), FIXED), parts(t(7, 4), t(5, 4), FIXED, linear_bias=t(5), weight=W),
        parts(t(7, 4), t(5, 4), FIXED, reduction="sum", ignore_index=2),
        parts(t(7, 4), t(5, 4), FIXED, reduction="none", linear_bias=t(5)),
        parts(t(4), t(5, 4), value(3, "int")),
        s(t(7, 4), t(37, 4), FIXED, ignore_index=4, options=EXACT),
        s(t(9, 4), t(3, 4), i(9, high=3), options=LinearCrossEntropyOptions()),
        own("torch divides 0 by 0 otherwise",
            parts(t(3, 4, grad=False), t(5, 4, grad=False), value([1, 1, 1], "int"),
                  ignore_index=1)),
        ref=linear_cross_entropy, torch=torch_way),
]  # fmt: skip
