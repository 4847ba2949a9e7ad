"""Sums, products and truth values over one, several or all dims, and what reductions share."""

from __future__ import annotations

import builtins
import functools
import inspect
import itertools
import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import is_grad_enabled, set_grad_enabled
from tgrad.autograd.variable import Variable
from tgrad.dispatch import (
    OPS,
    Spec,
    check_out,
    composite,
    finish_small,
    gradient,
    op,
    store_out,
)
from tgrad.pointwise import pointwise, xp
from tgrad.runtime.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tgrad.autograd.recorded import InputSpec
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor

F = TypeVar("F", bound="Callable[..., Any]")

SHORT = 4096  # elements; sums of all of fewer go straight to NumPy, planning costs more


# ---- arguments -----------------------------------------------------------------------------------


def normalize_dims(name: str, ndim: int, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """``dim`` as sorted non-negative axes; None and () mean all.

    Raises: TypeError unless ints, IndexError out of range, RuntimeError for a dim given twice.
    """
    if dim is None:
        return tuple(range(ndim))
    if type(dim) is int:
        dims: Sequence[int] = (dim,)
    elif isinstance(dim, (tuple, list)):
        if not dim:
            return tuple(range(ndim))
        dims = dim
    else:
        raise TypeError(f"{name}(): argument 'dim' must be int or tuple of ints, not {_kind(dim)}")
    span = ndim or 1
    axes = []
    for d in dims:
        if type(d) is not int:
            raise TypeError(f"{name}(): argument 'dim' must be tuple of ints, but found {_kind(d)}")
        if not -span <= d < span:
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [{-span}, {span - 1}],"
                f" but got {d})"
            )
        axes.append(d % span)
    axes.sort()
    for a, b in itertools.pairwise(axes):
        if a == b:
            raise RuntimeError(f"{name}: dim {a} appears multiple times in the list of dims")
    return tuple(axes) if ndim else ()


def single_dim(name: str, ndim: int, dim: int) -> int:
    """One non-negative dim. Raises: TypeError unless an int, IndexError out of range."""
    if type(dim) is not int:
        raise TypeError(f"{name}(): argument 'dim' must be int, not {_kind(dim)}")
    return (*normalize_dims(name, ndim, dim), 0)[0]


def _kind(a: object) -> str:
    return type(a).__name__


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """``shape`` without ``axes``, or with them as size 1."""
    if keepdim:
        return tuple([1 if i in axes else n for i, n in enumerate(shape)])
    if len(axes) == len(shape):
        return ()
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements are reduced into one."""
    return math.prod([shape[i] for i in axes]) if shape else 1


def restore(
    g: Tensor, x_spec: Spec | InputSpec | Tensor, dim: tuple[int, ...], keepdim: bool
) -> Tensor:
    """``g`` with the reduced dims back in as size 1."""
    return g if keepdim else g.reshape(reduced(x_spec.shape, dim, True))


def check_not_empty(name: str, shape: tuple[int, ...], axes: tuple[int, ...], all: bool) -> None:
    """Raise where a reduction without identity would have nothing to reduce."""
    if all and 0 in shape:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    for i in axes:
        if shape and shape[i] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {i} to have non-zero size.")


def sum_dtype(input: Tensor, dtype: dtype | None) -> dtype:
    """``dtype`` where given; integers and bool become int64, all others stay."""
    if dtype is not None:
        return dtype
    own = input.dtype
    return dtypes.int64 if own.category < dtypes.FLOAT else own


def with_out(function: Callable[..., Any] | None = None, *, sets_dtype: bool = False) -> Any:
    """Give a composite ``out=``, and NumPy's names ``axis`` and ``keepdims`` as PyTorch does.

    ``sets_dtype``: the op has ``dtype=``, which ``out`` supplies where it is not given.
    """

    def wrap(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                if "axis" in kwargs:
                    kwargs["dim"] = kwargs.pop("axis")
                if "keepdims" in kwargs:
                    kwargs["keepdim"] = kwargs.pop("keepdims")
                if "out" in kwargs:
                    out = kwargs.pop("out")
                    if out is not None:
                        return into(function, out, sets_dtype, args, kwargs)
            try:
                return function(*args, **kwargs)
            except TypeError:
                _bind(function.__name__, signature, args, kwargs)
                raise

        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters = [*signature.parameters.values(), out]
        call.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
        return call  # pyright: ignore[reportReturnType]

    return wrap if function is None else wrap(function)


def _bind(name: str, signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]) -> None:
    """Raise TypeError naming the op where the arguments do not fit its signature."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as e:
        raise TypeError(f"{name}() {e}") from None


def into(
    function: Callable[..., Any], out: Any, sets_dtype: bool, args: tuple, kwargs: dict
) -> Any:
    """Store ``function(...)`` in ``out``, whose dtype must be the result's."""
    name = function.__name__
    outs = out if isinstance(out, (tuple, list)) else (out,)
    check_out(name, outs, [a for a in (*args, *kwargs.values()) if isinstance(a, Variable)])
    if sets_dtype and kwargs.get("dtype") is None:
        kwargs["dtype"] = outs[0].dtype
    with set_grad_enabled(False):
        result = function(*args, **kwargs)
    results = result if isinstance(result, tuple) else (result,)
    if len(outs) != len(results):
        raise TypeError(f"{name}(): expected out= of {len(results)} tensors, got {len(outs)}")
    for o, r in zip(outs, results, strict=True):
        flags = r.dtype is dtypes.bool_ and o.dtype is dtypes.uint8
        if o.dtype is not r.dtype and not flags:
            raise RuntimeError(
                f"{name}: Expected out tensor to have dtype {r.dtype.name}, but got "
                f"{o.dtype.name} instead"
            )
    store_out(name, outs, results)
    return type(result)(*outs) if hasattr(result, "_fields") else out


# ---- sums ----------------------------------------------------------------------------------------


@op(spaces=())
def _sum(x: Tensor, dim: tuple[int, ...], keepdim: bool, dtype: dtype) -> Spec:
    """Sum over the axes ``dim``, accumulated in float32 or wider; exact for integers."""
    return Spec(reduced(x.shape, dim, keepdim), dtype)


@gradient(_sum)
def _(g, x_spec, dim, keepdim):
    return restore(g, x_spec, dim, keepdim).expand(x_spec.shape)


@composite
@with_out(sets_dtype=True)
def sum(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Sum over ``dim``, or over everything.

    dtype: integers and bool sum to int64, all others keep theirs unless ``dtype`` is given.
    Half dtypes accumulate in float32.
    Raises: IndexError for a dim out of range, RuntimeError for one given twice.
    """
    if dim is None and dtype is None and keepdim is False and isinstance(input, Variable):
        a = input.array
        if a.__class__ is np.ndarray and a.size <= SHORT and a.dtype.char in "fd":
            y = quiet.run(np.add.reduce, a, None)
            args = (input, tuple(range(a.ndim)), False, input.dtype)
            return finish_small(_sum.op, args, (input,), input.tracked, y, input.device)
    axes = normalize_dims("sum", input.ndim, dim)
    return _sum(input, axes, check_flag("sum", keepdim), sum_dtype(input, dtype))


def check_flag(name: str, keepdim: bool) -> bool:
    if keepdim is not True and keepdim is not False:
        raise TypeError(f"{name}(): argument 'keepdim' must be bool, not {_kind(keepdim)}")
    return keepdim


@op(spaces=())
def _mean(x: Tensor, dim: tuple[int, ...], keepdim: bool, dtype: dtype) -> Spec:
    """Sum over the axes ``dim`` divided by their size, rounded once."""
    return Spec(reduced(x.shape, dim, keepdim), dtype)


@gradient(_mean)
def _(g, x_spec, dim, keepdim):
    n = builtins.max(count(x_spec.shape, dim), 1)
    return restore(g / n, x_spec, dim, keepdim).expand(x_spec.shape)


@composite
@with_out
def mean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """sum / n over ``dim``, or over everything; NaN where n = 0.

    Raises: RuntimeError for integers without a floating ``dtype``; dims as :func:`sum`.
    """
    result = dtype or input.dtype
    if result.category < dtypes.FLOAT:
        raise RuntimeError(
            "mean(): could not infer output dtype. "
            f"{'Input' if dtype is None else 'Optional'} dtype must be either a floating point or "
            f"complex dtype. Got: {result.name}"
        )
    return _mean(
        input, normalize_dims("mean", input.ndim, dim), check_flag("mean", keepdim), result
    )


@op(spaces=())
def _nansum(x: Tensor, dim: tuple[int, ...], keepdim: bool, dtype: dtype) -> Spec:
    """:func:`_sum` of the elements that are not NaN."""
    return Spec(reduced(x.shape, dim, keepdim), dtype)


@gradient(_nansum)
def _(g, x, dim, keepdim):
    return where_number(restore(g, x, dim, keepdim), x)


@pointwise(spaces=())
def where_number(g, x):
    """g where x is not NaN, else 0."""
    return xp.where(x == x, g, 0)


@gradient(where_number, "g")
def _(gg, x):
    return where_number(gg, x)


@composite
@with_out(sets_dtype=True)
def nansum(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Sum over ``dim`` with NaN counted as 0. dtype and Raises: as :func:`sum`."""
    if input.dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    axes = normalize_dims("nansum", input.ndim, dim)
    return _nansum(input, axes, check_flag("nansum", keepdim), sum_dtype(input, dtype))


@composite
@with_out
def nanmean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Mean over ``dim`` of the elements that are not NaN; NaN where there are none.

    Raises: RuntimeError for integer inputs; dims as :func:`sum`.
    """
    if input.dtype.category < dtypes.FLOAT:
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{input.dtype.name}"
        )
    axes = normalize_dims("nanmean", input.ndim, dim)
    numbers = _sum(where_number(1.0, input), axes, keepdim, dtype or input.dtype)
    return _nansum(input, axes, check_flag("nanmean", keepdim), dtype or input.dtype) / numbers


@op(spaces=())
def _count_nonzero(x: Tensor, dim: tuple[int, ...]) -> Spec:
    """How many elements over the axes ``dim`` are not 0; NaN is not."""
    return Spec(reduced(x.shape, dim, False), dtypes.int64)


@composite
def count_nonzero(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """How many elements are not 0, over ``dim`` or over everything. dtype: int64."""
    return _count_nonzero(input, normalize_dims("count_nonzero", input.ndim, dim))


# ---- products ------------------------------------------------------------------------------------


@op(spaces=())
def _prod(x: Tensor, dim: tuple[int, ...], keepdim: bool, dtype: dtype) -> Spec:
    """Product over the axes ``dim``, accumulated in float32 or wider; wraps for integers."""
    return Spec(reduced(x.shape, dim, keepdim), dtype)


@gradient(_prod)
def _(g, x, dim, keepdim):
    g = restore(g, x, dim, keepdim)
    if is_grad_enabled():
        return g * products_of_others(x, dim)  # pyright: ignore[reportOperatorIssue]
    rest = _prod(where_zero(x, 1.0, x), dim, True, x.dtype)
    zeros = _sum(where_zero(x, 1.0, 0.0), dim, True, x.dtype)
    return prod_backward(g, x, rest, zeros)


def products_of_others(x: Tensor, dim: tuple[int, ...]) -> Tensor:
    """For each element the product of all others over the axes ``dim``; no division, any order.

    Those before it by a scan from the left, those after it by one from the right.
    """
    scan, shift = OPS["_cumprod"].function, OPS["_shift"].function
    kept = [i for i in range(x.ndim) if i not in dim]
    order = (*kept, *dim)
    back = sorted(range(x.ndim), key=order.__getitem__)
    moved = x.permute(order)
    flat = moved.reshape(*[x.shape[i] for i in kept], count(x.shape, dim))
    last = len(kept)
    before = shift(scan(flat, last, False), last, 1, 1.0)
    after = shift(scan(flat, last, True), last, -1, 1.0)
    return (before * after).reshape(moved.shape).permute(back)


@pointwise(spaces=())
def where_zero(x, a, b):
    """a where x is 0, else b."""
    return xp.where(x == 0, a, b)


@pointwise
def prod_backward(g, x, rest, zeros):
    """g times the product of all others: ``rest`` leaves out zeros, counted in ``zeros``."""
    alone = xp.where(zeros == 1, xp.where(x == 0, g * rest, 0), 0)
    return xp.where(zeros == 0, g * rest / x, alone)


@composite
@with_out(sets_dtype=True)
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtype | None = None
) -> Tensor:
    """Product over ``dim``, or over everything. The gradient is exact where elements are 0.

    dtype: as :func:`sum`. Raises: IndexError for a dim out of range.
    """
    axes = tuple(range(input.ndim))
    if dim is not None:
        axes = (single_dim("prod", input.ndim, dim),)[: input.ndim]
    return _prod(input, axes, check_flag("prod", keepdim), sum_dtype(input, dtype))


# ---- truth ---------------------------------------------------------------------------------------


def _truth(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    kept = dtypes.uint8 if x.dtype is dtypes.uint8 else dtypes.bool_
    return Spec(reduced(x.shape, dim, keepdim), kept)


@op(spaces=())
def _any(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """Whether some element over the axes ``dim`` is not 0."""
    return _truth(x, dim, keepdim)


@op(spaces=())
def _all(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """Whether no element over the axes ``dim`` is 0."""
    return _truth(x, dim, keepdim)


def _truth_axes(name: str, ndim: int, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """As :func:`normalize_dims`, but () reduces nothing."""
    if isinstance(dim, (tuple, list)) and not dim:
        return ()
    return normalize_dims(name, ndim, dim)


@composite
@with_out
def any(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether some element over ``dim`` (or of all) is not 0; NaN is not. False for none.

    dtype: bool, uint8 for uint8. ``dim=()`` reduces nothing.
    """
    return _any(input, _truth_axes("any", input.ndim, dim), check_flag("any", keepdim))


@composite
@with_out
def all(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether no element over ``dim`` (or of all) is 0. True for none.

    dtype: bool, uint8 for uint8. ``dim=()`` reduces nothing.
    """
    return _all(input, _truth_axes("all", input.ndim, dim), check_flag("all", keepdim))
