"""Pooling: the largest or the mean of each window of an image.

Two families of windows go through the same ops. Regular ones start ``stride`` apart; adaptive ones
split an axis of H into P as evenly as can be, window p from floor(p H / P) to ceil((p + 1) H / P).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.geometry import (
    Pair,
    Sizes,
    Windows,
    adaptive_size,
    adaptive_windows,
    as_images,
    check_floating,
    like_input,
)  # fmt: skip

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

PUBLIC = ("tgrad", "nn.functional")


# ---- maximum -------------------------------------------------------------------------------------


def code_dtype(kernel: Pair) -> dtypes.dtype:
    return dtypes.uint8 if kernel[0] * kernel[1] <= 256 else dtypes.int32


@op(spaces=())
def _max_pool2d(
    x: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    adaptive: bool,
    coded: bool,
) -> tuple[Spec, Spec]:
    """(y, code): the largest element of each window and where in the window it is.

    ``code`` = r * S + s of the winner, the first one in row-major order (a NaN wins over all, the
    last NaN over others): one byte where R * S <= 256, against eight for an index. It is left out
    (empty) unless ``coded``. Adaptive windows take ``kernel`` as their largest size.

    Shape: (N, C, H, W) -> (N, C, P, Q) twice, ``size`` = (P, Q)
    dtype: that of x, and uint8 or int32
    """
    shape = (*x.shape[:2], *size)
    return Spec(shape, x.dtype), Spec(shape if coded else (0,), code_dtype(kernel))


@gradient(_max_pool2d)
def _(g0, y1, x_spec, kernel, stride, padding, dilation, adaptive):
    image = x_spec.shape[2:]
    return max_pool2d_backward(g0, y1, image, kernel, stride, padding, dilation, adaptive)


@op
def max_pool2d_backward(
    g: Tensor,
    code: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    adaptive: bool,
) -> Spec:
    """dx[h,w] = sum of g over the windows that (h, w) won. A gather: no atomics, one order.

    Shape: g and code (N, C, P, Q) -> (N, C, H, W) with ``size`` = (H, W)
    dtype: that of g
    """
    return Spec((*g.shape[:2], *size), g.dtype)


@gradient(max_pool2d_backward, "g")
def _(gg, g_spec, code, kernel, stride, padding, dilation, adaptive):
    p_q = g_spec.shape[2:]
    return _max_pool2d_winners(gg, code, p_q, kernel, stride, padding, dilation, adaptive)


@op(spaces=())
def _max_pool2d_winners(
    x: Tensor,
    code: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    adaptive: bool,
) -> Spec:
    """y[p,q] = the element of x at the place that ``code`` names in window (p, q).

    Shape: x (N, C, H, W), code (N, C, P, Q) -> (N, C, P, Q)
    """
    return Spec(code.shape, x.dtype)


@gradient(_max_pool2d_winners, "x")
def _(g, code, x_spec, kernel, stride, padding, dilation, adaptive):
    image = x_spec.shape[2:]
    return max_pool2d_backward(g, code, image, kernel, stride, padding, dilation, adaptive)


@op(spaces=())
def _pool_indices(
    code: Tensor,
    image: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    adaptive: bool,
) -> Spec:
    """The flat index h * W + w of each winner in its (H, W) ``image``, as PyTorch returns it.

    Shape: (N, C, P, Q) -> the same
    dtype: int64
    """
    return Spec(code.shape, dtypes.int64)


# ---- mean ----------------------------------------------------------------------------------------


@op(spaces=())
def _avg_pool2d(
    x: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    include_pad: bool,
    divisor: int | None,
    adaptive: bool,
    dtype: dtypes.dtype,
) -> Spec:
    """y = the sum of each window over its number of elements, or over ``divisor``.

    ``include_pad`` counts the zeros of the padding, but not what ``ceil_mode`` adds beyond it.

    Shape: (N, C, H, W) -> (N, C, P, Q) with ``size`` = (P, Q)
    dtype: ``dtype``; half dtypes are summed in float32
    """
    return Spec((*x.shape[:2], *size), dtype)


@gradient(_avg_pool2d)
def _(g, x_spec, kernel, stride, padding, include_pad, divisor, adaptive):
    image = x_spec.shape[2:]
    return avg_pool2d_backward(
        g, image, kernel, stride, padding, include_pad, divisor, adaptive, x_spec.dtype
    )


@op
def avg_pool2d_backward(
    g: Tensor,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    include_pad: bool,
    divisor: int | None,
    adaptive: bool,
    dtype: dtypes.dtype,
) -> Spec:
    """dx[h,w] = sum over the windows that hold (h, w) of g over the window's divisor.

    Shape: (N, C, P, Q) -> (N, C, H, W) with ``size`` = (H, W)
    dtype: ``dtype``
    """
    return Spec((*g.shape[:2], *size), dtype)


@gradient(avg_pool2d_backward)
def _(gg, g_spec, kernel, stride, padding, include_pad, divisor, adaptive):
    return _avg_pool2d(
        gg, g_spec.shape[2:], kernel, stride, padding, include_pad, divisor, adaptive, g_spec.dtype
    )


# ---- public --------------------------------------------------------------------------------------


def check_ordered(name: str, input: Tensor) -> None:
    if input.dtype.is_complex or input.dtype is dtypes.bool_:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


def largest(name: str, input: Tensor, x: Tensor, return_indices: bool, *geometry: Any) -> Any:
    """Run the maximum over windows (size, kernel, stride, padding, dilation, adaptive)."""
    coded = return_indices or (mode.enabled and x.requires_grad)
    y, code = _max_pool2d(x, *geometry, coded)
    y = like_input(y, input, name)
    if not return_indices:
        return y
    indices = _pool_indices(code, x.shape[2:], *geometry[1:])
    return y, like_input(indices, input, name)


def max_pool(
    name: str, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    x = as_images(name, input)
    check_ordered(name, input)
    w = Windows(name, x.shape[2:], x.shape[1], kernel_size, stride, padding, dilation, ceil_mode)
    geometry = (w.size, w.kernel, w.stride, w.padding, w.dilation, False)
    return largest(name, input, x, return_indices, *geometry)


@composite(spaces=PUBLIC)
def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window; padding is never the largest.

    ``stride`` defaults to the window's size. With ``return_indices`` also the flat index into
    (H, W) of each winner (int64), the first where several are equal. NaN counts as largest.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C, P, Q) or (C, P, Q), P = (H + 2 * padding -
        dilation * (kernel_size - 1) - 1) // stride + 1, rounded up with ``ceil_mode`` unless the
        last window would start in the padding on the right
    dtype: that of the input, floating or integer
    Raises: RuntimeError for a wrong rank, a zero stride, padding over half the window or no output.
    """
    return max_pool(
        "max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@composite(spaces=PUBLIC)
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window along the last dim. See :func:`max_pool2d`.

    Shape: (N, C, L) or (C, L) -> (N, C, Q) or (C, Q)
    """
    return max_pool(
        "max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def avg_pool(
    name: str, input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Tensor:  # fmt: skip
    if hasattr(input, "array") and input.ndim < 2 and name == "avg_pool1d":
        raise RuntimeError(f"{name}: Expected 2 to 3 dimensions, but got {input.ndim}")
    if hasattr(input, "array") and input.ndim < 3 and name == "avg_pool2d":
        n = max(input.ndim, 1)
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got "
            "-3)"
        )
    x = as_images(name, input)
    check_floating(name, input)
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    w = Windows(name, x.shape[2:], x.shape[1], kernel_size, stride, padding, 1, ceil_mode)
    y = _avg_pool2d(
        x, w.size, w.kernel, w.stride, w.padding, bool(count_include_pad), divisor_override, False,
        x.dtype,
    )  # fmt: skip
    return like_input(y, input, name)


@composite(spaces=("nn.functional",))
def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    ``count_include_pad`` counts the padding's zeros; ``divisor_override`` replaces the count.

    Shape: (N, C, H, W) or (C, H, W) -> as :func:`max_pool2d` with dilation 1
    dtype: that of the input, floating; half dtypes are summed in float32
    Raises: RuntimeError for a wrong rank, a zero stride or divisor, padding over half the window
        or no output.
    """
    return avg_pool(
        "avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


@composite(spaces=PUBLIC)
def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along the last dim. See :func:`avg_pool2d`.

    Shape: (N, C, L) or (C, L) -> (N, C, Q) or (C, Q)
    """
    return avg_pool(
        "avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def adaptive_avg(name: str, input: Tensor, output_size: Any) -> Tensor:
    x = as_images(name, input, may_lack_channels=True)
    check_floating(name, input)
    size = adaptive_size(name, x.shape[2:], output_size)
    kernel, stride, adaptive = adaptive_windows(x.shape[2:], size)
    y = _avg_pool2d(x, size, kernel, stride, (0, 0), False, None, adaptive, x.dtype)
    return like_input(y, input, name)


def adaptive_max(name: str, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    x = as_images(name, input, may_lack_channels=True)
    check_floating(name, input)
    size = adaptive_size(name, x.shape[2:], output_size)
    kernel, stride, adaptive = adaptive_windows(x.shape[2:], size)
    geometry = (size, kernel, stride, (0, 0), (1, 1), adaptive)
    return largest(name, input, x, return_indices, *geometry)


@composite(spaces=("nn.functional",))
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of windows that split each image into ``output_size``; None keeps a side's length.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C, P, Q) or (C, P, Q)
    dtype: that of the input, floating
    Raises: RuntimeError for a wrong rank or a negative size.
    """
    return adaptive_avg("adaptive_avg_pool2d", input, output_size)


@composite(spaces=PUBLIC)
def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The mean of windows that split the last dim into ``output_size``.

    Shape: (N, C, L) or (C, L) -> (N, C, Q) or (C, Q)
    """
    return adaptive_avg("adaptive_avg_pool1d", input, output_size)


@composite(spaces=("nn.functional",))
def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of windows that split each image into ``output_size``; see max_pool2d.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C, P, Q) or (C, P, Q)
    """
    return adaptive_max("adaptive_max_pool2d", input, output_size, return_indices)


@composite(spaces=("nn.functional",))
def adaptive_max_pool1d(
    input: Tensor, output_size: Sizes, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of windows that split the last dim into ``output_size``.

    Shape: (N, C, L) or (C, L) -> (N, C, Q) or (C, Q)
    """
    return adaptive_max("adaptive_max_pool1d", input, output_size, return_indices)


__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d",
           "adaptive_max_pool2d", "avg_pool1d", "avg_pool2d", "avg_pool2d_backward", "max_pool1d",
           "max_pool2d", "max_pool2d_backward"]  # fmt: skip
