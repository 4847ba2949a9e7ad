"""The autocast context, and the decorators for functions with a backward of their own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from tgrad.amp import state as settings
from tgrad.amp.state import eligible, get_autocast_dtype, is_autocast_enabled
from tgrad.dtypes import bfloat16, dtype, float16
from tgrad.ops import to_dtype
from tgrad.tensor import Tensor

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

is_autocast_available = settings.is_autocast_available


class autocast:
    """Runs matrix products and convolutions in ``dtype``, what needs range or digits in float32.

    A context manager and a decorator. The lists are PyTorch's, different for "cpu" and "cuda";
    ops in no list run in their inputs' dtypes, in-place ops and those with ``out=`` too. float32
    weights are cast once until the outermost block ends. Blocks nest; ``enabled=False`` switches
    off inside. The default dtype is bfloat16 on "cpu", float16 on "cuda".
    Source: Micikevicius et al. 2017, arXiv:1710.03740.
    Raises: ValueError unless ``device_type`` is a string, RuntimeError for an unknown one. A dtype
    that is not bfloat16 or float16 is warned of and switches autocast off.
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        cached = settings.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        self._cache_enabled = cached
        if enabled and self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. "
                f"Disabling autocast.\n{device_type.upper()} Autocast only supports dtypes of "
                "tgrad.bfloat16, tgrad.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple] = []

    def __enter__(self) -> autocast:
        kind = self.device
        self._before.append((
            is_autocast_enabled(kind),
            get_autocast_dtype(kind),
            settings.is_autocast_cache_enabled(),
        ))  # fmt: skip
        settings.set_autocast_enabled(kind, self._enabled)
        settings.set_autocast_dtype(kind, self.fast_dtype)
        settings.autocast_increment_nesting()
        settings.set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *exc: object) -> None:
        if settings.autocast_decrement_nesting() == 0:
            settings.clear_autocast_cache()
        enabled, fast, cached = self._before.pop()
        settings.set_autocast_enabled(self.device, enabled)
        settings.set_autocast_dtype(self.device, fast)
        settings.set_autocast_cache_enabled(cached)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you "
                "mean to use autocast as a context manager?"
            )

        @functools.wraps(func)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            # A block of its own: calls may nest, and come from several threads.
            with autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled):
                return func(*args, **kwargs)

        return decorated


def _cast(value: Any, device_type: str, to: dtype) -> Any:
    """Eligible tensors in nested containers, cast."""
    if isinstance(value, Tensor):
        return to_dtype(value, to) if eligible(value, device_type) else value
    if isinstance(value, Mapping):
        return {k: _cast(v, device_type, to) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(v, device_type, to) for v in value])
    return value


def custom_fwd(
    fwd: Callable[..., Any] | None = None,
    *,
    device_type: str,
    cast_inputs: dtype | None = None,
) -> Any:
    """Decorate ``forward`` of an ``autograd.Function`` for use under autocast.

    With ``cast_inputs`` its tensors come in that dtype and autocast is off inside; without, it runs
    under whatever autocast is on, and :func:`custom_bwd` under the same.
    Raises: ValueError unless ``device_type`` is a string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, device_type, cast_inputs),
                       **_cast(kwargs, device_type, cast_inputs))  # fmt: skip

    return decorated


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """Decorate ``backward`` of an ``autograd.Function``: autocast is as it was in its forward.

    Raises: ValueError unless ``device_type`` is a string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._dtype, ctx._fwd_used_autocast):
            return bwd(ctx, *args, **kwargs)

    return decorated
