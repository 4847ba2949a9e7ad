"""The bilinear form of two vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.dispatch import composite
from tgrad.ops.likelihood import check_tensors

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@composite(spaces=("tgrad", "nn.functional"))
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = input1^T weight_o input2 + bias_o: one product by the weights, one for each row.

    Shape: (..., I), (..., J), weight (O, I, J), bias (O) -> (..., O)
    Raises: RuntimeError for sizes that do not match and for several dtypes, IndexError for numbers.
    """
    check_tensors("bilinear", input1=input1, input2=input2, weight=weight)
    if not input1.ndim or not input2.ndim:
        raise IndexError("bilinear: Dimension specified as -1 but tensor has no dimensions")
    if input1.ndim != input2.ndim:
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}"
        )
    for k, (m, n) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
        if m != n:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {k}: got {m} and {n}"
            )
    if weight.ndim != 3 or input1.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"bilinear(): input1 size does not match weight size: got {input1.shape[-1]} but "
            f"weight has shape {list(weight.shape)}"
        )
    if input2.shape[-1] != weight.shape[2]:
        raise RuntimeError(
            f"bilinear(): input2 size does not match weight size: got {input2.shape[-1]} but "
            f"expected {weight.shape[2]}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {list(bias.shape)} but "
            f"expected [{weight.shape[0]}]"
        )
    if len({t.dtype for t in (input1, input2, weight)}) > 1:
        raise RuntimeError(
            f"bilinear: All tensors must have the same dtype, got input1: {input1.dtype.name}, "
            f"input2: {input2.dtype.name}, weight: {weight.dtype.name}"
        )
    outputs, first, second = weight.shape
    x = input1.reshape(-1, first) @ weight.transpose(0, 1).reshape(first, outputs * second)
    rows = x.reshape(-1, outputs, second)  # (N, O, J)
    y = (rows @ input2.reshape(-1, second, 1)).reshape(*input1.shape[:-1], outputs)
    return y if bias is None else y + bias


__all__ = ["bilinear"]
