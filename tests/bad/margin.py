"""Bad input to the margin losses."""

F = "nn.functional."


def multi(error, message, target, shape=(3, 4), **options):
    def make(t):
        given = {k: v(t) if callable(v) else v for k, v in options.items()}
        return (t.ones(*shape), t.tensor(target)), given

    return (F + "multi_margin_loss", make, error, message)


def labels(error, message, target, shape=(2, 3), **options):
    return (
        F + "multilabel_margin_loss",
        lambda t: ((t.ones(*shape), t.tensor(target)), options), error, message,
    )  # fmt: skip


BAD = [
    multi(ValueError, "only p == 1 and p == 2", [0, 1, 2], p=3),
    multi(ValueError, "one-dimensional", [0, 1, 2], weight=lambda t: t.ones(2, 2)),
    multi(ValueError, "not a valid value", [0, 1, 2], reduction="all"),
    multi(RuntimeError, "inconsistent weight size", [0, 1, 2], weight=lambda t: t.ones(3)),
    multi(RuntimeError, "scalar type", [0, 1, 2], weight=lambda t: t.ones(4).double()),
    multi(RuntimeError, "target out of range", [0, 1, 4]),
    multi(RuntimeError, "target out of range", [0, -1, 2]),
    multi(RuntimeError, "Expected target size [3], but got [2]", [0, 1]),
    multi(RuntimeError, "but got [3, 1]", [[0], [1], [2]]),
    multi(RuntimeError, "scalar type", [0.0, 1.0, 2.0]),
    multi(RuntimeError, "got: [1, 3, 4]", [0, 1, 2], (1, 3, 4)),
    multi(RuntimeError, "got: [3, 0]", [0, 1, 2], (3, 0)),
    (
        F + "multi_margin_loss",
        lambda t: (t.ones(3, 4).int(), t.tensor([0, 1, 2])),
        NotImplementedError,
        "not implemented",
    ),
    labels(RuntimeError, "out of range", [[0, 1, 3], [0, 1, 2]]),
    labels(RuntimeError, "out of range", [[0, -1, 3], [0, 1, 2]]),
    labels(RuntimeError, "out of range", [[0, -2, 1], [0, 1, 2]]),
    labels(RuntimeError, "inconsistent target size", [[0, 1, 2]]),
    labels(RuntimeError, "inconsistent target size", [[0, 1, 2]], (3,)),
    labels(RuntimeError, "scalar type", [[0.0, 1, 2], [0, 1, 2]]),
    labels(RuntimeError, "got: [1, 2, 3]", [[[0, 1, 2], [0, 1, 2]]], (1, 2, 3)),
    labels(ValueError, "not a valid value", [[0, 1, 2], [0, 1, 2]], reduction="all"),
    (
        F + "multilabel_soft_margin_loss",
        lambda t: ((t.ones(3), t.ones(3)), {"reduction": "all"}),
        ValueError,
        "all is not valid",
    ),
    (
        F + "multilabel_soft_margin_loss",
        lambda t: (t.ones(()), t.ones(())),
        IndexError,
        "no dimensions",
    ),
    (
        F + "multilabel_soft_margin_loss",
        lambda t: (t.ones(3, 4), t.ones(3, 3)),
        RuntimeError,
        "size",
    ),
    (
        F + "triplet_margin_with_distance_loss",
        lambda t: ((t.ones(3), t.ones(3), t.ones(3)), {"margin": 0}),
        ValueError,
        "margin must be greater than 0",
    ),
    (
        F + "triplet_margin_with_distance_loss",
        lambda t: (t.ones(2, 3), t.ones(2, 3), t.ones(3)),
        RuntimeError,
        "same number of dimensions",
    ),
    (
        F + "triplet_margin_with_distance_loss",
        lambda t: ((t.ones(3), t.ones(3), t.ones(3)), {"reduction": "all"}),
        ValueError,
        "all is not a valid",
    ),
    ("nn.MultiMarginLoss", lambda t: (3,), ValueError, "only p == 1 and p == 2"),
    ("nn.MultiMarginLoss", lambda t: (1, 1.0, t.ones(2, 2)), ValueError, "got 2D instead"),
    (
        "nn.TripletMarginWithDistanceLoss",
        lambda t: ((), {"margin": 0}),
        ValueError,
        "greater than 0",
    ),
]
