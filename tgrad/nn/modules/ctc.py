"""The loss of connectionist temporal classification as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad.nn import functional as F
from tgrad.nn.modules.loss import _Loss

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class CTCLoss(_Loss):
    """-log of the probability that frames spell a target, over all alignments (Graves 2006).

    Shape: log_probs (T, N, C), targets (N, S) or their concatenation, lengths (N). "mean" divides
    each loss by its target's length. ``zero_infinity`` drops targets too long for their frames.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
            self.zero_infinity,
        )  # fmt: skip
