"""Instance normalisation: each sample's own statistics."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tgrad.nn import functional as F
from tgrad.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor


class _InstanceNorm(_NormBase):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and var per channel of each sample.

    Without ``track_running_stats`` a sample's own statistics are taken in ``eval`` too.
    Source: Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | Device | None = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype,
                         bias=bias)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        alone = input.ndim == self.ranks[0]  # a sample without a batch
        dim = 0 if alone else 1
        if input.shape[dim] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features "
                    f"({self.num_features}), but got: {input.shape[dim]}."
                )
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        y = F.instance_norm(
            input.unsqueeze(0) if alone else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y.squeeze(0) if alone else y

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any):
        kept = [n for n in ("running_mean", "running_var") if prefix + n in state_dict]
        if local_metadata.get("version", None) is None and not self.track_running_stats and kept:
            rest[-1].append(
                f"Unexpected running stats buffer(s) {' and '.join(map(repr, kept))} for "
                f"{type(self).__name__} with track_running_stats=False, as files from before "
                "PyTorch 0.4 have them. Remove these keys, or make the layer with "
                "track_running_stats=True."
            )
            for name in kept:
                state_dict.pop(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    ranks, expected = (2, 3), "2D or 3D"  # (C, L) or (N, C, L)


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    ranks, expected = (3, 4), "3D or 4D"  # (C, H, W) or (N, C, H, W)


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    ranks, expected = (4, 5), "4D or 5D"  # (C, D, H, W) or (N, C, D, H, W)
