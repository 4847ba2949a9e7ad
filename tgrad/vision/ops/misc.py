"""Blocks that many backbones share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad import nn
from tgrad.creation import ones, zeros
from tgrad.tensor import Tensor

Layer = Callable[..., nn.Module]
Sizes = int | tuple[int, ...]


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics, weight and bias are buffers that nothing changes.

    Shape: (N, C, H, W) -> the same.
    """

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        for name, make in (("weight", ones), ("bias", zeros), ("running_mean", zeros)):
            self.register_buffer(name, make(num_features))
        self.register_buffer("running_var", ones(num_features))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)  # of the norm that was frozen
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.weight)}, eps={self.eps})"


class _ConvNormActivation(nn.Sequential):
    convolution: Layer
    rank: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes,
        padding: Sizes | str | None, groups: int, norm_layer: Layer | None,
        activation_layer: Layer | None, dilation: Sizes, inplace: bool | None, bias: bool | None,
    ):  # fmt: skip
        if padding is None:  # what keeps the size where the stride is 1
            k = (kernel_size,) * self.rank if isinstance(kernel_size, int) else kernel_size
            d = (dilation,) * self.rank if isinstance(dilation, int) else dilation
            padding = tuple((n - 1) // 2 * m for n, m in zip(k, d, strict=True))
        layers = [
            type(self).convolution(
                in_channels, out_channels, kernel_size, stride, padding, dilation=dilation,
                groups=groups, bias=norm_layer is None if bias is None else bias,
            )
        ]  # fmt: skip
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            options = {} if inplace is None else {"inplace": inplace}
            layers.append(activation_layer(**options))
        super().__init__(*layers)
        self.out_channels = out_channels


class Conv2dNormActivation(_ConvNormActivation):
    """A convolution, a norm and an activation, each but the first optional."""

    convolution, rank = nn.Conv2d, 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes = 3,
        stride: Sizes = 1,
        padding: Sizes | str | None = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm2d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Sizes = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups,
                         norm_layer, activation_layer, dilation, inplace, bias)  # fmt: skip


class Conv3dNormActivation(_ConvNormActivation):
    """:class:`Conv2dNormActivation` of volumes."""

    convolution, rank = nn.Conv3d, 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes = 3,
        stride: Sizes = 1,
        padding: Sizes | str | None = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm3d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Sizes = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups,
                         norm_layer, activation_layer, dilation, inplace, bias)  # fmt: skip


class SqueezeExcitation(nn.Module):
    """Each channel times what a small network makes of all channels' means (Hu et al. 2017).

    Shape: (N, C, H, W) -> the same. Source: arXiv:1709.01507.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Layer = nn.ReLU,
        scale_activation: Layer = nn.Sigmoid,
    ):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation, self.scale_activation = activation(), scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        y = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(y)) * input


class MLP(nn.Sequential):
    """Linear layers with norms, activations and dropout between, the last without the first two."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Layer | None = None,
        activation_layer: Layer | None = nn.ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ):
        options = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        width = in_channels
        for out in hidden_channels[:-1]:
            layers.append(nn.Linear(width, out, bias=bias))
            if norm_layer is not None:
                layers.append(norm_layer(out))
            if activation_layer is not None:
                layers.append(activation_layer(**options))
            layers.append(nn.Dropout(dropout, **options))
            width = out
        layers.append(nn.Linear(width, hidden_channels[-1], bias=bias))
        layers.append(nn.Dropout(dropout, **options))
        super().__init__(*layers)


class Permute(nn.Module):
    """The dims in another order."""

    def __init__(self, dims: Sequence[int]):
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.dims)
