"""Losses of detectors."""

from __future__ import annotations

from tgrad.nn import functional as F
from tgrad.ops import maximum, minimum
from tgrad.tensor import Tensor


def _reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return loss.mean() if loss.numel() else 0.0 * loss.sum()
    if reduction == "sum":
        return loss.sum()
    raise ValueError(f"{name}: reduction is 'none', 'mean' or 'sum', got {reduction!r}")


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2,
    reduction: str = "none",
) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, p the probability of the truth: sure ones count little.

    ``alpha`` weighs the ones and 1 - alpha the zeros; -1 weighs neither. Shape: any, the same for
    both. Raises: ValueError for another alpha or reduction.
    Source: Lin et al. 2017, arXiv:1708.02002.
    """
    if not (0 <= alpha <= 1 or alpha == -1):
        raise ValueError(f"sigmoid_focal_loss: alpha is in [0, 1] or -1, got {alpha}")
    p = inputs.sigmoid()
    loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    loss = loss * (1 - (p * targets + (1 - p) * (1 - targets))) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced("sigmoid_focal_loss", loss, reduction)


def generalized_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 - the generalized IoU of each box and its own target. Shape: (N, 4), (N, 4) -> (N).

    Source: Rezatofighi et al. 2019, arXiv:1902.09630.
    """
    first, last = (
        maximum(boxes1[:, :2], boxes2[:, :2]),
        minimum(boxes1[:, 2:], boxes2[:, 2:]),
    )
    both = (last - first).clamp(min=0).prod(-1) * (last > first).all(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes1, boxes2)]
    either = areas[0] + areas[1] - both
    size = maximum(boxes1[:, 2:], boxes2[:, 2:]) - minimum(boxes1[:, :2], boxes2[:, :2])
    hull = size.prod(-1)
    loss = 1 - (both / (either + eps) - (hull - either) / (hull + eps))
    return _reduced("generalized_box_iou_loss", loss, reduction)
