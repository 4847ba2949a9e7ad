"""How tensors go from process to process: as memory that both share, not as bytes."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.device import CPU
from tgrad.dispatch import wrap
from tgrad.nn.parameter import Buffer, Parameter
from tgrad.runtime import shared
from tgrad.tensor import Tensor

BY_NAME = {d.name: d for d in dtypes.ALL}


def reduce_tensor(t: Tensor) -> tuple:
    """What a tensor's message is: the shared memory, and how it lies there.

    A tensor whose memory nothing else uses is moved into shared memory first, so that both
    processes see what either writes; where other tensors lie over it, a copy is sent.
    A GPU's tensor is copied through the host.
    Raises: RuntimeError for a computed tensor that requires grad.
    """
    if t.requires_grad and not t.is_leaf:
        raise RuntimeError(
            "a computed tensor that requires grad cannot be sent to another process: its graph "
            "stays here. If you just want to transfer the data, call detach() first."
        )
    if t.device is not CPU or not t.numel():
        return t.__reduce_ex__(2)
    if not t.is_shared() and t.base is None and shared.is_alone(t):
        shared.move([t])
    a = t.host() if t.is_shared() else shared.copies([t.host()])[0]
    space = shared.pages_of(a)
    assert space is not None
    kind = type(t)
    options = {"persistent": t.persistent} if isinstance(t, Buffer) else {}
    return rebuild_tensor, (
        kind, space, shared.place_of(a, space), a.shape, a.strides, t.dtype.name, t.requires_grad,
        options,
    )  # fmt: skip


def rebuild_tensor(
    kind: type[Tensor], space: shared.Pages, start: int, shape: tuple[int, ...],
    strides: tuple[int, ...], name: str, requires_grad: bool, options: dict[str, Any],
) -> Tensor:  # fmt: skip
    """The tensor of a message."""
    a = np.ndarray(shape, BY_NAME[name].numpy, space, start, strides)  # pyright: ignore[reportArgumentType]
    t = wrap(a, CPU)
    if kind is Parameter:
        return Parameter(t, requires_grad)
    if kind is Buffer:
        return Buffer(t, **options)
    return t.requires_grad_(True) if requires_grad else t


def init_reductions() -> None:
    """Let the pickles of queues, pipes and new processes send tensors so."""
    for kind in (Tensor, Parameter, Buffer):
        ForkingPickler.register(kind, reduce_tensor)
