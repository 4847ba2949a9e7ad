"""Rows of pointwise arithmetic, powers and bounds."""

import numpy as np

from tests.table import b, i, row, s, t, value

PAIRS = (
    s(t(5, 7), t(5, 7)),
    s(t(3, 1, 4), t(2, 1)),
    s(t(), 2.5),
    s(t(3, 4), t()),
    s(t(0, 3), t(3)),
    s(t(2, 4097), t(2, 1)),  # several pieces and blocks, a tail
)
INTEGERS = (
    s(i(4, 5, low=-9), i(4, 5, low=1)),
    s(i(7, low=-9), 3),
    s(i(3, low=-9), i(1, low=-4, high=-1)),
)
ONE = (s(t(4, 5)), s(t()), s(t(0, 3)), s(t(3, 2731)))
POSITIVE = (s(t(4, 5, low=0.2, high=3)), s(t(low=0.2, high=3)), s(t(0, 2)))
DIVISORS = (
    s(t(5, 7), t(5, 7, low=0.5, high=3)),
    s(t(3, 1, 4), t(2, 1, low=-3, high=-0.5)),
    s(t(4), 1.7),
)


def away(*shape: int):
    """Numbers of both signs, none near 0."""
    rng = np.random.default_rng(3)
    return value(rng.uniform(0.3, 2.5, shape) * rng.choice([-1.0, 1.0], shape))


def quotient(x, y, rounding_mode=None):
    q = x / y
    q = {"trunc": np.trunc, "floor": np.floor}[rounding_mode](q) if rounding_mode else q
    return q.astype(np.int64) if rounding_mode and np.asarray(x).dtype.kind == "i" else q


def power(x, y):
    return np.power(np.asarray(x), y) if np.asarray(x).dtype.kind == "i" else np.float_power(x, y)


def clamped(x, min=None, max=None):
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


CLAMPS = (
    s(t(5, 7), -0.5, 0.7),
    s(t(5, 7), 0.3),
    s(t(4, 5), max=0.2),
    s(t(3, 4), t(3, 1), t(4, low=1, high=2)),
    s(t(3, 4), t(4)),
    s(t(3, 4), max=t(4)),
    s(t(3, 5), t(5, low=0, high=1), t(5, low=-1, high=0)),  # bounds the wrong way round
    s(i(9, low=-9), -2, 4),
    s(t(0, 2), 0.0, 1.0),
)
WEIGHTED = (
    s(t(4, 5), t(4, 5), t(4, 5)),
    s(t(4, 5), t(5), t(4, 1), value=0.7),
    s(t(), t(), t()),
)

ROWS = [
    row("add", *PAIRS, *INTEGERS, s(t(4), t(4), alpha=3),
        ref=lambda x, y, alpha=1: x + alpha * y),
    row("sub", *PAIRS, *INTEGERS, s(t(4), t(4), alpha=0.5),
        ref=lambda x, y, alpha=1: x - alpha * y, covers=["subtract"]),
    row("rsub", s(t(3, 4), t(4)), s(t(3), 2.0), s(t(3), t(3), alpha=2),
        ref=lambda x, y, alpha=1: y - alpha * x),
    row("neg", *ONE, s(i(5)), ref=np.negative, covers=["negative"]),
    row("positive", s(t(3)), ref=np.positive),
    row("abs", *ONE, s(i(5, low=-5)), s(value([0.0, 1.0]), ), ref=np.abs, covers=["absolute"],
        grad=False),
    row("Tensor.abs", s(away(4, 3)), ref=np.abs),
    row("mul", *PAIRS, *INTEGERS, s(b(5), b(5)), ref=np.multiply, covers=["multiply"]),
    row("square", *ONE, s(i(4, low=-5)), ref=np.square),
    row("addcmul", *WEIGHTED, s(i(4), i(4), i(4), value=2),
        ref=lambda x, a, b, value=1: x + value * a * b),
    row("addcdiv", s(t(4, 5), t(4, 5), away(4, 5)), s(t(4, 5), t(5), away(4, 1), value=0.7),
        s(t(), t(), away()), ref=lambda x, a, b, value=1: x + value * a / b),
    row("lerp", s(t(4, 5), t(4, 5), 0.25), s(t(4, 5), t(4, 5), 0.75), s(t(4, 5), t(5), t(4, 1)),
        ref=lambda x, y, w: x + w * (y - x)),
    row("div", *DIVISORS,
        *(s(t(5, 7, low=-9, high=9), away(5, 7), rounding_mode=m) for m in ("trunc", "floor")),
        *(s(*q.args, rounding_mode=m) for q in INTEGERS for m in ("trunc", "floor")),
        ref=quotient, dtypes=("float32",),
        covers=["divide", "true_divide"]),
    row("true_divide", s(t(3), away(3)), ref=np.divide),
    row("floor_divide", s(t(5, 7, low=-9, high=9), away(5, 7)), s(t(4), 0.7), *INTEGERS,
        ref=np.floor_divide, dtypes=("float32",),
        why_no_torch_grad="torch has none where here it is zero"),
    row("remainder", s(t(5, 7, low=-9, high=9), away(5, 7)), s(t(4), -0.7), *INTEGERS,
        ref=np.remainder, dtypes=("float32",)),
    row("fmod", s(t(5, 7, low=-9, high=9), away(5, 7)), s(t(4), 0.7), *INTEGERS,
        ref=np.fmod, dtypes=("float32",)),
    row("reciprocal", s(away(4, 5)), s(away()), ref=lambda x: 1 / x),
    row("pow", s(t(4, 5, low=0.2, high=3), t(4, 5)), s(t(3, 1, low=0.2, high=3), t(2)),
        *(s(away(3, 4), p) for p in (0, 1, 2, 3, -1, -2, 4)),
        *(s(t(5, low=0.2, high=3), p) for p in (0.5, -0.5, 2.5, -1.7, 0.0)),
        s(2.5, t(3, 4)), s(i(5, low=-4, high=5), 3), s(i(5, low=-4, high=5), i(5, low=0, high=7)),
        s(2, i(5)), s(t(0), 2.0), ref=power),
    row("float_power", s(t(4, low=0.2, high=3), t(4)), s(i(4, low=1), 2), s(away(3), -2),
        ref=np.float_power),
    row("maximum", *PAIRS[:2], s(t(0, 3), t(3)), *INTEGERS[:1], s(b(4), b(4)), ref=np.maximum),
    row("minimum", *PAIRS[:2], s(t(0, 3), t(3)), *INTEGERS[:1], s(b(4), b(4)), ref=np.minimum),
    row("fmax", *PAIRS[:2], s(value([np.nan, 1.0, 2.0]), value([1.0, np.nan, 3.0])), ref=np.fmax,
        grad=False),
    row("fmin", *PAIRS[:2], s(value([np.nan, 1.0, 2.0]), value([1.0, np.nan, 3.0])), ref=np.fmin,
        grad=False),
    row("clamp", *CLAMPS, ref=clamped, covers=["clip"]),
    row("clamp_min", s(t(4, 5), 0.3), s(t(4, 5), t(5)), ref=np.maximum),
    row("clamp_max", s(t(4, 5), 0.3), s(t(4, 5), t(5)), ref=np.minimum),
    row("nan_to_num", s(value([np.nan, np.inf, -np.inf, 1.5]), 0.5, 9.0, -9.0), s(t(3, 4)), s(i(3)),
        ref=lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(
            x, nan=nan, posinf=posinf, neginf=neginf)),
]  # fmt: skip
