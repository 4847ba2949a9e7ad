"""What autocast is set to in this thread, and the layer that casts the listed ops' arguments.

The layer is around the ops (:mod:`tgrad.interception`) while autocast is on in some thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from tgrad import dtypes, interception
from tgrad.amp.policy import BANNED, FLOAT32, LEAVE, LOWER, POLICIES, PROMOTE
from tgrad.autograd.grad_mode import is_grad_enabled
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS
from tgrad.dtypes import bfloat16, dtype, float16, float32
from tgrad.registry import Op


class _State(threading.local):
    def __init__(self) -> None:
        self.enabled = {"cpu": False, "cuda": False}
        self.dtype = {"cpu": bfloat16, "cuda": float16}
        self.cache_enabled = True
        self.nesting = 0
        self.cache: dict[int, tuple[Any, Any]] = {}  # id of a weight -> it, and it cast
        self.inside = False  # in the body of a listed op: those that it calls are left alone


state = _State()


# ---- casting -------------------------------------------------------------------------------------


def eligible(x: Any, kind: str) -> bool:
    """Whether autocast of ``kind`` of device may cast x: floating, but not float64."""
    return (
        isinstance(x, Variable)
        and x.device.type == kind
        and x.dtype.is_floating_point
        and x.dtype is not dtypes.float64
    )


def cast(x: Any, to: dtype, kind: str) -> Any:
    """x in ``to`` where it is eligible; lists and tuples by element."""
    if isinstance(x, (list, tuple)):
        return type(x)([cast(v, to, kind) for v in x])
    if not eligible(x, kind) or x.dtype is to:
        return x
    weight = (
        state.cache_enabled
        and to is state.dtype[kind]
        and x.dtype is float32
        and x.tracked
        and x.node is None
        and x.base is None
        and is_grad_enabled()
    )
    if not weight:
        return OPS["to_dtype"].function(x, to)
    found = state.cache.get(id(x))
    if found is None or found[1].dtype is not to:
        found = state.cache[id(x)] = (x, OPS["to_dtype"].function(x, to))
    return found[1]


def widest(values: Any, kind: str) -> dtype | None:
    """The widest dtype of the eligible tensors; None for none."""
    found: dtype | None = None
    for x in values:
        if isinstance(x, (list, tuple)):
            own = widest(x, kind)
        else:
            own = x.dtype if eligible(x, kind) else None
        if own is not None:
            found = own if found is None else dtypes.promote_types(found, own)
    return found


def place(values: Any) -> str | None:
    """The kind of device of the first tensor."""
    for x in values:
        if isinstance(x, Variable):
            return x.device.type
        if isinstance(x, (list, tuple)):
            found = place(x)
            if found is not None:
                return found
    return None


def casting(entry: Op, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The layer around listed ops: ``call`` with the arguments cast as the op's policy says."""
    kind = None if state.inside else place([*args, *kwargs.values()])
    policy = POLICIES[kind].get(entry.name) if kind is not None and state.enabled[kind] else None
    if kind is None or policy is None or kwargs.get("out") is not None:
        return call(*args, **kwargs)
    if policy is BANNED:
        raise RuntimeError(
            f"{entry.name} is unsafe to autocast: its gradient overflows in float16. Use "
            "binary_cross_entropy_with_logits or BCEWithLogitsLoss, which take the values "
            "before the sigmoid, or call it under autocast(enabled=False) in float32."
        )
    to = state.dtype[kind] if policy is LOWER else float32
    if policy is PROMOTE:
        to = widest([*args, *kwargs.values()], kind)
    if policy is not LEAVE and to is not None and not has_dtype(policy, args, kwargs):
        args = tuple([cast(x, to, kind) for x in args])
        kwargs = {k: cast(x, to, kind) for k, x in kwargs.items()}
    state.inside = True
    try:
        return call(*args, **kwargs)
    finally:
        state.inside = False


def has_dtype(policy: str, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether the call itself says in which dtype to compute."""
    return policy is FLOAT32 and any(isinstance(x, dtype) for x in (*args, *kwargs.values()))


class _Users:
    """In how many threads and kinds of device autocast is on: with none, the layer is away."""

    lock = threading.Lock()
    count = 0

    @classmethod
    def add(cls, change: int) -> None:
        with cls.lock:
            before, cls.count = cls.count, cls.count + change
            if before == 0:
                listed = {name for policies in POLICIES.values() for name in policies}
                interception.put(casting, [OPS[name] for name in listed if name in OPS])
            elif cls.count == 0:
                interception.remove(casting)


# ---- the settings --------------------------------------------------------------------------------


def kind_of(device_type: str) -> str:
    """``device_type`` itself. Raises RuntimeError for a kind of device without autocast."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if device_type not in state.enabled:
        raise RuntimeError(f"unknown device type for autocast: '{device_type}'")
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows this kind of device: "cpu" and "cuda"."""
    return device_type in state.enabled


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on in this thread for a kind of device; for "cuda" where not given."""
    return state.enabled[kind_of("cuda" if device_type is None else device_type)]


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Turn autocast on or off in this thread for a kind of device."""
    enabled = bool(enabled)
    if state.enabled[kind_of(device_type)] != enabled:
        state.enabled[device_type] = enabled
        _Users.add(1 if enabled else -1)


def get_autocast_dtype(device_type: str) -> dtype:
    """The lower dtype: bfloat16 for "cpu" and float16 for "cuda" unless set."""
    return state.dtype[kind_of(device_type)]


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Set the lower dtype of this thread for a kind of device."""
    state.dtype[kind_of(device_type)] = dtype


def is_autocast_cache_enabled() -> bool:
    """Whether weights are cast once for the whole outermost autocast block."""
    return state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Cast weights once, or each time they are used."""
    state.cache_enabled = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the weights that were cast."""
    state.cache.clear()


def autocast_increment_nesting() -> int:
    """Enter an autocast block; how many are open now."""
    state.nesting += 1
    return state.nesting


def autocast_decrement_nesting() -> int:
    """Leave an autocast block; how many are open now."""
    state.nesting -= 1
    return state.nesting


is_autocast_cpu_enabled = functools.partial(is_autocast_enabled, "cpu")
get_autocast_cpu_dtype = functools.partial(get_autocast_dtype, "cpu")
get_autocast_gpu_dtype = functools.partial(get_autocast_dtype, "cuda")
set_autocast_cpu_enabled: Callable[[bool], None] = functools.partial(set_autocast_enabled, "cpu")
set_autocast_cpu_dtype: Callable[[dtype], None] = functools.partial(set_autocast_dtype, "cpu")
set_autocast_gpu_dtype: Callable[[dtype], None] = functools.partial(set_autocast_dtype, "cuda")

__all__ = ["autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
           "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
           "is_autocast_available", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
           "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_cpu_dtype",
           "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
           "set_autocast_gpu_dtype"]  # fmt: skip
