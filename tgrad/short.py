"""Short ways of pointwise calls, which leave out the planning that simple calls do not need.

Small floating tensors of one shape and dtype on the CPU go to the bare ufuncs; calls on a GPU that
have a plan are replayed.
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
from tgrad.runtime.array import CudaArray
from tgrad.runtime.quiet import quiet

if TYPE_CHECKING:
    from tgrad.pointwise import Pointwise

FAST = 16384  # elements; below, one ufunc call without chunks or kept blocks is fastest
NUMBERS = (int, float)  # exactly these take the short way


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
                a = x.array
                if a.__class__ is np.ndarray and a.size <= FAST and a.dtype.char in "fd":
                    y = quiet.run(entry.small or load_small(entry), a)
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
                a = x.array
                if a.__class__ is np.ndarray and a.size <= FAST and a.dtype.char in "fd":
                    if isinstance(z, Variable):
                        b = z.array
                        if b.__class__ is np.ndarray and b.shape == a.shape and b.dtype is a.dtype:
                            y = quiet.run(entry.small or load_small(entry), a, b)
                            return finish_fast(entry, args, x.tracked or z.tracked, y, x.device)
                    elif z.__class__ in NUMBERS:
                        y = quiet.run(entry.small or load_small(entry), a, a.dtype.type(z))
                        return finish_fast(entry, args, x.tracked, y, x.device)
                elif a.__class__ is CudaArray:
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


def finish_fast(entry: Pointwise, args: tuple, tracked: bool, y: Any, where: device) -> Any:
    inputs = args if args[-1].__class__ not in NUMBERS else (args[0], None)
    return finish_small(entry, args, inputs, tracked, y, where)
