"""Poolings made of other ops: power means, the way back from a maximum, and random windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.geometry import Sizes, as_images, check_floating, like_input, several
from tgrad.ops.index import check_bounds
from tgrad.ops.pool import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
from tgrad.ops.pool3d import avg_pool3d, max_pool3d
from tgrad.ops.shape import cat

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

SPACES = ("nn.functional",)
MAXIMA = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}
MEANS = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


# ---- power means ---------------------------------------------------------------------------------


def power_pool(
    name: str, input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:  # fmt: skip
    space = int(name[-2])
    number = math.prod(several(name, "kernel_size", kernel_size, space))
    if math.isinf(norm_type):
        sign = 1 if norm_type > 0 else -1
        y = MAXIMA[space](sign * input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        return sign * y  # pyright: ignore[reportReturnType]
    mean = MEANS[space](input**norm_type, kernel_size, stride, 0, ceil_mode)
    # the size by relu, whose gradient at 0 is 0 where that of the root is infinite
    return (mean.detach().sign() * mean.abs().relu() * number) ** (1.0 / norm_type)


@composite(spaces=SPACES)
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p over each window)^(1/p), p = ``norm_type``; infinity gives the largest size.

    Where the sum is 0 so is the gradient. A window that ``ceil_mode`` lets reach past the end
    counts as if it were whole.

    Shape: (N, C, L) or (C, L) -> as :func:`avg_pool1d`
    dtype: that of the input, floating
    Raises: as :func:`avg_pool1d`, ZeroDivisionError for a power of 0.
    """
    return power_pool("lp_pool1d", input, norm_type, kernel_size, stride, ceil_mode)


@composite(spaces=SPACES)
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p over each window)^(1/p). See :func:`lp_pool1d`.

    Shape: (N, C, H, W) or (C, H, W) -> as :func:`avg_pool2d`
    """
    return power_pool("lp_pool2d", input, norm_type, kernel_size, stride, ceil_mode)


@composite(spaces=SPACES)
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p over each box)^(1/p). See :func:`lp_pool1d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> as :func:`avg_pool3d`
    """
    return power_pool("lp_pool3d", input, norm_type, kernel_size, stride, ceil_mode)


# ---- back from a maximum -------------------------------------------------------------------------


def unpooled_size(
    name: str, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes,
    output_size: Sequence[int] | None,
) -> tuple[int, ...]:  # fmt: skip
    """The size that was pooled: ``output_size``, or the least that the pooling can have had."""
    space = int(name[-2])
    kernel = several(name, "kernel_size", kernel_size, space)
    step = kernel if stride is None else several(name, "stride", stride, space)
    pad = several(name, "padding", padding, space)
    if space == 3 and min(step) <= 0:
        raise RuntimeError(f"{name}: strides should be greater than zero, but got stride: {step}")
    image = input.shape[input.ndim - space :]
    size = tuple(
        (n - 1) * s + k - 2 * p for n, s, k, p in zip(image, step, kernel, pad, strict=True)
    )
    if output_size is not None:
        wanted = tuple(output_size)[2:] if len(output_size) == space + 2 else tuple(output_size)
        if len(wanted) != space:
            raise ValueError(
                f"{name}: output_size should be a sequence containing {space} or {space + 2} "
                f"elements, but it has a length of '{len(output_size)}'"
            )
        for d, (want, n, s) in enumerate(zip(wanted, size, step, strict=True)):
            if not n - s < want < n + s:
                raise ValueError(
                    f'{name}: invalid output_size "{wanted}" (dim {d} must be between {n - s} and '
                    f"{n + s})"
                )
        size = wanted
    for d, n in enumerate(size):
        if n < 0:
            raise ValueError(
                f"{name}: output_size must contain non-negative spatial dimensions, but got "
                f"output_size[{d}]={n}"
            )
    return size


def unpool(
    name: str, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None,
    padding: Sizes, output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    space = int(name[-2])
    if input.ndim not in (space + 1, space + 2):
        raise RuntimeError(
            f"{name}: Input should be a {space + 1}d or {space + 2}d Tensor, but got a tensor with "
            f"{input.ndim} dimensions."
        )
    size = unpooled_size(name, input, kernel_size, stride, padding, output_size)
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}: elements in indices should be type int64 but got: {indices.dtype.name}"
        )
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor "
            f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    if 0 in input.shape[input.ndim - space - 1 :]:
        raise RuntimeError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but got "
            f"{list(input.shape)}."
        )
    check_floating(name, input)
    lead, total = input.shape[: input.ndim - space], math.prod(size)
    places = indices.reshape(*lead, math.prod(input.shape[len(lead) :]))
    check_bounds(places, places.ndim - 1, total, RuntimeError)
    y = input.new_zeros((*lead, total)).scatter(-1, places, input.reshape(places.shape))
    return y.reshape(*lead, *size)


@composite(spaces=SPACES)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with each element where ``indices`` of :func:`max_pool1d` say that it was.

    ``output_size`` chooses among the sizes that the pooling maps here. Where an index is there
    twice, one of its elements is taken.

    Shape: (N, C, Q) or (C, Q) -> (N, C, L) or (C, L), L = (Q - 1) * stride + kernel_size -
        2 * padding unless given
    dtype: that of the input, floating; indices int64
    Raises: RuntimeError for ranks, shapes, dtypes or indices that do not fit, ValueError for a size
        that the pooling could not have had.
    """
    return unpool("max_unpool1d", input, indices, kernel_size, stride, padding, output_size)


@composite(spaces=SPACES)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with each element where ``indices`` of :func:`max_pool2d` say that it was.

    Shape: (N, C, P, Q) or (C, P, Q) -> (N, C, H, W) or (C, H, W). See :func:`max_unpool1d`.
    """
    return unpool("max_unpool2d", input, indices, kernel_size, stride, padding, output_size)


@composite(spaces=SPACES)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with each element where ``indices`` of :func:`max_pool3d` say that it was.

    Shape: (N, C, O, P, Q) or (C, O, P, Q) -> (N, C, D, H, W) or (C, D, H, W). See
    :func:`max_unpool1d`.
    """
    return unpool("max_unpool3d", input, indices, kernel_size, stride, padding, output_size)


# ---- windows at random places --------------------------------------------------------------------


def fractional_size(
    name: str, image: tuple[int, ...], output_size: Sizes | None, output_ratio: Any
) -> tuple[int, ...]:
    space = int(name[-2])
    if output_size is not None:
        return several(name, "output_size", output_size, space)
    if output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    several_ = isinstance(output_ratio, (tuple, list))
    ratios = tuple(output_ratio) if several_ else (output_ratio,) * space
    if len(ratios) != space:
        raise ValueError(f"{name} requires output_ratio to either be a single number or {space}")
    return tuple(int(n * r) for n, r in zip(image, ratios, strict=True))


def starts(sample: Tensor, length: int, size: int, kernel: int) -> Tensor:
    """Where the ``size`` windows along an axis begin: (N, C) -> (N, C, size), int64.

    The i-th at floor((i + u) a) - floor(u a) with a = (length - kernel) / (size - 1) and u the
    sample in [0, 1), the last at the end.
    """
    last = sample.new_full((*sample.shape, 1), length - kernel, dtype=dtypes.int64)
    if size <= 1:
        return last[..., :size]
    alpha, u = (length - kernel) / (size - 1), sample.unsqueeze(-1)
    steps = u.new_tensor(range(size - 1))
    begin = ((steps + u) * alpha).to(dtypes.int64) - (u * alpha).to(dtypes.int64)
    return cat([begin, last], -1)


def check_fractional(
    name: str, input: Tensor, kernel: tuple[int, ...], size: tuple[int, ...], samples: Any
) -> None:
    space = len(kernel)
    image = input.shape[input.ndim - space :]
    if min(size) < 0:
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension in {size}")
    for what, n, k, p in zip(
        ("time", "height", "width")[-space:], image, kernel, size, strict=True
    ):
        if p + k - 1 > n:
            raise RuntimeError(f"{name}: pool {what} {k} too large relative to input {what} {n}")
    if samples is None:
        return
    batch = input.shape[0] if input.ndim == space + 2 else 1
    wanted = (batch, input.shape[-space - 1], space)
    if samples.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}: Expect _random_samples to have the same dtype as input, {input.dtype.name}, "
            f"got {samples.dtype.name}"
        )
    fits = samples.ndim == 3 and samples.shape[0] >= batch and samples.shape[1:] == wanted[1:]
    if not fits:
        raise RuntimeError(
            f"{name}: Expect _random_samples of shape {wanted}; got {tuple(samples.shape)}"
        )


def fractional(
    name: str, input: Tensor, kernel_size: Sizes, output_size: Sizes | None, output_ratio: Any,
    return_indices: bool, samples: Tensor | None,
) -> Any:  # fmt: skip
    """The maximum over windows that begin at :func:`starts`, gathered by their flat indices."""
    space = int(name[-2])
    if input.ndim <= space:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-input.ndim}, "
            f"{input.ndim - 1}], but got {-space - 1})"
        )
    x = as_images(name, input)
    check_floating(name, input)
    image = x.shape[2:]
    size = fractional_size(name, image, output_size, output_ratio)
    kernel = several(name, "kernel_size", kernel_size, space)
    if min(kernel) < 1:
        raise RuntimeError(f"{name}: kernel size should be greater than zero, got {kernel}")
    check_fractional(name, input, kernel, size, samples)
    n, c = x.shape[:2]
    if samples is None:
        samples = x.new_empty((n, c, space)).uniform_()
    # the samples of an image are those of (width, height), of a volume of (depth, height, width)
    order = range(space) if space == 3 else reversed(range(space))
    u: Any = samples
    places: Any = 0
    for i, k in enumerate(order):
        begin = starts(u[:n, :, k].detach(), image[i], size[i], kernel[i])
        pixels = begin.unsqueeze(-1) + begin.new_tensor(range(kernel[i]))  # (N, C, P, R)
        shape = [1] * (2 * space)
        shape[i], shape[space + i] = size[i], kernel[i]
        places = places * image[i] + pixels.reshape(n, c, *shape)
    places = places.reshape(n, c, math.prod(size), math.prod(kernel))
    windows = x.reshape(n, c, -1).gather(2, places.reshape(n, c, -1)).reshape(places.shape)
    y, tap = windows.max(-1)
    result = like_input(y.reshape(n, c, *size), input, name)
    if not return_indices:
        return result
    index = places.gather(-1, tap.unsqueeze(-1)).reshape(n, c, *size)
    return result, like_input(index, input, name)


@composite(spaces=SPACES)
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of windows that begin at random places, about size / output apart.

    The output's size is ``output_size`` or the input's times ``output_ratio``. Each image and
    channel has its own places, drawn anew in each call unless ``_random_samples`` in [0, 1) of
    shape (N, C, 2) gives them.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C, P, Q) or (C, P, Q)
    dtype: that of the input, floating
    Raises: ValueError without a size or ratio, RuntimeError for windows that do not fit.
    Source: Graham 2014, arXiv:1412.6071.
    """
    return fractional(
        "fractional_max_pool2d", input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


@composite(spaces=SPACES)
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of boxes that begin at random places. See :func:`fractional_max_pool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> (N, C, O, P, Q) or (C, O, P, Q)
    """
    return fractional(
        "fractional_max_pool3d", input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


__all__ = ["fractional_max_pool2d", "fractional_max_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d",
           "max_unpool1d", "max_unpool2d", "max_unpool3d"]  # fmt: skip
