"""Bad input to batch and instance norm."""

F = "nn.functional."


def x(t):
    return t.ones(4, 3, 5)


def stats(t):
    return t.zeros(3), t.ones(3)


BAD = [
    (F + "batch_norm", lambda t: (x(t), t.zeros(4), t.ones(3)), RuntimeError, "contain 3 elements"),
    (F + "batch_norm", lambda t: (x(t), t.zeros(3), t.ones(4)), RuntimeError, "running_var should"),
    (F + "batch_norm", lambda t: (x(t), None, None), RuntimeError, "in evaluation mode"),
    (F + "batch_norm", lambda t: (x(t), t.zeros(3), None), RuntimeError, "running_var must be"),
    (F + "batch_norm", lambda t: (x(t), t.zeros(3), None, None, None, True), ValueError, "both be"),
    (F + "batch_norm", lambda t: (x(t), *stats(t), t.ones(2)), RuntimeError, "weight should"),
    (F + "batch_norm", lambda t: (x(t), *stats(t), None, t.ones(2)), RuntimeError, "bias should"),
    (F + "batch_norm", lambda t: (t.ones(5), *stats(t)), RuntimeError, "should contain"),
    (F + "batch_norm", lambda t: (t.ones(1, 3), None, None, None, None, True), ValueError,
     "Expected more than 1 value per channel when training"),
    (F + "batch_norm", lambda t: (t.ones(1, 3, 1), None, None, None, None, True), ValueError,
     "Expected more than 1 value per channel when training"),
    (F + "batch_norm", lambda t: (x(t).long(), *stats(t)), NotImplementedError, "not implemented"),
    (F + "batch_norm", lambda t: ((x(t), *stats(t)), {"eps": -1.0}), ValueError, "non-negative"),
    (F + "batch_norm", lambda t: (x(t), *stats(t), t.ones(3).double()), RuntimeError, "mixed"),
    (F + "instance_norm", lambda t: (t.ones(2, 3, 1),), ValueError, "more than 1 spatial element"),
    (F + "instance_norm", lambda t: ((x(t),), {"use_input_stats": False}), RuntimeError,
     "to be defined"),
    (F + "instance_norm", lambda t: ((x(t),), {"weight": t.ones(2)}), RuntimeError, "weight"),
]  # fmt: skip
