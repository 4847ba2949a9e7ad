"""Initial distributions. Each fills its tensor in place, outside any graph, and returns it."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad import creation
from tgrad.autograd import no_grad
from tgrad.creation import empty, from_numpy, zeros
from tgrad.dtypes import float64
from tgrad.ops import erfinv, where
from tgrad.runtime.random import Generator
from tgrad.tensor import Tensor

_GAIN = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
           "conv_transpose3d", "sigmoid")  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through ``nonlinearity``; ``param`` is leaky_relu's slope.

    Raises: ValueError for an unknown name or a slope that is not a number.
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity in _GAIN:
        return _GAIN[nonlinearity]
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """U(a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """N(mean, std^2)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element ``val``."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(tensor, 0.0)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """(inputs, outputs) of one unit of a weight of shape (out, in, *window)."""
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    a = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    fans = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    """gain / sqrt(fan); None for a tensor without elements."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """U(-b, b), b = gain sqrt(3 / fan) (He et al. 2015, arXiv:1502.01852)."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """N(0, std^2), std = gain / sqrt(fan) (He et al. 2015, arXiv:1502.01852)."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """N(mean, std^2) within [a, b].

    By the inverse of the distribution function in float64; where less than 1e-4 of the normal
    distribution lies within the bounds, by rejection from U(a, b).
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )
    low, high = (a - mean) / std, (b - mean) / std
    flipped = low > 0  # the lower tail has the digits: the distribution function is near 0 there
    if flipped:
        low, high = -high, -low
    under, upto = (0.5 * math.erfc(-x / math.sqrt(2.0)) for x in (low, high))
    with no_grad():
        u = empty(tensor.shape, dtype=float64, device=tensor.device)
        if upto - under > 1e-4:
            u.uniform_(2 * under - 1, 2 * upto - 1, generator=generator)
            u = erfinv(u) * math.sqrt(2.0)
        else:
            _reject(u, low, high, generator)
        u = u.clamp(low, high)
        u = (-u if flipped else u) * std + mean
        return tensor.copy_(u).clamp_(a, b)


def _reject(u: Tensor, low: float, high: float, generator: Generator | None) -> None:
    """Fill u with N(0, 1) within [low, high] from uniform draws, each kept with its density."""
    peak = max(low, min(0.0, high))
    u.uniform_(low, high, generator=generator)
    kept = zeros(u.shape, dtype=float64, device=u.device)
    done = kept > 0  # none yet
    while True:
        density = ((peak * peak - u * u) * 0.5).exp()
        done = done | (kept.uniform_(0, 1, generator=generator) <= density)
        if bool(done.all()):
            return
        fresh = empty(u.shape, dtype=float64, device=u.device)
        u.copy_(where(done, u, fresh.uniform_(low, high, generator=generator)))


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. Raises ValueError unless ``tensor`` is a matrix."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        return tensor.copy_(creation.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that hands on its input, each group as many channels as it can.

    Raises: ValueError unless there are 3 to 5 dims and ``groups`` divides the first.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    size = tensor.shape[0] // groups
    middle = [n // 2 for n in tensor.shape[2:]]
    with no_grad():
        tensor.zero_()
        at = tensor[(slice(None), slice(None), *middle)]  # (out, in), a view
        for g in range(groups):
            at[g * size : (g + 1) * size].fill_diagonal_(1)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """``gain`` times a random matrix with orthonormal rows or columns; trailing dims as one.

    Uniform over such matrices: Q of a QR decomposition of normal numbers, with the signs of R's
    diagonal. Decomposed on the host in float64.
    Source: Saxe et al. 2013, arXiv:1312.6120; signs: Mezzadri 2006, arXiv:math-ph/0609050.
    Raises: ValueError for fewer than 2 dims.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    x = empty((rows, cols), dtype=float64, device="cpu").normal_(0, 1, generator=generator).numpy()
    q, r = np.linalg.qr(x.T if rows < cols else x)
    q = q * np.sign(np.diagonal(r))
    made = np.ascontiguousarray(q.T if rows < cols else q) * gain
    with no_grad():
        return tensor.copy_(from_numpy(made).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """N(0, std^2) with the part ``sparsity`` of each column 0 (Martens 2010).

    Raises: ValueError unless ``tensor`` is a matrix.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    count = math.ceil(sparsity * tensor.shape[0])
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        order = empty(tensor.shape, device=tensor.device).uniform_(0, 1, generator=generator)
        return tensor.scatter_(0, order.argsort(0)[:count], 0.0)


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The name of the function without its underscore, which warns."""
    old = function.__name__[:-1]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{function.__name__}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = old
    call.__doc__ = f"Deprecated: :func:`{function.__name__}`."
    return call


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)

__all__ = ["calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_",
           "kaiming_normal", "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_", "normal",
           "normal_", "ones_", "orthogonal", "orthogonal_", "sparse", "sparse_", "trunc_normal_",
           "uniform", "uniform_", "xavier_normal", "xavier_normal_", "xavier_uniform",
           "xavier_uniform_", "zeros_"]  # fmt: skip
