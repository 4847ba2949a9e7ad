"""Functions of ``torch.nn.functional``: the registry's ops, with the arguments they have there.

Every op whose ``spaces`` name "nn.functional" is published here. Written out are the few whose
arguments differ from those of the op of the same name in ``tgrad``.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import OPS, check_inplace

if TYPE_CHECKING:
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor

    def __getattr__(name: str) -> Callable[..., Any]: ...


# ---- softmax -------------------------------------------------------------------------------------


def _softmax_dim(name: str, ndim: int, dim: int | None, stacklevel: int) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """:func:`tgrad.softmax`; without ``dim`` it warns and takes 0 for 0, 1 or 3 dims, else 1."""
    dim = _softmax_dim("softmax", input.ndim, dim, _stacklevel)
    return OPS["softmax"].function(input, dim, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """:func:`tgrad.log_softmax`; ``dim`` left out as in :func:`softmax`."""
    dim = _softmax_dim("log_softmax", input.ndim, dim, _stacklevel)
    return OPS["log_softmax"].function(input, dim, dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """softmax(-input) along ``dim``."""
    dim = _softmax_dim("softmin", input.ndim, dim, _stacklevel)
    return OPS["softmax"].function(input.neg(), dim, dtype)


# ---- random choices ------------------------------------------------------------------------------


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + noise) / tau) with noise from the Gumbel distribution.

    ``hard`` makes it one-hot at the largest, with the gradient of what it was. ``eps`` does nothing
    and warns. Shape: any. Raises: RuntimeError for integers.
    Source: Jang et al. 2016, arXiv:1611.01144; Maddison et al. 2016, arXiv:1611.00712.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -OPS["exponential_"].function(logits.new_empty(logits.shape)).log()
    soft = OPS["softmax"].function((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    return logits.new_zeros(logits.shape).scatter_(dim, index, 1.0) - soft.detach() + soft


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """:func:`tgrad.nn.functional.rrelu` in place."""
    check_inplace("rrelu_", input)
    old = input.clone() if input.requires_grad else input  # what backward needs of it
    return input.copy_(OPS["rrelu"].function(old, lower, upper, training))


# ---- lookup tables -------------------------------------------------------------------------------


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[input]: :func:`tgrad.embedding` with its arguments the other way round.

    ``max_norm`` first shrinks, in place, the rows used whose ``norm_type``-norm exceeds it.
    Raises: as :func:`tgrad.embedding`, and AssertionError for a padding_idx outside the table.
    """
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        OPS["embedding_renorm_"].function(weight, input, max_norm, norm_type)
    at = -1 if padding_idx is None else padding_idx
    return OPS["embedding"].function(weight, input, at, scale_grad_by_freq, sparse)


# ---- windows as columns --------------------------------------------------------------------------


def unfold(
    input: Tensor,
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> Tensor:
    """The windows of each image as columns; ``Tensor.unfold`` is another op.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C R S, L) or (C R S, L), L windows of R x S
    Raises: RuntimeError for a wrong rank, sizes that are not positive or windows that do not fit.
    """
    return OPS["im2col"].function(input, kernel_size, dilation, padding, stride)


# ---- pooling with the places of what was kept ----------------------------------------------------


def _with_indices(name: str) -> Callable[..., Any]:
    """``name`` with ``return_indices`` set, whatever is given for it."""
    function = OPS[name].function
    signature = inspect.signature(function)

    def pool(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{name}_with_indices() {e}") from None
        bound.arguments["return_indices"] = True
        return function(*bound.args, **bound.kwargs)

    pool.__name__ = pool.__qualname__ = f"{name}_with_indices"
    pool.__doc__ = f"(values, indices): :func:`{name}` with ``return_indices``."
    pool.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return pool


max_pool1d_with_indices = _with_indices("max_pool1d")
max_pool2d_with_indices = _with_indices("max_pool2d")
max_pool3d_with_indices = _with_indices("max_pool3d")
adaptive_max_pool1d_with_indices = _with_indices("adaptive_max_pool1d")
adaptive_max_pool2d_with_indices = _with_indices("adaptive_max_pool2d")
adaptive_max_pool3d_with_indices = _with_indices("adaptive_max_pool3d")
fractional_max_pool2d_with_indices = _with_indices("fractional_max_pool2d")
fractional_max_pool3d_with_indices = _with_indices("fractional_max_pool3d")


# ---- publishing ----------------------------------------------------------------------------------


def _publish(space: dict[str, Any]) -> None:
    """Put the registry's functions into ``space``, this module; what is written out stays."""
    for entry in OPS.values():
        if "nn.functional" in entry.spaces:
            space.setdefault(entry.name, entry.function)


_publish(globals())
