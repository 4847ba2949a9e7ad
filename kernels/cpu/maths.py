"""What ``xp`` means on the CPU: functions of arrays that take ``out=``.

A plain ufunc stands for itself. ``out`` never aliases an argument.
"""

from __future__ import annotations

import numpy as np
from numpy import (
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    exp,
    log,
    maximum,
    minimum,
    sqrt,
    tanh,
)
from numpy import absolute as abs
from numpy import add as add
from numpy import equal as eq
from numpy import greater as gt
from numpy import greater_equal as ge
from numpy import invert as bitwise_not
from numpy import less as lt
from numpy import less_equal as le
from numpy import multiply as mul
from numpy import negative as neg
from numpy import not_equal as ne
from numpy import positive as identity
from numpy import subtract as sub
from numpy import true_divide as div


def where(condition, a, b, out=None):
    if out is None:
        return np.where(condition, a, b)
    np.copyto(out, b)
    np.copyto(out, a, where=condition)
    return out


def sigmoid(x, out=None):
    """0.5 tanh(x / 2) + 0.5: one SIMD pass more than tanh, and no overflow."""
    out = np.multiply(x, x.dtype.type(0.5), out=out)
    np.tanh(out, out=out)
    out *= x.dtype.type(0.5)
    out += x.dtype.type(0.5)
    return out
