"""Cross entropy of a linear layer's outputs without holding them all.

A language model's logits are (tokens, vocabulary), far more than all that they are made of. Here a
part of the rows is computed at a time, and again in backward (Hsu et al. 2024, arXiv:2410.10989,
section 3.2, compute the gradients in forward instead and hold them until backward).
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.function import Function
from tgrad.autograd.grad_mode import is_grad_enabled
from tgrad.dispatch import composite
from tgrad.ops.arrange import cat
from tgrad.ops.loss import (
    _check_classes,
    _check_range,
    _cross_entropy,
    cross_entropy,
    cross_entropy_backward,
)
from tgrad.ops.matmul import linear, matmul

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

__all__ = ["linear_cross_entropy"]

POLICIES = ("accurate", "balanced", "compact", "auto")
HALVES = (dtypes.float16, dtypes.bfloat16)


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How :func:`linear_cross_entropy` takes its rows in parts; None takes them all at once.

    ``batch_chunk_size``: rows at a time. ``chunking_method`` finds it: "aspect_ratio:N" so that the
    logits of a part take 1/N of the input's memory, rounded up to a power of 2; "auto" is
    "aspect_ratio" for half dtypes on the CPU, else "aspect_ratio:2".
    ``acc_policy``: "accurate" computes logits and all sums in ``acc_dtype``, "balanced" the sums of
    the weight's gradient only, "compact" nothing; "auto" is "accurate" for half dtypes on the CPU,
    else "compact". ``acc_dtype`` is float32 for half dtypes by default. ``allow_retain_graph`` is
    taken for PyTorch's sake: backward may always be repeated here, and differentiated.
    Raises: ValueError for values that are none of these.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.dtype | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, parts = str(self.chunking_method).partition(":")
            parts = parts if colon else "1"
            if name != "aspect_ratio" or not parts.isdigit() or int(parts) < 1:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        rows = self.batch_chunk_size
        if rows is not None and not (isinstance(rows, int) and rows > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {rows!r}")
        if self.acc_dtype is not None and self.acc_dtype.category != dtypes.FLOAT:
            raise ValueError(f"acc_dtype must be a floating dtype or None, got {self.acc_dtype!r}")

    def rows(self, input: Tensor, classes: int) -> int:
        """Rows at a time. Raises ValueError where the two ways of saying it disagree."""
        n, features = input.shape
        method = self.chunking_method
        if method == "auto":
            if self.batch_chunk_size is not None:
                method = None
            else:
                slow = input.device.type == "cpu" and input.dtype in HALVES
                method = "aspect_ratio" if slow else "aspect_ratio:2"
        if method is None:
            return max(1, min(self.batch_chunk_size or n, n))
        parts = int(method.partition(":")[2] or 1)
        share = -(-n // -(-classes // max(features, 1)))
        found = max(1, min((1 << max(share - 1, 0).bit_length()) // parts, n))
        if self.batch_chunk_size not in (None, found):
            raise ValueError(
                f"batch_chunk_size (={self.batch_chunk_size}) and chunking_method ('{method}') "
                f"give different chunk sizes ({self.batch_chunk_size} vs {found}); pass only one."
            )
        return found

    def sums(self, input: Tensor) -> tuple[dtypes.dtype, dtypes.dtype]:
        """The dtypes of the logits and of the weight's gradient while it is summed."""
        policy, half = self.acc_policy, input.dtype in HALVES
        if policy == "auto":
            policy = "accurate" if half and input.device.type == "cpu" else "compact"
        wide = self.acc_dtype or (dtypes.float32 if half else input.dtype)
        return (wide if policy == "accurate" else input.dtype,
                input.dtype if policy == "compact" else wide)  # fmt: skip


class Chunked(Function):
    """The loss of all rows, a part of them at a time: what is kept for backward is O(rows)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, target: Tensor, weight: Tensor | None,
        rows: int, ignore_index: int, reduction: str, kinds: tuple,
    ) -> Any:  # fmt: skip
        each = "none" if reduction == "none" else "sum"
        losses, lses, totals = [], [], []
        for start in range(0, x.shape[0], rows):
            part = slice(start, start + rows)
            logits = linear_part(x[part], w, b, kinds[0])
            scale = None if weight is None else weight.to(kinds[0])
            loss, lse, total = _cross_entropy(logits, target[part], scale, ignore_index, each)
            losses.append(loss)
            lses.append(lse)
            totals.append(total)
        ctx.rest = rows, ignore_index, reduction, kinds
        total = sum(totals[1:], totals[0])
        ctx.save_for_backward(x, w, b, target, weight, total, *lses)
        if reduction == "none":
            return cat(losses).to(x.dtype)
        loss = sum(losses[1:], losses[0])
        return (loss / total if reduction == "mean" else loss).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple:
        (g,) = grad_outputs
        x, w, b, target, weight, total, *lses = ctx.saved_tensors
        rows, ignore_index, reduction, kinds = ctx.rest
        each = "none" if reduction == "none" else "sum"
        scale = None if weight is None else weight.to(kinds[0])
        if reduction == "mean":
            g = g / total.to(g.dtype)
        g = g.to(kinds[0])
        dxs: list[Any] = []
        dw: Any = None
        db: Any = None
        needs_x, needs_w, needs_b = ctx.needs_input_grad[:3]
        for start, lse in zip(range(0, x.shape[0], rows), lses, strict=True):
            part = slice(start, start + rows)
            logits = linear_part(x[part], w, b, kinds[0])
            own = g[part] if reduction == "none" else g
            d = cross_entropy_backward(
                own, logits, target[part], scale, lse, total, ignore_index, each
            )
            if needs_x:
                dxs.append(matmul(d, w.to(d.dtype)).to(x.dtype))
            if needs_w:
                dw = added(dw, matmul(d.to(kinds[1]).mT, x[part].to(kinds[1])))
            if needs_b:
                db = added(db, d.to(kinds[1]).sum(0))
        dx = cat(dxs) if needs_x else None
        return (dx, None if dw is None else dw.to(w.dtype),
                None if db is None else db.to(w.dtype), *[None] * 6)  # fmt: skip


def linear_part(x: Tensor, w: Tensor, b: Tensor | None, kind: dtypes.dtype) -> Tensor:
    return linear(x.to(kind), w.to(kind), None if b is None else b.to(kind))


def added(total: Any, x: Tensor) -> Tensor:
    """``total`` + x, in place where nothing differentiates it."""
    if total is None:
        return x
    return total + x if is_grad_enabled() else total.add_(x)


def check(input: Tensor, w: Tensor, b: Tensor | None) -> None:
    """Raise RuntimeError for shapes that do not fit together."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if w.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {w.ndim}")
    if input.shape[-1] != w.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {w.shape[-1]}, respectively"
        )
    if b is not None and tuple(b.shape) != tuple(w.shape[:-1]):
        raise RuntimeError(
            f"expected linear_bias shape {tuple(w.shape[:-1])}, got {tuple(b.shape)}"
        )
    if w.ndim > 2 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(w.shape)} requires batched "
            f"input, (N, {input.shape[-1]}), got unbatched input with shape {tuple(input.shape)}"
        )


@composite(spaces=("nn.functional",))
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target), see :func:`cross_entropy`.

    With ``options`` the logits exist for a part of the rows at a time, forward and backward, and
    backward computes them again: 4 products instead of 3. That way is for class indices without
    smoothing; others are computed at once, with a warning.
    Shape: (N, D) or (D), linear_weight (C, D) or (C, d1, ..., D), target (N, d1, ...) or, as
        probabilities, (N, C, d1, ...).
    Raises: RuntimeError for shapes that do not fit together, or an
        ``ignore_index`` with probabilities.
    """
    check(input, linear_weight, linear_bias)
    classes, *more = linear_weight.shape[:-1]
    full = (*input.shape[:-1], classes, *more)
    if tuple(target.shape) == full and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignored = -100 if ignore_index is None else ignore_index
    fits = (not more and label_smoothing == 0.0 and target.dtype is dtypes.int64
            and reduction in ("mean", "sum", "none"))  # fmt: skip
    if options is not None and not fits:
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; rows are taken in parts for reduction in "
            "{'mean', 'sum', 'none'}, label_smoothing == 0, target.dtype == int64 and a "
            f"linear_weight of 2 dims. Got reduction={reduction!r}, label_smoothing="
            f"{label_smoothing}, target.dtype={target.dtype}, out_features={tuple(more)}.",
            stacklevel=2,
        )
    if options is None or not fits:
        w = linear_weight.reshape(math.prod((classes, *more)), -1) if more else linear_weight
        b = linear_bias.flatten() if linear_bias is not None and more else linear_bias
        logits = linear(input, w, b).reshape(full)
        return cross_entropy(
            logits, target, weight, None, ignored, None, reduction, label_smoothing
        )
    rows, marks = (input, target) if input.ndim == 2 else (input.unsqueeze(0), target.unsqueeze(0))
    shape = input.new_empty(1).expand(rows.shape[0], classes)  # the logits', without their memory
    if rows.shape[0] != (marks.shape[0] if marks.ndim else 1):
        raise ValueError(
            f"Expected input batch_size ({rows.shape[0]}) to match target batch_size "
            f"({marks.shape[0] if marks.ndim else 1})."
        )
    _check_classes("linear_cross_entropy", shape, marks, weight)
    _check_range(marks, classes, ignored)
    if not rows.shape[0]:
        return cross_entropy(linear(rows, linear_weight, linear_bias), marks, reduction=reduction)
    loss = Chunked.apply(
        rows, linear_weight, linear_bias, marks, weight, options.rows(rows, classes), ignored,
        reduction, options.sums(rows),
    )  # fmt: skip
    return loss.squeeze(0) if reduction == "none" and input.ndim == 1 else loss
