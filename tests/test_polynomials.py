"""Orthogonal polynomials where the rows of the table have no points."""

from __future__ import annotations

import math

import tgrad
from tgrad import special


def test_degree_0_is_1_and_degrees_below_are_0_at_infinity_too():
    x = tgrad.tensor([math.inf, -math.inf, 2.0])
    assert special.chebyshev_polynomial_t(x, 0).tolist() == [1.0, 1.0, 1.0]
    assert special.legendre_polynomial_p(x, -1).tolist() == [0.0, 0.0, 0.0]
    assert special.hermite_polynomial_h(x, tgrad.tensor([0, 1, 1])).tolist() == [
        1.0,
        -math.inf,
        4.0,
    ]
