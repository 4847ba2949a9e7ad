"""Rows of orthogonal polynomials, whose gradients PyTorch does not have."""

import numpy as np
from scipy import special

from tests.table import row, s, t, value

NONE = "torch has none"
DEGREES = value([[0, 1, 2], [3, 5, 6]], "int")
UNIT = (*[s(t(3, 4, low=-1, high=1), n) for n in (0, 1, 2, 5)], s(t(2, 3, low=-1, high=1), DEGREES),
        s(t(2, 1, low=-1, high=1), value([0.0, 2.7, 4.0], grad=False)))  # fmt: skip
BELOW = s(t(3, low=-1, high=1), -1)
NAMES = {
    "chebyshev_polynomial_t": "chebyt", "chebyshev_polynomial_u": "chebyu",
    "shifted_chebyshev_polynomial_t": "sh_chebyt", "shifted_chebyshev_polynomial_u": "sh_chebyu",
    "hermite_polynomial_h": "hermite", "hermite_polynomial_he": "hermitenorm",
    "laguerre_polynomial_l": "laguerre", "legendre_polynomial_p": "legendre",
}  # fmt: skip


def reference(name):
    function = getattr(special, f"eval_{name}")

    def call(x, n):
        degree = np.trunc(n).astype(int) if isinstance(n, np.ndarray) else int(n)
        value = function(np.maximum(degree, 0), x)
        return np.where(degree < 0, 0.0, value)

    return call


def third(x, n):
    """V_n(cos t) = cos((n + 1/2) t) / cos(t / 2)."""
    t = np.arccos(x)
    return np.where(np.trunc(n) < 0, 0.0, np.cos((np.trunc(n) + 0.5) * t) / np.cos(t / 2))


def fourth(x, n):
    """W_n(cos t) = sin((n + 1/2) t) / sin(t / 2)."""
    t = np.arccos(x)
    return np.where(np.trunc(n) < 0, 0.0, np.sin((np.trunc(n) + 0.5) * t) / np.sin(t / 2))


INSIDE = tuple(
    s(t(3, 4, low=0.1, high=0.9), n) for n in (0, 1, 2, 5, -1)
)  # fmt: skip
ROWS = [
    *[row(f"special.{name}", *UNIT, BELOW, ref=reference(of), why_no_torch_grad=NONE)
      for name, of in NAMES.items()],
    row("special.chebyshev_polynomial_v", *INSIDE, ref=third, why_no_torch_grad=NONE),
    row("special.chebyshev_polynomial_w", *INSIDE, ref=fourth, why_no_torch_grad=NONE),
    row("special.shifted_chebyshev_polynomial_v", *INSIDE, ref=lambda x, n: third(2 * x - 1, n),
        why_no_torch_grad=NONE),
    row("special.shifted_chebyshev_polynomial_w", *INSIDE, ref=lambda x, n: fourth(2 * x - 1, n),
        why_no_torch_grad=NONE),
]  # fmt: skip
