"""spectral_norm by a forward pre-hook, as ``nn.utils`` had it before parametrizations."""

from __future__ import annotations

from typing import Any

from tgrad.autograd import no_grad
from tgrad.nn import modules
from tgrad.nn.parameter import Parameter
from tgrad.nn.utils.weight_norm import hooks_of
from tgrad.ops import dot, mv, vector_norm
from tgrad.tensor import Tensor


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """``weight`` with ``dim`` as rows and all else as columns."""
    return weight.movedim(dim, 0).reshape(weight.shape[dim], -1)


def unit(x: Tensor, eps: float) -> Tensor:
    """x over its norm, or over eps where that is larger."""
    return x / vector_norm(x).clamp(min=eps)


def default_dim(module: Any) -> int:
    """1 for transposed convolutions, whose out channels are the second dim; else 0."""
    names = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
    return int(isinstance(module, tuple(getattr(modules, n) for n in names if hasattr(modules, n))))


class SpectralNorm:
    """The hook that divides the weight by its largest singular value before each call."""

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ):
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def compute_weight(self, module: Any, do_power_iteration: bool) -> Tensor:
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(unit(mv(matrix.T, u), self.eps))
                    u.copy_(unit(mv(matrix, v), self.eps))
                u, v = u.clone(), v.clone()  # the next call must not change what backward needs
        return weight / dot(u, mv(matrix, v))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """w / sigma, sigma w's largest singular value by power iteration, one step a training call.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1.
    Raises: ValueError for no iterations or no parameter, RuntimeError where ``name`` has one.
    """
    if hooks_of(module, SpectralNorm, name):
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, default_dim(module) if dim is None else dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with no_grad():
        rows, cols = as_matrix(weight, hook.dim).shape
        u, v = (unit(weight.new_empty((n,)).normal_(0, 1), eps) for n in (rows, cols))
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.data)  # until the first call, for whoever looks
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again. Raises ValueError where it is none of spectral_norm's."""
    for key in hooks_of(module, SpectralNorm, name):
        module._forward_pre_hooks[key].function.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
