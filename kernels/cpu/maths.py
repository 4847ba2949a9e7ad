"""What ``xp`` means on the CPU: ufuncs, and macros that are expressions of ufuncs themselves.

A plain name is a function of arrays that takes ``out=``; ``out`` may be one of its arguments where
it is a ufunc. A macro is traced into the program in place of its name, so that its steps share the
program's work buffers. Which of NumPy's own functions run as SIMD code decided what is a macro
(32,768 float32, AMD Zen, 2026-12): exp 72 us, tanh 137, log 113, but expm1 684 and log1p 836.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad.expression import xp


def where(condition: Any, a: Any, b: Any, out: Any = None) -> Any:
    """a where condition, else b: the general case of dtypes and shapes."""
    if out is None:
        return np.where(condition, a, b)
    chosen = np.where(condition, a, b)
    np.copyto(out, chosen, casting="unsafe")
    return out


def from_scipy(name: str, *first: float) -> Callable[..., Any]:
    """``scipy.special``'s function of that name, imported when it is first called."""

    def function(*args: Any, out: Any = None) -> Any:
        from scipy import special

        return getattr(special, name)(*first, *args, out=out)

    return function


def pow(x: Any, y: Any, out: Any = None) -> Any:
    """x to the power y; of integers to a negative power the part before the point."""
    if out is None and not hasattr(x, "dtype") and not hasattr(y, "dtype"):
        return np.power(x, y)
    if np.result_type(x, y).kind not in "iu" or not np.any(np.less(y, 0)):
        return np.power(x, y, out=out)
    p = np.power(x, np.maximum(y, 0))
    odd = np.bitwise_and(y, 1) != 0
    inverse = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0))
    p = np.where(np.less(y, 0), inverse, p)
    if out is None:
        return p.astype(np.result_type(x, y))
    np.copyto(out, p, casting="unsafe")
    return out


def mantissa(x: Any, out: Any = None) -> Any:
    """The part of x = m 2^e with 0.5 <= |m| < 1."""
    return np.frexp(x)[0] if out is None else np.frexp(x, out, None)[0]


def exponent(x: Any, out: Any = None) -> Any:
    """The integer part of x = m 2^e; 0 where x is 0, infinite or NaN."""
    return np.frexp(x)[1] if out is None else np.frexp(x, None, out)[1]


# Names that NumPy shares, and those that it spells otherwise.
SAME = """
    bitwise_and bitwise_or bitwise_xor ceil copysign cos cosh exp exp2 floor floor_divide fmax
    fmin fmod gcd hypot isfinite isinf isnan lcm log log2 log10 logaddexp logaddexp2 logical_and
    logical_not logical_or logical_xor maximum minimum nextafter reciprocal remainder signbit
    sin sinh sqrt square tan tanh trunc
"""
FUNCTIONS: dict[str, Callable] = {name: getattr(np, name) for name in SAME.split()}
FUNCTIONS |= {
    "abs": np.absolute,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "add": np.add,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "bitwise_left_shift": np.left_shift,
    "bitwise_not": np.invert,
    "bitwise_right_shift": np.right_shift,
    "conj": np.conjugate,
    "div": np.true_divide,
    "exponent": exponent,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "identity": np.positive,
    "le": np.less_equal,
    "lt": np.less,
    "mantissa": mantissa,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "round": np.rint,
    "sign_or_nan": np.sign,
    "sub": np.subtract,
    **{n: from_scipy(n) for n in ("digamma", "erf", "erfc", "erfcx", "erfinv", "i0", "i0e", "i1",
                                  "i1e", "ndtri", "zeta")},
    **{f"bessel_{n}": from_scipy(n) for n in ("j0", "j1", "y0", "y1")},
    **{f"modified_bessel_{n}": from_scipy(n) for n in ("k0", "k1")},
    **{f"scaled_modified_bessel_{n}": from_scipy(f"{n}e") for n in ("k0", "k1")},
    "igamma": from_scipy("gammainc"),
    "igammac": from_scipy("gammaincc"),
    "lgamma": from_scipy("gammaln"),
    "pow": pow,
    "trigamma": from_scipy("zeta", 2.0),
    "where": where,
}  # fmt: skip


# ---- macros --------------------------------------------------------------------------------------


def sigmoid(x):
    return xp.div(1, xp.add(xp.exp(xp.neg(x)), 1))


def rsqrt(x):
    return xp.div(1, xp.sqrt(x))


def expm1(x):
    """e^x - 1 = tanh(x / 2) (e^x + 1), without the cancellation."""
    return xp.mul(xp.tanh(xp.mul(x, 0.5)), xp.add(xp.exp(x), 1))


def log1p(x):
    """log(u) plus what rounding u = 1 + x lost, over u; that is NaN only where u is 0 or inf."""
    u = xp.add(x, 1)
    lost = xp.div(xp.sub(x, xp.sub(u, 1)), u)
    return xp.add(xp.log(u), xp.where(xp.eq(lost, lost), lost, 0))


def sign(x):
    return xp.where(xp.eq(x, x), xp.sign_or_nan(x), 0)


def div_trunc(x, y):
    return xp.trunc(xp.div(x, y))


MACROS: dict[str, Callable] = {
    f.__name__: f for f in (sigmoid, rsqrt, expm1, log1p, sign, div_trunc)
}


def integer_div_trunc(x, y):
    """Exact: what the C remainder leaves is a multiple of y."""
    return xp.floor_divide(xp.sub(x, xp.fmod(x, y)), y)


def integer_sign(x):
    return xp.sign_or_nan(x)


ERF = (1.128379202325333, 0.10277131463569511, -0.00020215002657592018, -0.0006036842179906873,
       7.649211432815182e-05, -1.8620387836384544e-06, -5.149016739737757e-07,
       5.389811261500474e-08, -1.640089029937068e-09)  # fmt: skip


def float32_erf(x):
    """tanh(x P(x^2)), P the minimax polynomial of atanh(erf(x)) / x up to x = 4.

    Its error is at most 1.3e-7, two roundings of the results near 1, and 2.9 units in the last
    place relative to small ones. 200 us a piece, scipy's erf 560.
    """
    s = xp.minimum(xp.mul(x, x), 16.0)
    p = ERF[-1]
    for c in ERF[-2::-1]:
        p = xp.add(xp.mul(s, p), c)
    return xp.tanh(xp.mul(x, p))


FLOAT32_MACROS: dict[str, Callable] = {"erf": float32_erf}
INTEGER_MACROS: dict[str, Callable] = {"div_trunc": integer_div_trunc, "sign": integer_sign}

# What changes nothing on some kinds of dtype; those steps are left out.
NOTHING = {"conj": "biuf", "floor": "biu", "ceil": "biu", "trunc": "biu", "round": "biu",
           "sign": "b"}  # fmt: skip


def macro(name: str, kind: np.dtype) -> Callable | None:
    """The expression that stands for ``xp.name`` when computing in ``kind``, if one does."""
    special = INTEGER_MACROS if kind.kind in "iu" else FLOAT32_MACROS if kind == np.float32 else {}
    return special.get(name) or MACROS.get(name)
