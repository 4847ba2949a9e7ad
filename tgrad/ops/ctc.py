"""Connectionist temporal classification: the loss of a sequence over all its alignments.

With the blank between, before and after its L labels a target has 2L + 1 states: blank i comes
before label i, blank L is the last. A path through them takes one state a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import CPU
from tgrad.dispatch import Spec, composite, gradient, op, wrap
from tgrad.ops.elementwise_loss import reduced
from tgrad.ops.loss import reduction_of

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _ctc_loss(
    x: Tensor, targets: Tensor, starts: Tensor, input_lengths: Tensor, target_lengths: Tensor,
    blank: int, longest: int, zero_infinity: bool,
) -> tuple[Spec, Spec]:  # fmt: skip
    """(-log p(target), log alpha): the forward variables of all states and frames.

    alpha[n,t,0,i] is the probability of the paths that are in blank i at frame t, alpha[n,t,1,i]
    of those in label i; frames and labels past a sequence's end are undefined. Target n is
    targets[starts[n] : starts[n] + target_lengths[n]]. ``zero_infinity`` is for backward only.

    Shape: x (T, N, C) of log-probabilities, targets 1-D, the others (N) -> (N), (N, T, 2, L + 1)
        with L = ``longest``
    dtype: that of x, float32 or float64
    Source: Graves et al. 2006, "Connectionist temporal classification", section 4.1.
    """
    t, n, _ = x.shape
    return Spec((n,), x.dtype), Spec((n, t, 2, longest + 1), x.dtype)


@gradient(_ctc_loss, "x")
def _(g0, x, targets, starts, input_lengths, target_lengths, blank, y0, y1, zero_infinity):
    lengths = (input_lengths, target_lengths)
    return ctc_loss_backward(g0, x, targets, starts, *lengths, blank, y0, y1, zero_infinity)


@op
def ctc_loss_backward(
    g: Tensor, x: Tensor, targets: Tensor, starts: Tensor, input_lengths: Tensor,
    target_lengths: Tensor, blank: int, loss: Tensor, alpha: Tensor, zero_infinity: bool,
) -> Spec:  # fmt: skip
    """g[n] (exp(x[t,n,c]) - the share of the paths that emit c at frame t), 0 past the end.

    The derivative with respect to what log_softmax made x from, as in PyTorch: of x itself it is
    without exp(x). log_softmax's own backward makes the same of both. NaN where the loss is
    infinite, 0 with ``zero_infinity``.
    """
    return Spec(x.shape, x.dtype)


@gradient(ctc_loss_backward, "g", "x")
def _(gg):
    raise RuntimeError("derivative for ctc_loss_backward is not implemented")


# ---- public --------------------------------------------------------------------------------------


def lengths_of(name: str, given: Any, batch: int) -> Tensor:
    """Lengths as a tensor of shape (N), where they were given."""
    if not isinstance(given, Variable):
        if not isinstance(given, (tuple, list)) or not all(hasattr(v, "__index__") for v in given):
            raise TypeError(
                f"ctc_loss(): argument '{name}' must be Tensor or tuple of ints, not "
                f"{type(given).__name__}"
            )
        given = wrap(np.array([int(v) for v in given], np.int64), CPU)
    if not dtypes.BOOL < given.dtype.category < dtypes.FLOAT:
        raise RuntimeError(f"ctc_loss: {name} must be integral, got {given.dtype.name}")
    if given.ndim > 1 or given.numel() != batch:
        raise RuntimeError(
            f"ctc_loss: {name} must be of size batch_size {batch}, got {list(given.shape)}"
        )
    return given.reshape(batch)


def check_inputs(log_probs: Tensor, targets: Tensor, blank: int) -> None:
    for which, a in (("log_probs", log_probs), ("targets", targets)):
        if not isinstance(a, Variable):
            raise TypeError(
                f"ctc_loss(): argument '{which}' must be Tensor, not {type(a).__name__}"
            )
    if log_probs.ndim not in (2, 3):
        raise RuntimeError(
            f"ctc_loss: Expected 2- or 3-dimensional log_probs, but got {log_probs.ndim} dimensions"
        )
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"ctc_loss\" not implemented for '{log_probs.dtype.name}'")
    if not log_probs.numel():
        raise RuntimeError("ctc_loss: log_probs tensor must not be empty")
    if targets.ndim not in (1, 2):
        raise RuntimeError(
            f"ctc_loss: Expected 1 to 2 dimensions, but got {targets.ndim}-dimensional tensor for "
            "targets"
        )
    if not 0 <= blank < log_probs.shape[-1]:
        raise RuntimeError(
            f"ctc_loss: blank must be in label range [0, {log_probs.shape[-1]}), got {blank}"
        )


def check_lengths(name: str, lengths: Sequence[int], top: int) -> None:
    for v in lengths:
        if not 0 <= v <= top:
            raise RuntimeError(
                f"ctc_loss: Expected {name} to have value at least 0 and at most {top}, but got "
                f"value {v}"
            )


def check_labels(targets: np.ndarray, starts: Sequence[int], lengths: Sequence[int], classes: int):
    """Raise for a label outside [0, C) in a target; what stands between targets may be anything."""
    used = np.zeros(len(targets) + 1, np.int64)
    np.add.at(used, np.asarray(starts), 1)
    np.add.at(used, np.asarray(starts) + np.asarray(lengths), -1)
    labels = targets[np.cumsum(used[:-1]) > 0]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise IndexError(
            f"ctc_loss: target label {wrong[0]} is out of bounds for {classes} classes"
        )


@composite(spaces=("nn.functional",))
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of the target: of all paths that spell it, blanks and repeats apart.

    "mean" divides each loss by its target's length (at least 1), then averages. A target that does
    not fit into its frames has an infinite loss, or with ``zero_infinity`` 0. The gradient is that
    of the scores under a log_softmax, whose output ``log_probs`` is taken to be.

    Shape: log_probs (T, N, C), targets (N, S) or 1-D, one after the other, lengths (N); or (T, C),
        targets and lengths of one sequence -> (N) or ()
    dtype: float32 or float64; lengths are integers, in tuples or tensors.
    Raises: RuntimeError for other shapes, lengths out of range and a blank that is no class;
        IndexError for a label that is none (on the CPU; on a GPU the loss is NaN);
        NotImplementedError for other dtypes; TypeError for lengths that are no ints.
    On a GPU, lengths are best given on the CPU: their values are checked there.
    Source: Graves et al. 2006.
    """
    reduction = reduction_of(None, None, reduction)
    check_inputs(log_probs, targets, blank)
    batched = log_probs.ndim == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    frames, batch, classes = x.shape
    inputs = lengths_of("input_lengths", input_lengths, batch)
    sizes = lengths_of("target_lengths", target_lengths, batch)
    check_lengths("input_lengths", inputs.tolist(), frames)
    long = sizes.tolist()
    if targets.ndim == 1:
        check_lengths("target_lengths", long, max(targets.shape[0], 0))
        if sum(long) != targets.shape[0]:
            raise RuntimeError(
                f"ctc_loss: Expected targets to have size {sum(long)} at dimension 0, the sum of "
                f"target_lengths, but got size {targets.shape[0]}"
            )
        starts = [0, *np.cumsum(long)[:-1].tolist()]
    else:
        if targets.shape[0] != batch:
            raise RuntimeError(
                f"ctc_loss: Expected targets to have size {batch} at dimension 0, but got size "
                f"{targets.shape[0]}"
            )
        check_lengths("target_lengths", long, targets.shape[1])
        starts = [targets.shape[1] * n for n in range(batch)]
    flat = targets.reshape(-1).to(dtypes.int64)
    if flat.is_cpu:
        check_labels(flat.array, starts, long, classes)  # pyright: ignore[reportArgumentType]
    where = x.device
    begin = wrap(np.array(starts, np.int64), CPU).to(where)
    inputs, sizes = (v.to(where, dtypes.int64) for v in (inputs, sizes))
    flat = flat.to(where)
    loss = _ctc_loss(x, flat, begin, inputs, sizes, blank, max(long, default=0), zero_infinity)[0]
    if zero_infinity:
        loss = loss.masked_fill(loss == math.inf, 0)
    if not batched:
        loss = loss.reshape(())
        sizes = sizes.reshape(())
    return reduced(
        loss / sizes.clamp_min(1).to(x.dtype) if reduction == "mean" else loss, reduction
    )


__all__ = ["ctc_loss", "ctc_loss_backward"]
