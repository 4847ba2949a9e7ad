"""Bad input to the loss of a linear layer's outputs."""

F = "nn.functional.linear_cross_entropy"


def x(t):
    return t.ones(4, 3)


def w(t):
    return t.ones(5, 3)


def marks(t):
    return t.tensor([0, 1, 2, 1])


BAD = [
    (F, lambda t: (t.ones(1, 2, 3), w(t), marks(t)), RuntimeError, "dimensionality 1 or 2, got 3"),
    (F, lambda t: (x(t), t.ones(3), marks(t)), RuntimeError, "at least 2, got 1"),
    (F, lambda t: (x(t), t.ones(5, 4), marks(t)), RuntimeError, "got 3 and 4"),
    (F, lambda t: ((x(t), w(t), marks(t)), {"linear_bias": t.ones(4)}), RuntimeError,
     "expected linear_bias shape (5,), got (4,)"),
    (F, lambda t: (t.ones(3), t.ones(5, 2, 3), marks(t)), RuntimeError, "requires batched input"),
    (F, lambda t: ((x(t), w(t), t.ones(4, 5)), {"ignore_index": 1}), RuntimeError,
     "cannot be specified when target contains probabilities"),
    (F, lambda t: (x(t), w(t), t.tensor([0, 1])), ValueError, "match target batch_size (2)"),
    (F, lambda t: (x(t), w(t), t.tensor([0, 1, 9, 1])), IndexError, "9 is out of bounds"),
]  # fmt: skip
