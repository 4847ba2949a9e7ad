"""Rows of the loss of connectionist temporal classification. Gradients: tests/test_ctc.py."""

import numpy as np

from tests.table import i, row, s, t, value


def spelled(p, labels, blank):
    """The probability that the frames p (T, C) spell ``labels``: summed over states, in order."""
    states = [blank]
    for k in labels:
        states += [k, blank]
    now = np.zeros(len(states))
    now[0] = 1  # before the first frame one may enter the first blank or the first label
    for frame, row_ in enumerate(p):
        new = np.zeros(len(states))
        for at, k in enumerate(states):
            total = now[at] + (now[at - 1] if at else 0)
            if at > 1 and k != blank and k != states[at - 2]:
                total += now[at - 2]
            new[at] = total * row_[k] if frame or at < 2 else 0
        now = new
    return now[-1] + (now[-2] if len(states) > 1 else 0)


def ctc(x, targets, inputs, sizes, blank=0, reduction="mean", zero_infinity=False):
    frames = x if x.ndim == 3 else x[:, None]
    inputs, sizes = np.atleast_1d(inputs), np.atleast_1d(sizes)
    starts = np.append(0, np.cumsum(sizes))
    y = []
    for n, (m, k) in enumerate(zip(inputs, sizes, strict=True)):
        labels = targets[n, :k] if targets.ndim == 2 else targets[starts[n] : starts[n] + k]
        y.append(-np.log(spelled(np.exp(frames[:m, n]), labels.tolist(), blank)))
    y = np.array(y)
    if zero_infinity:
        y[np.isinf(y)] = 0
    if reduction == "mean":
        return (y / np.maximum(sizes, 1)).mean()
    return (y if x.ndim == 3 else y[0]) if reduction == "none" else y.sum()


TARGETS = value([[1, 2, 2, 3], [1, 1, 3, 1], [3, 0, 0, 0]], "int")
PADDED = value([[1, 2, 2, 9], [1, 1, 3, 1], [3, -1, 0, 0]], "int")
LENGTHS = ((7, 5, 6), (3, 4, 1))
# torch reads past the end of strided targets (a crash): tests/reference/test_losses.py compares
# contiguous ones. It has no half dtypes and no double backward either.
OPTIONS = {"grad": False, "dtypes": ("float32",), "torch": None}

ROWS = [
    row(
        "nn.functional.ctc_loss",
        s(t(7, 3, 4), TARGETS, *LENGTHS),
        s(t(7, 3, 4), TARGETS, *LENGTHS, reduction="none", zero_infinity=True),  # the second: 6 > 5
        s(t(7, 3, 4), TARGETS, value([7, 6, 6], "int"), value([3, 4, 1], "int"), reduction="sum"),
        s(t(7, 3, 4), value([0, 1, 1, 0, 1, 2, 2, 2], "int"), (7, 7, 6), (3, 4, 1), 3, "none"),
        s(t(7, 3, 4), PADDED, *LENGTHS),
        s(t(9, 5), i(3, low=1, high=5), (8,), (3,), reduction="none"),
        s(t(4, 2, 3), value([[1], [2]], "int"), (4, 4), (0, 1), reduction="none"),
        s(t(20, 1, 6), i(1, 9, low=1, high=6), (20,), (9,)),
        ref=ctc, **OPTIONS,
    ),
]  # fmt: skip
