"""Lazy layers: sizes of the input are learned from the first call, which makes the parameters.

Until then the parameters are uninitialised; after it the layer is an ordinary one, of the class
without "Lazy". The dtype and the device are chosen before, by ``to`` or at construction.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd import no_grad
from tgrad.creation import tensor
from tgrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, _NormBase
from tgrad.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _ConvNd,
)
from tgrad.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from tgrad.nn.modules.linear import Linear
from tgrad.nn.modules.module import Module
from tgrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor

Sizes = int | tuple[int, ...]


class LazyModuleMixin:
    """What a module with uninitialised parameters needs; stands before the module's class.

    A subclass defines ``initialize_parameters(*args)``, which ``materialize``s them for the
    arguments of the first call, and ``cls_to_become``, the class from then on. A state_dict with
    values loads into it, and one without, into another lazy module only.
    Raises: RuntimeError by a call after which parameters are uninitialised still.
    """

    cls_to_become: type[Module] | None = None
    _parameters: Any
    _buffers: Any
    _non_persistent_buffers_set: set[str]
    _inferred: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._inferred:
            self._infer_parameters(self, args, kwargs)
        call: Any = Module.__call__
        return call(self, *args, **kwargs)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Make the parameters for the arguments of the first call."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this module has no shape yet."""
        return any(map(is_lazy, chain(self._parameters.values(), self._buffers.values())))

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict | None = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {type(self).__name__} has not been fully initialized")
        module._inferred = True
        if module.cls_to_become is not None:
            del module._inferred
            module.__class__ = module.cls_to_become

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, x in chain(self._parameters.items(), self._buffers.items()):
            if x is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = x if keep_vars or is_lazy(x) else x.detach()

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        for name, x in chain(self._parameters.items(), self._buffers.items()):
            given = state_dict.get(prefix + name)
            if is_lazy(x) and given is not None and not is_lazy(given):
                with no_grad():
                    x.materialize(given.shape)
        parent: Any = super()
        parent._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def _replicate_for_data_parallel(self) -> Any:
        raise RuntimeError(
            "Modules with uninitialized parameters can't be used with `DataParallel`. Run a dummy "
            "forward pass to correctly initialize the modules"
        )


class LazyLinear(LazyModuleMixin, Linear):
    """:class:`Linear` whose ``in_features`` is the last size of its first input."""

    cls_to_become = Linear

    def __init__(
        self,
        out_features: int,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they are there."""
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Make weight and bias for ``input``. Raises: AssertionError unless it fits a loaded one"""
        last = input.shape[-1]
        if self.has_uninitialized_params():
            self.in_features = last
            materialize(self.weight, (self.out_features, last))
            materialize(self.bias, (self.out_features,))
            self.reset_parameters()
        elif self.in_features == 0:
            if last != self.weight.shape[-1]:
                raise AssertionError(
                    f"The in_features inferred from input: {last} is not equal to in_features from "
                    f"self.weight: {self.weight.shape[-1]}"
                )
            self.in_features = last


def materialize(x: Any, shape: tuple[int, ...]) -> None:
    """Give ``x`` its shape, if it is there and has none."""
    if is_lazy(x):
        with no_grad():
            x.materialize(shape)


class _LazyConvNd(LazyModuleMixin, _ConvNd):
    """Channels of the first input make the weight, (N, C, ...) or (C, ...)."""

    def _late(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they are there."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Make weight and bias for ``input``.

        Raises: RuntimeError for a wrong rank, ValueError for channels that ``groups`` does not
        divide.
        """
        if not self.has_uninitialized_params():
            ends = self.weight.shape
            self.in_channels = ends[0] if self.transposed else ends[1] * self.groups
            return
        n = self.rank
        if input.ndim not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        channels = input.shape[-n - 1]
        if channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        self.in_channels = channels
        ends = (self.out_channels, channels // self.groups)
        if self.transposed:
            ends = (channels, self.out_channels // self.groups)
        materialize(self.weight, (*ends, *self.kernel_size))
        materialize(self.bias, (self.out_channels,))
        self.reset_parameters()


class _LazyConv(_LazyConvNd):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        parent: Any = super()
        parent.__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode,
                        device, dtype)  # fmt: skip
        self._late(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvNd):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        parent: Any = super()
        parent.__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation,
                        padding_mode, device, dtype)  # fmt: skip
        self._late(out_channels, bias, device, dtype)


class _LazyNorm(LazyModuleMixin, _NormBase):
    """The second size of the first input is ``num_features``."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | Device | None = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine, self.track_running_stats = affine, track_running_stats
        late: dict[str, Any] = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**late)
            if bias:
                self.bias = UninitializedParameter(**late)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**late)
            self.running_var = UninitializedBuffer(**late)
            self.num_batches_tracked = tensor(0, device=device, dtype=dtypes.int64)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no statistics, once they are there."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Make weight, bias and the running averages for ``input``."""
        mine = (self.weight, self.bias, self.running_mean, self.running_var)
        if not self.has_uninitialized_params():
            known = [x.shape[0] for x in mine if x is not None]
            self.num_features = known[0] if known else input.shape[1]
            return
        self.num_features = input.shape[1]
        for x in mine:
            materialize(x, (self.num_features,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """:class:`Conv1d` whose ``in_channels`` are those of its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """:class:`Conv2d` whose ``in_channels`` are those of its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """:class:`Conv3d` whose ``in_channels`` are those of its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """:class:`ConvTranspose1d` whose ``in_channels`` are those of its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """:class:`ConvTranspose2d` whose ``in_channels`` are those of its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """:class:`ConvTranspose3d` whose ``in_channels`` are those of its first input."""

    cls_to_become = ConvTranspose3d


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """:class:`BatchNorm1d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """:class:`BatchNorm2d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """:class:`BatchNorm3d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """:class:`InstanceNorm1d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """:class:`InstanceNorm2d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """:class:`InstanceNorm3d` whose ``num_features`` is the second size of its first input."""

    cls_to_become = InstanceNorm3d
