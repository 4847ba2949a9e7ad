"""Bad input to the likelihood losses."""

F = "nn.functional."

BAD = [
    (F + "gaussian_nll_loss", lambda t: (t.ones(3, 4), t.ones(3, 4), -1.0), ValueError, "negative"),
    (F + "gaussian_nll_loss", lambda t: (t.ones(3), t.ones(3), -t.ones(3)), ValueError, "negative"),
    (F + "gaussian_nll_loss", lambda t: (t.ones(3), t.ones(3), 1), TypeError, ""),
    (
        F + "gaussian_nll_loss",
        lambda t: (t.ones(3, 4), t.ones(3, 4), t.ones(2)),
        ValueError,
        "incorrect size",
    ),
    (
        F + "gaussian_nll_loss",
        lambda t: (t.ones(3, 4), t.ones(3, 4), t.ones(1, 1)),
        ValueError,
        "incorrect size",
    ),
    (
        F + "gaussian_nll_loss",
        lambda t: ((t.ones(3), t.ones(3), t.ones(3)), {"reduction": "all"}),
        ValueError,
        "all is not valid",
    ),
    (F + "poisson_nll_loss", lambda t: (t.ones(3, 4), t.ones(3, 3)), RuntimeError, "size"),
    (
        F + "poisson_nll_loss",
        lambda t: ((t.ones(3), t.ones(3)), {"reduction": "all"}),
        ValueError,
        "all is not a valid",
    ),
]
