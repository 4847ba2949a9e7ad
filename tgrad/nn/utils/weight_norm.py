"""weight_norm by a forward pre-hook, as ``nn.utils`` had it before parametrizations."""

from __future__ import annotations

import warnings
from typing import Any

from tgrad.nn.parameter import Parameter
from tgrad.ops import vector_norm
from tgrad.tensor import Tensor


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The 2-norm over all dims but ``dim``, which are kept; over all for -1, then 0-d."""
    if dim == -1:
        return vector_norm(v)
    dim = dim % v.ndim
    others = [d for d in range(v.ndim) if d != dim]
    return vector_norm(v, 2, others, True) if others else v.abs()


def normalized(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """g v / |v| (Salimans & Kingma 2016, arXiv:1602.07868, equation 2)."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook that computes the weight from ``<name>_g`` and ``<name>_v`` before each call."""

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        return normalized(
            getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim
        )

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module).detach()
        for name in (self.name, self.name + "_g", self.name + "_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))


def hooks_of(module: Any, kind: type, name: str) -> list[int]:
    """The keys of ``module``'s forward pre-hooks that are ``kind`` for parameter ``name``."""
    return [
        key for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook.function, kind) and getattr(hook.function, "name", None) == name
    ]  # fmt: skip


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Deprecated: :func:`parametrizations.weight_norm`. w = g v / |v|, |v| over all dims but one.

    Raises: RuntimeError where ``name`` has one already.
    """
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    if hooks_of(module, WeightNorm, name):
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    norm = norm_except_dim(weight.detach(), hook.dim)
    module.register_parameter(name + "_g", Parameter(norm))
    module.register_parameter(name + "_v", Parameter(weight.data))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again. Raises ValueError where it is none of weight_norm's."""
    for key in hooks_of(module, WeightNorm, name):
        module._forward_pre_hooks[key].function.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
