"""Process-wide settings: determinism, warnings, by which ways attention may go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.runtime import plan

DEBUG_MODES = {"default": 0, "warn": 1, "error": 2}


class _Determinism:
    required = warn_only = False


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
    _Determinism.required, _Determinism.warn_only = mode, bool(warn_only)
    plan.forget()


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was last given; False at first."""
    return _Determinism.required


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The ``warn_only`` that :func:`use_deterministic_algorithms` was last given."""
    return _Determinism.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """:func:`use_deterministic_algorithms` by another name: "default" or 0 is off, "warn" or 1 and
    "error" or 2 are on, which are alike here since every op has a deterministic way.

    Raises: TypeError unless it is an int or a str, RuntimeError for another one.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (*DEBUG_MODES, *DEBUG_MODES.values()):
        raise RuntimeError(
            "invalid value of debug_mode, expected one of `default`, `warn`, `error`, 0, 1 or 2, "
            f"but got {debug_mode}"
        )
    level = DEBUG_MODES[debug_mode] if isinstance(debug_mode, str) else debug_mode
    use_deterministic_algorithms(level > 0, warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: see :func:`set_deterministic_debug_mode`."""
    return 0 if not _Determinism.required else 1 if _Determinism.warn_only else 2


class _Warnings:
    always = False


def set_warn_always(b: bool) -> None:
    """Whether warnings that are otherwise given once, those of ops that run on the host for want of
    a CUDA kernel, are given at every call. Raises RuntimeError unless it is a bool."""
    if not isinstance(b, bool):
        raise RuntimeError(f"set_warn_always expects a bool, but got {type(b).__name__}")
    _Warnings.always = b


def is_warn_always_enabled() -> bool:
    """What :func:`set_warn_always` was last given; False at first."""
    return _Warnings.always


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
