"""Rows of Bessel functions; PyTorch has a gradient of i0e and i1e alone."""

import numpy as np
from scipy import special

from tests.table import own, row, s, t, value

NONE = "torch has none"
ALL = (s(t(4, 5)), s(t()), s(t(0, 3)), s(t(2, 2053)), s(value([0.0, -0.3, 26.0, -700.0])))
FAR = "torch is off by 1e-6 beyond 5"
WAVES = (own(FAR, s(t(4, 5, low=-9, high=9))), s(t(2, 2053)), s(value([0.0, 2.5])))
ABOVE = (s(t(4, 5, low=0.2, high=9)), s(t(2, 2053, low=0.1, high=40)), s(t(0, 3)),
         s(value([1.0, 1.01, 90.0])))  # fmt: skip
BEYOND = (own(FAR, s(t(4, 5, low=0.2, high=9))), own(FAR, s(t(2, 2053, low=0.1, high=40))))
EDGES = (s(value([0.0, np.inf, -1.0, np.nan], grad=False)),)


def j0(x):
    return special.spherical_jn(0, x)


ROWS = [
    row("special.i0e", *ALL, ref=special.i0e, gradgrad=False),
    row("special.i1e", *ALL, ref=special.i1e, gradgrad=False),
    row("special.bessel_j0", *WAVES, *EDGES, ref=special.j0, why_no_torch_grad=NONE, tolerance=2),
    row("special.bessel_j1", *WAVES, *EDGES, ref=special.j1, why_no_torch_grad=NONE, tolerance=2),
    row("special.bessel_y0", *BEYOND, *EDGES, ref=special.y0, why_no_torch_grad=NONE, tolerance=4),
    row("special.bessel_y1", *BEYOND, *EDGES, ref=special.y1, why_no_torch_grad=NONE, tolerance=4),
    row("special.modified_bessel_k0", *ABOVE, *EDGES, ref=special.k0, why_no_torch_grad=NONE),
    row("special.modified_bessel_k1", *ABOVE, *EDGES, ref=special.k1, why_no_torch_grad=NONE),
    row("special.scaled_modified_bessel_k0", *ABOVE, *EDGES, ref=special.k0e,
        why_no_torch_grad=NONE),
    row("special.scaled_modified_bessel_k1", *ABOVE, *EDGES, ref=special.k1e,
        why_no_torch_grad=NONE),
    row("special.modified_bessel_i0", s(t(4, 5)), ref=special.i0, why_no_torch_grad=NONE),
    row("special.modified_bessel_i1", s(t(4, 5)), ref=special.i1, why_no_torch_grad=NONE),
    row("special.spherical_bessel_j0", *WAVES, s(value([0.49, -0.51, 1e-9])),
        s(value([np.inf, -np.inf], grad=False)), ref=j0, why_no_torch_grad=NONE, gradgrad=False),
]  # fmt: skip
