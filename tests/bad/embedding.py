"""Bad input to the lookup tables."""

F = "nn.functional."


def table(t):
    return t.ones(5, 3)


def at(t, *indices):
    return t.tensor(indices)


BAD = [
    (F + "embedding", lambda t: (at(t, 5), table(t)), IndexError, "index out of range"),
    (F + "embedding", lambda t: (at(t, -1), table(t)), IndexError, "index out of range"),
    (F + "embedding", lambda t: (at(t, 1.0), table(t)), RuntimeError, "scalar types: Long, Int"),
    (F + "embedding", lambda t: (at(t, True), table(t)), RuntimeError, "scalar types: Long, Int"),
    (F + "embedding", lambda t: (at(t, 1).to(t.uint8), table(t)), RuntimeError, "Long, Int"),
    (F + "embedding", lambda t: (at(t, 1), t.ones(3)), RuntimeError, "must be 2-D"),
    (F + "embedding", lambda t: (at(t, 1), table(t), 5), AssertionError, "Padding_idx"),
    (F + "embedding", lambda t: (at(t, 1), table(t), -6), AssertionError, "Padding_idx"),
    (F + "embedding", lambda t: ([1], table(t)), TypeError, "Tensor"),
    ("embedding", lambda t: (at(t, 1), table(t)), RuntimeError, "must be 2-D"),
    ("embedding", lambda t: (table(t), at(t, 7)), IndexError, "index out of range"),
]
