"""Whether results must be the same bits at every run, and by which ways attention may go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.runtime import plan


class _Determinism:
    required = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Make ops whose fast way depends on the order in which a GPU's threads add take another.

    On CUDA those are the sums at repeated indices (``scatter_add``, ``index_add``, ``index_put``
    with ``accumulate``, the gradients of ``gather``, ``index_select``, indexing and embedding):
    floats are then sorted by place and added in order. The CPU's results always repeat. Every op
    has such a way, so that ``warn_only`` changes nothing.
    """
    if not isinstance(mode, bool):
        raise TypeError(
            f"use_deterministic_algorithms(): expected a bool, but got {type(mode).__name__}"
        )
    _Determinism.required = mode
    plan.forget()


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was last given; False at first."""
    return _Determinism.required


class _Attention:
    """Which of PyTorch's ways of attention are allowed. ``flash``, ``mem_efficient`` and ``cudnn``
    are three names of the one fused kernel; ``math`` is plain products."""

    flash = mem_efficient = cudnn = math = True
    half_sums = False

    @property
    def fused(self) -> bool:
        return self.flash or self.mem_efficient or self.cudnn

    @contextlib.contextmanager
    def only(self, **allowed: bool) -> Iterator[None]:
        """Inside, the ways have these values."""
        before = {name: getattr(self, name) for name in allowed}
        for name, value in allowed.items():
            setattr(self, name, bool(value))
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


attention = _Attention()
