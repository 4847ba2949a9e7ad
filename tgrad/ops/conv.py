"""Convolutions: one kernel op and the two of its gradient; the public functions compose these.

The three hidden ops are closed under differentiation: each one's gradients are the other two, so
every order exists. ``conv_transpose2d`` is the gradient of a convolution with respect to its input.
Images and volumes go through the same ops; a pair is then a triple, (O, P, Q) for (P, Q), (D, H, W)
for (H, W), (T, R, S) for (R, S).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.geometry import Pair, Sizes, check_floating, several

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

PUBLIC = ("tgrad", "nn.functional")


# ---- the three ops -------------------------------------------------------------------------------


@op(spaces=())
def _convolution(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    size: Pair,
) -> Spec:
    """y[n,k,p,q] = b[k] + sum over c,r,s of x[n, c, p*stride - padding + r*dilation, .] w[k,c,r,s].

    ``padding`` is what lies above and to the left; x is zero wherever it is read outside, and
    ``size`` = (P, Q) says how far it is read. k sees the channels of its group only.

    Shape: x (N, C, H, W), w (K, C / groups, R, S), b (K) -> (N, K, P, Q)
    dtype: that of x; half dtypes are accumulated in float32
    """
    return Spec((x.shape[0], w.shape[0], *size), x.dtype)


@gradient(_convolution, "x")
def _(g, w, x_spec, stride, padding, dilation, groups):
    return convolution_backward_input(g, w, stride, padding, dilation, groups, x_spec.shape[2:])


@gradient(_convolution, "w")
def _(g, x, w_spec, stride, padding, dilation, groups):
    return convolution_backward_weight(g, x, stride, padding, dilation, groups, w_spec.shape[2:])


@gradient(_convolution, "b")
def _(g):
    return g.sum((0, *range(2, g.ndim)))


@op(spaces=())
def convolution_backward_input(
    g: Tensor, w: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int, size: Pair
) -> Spec:
    """dx[n,c,h,w] = sum over k,r,s of g[n,k,p,q] w[k,c,r,s], p*stride - padding + r*dilation = h.

    The transposed convolution of g, cut or zero-filled to ``size`` = (H, W).

    Shape: g (N, K, P, Q), w (K, C / groups, R, S) -> (N, C, H, W)
    dtype: that of g
    """
    return Spec((g.shape[0], w.shape[1] * groups, *size), g.dtype)


@gradient(convolution_backward_input, "g")
def _(gg, g_spec, w, stride, padding, dilation, groups):
    return _convolution(gg, w, None, stride, padding, dilation, groups, g_spec.shape[2:])


@gradient(convolution_backward_input, "w")
def _(gg, g, w_spec, stride, padding, dilation, groups):
    return convolution_backward_weight(g, gg, stride, padding, dilation, groups, w_spec.shape[2:])


@op(spaces=())
def convolution_backward_weight(
    g: Tensor, x: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int, size: Pair
) -> Spec:
    """dw[k,c,r,s] = sum over n,p,q of g[n,k,p,q] x[n, c, p*stride - padding + r*dilation, .].

    Shape: g (N, K, P, Q), x (N, C, H, W) -> (K, C / groups, R, S) with ``size`` = (R, S)
    dtype: that of g; float32 accumulation, in an order that does not change between runs
    """
    return Spec((g.shape[1], x.shape[1] // groups, *size), g.dtype)


@gradient(convolution_backward_weight, "g")
def _(gg, g_spec, x, stride, padding, dilation, groups):
    return _convolution(x, gg, None, stride, padding, dilation, groups, g_spec.shape[2:])


@gradient(convolution_backward_weight, "x")
def _(gg, g, x_spec, stride, padding, dilation, groups):
    return convolution_backward_input(g, gg, stride, padding, dilation, groups, x_spec.shape[2:])


# ---- checks --------------------------------------------------------------------------------------


def check_operands(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool
) -> None:
    """Types, ranks, channels and dtypes that fit together, in PyTorch's order of checking."""
    for what, a in (("input", input), ("weight", weight)):
        if not hasattr(a, "array"):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(a).__name__}")
    if bias is not None and not hasattr(bias, "array"):
        raise TypeError(f"{name}(): argument 'bias' must be Tensor, not {type(bias).__name__}")
    space = int(name[-2])
    if input.ndim not in (space + 1, space + 2):
        raise RuntimeError(
            f"Expected {space + 1}D (unbatched) or {space + 2}D (batched) input to {name}, but got "
            f"input of size: {list(input.shape)}"
        )
    if weight.ndim != space + 2:
        raise RuntimeError(
            f"{name}: expected {space + 2}-dimensional weight, but got {weight.ndim}-dimensional "
            f"weight of size {list(weight.shape)}"
        )
    if not isinstance(groups, int) or isinstance(groups, bool):
        raise TypeError(f"{name}(): argument 'groups' must be int, not {type(groups).__name__}")
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
    check_channels(name, input, weight, bias, groups, transposed)
    check_floating(name, input)
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Input type ({input.dtype.name}) and weight type ({weight.dtype.name}) should "
            "be the same"
        )
    if bias is not None and bias.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Input type ({input.dtype.name}) and bias type ({bias.dtype.name}) should be "
            "the same"
        )


def check_channels(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool
) -> None:
    """The weight serves all groups, the input has its channels, the bias its filters."""
    w = list(weight.shape)
    if w[0] < groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be at least {groups} at dimension "
            f"0, but got weight of size {w} instead"
        )
    if w[0] % groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be divisible by {groups} at "
            f"dimension 0, but got weight of size [{w}] instead"
        )
    channels = input.shape[1 - len(w)]
    expected, filters = (w[0], w[1] * groups) if transposed else (w[1] * groups, w[0])
    if channels != expected:
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"{name}: Given {given}, weight of size {w}, expected input{list(input.shape)} to have "
            f"{expected} channels, but got {channels} channels instead"
        )
    if bias is not None and bias.shape != (filters,):
        given = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"{name}: Given {given}weight of size {w}, expected bias to be 1-dimensional with "
            f"{filters} elements, but got bias of size {list(bias.shape)} instead"
        )


def check_geometry(name: str, stride: Pair, padding: Pair, dilation: Pair) -> None:
    if min(padding) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported, got {padding}")
    if min(stride) <= 0:
        raise RuntimeError(f"{name}: non-positive stride is not supported, got {stride}")
    if min(dilation) <= 0:
        raise RuntimeError(f"{name}: non-positive dilation is not supported, got {dilation}")


def named_padding(name: str, padding: str, extent: Pair, stride: Pair) -> tuple[Pair, Pair]:
    """Padding before and after for "valid" and "same"; an odd one more goes after."""
    if padding == "valid":
        return (0,) * len(extent), (0,) * len(extent)
    if padding != "same":
        raise RuntimeError(f"{name}: Invalid padding string: '{padding}'")
    if max(stride) > 1:
        raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
    before = tuple((e - 1) // 2 for e in extent)
    return before, tuple(e - 1 - p for e, p in zip(extent, before, strict=True))


def output_size(name: str, image: Pair, kernel: Pair, padded: Pair, extent: Pair, stride: Pair):
    """(P, Q) for an input that is ``padded`` and a dilated kernel that covers ``extent``."""
    space = slice(len(image) - int(name[-2]), None)
    if min(p - e for p, e in zip(padded, extent, strict=True)) < 0 or min(kernel) < 1:
        shown = " x ".join(str(n) for n in padded[space])
        raise RuntimeError(
            f"{name}: Calculated padded input size per channel: ({shown}). Kernel size: "
            f"({' x '.join(str(n) for n in kernel[space])}). Kernel size can't be greater than "
            "actual input size"
        )
    if min(image) == 0:
        raise RuntimeError(
            f"{name}: Only zero batch or zero channel inputs are supported, but got input of "
            f"spatial size {list(image[space])}"
        )
    return tuple((p - e) // s + 1 for p, e, s in zip(padded, extent, stride, strict=True))


def axes(name: str, what: str, value: Any, absent: int) -> Pair:
    """``value`` for each axis, with ``absent`` for the height that signals do not have."""
    space = int(name[-2])
    found = several(name, what, value, space)
    return (absent, *found) if space == 1 else found


def as_batch(name: str, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both with every dim of the ops: a batch, and the height that signals do not have."""
    space = int(name[-2])
    flat = (1,) * (space == 1)
    if flat:
        weight = weight.reshape(*weight.shape[:2], 1, weight.shape[2])
    if flat or input.ndim == space + 1:
        n = input.shape[0] if input.ndim == space + 2 else 1
        input = input.reshape(n, input.shape[-space - 1], *flat, *input.shape[-space:])
    return input, weight


def like_batch(name: str, y: Tensor, input: Tensor) -> Tensor:
    """y without the dims that :func:`as_batch` put in."""
    space = int(name[-2])
    if y.ndim == input.ndim:
        return y
    return y.reshape(*y.shape[space + 2 - input.ndim : 2], *y.shape[y.ndim - space :])


def convolve(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes,
    padding: Sizes | str, dilation: Sizes, groups: int,
) -> Tensor:  # fmt: skip
    """The convolution ``name``, with all that its arguments can say."""
    check_operands(name, input, weight, bias, groups, False)
    step, spread = axes(name, "stride", stride, 1), axes(name, "dilation", dilation, 1)
    before = after = (0,) * len(step)
    if not isinstance(padding, str):
        before = after = axes(name, "padding", padding, 0)
    check_geometry(name, step, before, spread)
    x, w = as_batch(name, input, weight)
    kernel, image = w.shape[2:], x.shape[2:]
    extent = tuple(d * (k - 1) + 1 for d, k in zip(spread, kernel, strict=True))
    if isinstance(padding, str):
        before, after = named_padding(name, padding, extent, step)
    padded = tuple(map(sum, zip(image, before, after, strict=True)))
    size = output_size(name, image, kernel, padded, extent, step)
    return like_batch(name, _convolution(x, w, bias, step, before, spread, groups, size), input)


def transpose_convolve(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes,
    output_padding: Sizes, groups: int, dilation: Sizes,
) -> Tensor:  # fmt: skip
    """The transposed convolution ``name``."""
    check_operands(name, input, weight, bias, groups, True)
    step, spread = axes(name, "stride", stride, 1), axes(name, "dilation", dilation, 1)
    pad, more = axes(name, "padding", padding, 0), axes(name, "output_padding", output_padding, 0)
    check_geometry(name, step, pad, spread)
    if min(more) < 0:
        raise RuntimeError(f"{name}: negative output_padding is not supported")
    if any(m >= max(s, d, 1) for m, s, d in zip(more, step, spread, strict=True)):
        raise RuntimeError(
            f"{name}: output padding must be smaller than either stride or dilation, but got "
            f"output_padding {more}, stride {step}, dilation {spread}"
        )
    x, w = as_batch(name, input, weight)
    size = tuple(
        (x.shape[2 + i] - 1) * step[i] - 2 * pad[i] + spread[i] * (w.shape[2 + i] - 1) + more[i] + 1
        for i in range(len(step))
    )
    if min(size) < 1 or math.prod(x.shape[1:]) == 0:
        raise RuntimeError(
            f"{name}: Given input size per channel: {list(x.shape[2:])}. Calculated output "
            f"size per channel: {list(size)}. Output size is too small"
        )
    y = convolution_backward_input(x, w, step, pad, spread, groups, size)
    if bias is not None:
        y = y + bias.reshape(-1, *(1,) * len(size))
    return like_batch(name, y, input)


# ---- public --------------------------------------------------------------------------------------


@composite(spaces=PUBLIC)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """2-D cross-correlation of each image with K filters, plus a bias per filter.

    y[n,k,p,q] = bias[k] + sum over c,r,s of x[n, c, p*stride - padding + r*dilation, .] w[k,c,r,s]
    with x zero outside. ``padding`` is an int, (height, width), "valid" (none) or "same" (as much
    as keeps the size, an odd one more below and to the right). With ``groups``, filters and
    channels are split alike and each filter sees its own group of channels only.

    Shape: (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K) -> (N, K, P, Q) or
        (K, P, Q), P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1
    dtype: that of the input, floating; half dtypes accumulate in float32
    Raises: RuntimeError for ranks, channels, groups, dtypes or sizes that do not fit together,
        NotImplementedError for integers.
    Source: on the CPU Winograd F(2x2, 3x3) (Lavin and Gray 2015, arXiv:1509.09308) or im2col
        (Chellapilla et al. 2006); on a GPU implicit GEMM (Chetlur et al. 2014, arXiv:1410.0759).
    """
    return convolve("conv2d", input, weight, bias, stride, padding, dilation, groups)


@composite(spaces=PUBLIC)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """1-D cross-correlation: :func:`conv2d` of images one pixel high.

    Shape: (N, C, L) or (C, L), weight (K, C / groups, S), bias (K) -> (N, K, Q) or (K, Q)
    dtype, Raises: as conv2d
    """
    return convolve("conv1d", input, weight, bias, stride, padding, dilation, groups)


@composite(spaces=PUBLIC)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """3-D cross-correlation: :func:`conv2d` with a depth.

    Shape: (N, C, D, H, W) or (C, D, H, W), weight (K, C / groups, T, R, S), bias (K) -> (N, K, O,
        P, Q) or (K, O, P, Q)
    dtype, Raises: as conv2d
    """
    return convolve("conv3d", input, weight, bias, stride, padding, dilation, groups)


@composite(spaces=PUBLIC)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of :func:`conv2d` with respect to its input, as an op of its own.

    Each input pixel adds its multiple of the filter to the output, ``stride`` apart (Zeiler et
    al. 2010). ``output_padding`` chooses among the sizes that a strided convolution maps here.

    Shape: (N, C, H, W) or (C, H, W), weight (C, K / groups, R, S), bias (K) -> (N, K, P, Q), P =
        (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1
    dtype: that of the input, floating
    Raises: RuntimeError for ranks, channels, groups, dtypes or sizes that do not fit together.
    """
    return transpose_convolve(
        "conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@composite(spaces=PUBLIC)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of :func:`conv1d` with respect to its input, as an op of its own.

    Shape: (N, C, L) or (C, L), weight (C, K / groups, S), bias (K) -> (N, K, Q) or (K, Q)
    dtype, Raises: as conv_transpose2d
    """
    return transpose_convolve(
        "conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@composite(spaces=PUBLIC)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of :func:`conv3d` with respect to its input, as an op of its own.

    Shape: (N, C, D, H, W) or (C, D, H, W), weight (C, K / groups, T, R, S), bias (K) -> (N, K, O,
        P, Q) or (K, O, P, Q)
    dtype, Raises: as conv_transpose2d
    """
    return transpose_convolve(
        "conv_transpose3d", input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@composite(spaces=PUBLIC)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """:func:`conv1d` of a sequence whose time is the first dim and whose channels are the last.

    Shape: (T, B, C), weight (R, C, K), bias (K) -> (T + 2 pad - R + 1, B, K).
    Raises: RuntimeError for other ranks, and as :func:`conv1d`.
    """
    for what, x, rank in (("input", input, 3), ("weight", weight, 3), ("bias", bias, 1)):
        if x.ndim != rank:
            raise RuntimeError(f"conv_tbc: {what} must have {rank} dims, got {list(x.shape)}")
    y = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return y.permute(2, 0, 1)


__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution_backward_input",
    "convolution_backward_weight",
]  # fmt: skip
