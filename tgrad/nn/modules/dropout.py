"""Dropout layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.nn import functional as F
from tgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class _DropoutNd(Module):
    """A probability. Raises: ValueError unless 0 <= p <= 1."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """While training, zero each element with probability ``p`` and divide the others by 1 - p.

    Source: Srivastava et al. 2014, JMLR 15. Raises: ValueError unless 0 <= p <= 1.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Whole channels at a time. Shape: (N, C, L) or (C, L). Raises: as :class:`Dropout`.

    Source: Tompson et al. 2014, arXiv:1411.4280.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Whole channels at a time. Shape: (N, C, H, W). Raises: as :class:`Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Whole channels at a time. Shape: (N, C, D, H, W). Raises: as :class:`Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps the mean and variance of what SELU gives (Klambauer et al. 2017,
    arXiv:1706.02515). Raises: as :class:`Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """:class:`AlphaDropout` of whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
