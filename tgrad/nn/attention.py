"""``tgrad.nn.attention``: by which way ``scaled_dot_product_attention`` is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum

from tgrad.runtime.settings import attention

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(Enum):
    """PyTorch's ways of attention. FLASH, EFFICIENT and CUDNN are one fused kernel here, MATH is
    plain products with the weights in memory; OVERRIDEABLE is nothing."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return self.value


@contextlib.contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[dict]:
    """Inside, attention is computed in one of these ways, or raises RuntimeError.

    The fused kernel goes before plain products unless ``set_priority`` and MATH is named first.
    Raises: AssertionError unless it is a way or a list of them.
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    named = [backends] if isinstance(backends, SDPBackend) else backends
    if set_priority and named and named[0] is SDPBackend.MATH:
        named = [SDPBackend.MATH]
    with attention.only(
        flash=SDPBackend.FLASH_ATTENTION in named,
        mem_efficient=SDPBackend.EFFICIENT_ATTENTION in named,
        cudnn=SDPBackend.CUDNN_ATTENTION in named,
        math=SDPBackend.MATH in named,
    ):
        yield {}
