"""Connectionist temporal classification in NumPy: all sequences and states of a frame at once."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel

NEVER = -np.inf


class Batch:
    """Labels, masks and log-probabilities of a batch of N targets of up to L labels."""

    def __init__(self, x, targets, starts, sizes, blank: int, longest: int):
        self.frames, n, _ = x.shape
        self.rows = np.arange(n)
        at = starts[:, None] + np.arange(longest)
        self.inside = np.arange(longest) < sizes[:, None]  # (N, L)
        self.labels = np.where(self.inside, np.take(targets, at, mode="clip"), 0) if longest \
            else np.zeros((n, 0), np.int64)  # fmt: skip
        self.sizes, self.blank, self.x = sizes, blank, x
        # From label i - 1 to label i without a blank, unless they are the same.
        self.adjacent = np.zeros((n, longest), bool)
        self.adjacent[:, 1:] = self.labels[:, 1:] != self.labels[:, :-1]

    def of_labels(self, t: int) -> np.ndarray:
        """Log-probabilities of every label at frame t, (N, L)."""
        found = np.take_along_axis(self.x[t], self.labels, 1)
        return np.where(self.inside, found, NEVER)

    def of_blank(self, t: int) -> np.ndarray:
        return self.x[t, :, self.blank, None]


def log_sum(*terms: np.ndarray) -> np.ndarray:
    """log(sum(exp(terms))), -inf where all are."""
    top = terms[0]
    for a in terms[1:]:
        top = np.maximum(top, a)
    shift = np.where(top == NEVER, 0, top)
    total = np.exp(terms[0] - shift)
    for a in terms[1:]:
        total += np.exp(a - shift)
    return np.log(total, out=total) + shift


@kernel("_ctc_loss", "cpu")
def _ctc_loss(
    loss, alpha, x, targets, starts, inputs, sizes, blank, longest, zero_infinity
):  # fmt: skip
    batch = Batch(x, targets, starts, sizes, blank, longest)
    blanks, labels = alpha[:, :, 0], alpha[:, :, 1]  # (N, T, L + 1)
    alpha[...] = NEVER
    with np.errstate(all="ignore"):
        blanks[:, 0, :1] = batch.of_blank(0)
        labels[:, 0, : min(longest, 1)] = batch.of_labels(0)[:, :1]
        for t in range(1, int(inputs.max(initial=0))):
            b, a = blanks[:, t - 1], labels[:, t - 1, :longest]
            blanks[:, t, 0] = b[:, 0]
            blanks[:, t, 1:] = log_sum(b[:, 1:], a)
            blanks[:, t] += batch.of_blank(t)
            before = np.full_like(a, NEVER)
            before[:, 1:] = a[:, :-1]
            before[~batch.adjacent] = NEVER
            labels[:, t, :longest] = log_sum(a, b[:, :longest], before) + batch.of_labels(t)
        rows, last = batch.rows, np.maximum(inputs - 1, 0)
        ends = [blanks[rows, last, sizes], labels[rows, last, np.maximum(sizes - 1, 0)]]
        ends[1] = np.where(sizes == 0, NEVER, ends[1])
        found = -log_sum(*ends)
    found[inputs == 0] = np.where(sizes[inputs == 0] == 0, 0, np.inf)
    loss[...] = found


@kernel("ctc_loss_backward", "cpu")
def ctc_loss_backward(
    dx, g, x, targets, starts, inputs, sizes, blank, loss, alpha, zero_infinity
):  # fmt: skip
    batch = Batch(x, targets, starts, sizes, blank, alpha.shape[3] - 1)
    shares = alpha.copy()  # log alpha + log beta - log p, of every frame and state
    with np.errstate(all="ignore"):
        add_beta(shares, batch, inputs)
        shares += loss[:, None, None, None]
        np.exp(shares, out=shares)
        np.exp(x, out=dx)
        dx[:, :, blank] -= shares[:, :, 0].sum(2).T
        at_labels = np.where(batch.inside[:, None], shares[:, :, 1, :-1], 0)
        for i in range(at_labels.shape[2]):  # rows and labels make each place once
            dx[:, batch.rows, batch.labels[:, i]] -= at_labels[:, :, i].T
        np.multiply(dx, g[:, None], out=dx)
    dx[:, loss == np.inf] = 0 if zero_infinity else np.nan
    dx[np.arange(batch.frames)[:, None] >= inputs] = 0


def add_beta(shares: np.ndarray, batch: Batch, inputs: np.ndarray) -> None:
    """Add the backward variables, without the frame's own probability, to ``shares``."""
    n, _, _, states = shares.shape
    longest = states - 1
    blanks = np.full((n, states), NEVER, shares.dtype)  # with the frame's own probability
    labels = np.full((n, states), NEVER, shares.dtype)  # the last one is never reached
    last_blank = np.where(np.arange(states) == batch.sizes[:, None], 0, NEVER)
    last_label = np.where(np.arange(longest) == batch.sizes[:, None] - 1, 0, NEVER)
    adjacent = np.append(batch.adjacent, np.zeros((n, 1), bool), 1)
    for t in range(int(inputs.max(initial=0)) - 1, -1, -1):
        ends = inputs[:, None] - 1 == t
        past = log_sum(blanks, np.where(adjacent, labels, NEVER))  # where label i - 1 may go
        a = log_sum(labels[:, :longest], past[:, 1:])
        b = log_sum(blanks, labels)
        a, b = np.where(ends, last_label, a), np.where(ends, last_blank, b)
        shares[:, t, 0] += b
        shares[:, t, 1, :longest] += a
        blanks = b + batch.of_blank(t)
        labels[:, :longest] = a + batch.of_labels(t)
