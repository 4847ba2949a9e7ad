"""Rows of the random family that have a certain answer; ``tests/test_random.py`` has the rest."""

import numpy as np

from tests.table import row, s, t, value

IN_PLACE = ("uniform_", "normal_", "log_normal_", "exponential_", "cauchy_", "geometric_",
            "bernoulli_", "random_", "fill_", "zero_", "copy_",
            "poisson", "binomial")  # fmt: skip

ROWS = [
    row(
        "bernoulli",
        s(value([[0.0, 1.0], [1.0, 0.0]], grad=False)), s(t(3, 4, low=0, high=1, grad=False), 1.0),
        s(t(0, 2, low=0, high=1, grad=False), 0.0),
        ref=lambda p, q=None: p if q is None else np.full(p.shape, q),
        grad=False, covers=IN_PLACE,
    ),
    row(
        "multinomial",
        s(value([0.0, 2.0, 0.0], grad=False), 5, True),
        s(value([[0.0, 2.0, 0.0], [0.5, 0.0, 0.0]], grad=False), 1),
        ref=lambda p, n, replacement=False: np.repeat(p.argmax(-1)[..., None], n, -1),
        grad=False,
    ),
]  # fmt: skip
