"""Sizes of windows: stride, padding and the like, read from what users pass and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Pair = tuple[int, ...]  # (height, width)
Sizes = int | Sequence[int]


def integers(name: str, what: str, value: Any) -> tuple[int, ...]:
    """``value`` as a tuple of ints. Raises TypeError for anything that is not one or several."""
    several = value if isinstance(value, (tuple, list)) else (value,)
    for v in several:
        if isinstance(v, bool) or not hasattr(v, "__index__"):
            raise TypeError(
                f"{name}(): argument '{what}' must be int or tuple of ints, not {type(v).__name__}"
            )
    return tuple(int(v) for v in several)


def several(name: str, what: str, value: Any, n: int) -> tuple[int, ...]:
    """``value`` for n axes; one number stands for all. Raises RuntimeError for other lengths."""
    found = integers(name, what, value)
    if len(found) not in (1, n):
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of {n} values, but "
            f"got {what}={list(found)}"
        )
    return found if len(found) == n else found * n


def pair(name: str, what: str, value: Any) -> Pair:
    """``value`` for (height, width); see :func:`several`."""
    return several(name, what, value, 2)


def single(name: str, what: str, value: Any) -> int:
    """``value`` as one int, also from a list of one. Raises RuntimeError for others."""
    found = integers(name, what, value)
    if len(found) != 1:
        raise RuntimeError(
            f"{name}: expected {what} to be a single integer value or a list of 1 value, but got "
            f"{what}={list(found)}"
        )
    return found[0]


def check_floating(name: str, input: Tensor) -> None:
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


def as_images(name: str, input: Tensor, may_lack_channels: bool = False) -> Tensor:
    """(N, C, H, W) from the input of a 1-D or 2-D op, batched or not; (N, C, D, H, W) of 3-D."""
    if not hasattr(input, "array"):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    space = int(name[-2])
    shape = input.shape
    inner = shape[1:] if len(shape) == space + 2 else shape
    if len(shape) not in (space + 1, space + 2) or 0 in inner[may_lack_channels:]:
        raise RuntimeError(
            f"{name}: Expected {space + 1}D or {space + 2}D (batch mode) tensor with optional 0 "
            f"dim batch size for input, but got:{list(shape)}"
        )
    n = shape[0] if len(shape) == space + 2 else 1
    return input.reshape(n, inner[0], *(1,) * (2 - space), *inner[1:])


def like_input(y: Tensor, input: Tensor, name: str) -> Tensor:
    """A result of shape (N, C, P, Q) without the dims that :func:`as_images` put in."""
    space = int(name[-2])
    if space >= 2 and input.ndim == space + 2:
        return y
    batch = y.shape[:1] if input.ndim == space + 2 else ()
    return y.reshape(*batch, y.shape[1], *y.shape[y.ndim - space :])


def sizes_of(name: str, what: str, value: Any) -> Pair:
    """``value`` for each axis; (1 or 0 along the height that 1-D ops do not have comes later)."""
    space = int(name[-2])
    if space > 1:
        return several(name, what, value, space)
    only = single(name, what, value)
    return (only, only)


class Windows:
    """Checked geometry of regular windows over an image."""

    def __init__(
        self,
        name: str,
        image: Pair,
        channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: bool,
    ):
        flat = int(name[-2]) == 1
        kernel = sizes_of(name, "kernel_size", kernel_size)
        given = stride is not None and not (isinstance(stride, Sequence) and len(stride) == 0)
        step = sizes_of(name, "stride", stride) if given else kernel
        pad = sizes_of(name, "padding", padding)
        spread = sizes_of(name, "dilation", dilation)
        if min(kernel) <= 0:
            raise RuntimeError(f"{name}: kernel size should be greater than zero, got {kernel}")
        if min(step) <= 0:
            raise RuntimeError(f"{name}: stride should not be zero or negative, got {step}")
        if min(spread) <= 0:
            raise RuntimeError(f"{name}: dilation should be greater than zero, got {spread}")
        for k, p, d in zip(kernel, pad, spread, strict=True):
            if p < 0:
                raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {p}")
            if p > ((k - 1) * d + 1) // 2:
                raise RuntimeError(
                    f"{name}: pad should be at most half of effective kernel size, but got "
                    f"pad={p}, kernel_size={k} and dilation={d}"
                )
        if flat:
            kernel, step, pad, spread = (1, kernel[1]), (1, step[1]), (0, pad[1]), (1, spread[1])
        self.kernel, self.stride, self.padding, self.dilation = kernel, step, pad, spread
        self.size: Pair = tuple(
            output_length(image[i], kernel[i], step[i], pad[i], spread[i], ceil_mode)
            for i in range(len(kernel))
        )
        if min(self.size) < 1:
            shown = slice(1 if flat else 0, None)
            raise RuntimeError(
                f"{name}: Given input size: {(channels, *image[shown])}. Calculated output size: "
                f"{(channels, *self.size[shown])}. Output size is too small"
            )


def output_length(
    length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Windows along one axis; ``ceil_mode`` adds a last one if it starts before the right pad."""
    rest = length + 2 * padding - dilation * (kernel - 1) - 1
    n = (rest + (stride - 1 if ceil_mode else 0)) // stride + 1
    return n - 1 if ceil_mode and (n - 1) * stride >= length + padding else n


def adaptive_size(name: str, image: Pair, output_size: Any) -> Pair:
    """The output's size, for images of ``image``; None keeps the length of a side."""
    space = int(name[-2])
    sides = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * space
    if len(sides) != space:
        raise RuntimeError(f"{name}: output_size must be {space}, got {list(sides)}")
    if space == 1:
        sides = (1, *sides)
        if sides[1] is None:
            raise TypeError(f"{name}(): argument 'output_size' must be int, not NoneType")
    size = integers(
        name, "output_size", [image[i] if v is None else v for i, v in enumerate(sides)]
    )
    if min(size) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{list(size)}"
        )
    return size


def adaptive_windows(image: Pair, size: Pair) -> tuple[Pair, Pair, bool]:
    """(kernel, stride, adaptive): even splits are regular windows, others adaptive ones."""
    if 0 in size:
        return (1,) * len(size), (1,) * len(size), True
    if all(h % p == 0 for h, p in zip(image, size, strict=True)):
        even = tuple(h // p for h, p in zip(image, size, strict=True))
        return even, even, False
    kernel = tuple(
        max(-(-(p + 1) * h // n) - p * h // n for p in range(n))
        for h, n in zip(image, size, strict=True)
    )
    return kernel, (1,) * len(size), True
