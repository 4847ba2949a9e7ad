"""Gradients of convolutions as functions of their own, with the names of ``torch.nn.grad``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tgrad.ops.conv import (
    as_batch,
    axes,
    check_geometry,
    check_operands,
    convolution_backward_input,
    convolution_backward_weight,
)
from tgrad.ops.geometry import Sizes

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def geometry(name: str, stride: Sizes, padding: Sizes, dilation: Sizes) -> tuple:
    """The three for each axis."""
    found = (axes(name, "stride", stride, 1), axes(name, "padding", padding, 0),
             axes(name, "dilation", dilation, 1))  # fmt: skip
    check_geometry(name, *found)
    return found


def check_gradient(
    name: str, input: Tensor, weight: Tensor, grad_output: Tensor, geometry: tuple
) -> None:
    """Raise RuntimeError unless ``grad_output`` has the shape of the convolution's result."""
    space = int(name[-2])
    sides = zip(input.shape[-space:], weight.shape[2:], *(g[-space:] for g in geometry),
                strict=True)  # fmt: skip
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides]
    want = [*input.shape[: -space - 1], weight.shape[0], *size]
    if list(grad_output.shape) != want:
        raise RuntimeError(
            f"{name}: expected grad_output of shape {want}, got {list(grad_output.shape)}"
        )


def of_input(name: str) -> Callable[..., Tensor]:
    def gradient(
        input_size: Sequence[int],
        weight: Tensor,
        grad_output: Tensor,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        x = grad_output.new_empty(1).expand(tuple(input_size))
        check_operands(name, x, weight, None, groups, False)
        found = geometry(name, stride, padding, dilation)
        check_gradient(name, x, weight, grad_output, found)
        g, w = as_batch(name, grad_output, weight)
        size = as_batch(name, x, weight)[0].shape[2:]
        return convolution_backward_input(g, w, *found, groups, size).reshape(x.shape)

    gradient.__name__ = gradient.__qualname__ = f"{name}_input"
    gradient.__doc__ = f"""The gradient of :func:`{name}` by its input of ``input_size``.

    Raises: RuntimeError for shapes that do not fit together.
    """
    return gradient


def of_weight(name: str) -> Callable[..., Tensor]:
    def gradient(
        input: Tensor,
        weight_size: Sequence[int],
        grad_output: Tensor,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        w = grad_output.new_empty(1).expand(tuple(weight_size))
        check_operands(name, input, w, None, groups, False)
        found = geometry(name, stride, padding, dilation)
        check_gradient(name, input, w, grad_output, found)
        g, w4 = as_batch(name, grad_output, w)
        x, _ = as_batch(name, input, w)
        return convolution_backward_weight(g, x, *found, groups, w4.shape[2:]).reshape(w.shape)

    gradient.__name__ = gradient.__qualname__ = f"{name}_weight"
    gradient.__doc__ = f"""The gradient of :func:`{name}` by its weight of ``weight_size``.

    Raises: RuntimeError for shapes that do not fit together.
    """
    return gradient


conv1d_input, conv1d_weight = of_input("conv1d"), of_weight("conv1d")
conv2d_input, conv2d_weight = of_input("conv2d"), of_weight("conv2d")
conv3d_input, conv3d_weight = of_input("conv3d"), of_weight("conv3d")
