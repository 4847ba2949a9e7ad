"""Bad input to the normalisations."""

F = "nn.functional."


def x(t):
    return t.ones(4, 3, 5)


BAD = [
    (F + "layer_norm", lambda t: (x(t), (4,)), RuntimeError, "Given normalized_shape=[4]"),
    (F + "layer_norm", lambda t: (x(t), (2, 4, 3, 5)), RuntimeError, "expected input with shape"),
    (F + "layer_norm", lambda t: (x(t), ()), RuntimeError, "at least 1-dimensional"),
    (F + "layer_norm", lambda t: (x(t), 5), TypeError, "must be tuple of ints"),
    (F + "layer_norm", lambda t: (x(t), (5,), t.ones(4)), RuntimeError, "Expected weight"),
    (F + "layer_norm", lambda t: (x(t), (5,), None, t.ones(4)), RuntimeError, "Expected bias"),
    (F + "layer_norm", lambda t: (x(t).long(), (5,)), NotImplementedError, "not implemented for"),
    (F + "layer_norm", lambda t: (x(t), (5,), t.ones(5).double()), RuntimeError, "mixed dtype"),
    (F + "rms_norm", lambda t: (x(t), (4,)), RuntimeError, "Given normalized_shape=[4]"),
    (F + "rms_norm", lambda t: (x(t).long(), (5,)), NotImplementedError, "not implemented for"),
    (F + "group_norm", lambda t: (x(t), 2), RuntimeError, "divisible by num_groups"),
    (F + "group_norm", lambda t: (x(t), 3, t.ones(2)), RuntimeError, "Expected weight"),
    (F + "group_norm", lambda t: (t.ones(5), 1), RuntimeError, "at least 2 dimensions"),
    (F + "group_norm", lambda t: (t.ones(1, 3), 3), ValueError, "more than 1 value"),
    (F + "group_norm", lambda t: (x(t), 0), ZeroDivisionError, "zero"),
    (F + "group_norm", lambda t: (x(t), -1), RuntimeError, "greater than 0"),
    (F + "local_response_norm", lambda t: (t.ones(3, 4), 2), ValueError, "3D or higher"),
    (F + "local_response_norm", lambda t: (x(t), 0), RuntimeError, "greater than zero"),
    (F + "local_response_norm", lambda t: (x(t).int(), 2), NotImplementedError, "not implemented"),
]
