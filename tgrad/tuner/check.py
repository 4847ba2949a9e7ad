"""Whether a config's results are right: against the op's NumPy kernel, run in float64."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tgrad import dtypes
from tgrad.dtypes import Scalar
from tgrad.tuner.calls import Array, Call

# Of a value and of the root mean square of all: products and sums of random numbers cancel.
BOUNDS = {"bfloat16": 4e-2, "float16": 6e-3, "float32": 1e-4, "float64": 1e-9}
TF32 = 6e-3  # bound of float32 products in TF32
WIDE = dtypes.float64


def reference(
    call: Call,
    inputs: Sequence[np.ndarray],
    ready: Callable[[str, Sequence[Any]], None] | None = None,
) -> list[np.ndarray]:
    """The outputs of the NumPy kernel for host arrays in the order of ``call.arrays``, of which
    ``ready`` fills some (``Space.ready``).
    """
    given = iter(inputs)
    args = [wide(a, given) for a in call.args]
    args[: call.outputs] = [zeros(y) for y in args[: call.outputs]]  # which it fills
    dense = call.written(args)
    with np.errstate(all="ignore"):
        if ready is not None:
            ready("cpu", args)
        call.kernel("cpu")(*args)
    return flat(dense)


def zeros(y: Any) -> Any:
    return [zeros(x) for x in y] if isinstance(y, (list, tuple)) else np.zeros(y.shape, y.dtype)


def flat(ys: Sequence[Any]) -> list[Any]:
    """Outputs in one list: those of a pointwise op come as a list of their own."""
    return [x for y in ys for x in (y if isinstance(y, list) else [y])]


def wide(a: Any, given: Iterator[np.ndarray]) -> Any:
    """An argument in float64 where it is floating."""
    if isinstance(a, Array):
        values = next(given)
        return values.astype(np.float64) if getattr(dtypes, a.dtype, None) in FLOATS else values
    if isinstance(a, Scalar):
        return Scalar(a.value, WIDE) if a.dtype.is_floating_point else a
    if isinstance(a, dtypes.dtype):
        return WIDE if a.is_floating_point else a
    return type(a)(wide(x, given) for x in a) if isinstance(a, (list, tuple)) else a


FLOATS = [d for d in dtypes.ALL if d.is_floating_point]


def disagreement(
    call: Call,
    got: Sequence[np.ndarray],
    want: Sequence[np.ndarray],
    private: Collection[int] = (),
) -> str:
    """How outputs, but for the ``private`` ones, differ from the reference; "" where they agree as
    well as their dtype allows.
    """
    arrays = flat(call.written(call.args))
    for i, (array, g, w) in enumerate(zip(arrays, got, want, strict=True)):
        if i in private:
            continue
        if g.dtype.kind in "biu":
            wrong = int((g != w).sum())
            if wrong:
                return f"{wrong} of {g.size} elements of output {i} differ"
            continue
        bound = bound_of(array.dtype, call.precision)
        found = g.astype(np.float64)
        inside = np.abs(w) <= float(ml_dtypes.finfo(g.dtype).max)  # elsewhere it must be infinite
        scale = np.abs(w) + np.sqrt(np.mean(np.square(w), where=inside & np.isfinite(w)) if
                                    (inside & np.isfinite(w)).any() else 0)  # fmt: skip
        with np.errstate(invalid="ignore"):
            right = (np.abs(found - w) <= bound * scale) | (np.isnan(found) & np.isnan(w))
        wrong = int((~right & (inside | np.isnan(w))).sum())
        if wrong:
            worst = float(np.nanmax(np.where(inside, np.abs(found - w) / np.maximum(scale, 1e-300),
                                             0)))  # fmt: skip
            return (
                f"{wrong} of {g.size} elements of output {i} differ, by up to {worst:.1e} where "
                f"{bound:.0e} is allowed"
            )
    return ""


def bound_of(dtype: str, precision: str) -> float:
    if dtype == "float32" and precision == "medium":
        return TF32
    return BOUNDS[dtype]
