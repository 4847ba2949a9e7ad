"""Functions of PyTorch's top level whose arguments are those of its kernels.

``torch.batch_norm`` and its like take every argument in the kernel's order and a reduction as a
number; here each calls the function of ``nn.functional`` that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import OPS
from tgrad.dtypes import bool_
from tgrad.ops.dropout import by_feature, check_probability, thinned

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")
INTERPOLATIONS, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")

__all__ = ["adaptive_max_pool1d", "affine_grid_generator", "alpha_dropout_", "batch_norm",
           "binary_cross_entropy_with_logits", "convolution", "cosine_embedding_loss", "ctc_loss",
           "dropout_", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_",
           "get_device", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d",
           "hinge_embedding_loss", "instance_norm", "is_conj", "is_distributed", "is_inference",
           "is_neg", "is_same_size", "is_signed", "kl_div", "margin_ranking_loss",
           "max_pool1d_with_indices", "native_batch_norm", "native_dropout", "native_group_norm",
           "native_layer_norm", "poisson_nll_loss", "resolve_conj", "resolve_neg", "rrelu_",
           "triplet_margin_loss"]  # fmt: skip


def named(name: str, choices: tuple[str, ...], number: int) -> str:
    """The choice that a number stands for. Raises ValueError for another number."""
    if number not in range(len(choices)):
        raise ValueError(f"{name}: expected 0 to {len(choices) - 1}, got {number}")
    return choices[number]


# ---- losses --------------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:  # fmt: skip
    """:func:`nn.functional.binary_cross_entropy_with_logits`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    function = OPS["binary_cross_entropy_with_logits"].function
    return function(input, target, weight, reduction=how, pos_weight=pos_weight)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """:func:`nn.functional.cosine_embedding_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    return OPS["cosine_embedding_loss"].function(input1, input2, target, margin, reduction=how)


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: int = 1, zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`nn.functional.ctc_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    function = OPS["ctc_loss"].function
    return function(log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1
) -> Tensor:
    """:func:`nn.functional.hinge_embedding_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    return OPS["hinge_embedding_loss"].function(input, target, margin, reduction=how)


def kl_div(
    input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False
) -> Tensor:
    """:func:`nn.functional.kl_div`; reduction 0 none, 1 mean over all elements, 2 sum."""
    each = OPS["kl_div"].function(input, target, reduction="none", log_target=log_target)
    how = named("reduction", REDUCTIONS, reduction)
    return each if how == "none" else each.mean() if how == "mean" else each.sum()


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """:func:`nn.functional.margin_ranking_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    return OPS["margin_ranking_loss"].function(input1, input2, target, margin, reduction=how)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int
) -> Tensor:
    """:func:`nn.functional.poisson_nll_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    function = OPS["poisson_nll_loss"].function
    return function(input, target, log_input, full, eps=eps, reduction=how)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, reduction: int = 1,
) -> Tensor:  # fmt: skip
    """:func:`nn.functional.triplet_margin_loss`; reduction 0 none, 1 mean, 2 sum."""
    how = named("reduction", REDUCTIONS, reduction)
    function = OPS["triplet_margin_loss"].function
    return function(anchor, positive, negative, margin, p, eps, swap, reduction=how)


# ---- normalisation -------------------------------------------------------------------------------


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """:func:`nn.functional.batch_norm`."""
    function = OPS["batch_norm"].function
    return function(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """:func:`nn.functional.instance_norm`."""
    function = OPS["instance_norm"].function
    return function(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def statistics(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """(mean, 1 / sqrt(var + eps)) over ``dims``, which stay as 1."""
    var, mean = OPS["var_mean"].function(x.detach(), dims, correction=0, keepdim=True)
    return mean, (var + eps).rsqrt()


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, mean, 1 / sqrt(var + eps)); the last two are the batch's, empty unless ``training``."""
    mean = scale = input.new_empty((0,))
    if training:
        dims = (0, *range(2, input.ndim))
        mean, scale = (s.flatten() for s in statistics(input, dims, eps))
    y = batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, True)
    return y, mean, scale


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, mean, 1 / sqrt(var + eps)): :func:`nn.functional.layer_norm` and its statistics."""
    y = OPS["layer_norm"].function(input, normalized_shape, weight, bias, eps)
    dims = tuple(range(input.ndim - len(tuple(normalized_shape)), input.ndim))
    return (y, *statistics(input, dims, eps))


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int,
    group: int, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, mean, 1 / sqrt(var + eps)) of N samples of C channels in groups, statistics (N, group).

    Raises: RuntimeError unless N C HxW are the input's elements.
    """
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"native_group_norm: Expected input to have {N * C * HxW} elements, got {input.numel()}"
        )
    y = OPS["group_norm"].function(input, group, weight, bias, eps)
    mean, scale = statistics(input.reshape(N, group, -1), (2,), eps)
    return y, mean.reshape(N, group), scale.reshape(N, group)


# ---- dropout -------------------------------------------------------------------------------------


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(y, which elements were kept), y as :func:`nn.functional.dropout` scales it."""
    check_probability("native_dropout", input, p)
    if train is False or p == 0:
        return input.clone(), input.new_ones(input.shape, dtype=bool_)
    kept = thinned(input.detach().new_ones(input.shape), p)
    return input * kept, kept.bool()


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels of (N, C, ...) dropped. Raises: RuntimeError for fewer than 2 dims."""
    if input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return by_feature("feature_dropout", input, p, train, False, 2)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`feature_dropout` in place."""
    return input.copy_(feature_dropout(input, p, train)) if train else input


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`nn.functional.dropout` in place."""
    return OPS["dropout"].function(input, p, train, True)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`nn.functional.alpha_dropout` in place."""
    return OPS["alpha_dropout"].function(input, p, train, True)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`nn.functional.feature_alpha_dropout` in place."""
    return OPS["feature_alpha_dropout"].function(input, p, train, True)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """:func:`nn.functional.rrelu` in place."""
    return OPS["rrelu"].function(input, lower, upper, training, True)


# ---- images --------------------------------------------------------------------------------------


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`nn.functional.grid_sample`; modes 0 bilinear, 1 nearest, 2 bicubic; paddings 0 zeros,
    1 border, 2 reflection."""
    how = named("interpolation_mode", INTERPOLATIONS, interpolation_mode)
    edge = named("padding_mode", PADDINGS, padding_mode)
    return OPS["grid_sample"].function(input, grid, how, edge, align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """:func:`nn.functional.affine_grid`."""
    return OPS["affine_grid"].function(theta, size, align_corners)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """(values, indices) of :func:`nn.functional.adaptive_max_pool1d`."""
    return OPS["adaptive_max_pool1d"].function(input, output_size, True)


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(values, indices) of :func:`nn.functional.max_pool1d`."""
    function = OPS["max_pool1d"].function
    return function(input, kernel_size, stride or None, padding, dilation, ceil_mode, True)


def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Tensor:  # fmt: skip
    """The convolution of as many axes as the weight has, or its transpose."""
    n = weight.ndim - 2
    if transposed:
        function = OPS[f"conv_transpose{n}d"].function
        return function(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return OPS[f"conv{n}d"].function(input, weight, bias, stride, padding, dilation, groups)


# ---- questions -----------------------------------------------------------------------------------


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return input.shape == other.shape


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has numbers below 0."""
    return input.is_signed()


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode."""
    return input.is_inference()


def is_distributed(input: Tensor) -> bool:
    """False: no tensor here is spread over processes."""
    return False


def get_device(input: Tensor) -> int:
    """The GPU's index, -1 for the CPU."""
    return input.get_device()


def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed at once."""
    return input.is_conj()


def is_neg(input: Tensor) -> bool:
    """False: negations are computed at once."""
    return input.is_neg()


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input.resolve_conj()


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input.resolve_neg()
