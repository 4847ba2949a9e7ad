"""Bad input to the losses."""

F = "nn.functional."


def x(t):
    return t.ones(4, 3)


def classes(t):
    return t.tensor([0, 1, 2, 1])


def both(*case):
    """A case for each of the two losses over classes."""
    return [(F + name, *case) for name in ("nll_loss", "cross_entropy")]


BAD = [
    *both(lambda t: (x(t), t.tensor([0, 1, 2])), ValueError, "batch_size (4) to match"),
    *both(lambda t: (x(t), classes(t).int()), RuntimeError, "target dtype to be Long or Byte"),
    *both(lambda t: (x(t), t.tensor([0, 1, 7, 1])), IndexError, "Target 7 is out of bounds."),
    *both(lambda t: (x(t), t.tensor([0, 1, -1, 1])), IndexError, "Target -1 is out of bounds."),
    *both(lambda t: (x(t), classes(t), t.ones(4)), RuntimeError, "weight tensor should be"),
    *both(lambda t: (x(t), classes(t), t.ones(3).double()), RuntimeError, "weight of dtype"),
    *both(lambda t: ((x(t), classes(t)), {"reduction": "all"}), ValueError, "not a valid value"),
    *both(lambda t: (x(t), classes(t).unsqueeze(1)), RuntimeError, "multi-target"),
    *both(lambda t: (t.ones(2, 3, 5), t.zeros(2, 4).long()), RuntimeError, "Expected target size"),
    *both(lambda t: (t.ones(2, 3, 5, 6), t.zeros(2, 5).long()), RuntimeError, "spatial targets"),
    *both(lambda t: (x(t), [0, 1, 2, 1]), TypeError, "must be Tensor"),
    *both(lambda t: (x(t).long(), classes(t)), NotImplementedError, "not implemented for"),
    (F + "nll_loss", lambda t: (t.tensor(1.0), t.tensor(0)), ValueError, "1 or more dimensions"),
    (F + "cross_entropy", lambda t: (t.tensor(1.0), t.tensor([0])), IndexError, "out of range"),
    (F + "cross_entropy", lambda t: (x(t), x(t).long()), RuntimeError, "Expected floating point"),
    (F + "cross_entropy", lambda t: ((x(t), classes(t)), {"label_smoothing": 1.5}), RuntimeError,
     "between 0.0 and 1.0"),
    (F + "cross_entropy", lambda t: ((x(t), x(t)), {"ignore_index": 1}), RuntimeError,
     "not supported for floating point target"),
    (F + "cross_entropy", lambda t: (x(t), t.ones(3, 3)), ValueError, "batch_size (4) to match"),
]  # fmt: skip
