"""Normalisation within each sample: layer, RMS and group norm.

All norms are x_hat = (x - mean) / sqrt(var + eps) over some axes and differ in which; those over
the batch are in ``batch_norm``. Their second derivative, here, is one for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.pool import _avg_pool2d

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def statistics_dtype(x: Tensor) -> dtypes.dtype:
    return dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32


def check_floating(name: str, input: Tensor) -> None:
    if not isinstance(input, Variable):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    if input.dtype.category != dtypes.FLOAT:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


# ---- what all of them share ----------------------------------------------------------------------


def norm_double_backward(
    gg: Tensor | None, gg_w: Tensor | None, gg_b: Tensor | None, g: Tensor, x: Tensor,
    w: Tensor | None, axes: tuple[int, ...], eps: float, centered: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients of g, x and w (w's unsummed) from those of dx, dw and db of a norm over ``axes``.

    With r = 1 / sqrt(var + eps) and P(v) = v - mean(v) - x_hat mean(v x_hat), a norm's dx is
    r P(g w), dw is sum(g x_hat), db is sum(g). P is symmetric, and d(x_hat)/dx = r P. w and the
    gradients of dw and db broadcast against x. Composite, so that it can be differentiated again.
    """

    def mean(v: Tensor) -> Tensor:
        return v.mean(axes, keepdim=True)

    xc = x - mean(x) if centered else x
    r = (mean(xc * xc) + eps).rsqrt()
    x_hat = xc * r

    def project(v: Tensor) -> Tensor:
        v = v - x_hat * mean(v * x_hat)
        return v - mean(v) if centered else v  # mean(x_hat) = 0

    dg = dx = dw = None
    if gg is not None:
        gw = g if w is None else g * w
        p_gg, p_gw = project(gg), project(gw)
        dg = r * p_gg if w is None else r * p_gg * w
        dw = None if w is None else g * r * p_gg
        a, b, c = mean(gg * x_hat), mean(gw * x_hat), mean(gg * p_gw)
        dx = -(x_hat * c + p_gg * b + p_gw * a) * (r * r)
    if gg_w is not None:
        dg = gg_w * x_hat if dg is None else dg + gg_w * x_hat
        inner = r * project(gg_w * g)
        dx = inner if dx is None else dx + inner
    if gg_b is not None:
        dg = gg_b.expand(g.shape) if dg is None else dg + gg_b
    return dg, dx, dw


# ---- over the last dims --------------------------------------------------------------------------


@op(spaces=())
def _layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, dims: int, eps: float, centered: bool
) -> tuple[Spec, Spec, Spec]:
    """(y, mean, 1 / sqrt(var + eps)) over the last ``dims`` dims; the last two one number a row.

    Not ``centered``, mean is 0 and var the mean square.
    """
    rows, kept = x.shape[: x.ndim - dims], statistics_dtype(x)
    return Spec(x.shape, x.dtype), Spec(rows, kept), Spec(rows, kept)


@gradient(_layer_norm)
def _(g0, x, weight, y1, y2, dims, eps, centered, needs):
    dx, dw, db = layer_norm_backward(g0, x, weight, y1, y2, dims, eps, centered, needs)
    return [d if need else None for d, need in zip((dx, dw, db), needs, strict=True)]


@op
def layer_norm_backward(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, rstd: Tensor, dims: int, eps: float,
    centered: bool, wanted: tuple[bool, ...],
) -> tuple[Spec, Spec, Spec]:  # fmt: skip
    """(dx, dw, db) of a norm over the last dims; those not ``wanted`` are left empty.

    dx = rstd (g w - mean(g w) - x_hat mean(g w x_hat)), dw = sum(g x_hat), db = sum(g).
    """
    row = x.shape[x.ndim - dims :]
    shapes = (x.shape, row, row)
    dx, dw, db = (Spec(s if n else (0,), x.dtype) for s, n in zip(shapes, wanted, strict=True))
    if weight is not None:
        dw.dtype = db.dtype = weight.dtype
    return dx, dw, db


@gradient(layer_norm_backward)
def _(g0, g1, g2, g, x, weight, dims, eps, centered):
    axes = tuple(range(x.ndim - dims, x.ndim))
    dg, dx, dw = norm_double_backward(g0, g1, g2, g, x, weight, axes, eps, centered)
    return dg, dx, dw, None, None


def _normalized(
    name: str,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None = None,
) -> int:
    """How many dims are normalised. Raises RuntimeError unless they are the input's last ones."""
    check_floating(name, input)
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' must be tuple of ints, not "
            f"{type(normalized_shape).__name__}"
        )
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            "least one element, but got normalized_shape = []"
        )
    x, mixed = input.array, False
    for w in (weight, bias):
        if w is not None:
            a = w.array
            if a.shape != shape:
                which = "weight" if w is weight else "bias"
                raise RuntimeError(
                    f"{name}: Expected {which} to be of same shape as normalized_shape, but got "
                    f"{which} of shape {list(a.shape)} and normalized_shape = {list(shape)}"
                )
            mixed = mixed or a.dtype is not x.dtype
    if x.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    if mixed:
        check_affine_dtypes(name, input, (weight, bias))
    return len(shape)


def check_affine_dtypes(name: str, input: Tensor, affine: Iterable[Tensor | None]) -> None:
    """Weights have the input's dtype, or float32 beside half precision, all of them alike."""
    kinds = {w.dtype for w in affine if w is not None}
    half = input.dtype.itemsize < 4
    if kinds and kinds != {input.dtype} and not (half and kinds == {dtypes.float32}):
        found = " and ".join(sorted(k.name for k in kinds))
        also = " or float32" if half else ""
        raise RuntimeError(
            f"{name}: mixed dtype: expected parameters of dtype {input.dtype.name}{also} for an "
            f"input of {input.dtype.name}, but got {found}"
        )


@composite(spaces=("tgrad", "nn.functional"))
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias; mean and var over the last dims.

    Shape: (*, normalized_shape); weight and bias have normalized_shape. var is biased.
    dtype: the input's; half dtypes are computed in float32, and may have float32 weights.
    Raises: RuntimeError for shapes that do not agree or mixed dtypes.
    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """
    dims = _normalized("layer_norm", input, normalized_shape, weight, bias)
    return _layer_norm(input, weight, bias, dims, eps, True)[0]


@composite(spaces=("tgrad", "nn.functional"))
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """input / sqrt(mean(input^2) + eps) * weight; the mean over the last dims.

    ``eps`` defaults to the dtype's machine epsilon (float32's for half dtypes).
    Shape, dtype and Raises: as :func:`layer_norm`. Source: Zhang & Sennrich 2019, arXiv:1910.07467.
    """
    dims = _normalized("rms_norm", input, normalized_shape, weight)
    if eps is None:
        eps = float(dtypes.finfo(statistics_dtype(input)).eps)
    return _layer_norm(input, weight, None, dims, eps, False)[0]


@composite(spaces=("tgrad", "nn.functional"))
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over each sample's groups of channels.

    Shape: (N, C, *), num_groups divides C; weight and bias (C).
    Raises: RuntimeError for shapes that do not agree, ValueError where a group has one element.
    Source: Wu & He 2018, arXiv:1803.08494.
    """
    check_floating("group_norm", input)
    if input.ndim < 2:
        raise RuntimeError(
            f"group_norm: Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    n, c, *space = input.shape
    if num_groups < 0:
        raise RuntimeError(
            f"group_norm: Expected num groups to be greater than 0, got {num_groups}"
        )
    if c % num_groups:
        raise RuntimeError(
            "group_norm: Expected number of channels in input to be divisible by num_groups, but "
            f"got input of shape {list(input.shape)} and num_groups={num_groups}"
        )
    if n * c // num_groups * math.prod(space) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    for which, w in (("weight", weight), ("bias", bias)):
        if w is not None and w.shape != (c,):
            raise RuntimeError(
                f"group_norm: Expected {which} to be a vector of size equal to the number of "
                f"channels in input, but got {which} of shape {list(w.shape)} and input of shape "
                f"{list(input.shape)}"
            )
    check_affine_dtypes("group_norm", input, (weight, bias))
    rows = input.reshape(n, num_groups, c // num_groups, *space)
    y = _layer_norm(rows, None, None, rows.ndim - 2, eps, True)[0].reshape(input.shape)
    return per_channel(y, weight, bias)


@composite(spaces=("nn.functional",))
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """input / (k + alpha m)^beta, m the mean of the squares of ``size`` channels around each.

    Channels outside count as zeros; of an even ``size`` one more lies before than after.
    Shape: (N, C, L) or more dims -> the same
    Raises: ValueError for fewer dims, NotImplementedError for integers.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3.
    """
    if input.ndim < 3:
        raise ValueError(
            "local_response_norm: Expected 3D or higher dimensionality input (got "
            f"{input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    check_floating("local_response_norm", input)
    if size < 1:
        raise RuntimeError(f"local_response_norm: size should be greater than zero, got {size}")
    n, c, *space = input.shape
    rest = math.prod(space)
    images = (input * input).reshape(n, 1, c, rest)
    window = ((c, rest), (size, 1), (1, 1), (size // 2, 0))
    mean = _avg_pool2d(images, *window, True, None, False, input.dtype).reshape(input.shape)
    return input / (mean * alpha + k) ** beta


def per_channel(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y * weight + bias, in the dtype of y; weight and bias run along dim 1."""
    shape, dtype = (-1, *[1] * (y.ndim - 2)), y.dtype
    if weight is not None:
        y = y * weight.reshape(shape)
    if bias is not None:
        y = y + bias.reshape(shape)
    return y.to(dtype)
