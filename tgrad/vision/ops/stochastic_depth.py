"""Stochastic depth: whole residual branches left out at random while training."""

from __future__ import annotations

from tgrad import nn
from tgrad.creation import empty
from tgrad.tensor import Tensor


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Zero with probability ``p``, else input / (1 - p): all at once, or each row for itself.

    Shape: (N, ...). ``mode``: "batch" or "row". Raises: ValueError for another, or p not in [0, 1].
    Source: Huang et al. 2016, arXiv:1603.09382.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")
    if mode not in ("batch", "row"):
        raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
    if not training or p == 0:
        return input
    size = [input.shape[0] if mode == "row" else 1] + [1] * (input.ndim - 1)
    kept = empty(size, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    return input * (kept / (1 - p) if p < 1 else kept)


class StochasticDepth(nn.Module):
    """:func:`stochastic_depth` as a layer."""

    def __init__(self, p: float, mode: str):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, input: Tensor) -> Tensor:
        return stochastic_depth(input, self.p, self.mode, self.training)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode})"
