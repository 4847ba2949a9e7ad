"""Short ways of pointwise calls, which leave out the planning that simple calls do not need.

Small floating tensors of one shape and dtype on the CPU go to the bare ufuncs, larger ones too
where one pass of one thread is all that the op takes; calls on a GPU that have a plan are replayed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes, replay
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.variable import Variable
from tgrad.device import device
from tgrad.execute import finish_small, record
from tgrad.registry import wrap
from tgrad.runtime import memory
from tgrad.runtime.array import CudaArray
from tgrad.runtime.quiet import quiet

if TYPE_CHECKING:
    from tgrad.pointwise import Pointwise

FAST = 16384  # elements; below, one ufunc call without chunks or kept blocks is fastest
ONE_THREAD = 1 << 19  # elements; below, the cheapest way of one ufunc call is on this thread
NUMBERS = (int, float)  # exactly these take the short way
NOT_WITH_NUMBERS = ("maximum", "minimum")  # NumPy's SIMD code for these is for two arrays
FLAG = np.dtype(np.bool_)


def short_way(entry: Pointwise, general: Callable) -> Callable:
    """The op's function: ``general``, behind the short way that its arity has, if it may."""
    if not entry.params and dtypes.FLOAT in entry.accepts:
        make = {1: fast_unary, 2: fast_binary}.get(entry.arity, fast_many)
        return make(entry, general) if len(entry.results) == 1 else fast_many(entry, general)

    def call(*args: Any, **kwargs: Any) -> Any:
        return general(args, kwargs)

    return call


def fast_unary(entry: Pointwise, general: Callable) -> Callable:
    """For a small floating tensor on the CPU, or a planned call on a GPU."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs:
            x = args[0]
            if isinstance(x, Variable):
                a: Any = x.array
                if a.__class__ is np.ndarray and a.size <= FAST and a.dtype.char in "fd":
                    y = quiet.run(entry.small or load_small(entry), a)
                    return finish_fast(entry, args, x.tracked, y, x.device)
                if is_one_pass(entry, a):
                    y = quiet.run(entry.small, a, out=room(entry, a))
                    return finish_fast(entry, args, x.tracked, y, x.device)
                if a.__class__ is CudaArray:
                    t = replay.one(entry, args, x, a)
                    if t is not None:
                        return t
        return general(args, kwargs)

    return call


def fast_binary(entry: Pointwise, general: Callable) -> Callable:
    """The same for two small tensors of one shape and dtype, or one and a Python number.

    Planning, which such calls do not need, is half of the general way's time.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 2 and not kwargs:
            x, z = args
            if isinstance(x, Variable):
                a: Any = x.array
                small = a.__class__ is np.ndarray and a.size <= FAST and a.dtype.char in "fd"
                if small or is_one_pass(entry, a):
                    if isinstance(z, Variable):
                        b: Any = z.array
                        tracked = x.tracked or z.tracked
                        same = b.__class__ is np.ndarray and b.shape == a.shape
                        if not same or b.dtype is not a.dtype:
                            return general(args, kwargs)
                        if not small and not b.flags.c_contiguous:
                            return general(args, kwargs)
                    elif z.__class__ in NUMBERS and (small or entry.name not in NOT_WITH_NUMBERS):
                        b, tracked = a.dtype.type(z), x.tracked
                    else:
                        return general(args, kwargs)
                    if small:
                        y = quiet.run(entry.small or load_small(entry), a, b)
                    else:
                        y = quiet.run(entry.small, a, b, out=room(entry, a))
                    return finish_fast(entry, args, tracked, y, x.device)
                if a.__class__ is CudaArray:
                    t = replay.two(entry, args, x, a, z)
                    if t is not None:
                        return t
        return general(args, kwargs)

    return call


def fast_many(entry: Pointwise, general: Callable) -> Callable:
    """The same for any number of small tensors of one shape and dtype on the CPU."""
    arity = entry.arity

    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) != arity or kwargs or not isinstance(args[0], Variable):
            return general(args, kwargs)
        a = args[0].array
        if a.__class__ is not np.ndarray or a.size > FAST or a.dtype.char not in "fd":
            return general(args, kwargs)
        arrays, tracked = [], False
        for x in args:
            b: Any = x.array if isinstance(x, Variable) else None
            if b.__class__ is not np.ndarray or b.shape != a.shape or b.dtype is not a.dtype:
                return general(args, kwargs)
            arrays.append(b)
            tracked = tracked or x.tracked
        made = quiet.run(entry.small or load_small(entry), *arrays)
        ys = made if made.__class__ is tuple else (made,)
        where = args[0].device
        results = [wrap(y if y.__class__ is np.ndarray else np.asarray(y), where) for y in ys]
        if tracked and entry.rules and mode.enabled:
            record(entry, args, args, results)
        elif mode.inference:
            for t in results:
                t.inference = True
        return tuple(results) if len(results) > 1 else results[0]

    return call


def load_small(entry: Pointwise) -> Callable[..., np.ndarray]:
    """The op as one function of arrays, made at its first call: the bare ufunc where it is one."""
    make = importlib.import_module("tgrad.kernels.cpu.pointwise").small_function
    entry.small = made = make(entry)
    return made


def is_one_pass(entry: Pointwise, a: Any) -> bool:
    """Whether one call of a ufunc, on this thread, is the op on such arrays as ``a``."""
    return (
        a.__class__ is np.ndarray
        and a.size <= ONE_THREAD
        and a.dtype.char in "fd"
        and a.flags.c_contiguous
        and (entry.small or load_small(entry)).__class__ is np.ufunc
    )


def room(entry: Pointwise, a: np.ndarray) -> np.ndarray:
    """The output of the op on arrays like ``a``, in a kept block."""
    return memory.empty(a.shape, FLAG if entry.results[0] == "bool" else a.dtype)


def finish_fast(entry: Pointwise, args: tuple, tracked: bool, y: Any, where: device) -> Any:
    inputs = args if args[-1].__class__ not in NUMBERS else (args[0], None)
    return finish_small(entry, args, inputs, tracked, y, where)
