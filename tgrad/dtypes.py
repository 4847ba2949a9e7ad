"""Element types and PyTorch's promotion rules.

A :class:`dtype` is a named singleton around a NumPy dtype (``ml_dtypes`` supplies bfloat16). The
functions here know nothing of tensors: they are the whole of type arithmetic.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

# Categories in the order in which a higher one wins over a lower one.
BOOL, INT, FLOAT, COMPLEX = range(4)


class dtype:
    """One element type. Instances are singletons: compare with ``is`` or ``==``."""

    __slots__ = ("category", "is_signed", "itemsize", "name", "numpy")

    def __init__(self, name: str, numpy: object, category: int, is_signed: bool = True):
        self.name = name
        self.numpy: np.dtype = np.dtype(numpy)  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.category = category
        self.itemsize: int = self.numpy.itemsize
        self.is_signed = is_signed

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOAT

    @property
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    def to_real(self) -> dtype:
        """The dtype of the real part."""
        return {complex64: float32, complex128: float64}.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype whose parts hold this dtype."""
        return complex128 if self is float64 else self if self.is_complex else complex64

    def __repr__(self) -> str:
        return f"tgrad.{self.name}"

    def __reduce__(self) -> tuple:
        return _by_name, (self.name,)


bool_ = dtype("bool", np.bool_, BOOL, is_signed=False)
uint8 = dtype("uint8", np.uint8, INT, is_signed=False)
int8 = dtype("int8", np.int8, INT)
int16 = dtype("int16", np.int16, INT)
int32 = dtype("int32", np.int32, INT)
int64 = dtype("int64", np.int64, INT)
float16 = dtype("float16", np.float16, FLOAT)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOAT)
float32 = dtype("float32", np.float32, FLOAT)
float64 = dtype("float64", np.float64, FLOAT)
complex64 = dtype("complex64", np.complex64, COMPLEX)
complex128 = dtype("complex128", np.complex128, COMPLEX)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64,
       complex64, complex128)  # fmt: skip
# PyTorch's second names; tgrad/__init__.py publishes them.
ALIASES = {
    "bool": bool_, "short": int16, "int": int32, "long": int64, "half": float16,
    "float": float32, "double": float64, "cfloat": complex64, "cdouble": complex128,
}  # fmt: skip
FROM_NUMPY: dict[np.dtype, dtype] = {d.numpy: d for d in ALL}


def _by_name(name: str) -> dtype:
    return next(d for d in ALL if d.name == name)


def from_numpy_dtype(numpy: np.dtype) -> dtype:
    """The dtype of a NumPy array. Raises TypeError for types that tensors cannot hold."""
    try:
        return FROM_NUMPY[numpy]
    except KeyError:
        if numpy.byteorder in "<>" and (native := numpy.newbyteorder("=")) in FROM_NUMPY:
            return FROM_NUMPY[native]
        names = ", ".join(d.name for d in ALL)
        raise TypeError(
            f"can't convert np.ndarray of type {numpy}. The only supported types are: {names}."
        ) from None


_PYTHON = {bool: bool_, int: int64, float: float64, complex: complex128}


def python_dtype(name: str, given: object) -> dtype:
    """A dtype as it is, or what Python's ``bool``, ``int``, ``float``, ``complex`` mean as one.

    Raises: TypeError naming function ``name`` for anything else.
    """
    if isinstance(given, dtype):
        return given
    if isinstance(given, type) and given in _PYTHON:
        return _PYTHON[given]
    raise TypeError(f"{name}(): argument 'dtype' must be tgrad.dtype, not {type(given).__name__}")


class _Default(threading.local):
    dtype = float32


_default = _Default()


def get_default_dtype() -> dtype:
    """The floating dtype given to Python floats; float32 until changed."""
    return _default.dtype


def set_default_dtype(d: dtype) -> None:
    """Make ``d`` the dtype of Python floats. Raises TypeError unless it is floating."""
    if not (isinstance(d, dtype) and d.is_floating_point):
        raise TypeError(
            "only floating-point types are supported as the default type, "
            f"set_default_dtype got {d!r}"
        )
    # The class attribute too: threads that have not set one of their own follow.
    _Default.dtype = _default.dtype = d


@functools.cache
def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype in PyTorch's lattice that both promote to."""
    for d in (type1, type2):
        if not isinstance(d, dtype):
            raise TypeError(f"promote_types: expected tgrad.dtype, got {type(d).__name__}")
    if type1 is type2:
        return type1
    low, high = sorted((type1, type2), key=lambda d: d.category)
    if low.category < FLOAT and low.category < high.category:
        return high
    if high.category == COMPLEX:
        wide = complex128 in (low, high) or low is float64
        return complex128 if wide else complex64
    if high.category == FLOAT:
        if {low, high} == {float16, bfloat16}:
            return float32
        return max(low, high, key=lambda d: d.itemsize)
    # Integers: uint8 against a signed type needs room for both ranges.
    if low.is_signed == high.is_signed or low.itemsize != high.itemsize:
        return max(low, high, key=lambda d: d.itemsize)
    return int16


def scalar_dtype(value: object) -> dtype:
    """The dtype that a Python scalar has before promotion (bool, int, float or complex)."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default.dtype
    if isinstance(value, (complex, np.complexfloating)):
        return complex128 if _default.dtype is float64 else complex64
    raise TypeError(f"expected a Python number, got {type(value).__name__}")


def _combine(strong: dtype | None, weak: dtype | None) -> dtype | None:
    """Promotion where ``weak`` counts only if its category is higher."""
    if strong is None or weak is None:
        return strong or weak
    if strong.category == COMPLEX:
        return strong
    if strong.category == FLOAT:
        return strong.to_complex() if weak.category == COMPLEX else strong
    if strong is bool_ or weak.category >= FLOAT:
        return promote_types(strong, weak)
    return strong


@functools.cache
def combine(dims: tuple[dtype, ...], zeros: tuple[dtype, ...], scalars: tuple[dtype, ...]) -> dtype:
    """PyTorch's result type of tensors with dimensions, 0-d tensors and Python scalars.

    Within a group dtypes promote; a later group counts only by a higher category.
    """

    def promoted(group: tuple[dtype, ...]) -> dtype | None:
        return functools.reduce(promote_types, group) if group else None

    result = _combine(_combine(promoted(dims), promoted(zeros)), promoted(scalars))
    assert result is not None
    return result


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch stores a ``from_`` result in a ``to`` tensor without being asked to."""
    if from_.is_complex and not to.is_complex:
        return False
    if from_.category >= FLOAT and to.category < FLOAT:
        return False
    return not (from_ is not bool_ and to is bool_)


class finfo:
    """Limits of a floating dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type: dtype | None = None):
        type = type or get_default_dtype()
        type = python_dtype("finfo", type)
        if type.category < FLOAT:
            raise TypeError(f"tgrad.finfo() requires a floating point input type, got {type}")
        real = type.to_real()
        info = (ml_dtypes.finfo if real is bfloat16 else np.finfo)(real.numpy)
        self.bits: int = real.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = 10.0 ** -int(info.precision)
        self.dtype = real.name

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        body = ", ".join(f"{n}={getattr(self, n):g}" for n in names)
        return f"finfo({body}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype: bits, max, min."""

    def __init__(self, type: dtype):
        type = python_dtype("iinfo", type)
        if type.category != INT:
            raise TypeError(f"tgrad.iinfo() requires an integer input type, got {type}")
        info = np.iinfo(type.numpy)
        self.bits, self.max, self.min = int(info.bits), int(info.max), int(info.min)
        self.dtype = type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class Scalar(NamedTuple):
    """A Python number on its way into a kernel, in the dtype that the kernel computes in."""

    value: bool | int | float | complex
    dtype: dtype

    def argument(self) -> Any:
        """The number as a Triton kernel takes it: floats have 32 bits unless NumPy says 64."""
        value: Any = self.value
        return np.float64(value) if self.dtype is float64 else value
