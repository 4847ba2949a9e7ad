"""Rows of rarer functions of angles, signs and logarithms, and of special functions."""

import numpy as np
from scipy import special

from tests.table import i, own, row, s, t, value

ALL = (s(t(4, 5)), s(t()), s(t(0, 3)), s(t(2, 4099)))
PAIRS = (s(t(5, 7), t(5, 7)), s(t(3, 1, 4), t(2, 1)), s(t(), t()), s(t(0, 3), t(3)))
SIGNS = (s(value([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf])), s(i(5, low=-3)), s(t(3)))
UNIT = (s(t(4, 5, low=0.1, high=0.9)), s(t(low=0.1, high=0.9)), s(t(0, 3)))
GAMMA = (s(t(4, 5, low=0.1, high=20)), s(value([-0.3, -1.7, -6.4, 0.4, 30.0])), s(t(0)))
WHOLE = (
    s(i(40, low=-99, high=99), i(40, low=-99, high=99)),
    s(i(4, 1), i(3)),
    own("torch takes tensors only", s(i(5), 6)),
)


def logit(x, eps=None):
    return special.logit(x if eps is None else np.clip(x, eps, 1 - eps))


def angle(x):
    return np.where(x < 0, np.pi, 0.0)


ROWS = [
    row("frac", *ALL, ref=lambda x: x - np.trunc(x), dtypes=("float32",)),
    row("signbit", *SIGNS, ref=np.signbit, grad=False),
    row("isposinf", *SIGNS, ref=np.isposinf, grad=False),
    row("isneginf", *SIGNS, ref=np.isneginf, grad=False),
    row("isreal", *SIGNS, ref=np.isreal, grad=False),
    row("conj_physical", s(t(3)), ref=np.conj),
    row("angle", s(t(4, 3)), s(t()), ref=angle),
    row("copysign", *PAIRS, s(t(4), -2.0), ref=np.copysign),
    row("heaviside", s(value([-1.0, 0.0, 2.0]), t(3)), s(t(4, 3), t(3)), ref=np.heaviside,
        grad=False),
    row("nextafter", *PAIRS, ref=np.nextafter, grad=False, dtypes=()),
    row("deg2rad", *ALL, ref=np.deg2rad),
    row("rad2deg", *ALL, ref=np.rad2deg),
    row("hypot", *PAIRS, ref=np.hypot),
    row("special.sinc", *ALL, s(value([0.0, 1.0, -0.5])), ref=np.sinc, torch="sinc",
        gradgrad=False),
    row("logaddexp", *PAIRS, s(value([50.0, -50.0, 0.0]), value([-50.0, 50.0, 0.0])),
        ref=np.logaddexp),
    row("logaddexp2", *PAIRS, ref=np.logaddexp2),
    row("special.xlogy", s(t(4, 5), t(4, 5, low=0.2, high=3)), s(t(3, 1), t(2, low=0.2, high=3)),
        s(t(3), 2.5), ref=special.xlogy, torch="xlogy"),
    row("special.xlog1py", s(t(4, 5), t(4, 5, low=-0.5, high=3)), s(t(3, 1), t(2, low=0.2, high=3)),
        ref=special.xlog1py),
    row("special.entr", s(t(4, 5, low=0.1, high=3)), s(t(low=0.1, high=3)), ref=special.entr),
    row("ldexp", s(t(4, 5), i(5, low=-4, high=4)), s(t(3), t(3)), ref=lambda x, n: x * 2.0**n,
        why_no_torch_grad="torch's is 0 where the integer exponent is negative"),
    row("special.logit", *UNIT, s(t(4, 5, low=-0.5, high=1.5), 0.2), ref=logit, torch="logit"),
    row("special.erfc", *ALL, s(value([-5.0, 5.0, 9.0])), ref=special.erfc, torch="erfc"),
    row("special.erfinv", s(t(4, 5, low=-0.95, high=0.95)), s(t(0)), ref=special.erfinv,
        torch="erfinv"),
    row("special.ndtr", *ALL, s(value([-8.0, 8.0])), ref=special.ndtr),
    row("lgamma", *GAMMA, ref=special.gammaln, covers=["gammaln"]),
    # The third derivative of log gamma is not offered.
    row("special.digamma", *GAMMA, ref=special.digamma, torch="digamma", covers=["psi"],
        gradgrad=False),
    row("special.i0", *ALL, ref=special.i0, torch="i0"),
    row("special.i1", *ALL, ref=special.i1),
    row("special.expit", s(t(3)), ref=special.expit),
    row("gcd", *WHOLE, ref=np.gcd),
    row("lcm", *WHOLE, ref=np.lcm),
    row("isin", s(i(4, 5), i(3)), s(i(6), i(2, 2), invert=True), s(i(6), 3), s(i(5), i(0)),
        ref=lambda x, y, invert=False: np.isin(x, y, invert=invert)),
]  # fmt: skip
