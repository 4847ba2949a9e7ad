"""Gradients of a whole model taken out of a loss scale, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.autograd import no_grad
from tgrad.autograd.graph import rebase_history
from tgrad.dispatch import Op, copy_array, register
from tgrad.execute import check_devices, execute
from tgrad.runtime.array import is_contiguous

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def _unscale(grads: list[Tensor], found_inf: Tensor, inv_scale: Tensor) -> None:
    """g *= inv_scale for every g; found_inf = 1 where an element of any is not finite.

    ``grads`` share device and floating dtype; ``found_inf`` and ``inv_scale`` are 0-d float32 on
    the same device. The GPU is not waited for.
    """
    for t in (found_inf, inv_scale):
        if t.dtype.name != "float32" or t.array.size != 1:
            raise RuntimeError(
                f"_unscale: expected found_inf and inv_scale as one float32, got {t.dtype} "
                f"{list(t.shape)}"
            )
    for g in grads:
        if not g.dtype.is_floating_point or g.dtype is not grads[0].dtype:
            raise RuntimeError(f"_unscale: expected gradients of one floating dtype, got {g.dtype}")


_entry = Op(_unscale, "kernel", ())
register(_entry)


def unscale_(grads: list[Tensor], found_inf: Tensor, inv_scale: Tensor) -> None:
    """Run :func:`_unscale` in place."""
    args = (grads, found_inf, inv_scale)
    where = check_devices(_entry, _entry.inputs(args))
    _unscale(*args)
    with no_grad():
        dense = [g if is_contiguous(g.array) else g.contiguous() for g in grads]
        execute(_entry, where, [], (dense, found_inf, inv_scale))
        for g, d in zip(grads, dense, strict=True):
            if d is not g:
                copy_array(g, d.array)
            rebase_history(g, None)
        rebase_history(found_inf, None)


_entry.function = unscale_

__all__ = ["unscale_"]
