"""Making tensors from sizes: constants, sequences, the identity, and tensors like others.

Every function takes PyTorch's options by keyword: ``dtype``, ``device``, ``requires_grad``,
``out`` (the result is written there and it is returned), ``layout`` (``strided`` is the only one)
and ``pin_memory`` (the result is in page-locked host memory; RuntimeError without a GPU).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.variable import Variable
from tgrad.device import device, resolve
from tgrad.dispatch import OPS, check_out, store_out, wrap
from tgrad.dtypes import dtype, python_dtype
from tgrad.layout import axis_order, layout, preserve_format
from tgrad.ops.creation import Number, checked_number
from tgrad.runtime import cuda, memory
from tgrad.runtime.current import at
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    Sizes = int | Sequence[int] | Tensor


class Options(TypedDict, total=False):
    """The keyword arguments that all creation functions share."""

    out: Tensor | None
    dtype: dtype | type | None
    layout: object
    device: str | int | device | None
    pin_memory: bool | None
    requires_grad: bool
    memory_format: object


class SizeOptions(Options, total=False):
    """The same for functions whose sizes may be given by keyword."""

    size: Sequence[int]


class Target:
    """Options worked out: where and as what the tensor is made."""

    __slots__ = ("dtype", "out", "pinned", "requires_grad", "where")

    def __init__(
        self, name: str, options: Any, default: dtype | None = None, where: device | None = None
    ):
        out = options.get("out")
        given = options.get("dtype")
        for option in options:
            if option not in Options.__annotations__:
                raise TypeError(f"{name}() got an unexpected keyword argument '{option}'")
        if not isinstance(options.get("layout"), (layout, type(None))):
            kind = type(options["layout"]).__name__
            raise TypeError(f"{name}(): argument 'layout' must be tgrad.layout, not {kind}")
        if out is not None:
            check_out(name, (out,), ())
            if given is not None and python_dtype(name, given) is not out.dtype:
                raise RuntimeError(f"{name}: dtype {given} does not match that of out, {out.dtype}")
            self.dtype, self.where = out.dtype, out.device
        else:
            self.dtype = default or dtypes.get_default_dtype()
            if given is not None:
                self.dtype = python_dtype(name, given)
            place = options.get("device")
            self.where = where if place is None and where is not None else existing(place)
        self.requires_grad = options.get("requires_grad", False)
        self.pinned = options.get("pin_memory") and out is None
        self.out = out

    def new(self, shape: tuple[int, ...]) -> Tensor:
        """Uninitialised memory."""
        return new(shape, self.dtype, self.where)

    def finish(self, name: str, t: Tensor) -> Tensor:
        """``t`` itself, or ``out`` with its values; requiring grad where that was asked for."""
        if self.out is not None:
            store_out(name, (self.out,), (t,))
            t = self.out
        elif self.pinned:
            t = t.pin_memory()
        return t.requires_grad_(True) if self.requires_grad else t


def existing(place: object) -> device:
    """The device named ``place`` (None: the default). Raises RuntimeError if it is not there."""
    where = resolve(place)  # pyright: ignore[reportArgumentType]
    if where.index and where.type == "cuda" and where.index >= cuda.active().device_count():
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: {where} of {cuda.active().device_count()} "
            "device(s)"
        )
    return where


def new(shape: tuple[int, ...], dtype: dtype, where: device) -> Tensor:
    """An uninitialised tensor."""
    if where.type == "cpu":
        t = wrap(memory.empty(shape, dtype.numpy), where)
    else:
        with at(where):
            t = wrap(cuda.empty(shape, dtype.numpy), where)
    if mode.inference:
        t.inference = True
    return t


def write(op: str, t: Tensor, *params: Any) -> Tensor:
    """Fill fresh ``t`` with the kernel of ``op``; nothing is recorded."""
    kernel = OPS[op].kernel(t.device.type)
    assert kernel is not None
    if t.device.type == "cpu":
        kernel(t.array, t.array, *params)
    else:
        with at(t.device):
            kernel(t.array, t.array, *params)
    return t


def shape_of(name: str, size: tuple, options: Any) -> tuple[int, ...]:
    """``f(2, 3)``, ``f((2, 3))`` and ``f(size=(2, 3))`` alike.

    Raises: TypeError for sizes that are not ints, RuntimeError for negative ones.
    """
    if "size" in options:
        size = (options.pop("size"),)
    elif not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    shape = []
    for i, n in enumerate(size):
        if type(n) is not int:
            if isinstance(n, (bool, float, str)) or not hasattr(n, "__index__"):
                raise TypeError(
                    f"{name}(): argument 'size' (position {i + 1}) must be tuple of ints, not "
                    f"{type(n).__name__}"
                )
            n = n.__index__()
        if n < 0:
            raise RuntimeError(
                f"{name}: Trying to create tensor with negative dimension {n}: {list(size)}"
            )
        shape.append(n)
    return tuple(shape)


def ordered(t: Target, shape: tuple[int, ...], order: tuple[int, ...] | None) -> Tensor:
    """Uninitialised, with ``order``'s axes from the slowest to the fastest in memory."""
    if order is None:
        return t.new(shape)
    made = t.new(tuple(shape[i] for i in order))
    made.array = made.array.transpose(tuple(sorted(range(len(order)), key=order.__getitem__)))
    return made


# ---- constants -----------------------------------------------------------------------------------


def zeros(*size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Zeros. Raises RuntimeError for a negative size."""
    shape = shape_of("zeros", size, options)
    t = Target("zeros", options)
    return t.finish("zeros", write("_fill", t.new(shape), 0))


def ones(*size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Ones. Raises RuntimeError for a negative size."""
    shape = shape_of("ones", size, options)
    t = Target("ones", options)
    return t.finish("ones", write("_fill", t.new(shape), 1))


def empty(*size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Memory as it is found. Raises RuntimeError for a negative size."""
    shape = shape_of("empty", size, options)
    t = Target("empty", options)
    return t.finish(
        "empty", ordered(t, shape, axis_order(options.get("memory_format"), len(shape)))
    )


def full(size: Sequence[int], fill_value: Number | Tensor, **options: Unpack[Options]) -> Tensor:
    """Every element is ``fill_value``.

    dtype: int64, bool, complex or the default dtype as the value is, unless given.
    Raises: TypeError unless the value is a number, RuntimeError where the dtype cannot hold it.
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    shape = shape_of("full", (tuple(size),), {})
    if isinstance(fill_value, Variable) and fill_value.ndim == 0:
        fill_value = fill_value.item()
    if not isinstance(fill_value, (int, float, complex, np.generic)):
        raise TypeError(
            "full(): argument 'fill_value' (position 2) must be Number, not "
            f"{type(fill_value).__name__}"
        )
    t = Target("full", options, dtypes.scalar_dtype(fill_value))
    value = checked_number("full", fill_value, t.dtype)
    return t.finish("full", write("_fill", t.new(shape), value))


def scalar_tensor(s: Number, **options: Unpack[Options]) -> Tensor:
    """A 0-d tensor of the default dtype, whatever the number is."""
    return full((), s, **{"dtype": dtypes.get_default_dtype(), **options})


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Unpack[Options]) -> Tensor:
    """Uninitialised memory seen with the given strides, in elements.

    Raises: RuntimeError for negative strides, or another number of them than of sizes.
    """
    shape, steps = shape_of("empty_strided", (tuple(size),), {}), tuple(stride)
    if len(shape) != len(steps):
        raise RuntimeError(
            f"empty_strided: dimensionality of sizes ({len(shape)}) must match dimensionality of "
            f"strides ({len(steps)})"
        )
    if any(s < 0 for s in steps):
        raise RuntimeError(f"empty_strided: strides must not be negative, got {list(steps)}")
    t = Target("empty_strided", options)
    span = sum(s * (n - 1) for s, n in zip(steps, shape, strict=True)) + 1
    flat = t.new((span if math.prod(shape) else 0,))
    return t.finish("empty_strided", OPS["as_strided"].function(flat, shape, steps).detach())


# ---- sequences -----------------------------------------------------------------------------------


def arange(
    start: Number | Tensor = 0,
    end: Number | Tensor | None = None,
    step: Number | Tensor = 1,
    **options: Unpack[Options],
) -> Tensor:
    """start, start + step, ... below ``end``: ceil((end - start) / step) numbers.

    dtype: int64 if all arguments are integers, else the default dtype.
    Raises: RuntimeError for a step of 0, of the wrong sign, or an unbounded range.
    """
    if end is None:
        start, end = 0, start
    a, b, c = (_number("arange", v) for v in (start, end, step))
    whole = all(isinstance(v, int) for v in (a, b, c))
    t = Target("arange", options, dtypes.int64 if whole else None)
    if t.dtype is dtypes.bool_ or t.dtype.is_complex:
        raise NotImplementedError(f"\"arange\" not implemented for '{t.dtype.name}'")
    if not (math.isfinite(a) and math.isfinite(b)):
        raise RuntimeError(f"arange: unsupported range: {a} -> {b}")
    if t.dtype is dtypes.int64:
        a, b, c = int(a), int(b), int(c)
    if c == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (b - a) * (1 if c > 0 else -1) < 0:
        raise RuntimeError("arange: upper bound and lower bound inconsistent with step sign")
    exact = all(isinstance(v, int) for v in (a, b, c))
    n = int(-((a - b) // c)) if exact else math.ceil((b - a) / c)
    if t.dtype.category == dtypes.INT:
        a, c = int(a), int(c)
    return t.finish("arange", write("_arange", t.new((n,)), a, c))


def range_(
    start: float = 0, end: float | None = None, step: float = 1, **options: Unpack[Options]
) -> Tensor:
    """Like :func:`arange` with ``end`` included; the default dtype. Kept for old programs."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("range: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("range: upper bound and lower bound inconsistent with step sign")
    t = Target("range", options)
    n = math.floor((end - start) / step) + 1
    return t.finish("range", write("_arange", t.new((n,)), start, step))


def _number(name: str, value: object) -> int | float:
    """A real Python number from one or from a tensor with one element."""
    if isinstance(value, (Variable, np.generic)):
        value = value.item()
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name}(): expected a Number, got {type(value).__name__}")
    return int(value) if isinstance(value, bool) else value


def _end(name: str, which: str, value: object) -> Number:
    if isinstance(value, Variable) and value.ndim:
        raise RuntimeError(
            f"{name} only supports 0-dimensional start and end tensors, but got {which} with "
            f"{value.ndim} dimension(s)."
        )
    return value if isinstance(value, complex) else _number(name, value)


def _spaced(
    name: str, start: object, end: object, steps: object, base: float | None, options: Any
) -> Tensor:
    a, b = _end(name, "start", start), _end(name, "end", end)
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    n = steps.__index__()  # pyright: ignore[reportAttributeAccessIssue]
    if n < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {n}")
    wide = isinstance(a, complex) or isinstance(b, complex)
    default = dtypes.get_default_dtype()
    t = Target(name, options, default.to_complex() if wide else default)
    if t.dtype.category == dtypes.INT and not wide:
        a, b = int(a), int(b)  # pyright: ignore[reportArgumentType]
    return t.finish(name, write("_linspace", t.new((n,)), a, b, base))


def linspace(
    start: Number | Tensor, end: Number | Tensor, steps: int, **options: Unpack[Options]
) -> Tensor:
    """``steps`` evenly spaced numbers from ``start`` to ``end``, both included.

    Raises: RuntimeError for a negative count or tensors with dims.
    """
    return _spaced("linspace", start, end, steps, None, options)


def logspace(
    start: Number | Tensor,
    end: Number | Tensor,
    steps: int,
    base: float = 10.0,
    **options: Unpack[Options],
) -> Tensor:
    """``base`` to the power of ``steps`` evenly spaced exponents from ``start`` to ``end``.

    Raises: RuntimeError for a negative count or tensors with dims.
    """
    return _spaced("logspace", start, end, steps, float(base), options)


def eye(n: int, m: int | None = None, **options: Unpack[Options]) -> Tensor:
    """The (n, m) matrix with 1 on the diagonal; m is n unless given. Raises RuntimeError if < 0."""
    shape = []
    for which, count in (("n", n), ("m", n if m is None else m)):
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            raise TypeError(f"eye(): argument '{which}' must be int, not {type(count).__name__}")
        if count < 0:
            raise RuntimeError(f"eye: {which} must be greater or equal to 0, got {count}")
        shape.append(count.__index__())
    t = Target("eye", options)
    return t.finish("eye", write("_eye", t.new(tuple(shape))))


# ---- like another tensor -------------------------------------------------------------------------


def like(name: str, input: Tensor, options: Any) -> tuple[Target, Tensor]:
    """Uninitialised, like ``input`` in shape, dtype, device and order of axes unless told not."""
    if not isinstance(input, Variable):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    t = Target(name, options, input.dtype, input.device)
    format = options.get("memory_format")
    order = axis_order(format, input.ndim)
    if format is None or format is preserve_format:
        order = dense_order(input.array)
    return t, ordered(t, input.shape, order)


def dense_order(a: Any) -> tuple[int, ...] | None:
    """The order of a permuted array's axes in memory, None if row-major, gapped or overlapping."""
    order = sorted(range(a.ndim), key=lambda i: (-a.strides[i], a.shape[i]))
    step = a.itemsize
    for i in reversed(order):
        if a.shape[i] != 1 and a.strides[i] != step:
            return None
        step *= a.shape[i]
    return None if order == sorted(order) or a.size == 0 else tuple(order)


def zeros_like(input: Tensor, **options: Unpack[Options]) -> Tensor:
    """Zeros of the input's shape, dtype and device."""
    t, y = like("zeros_like", input, options)
    return t.finish("zeros_like", write("_fill", y, 0))


def ones_like(input: Tensor, **options: Unpack[Options]) -> Tensor:
    """Ones of the input's shape, dtype and device."""
    t, y = like("ones_like", input, options)
    return t.finish("ones_like", write("_fill", y, 1))


def empty_like(input: Tensor, **options: Unpack[Options]) -> Tensor:
    """Uninitialised memory of the input's shape, dtype and device."""
    t, y = like("empty_like", input, options)
    return t.finish("empty_like", y)


def full_like(input: Tensor, fill_value: Number | Tensor, **options: Unpack[Options]) -> Tensor:
    """``fill_value`` in the input's shape, dtype and device."""
    t, y = like("full_like", input, options)
    return t.finish(
        "full_like", write("_fill", y, checked_number("full_like", fill_value, t.dtype))
    )


def _of(self: Tensor, options: Any) -> Any:
    """Options completed by the dtype and device of ``self``."""
    place = options.get("device")
    return {
        **options,
        "dtype": options.get("dtype") or self.dtype,
        "device": self.device if place is None else place,
    }


def new_zeros(self: Tensor, *size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Zeros of this tensor's dtype and device."""
    return zeros(*size, **_of(self, options))


def new_ones(self: Tensor, *size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Ones of this tensor's dtype and device."""
    return ones(*size, **_of(self, options))


def new_empty(self: Tensor, *size: Sizes, **options: Unpack[SizeOptions]) -> Tensor:
    """Uninitialised memory of this tensor's dtype and device."""
    return empty(*size, **_of(self, options))


def new_full(
    self: Tensor, size: Sequence[int], fill_value: Number | Tensor, **options: Unpack[Options]
) -> Tensor:
    """``fill_value`` in this tensor's dtype and device."""
    return full(size, fill_value, **_of(self, options))


def new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], **options: Unpack[Options]
) -> Tensor:
    """:func:`empty_strided` in this tensor's dtype and device."""
    return empty_strided(size, stride, **_of(self, options))


for _method in (new_zeros, new_ones, new_empty, new_full, new_empty_strided):
    setattr(Tensor, _method.__name__, _method)

__all__ = ["arange", "empty", "empty_like", "empty_strided", "eye", "full", "full_like",
           "linspace", "logspace", "ones", "ones_like", "range_", "scalar_tensor", "zeros",
           "zeros_like"]  # fmt: skip
