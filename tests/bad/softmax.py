"""Bad input to softmax and log-softmax."""

BAD = [
    ("softmax", lambda t: (t.ones(2, 3), 2), IndexError, "Dimension out of range"),
    ("softmax", lambda t: (t.ones(2, 3), -3), IndexError, "Dimension out of range"),
    ("softmax", lambda t: (t.ones(2, 3), "a"), TypeError, "must be int"),
    ("softmax", lambda t: (t.ones(2, 3), True), TypeError, "must be int"),
    ("softmax", lambda t: (t.ones(2, 3),), TypeError, "dim"),
    ("softmax", lambda t: ([1.0, 2.0], 0), TypeError, "must be Tensor"),
    ("softmax", lambda t: (t.tensor([1, 2]), 0), NotImplementedError, "not implemented for"),
    ("softmax", lambda t: (t.tensor([True]), 0), NotImplementedError, "not implemented for"),
    ("softmax", lambda t: (t.ones(2), 0, t.int64), NotImplementedError, "not implemented for"),
    ("log_softmax", lambda t: (t.ones(2, 3), 5), IndexError, "Dimension out of range"),
    ("log_softmax", lambda t: (t.tensor([1, 2]), 0), NotImplementedError, "not implemented for"),
    ("nn.functional.softmax", lambda t: (t.ones(2, 3), 2), IndexError, "Dimension out of range"),
    ("nn.functional.softmin", lambda t: (t.tensor([1, 2]), 0), NotImplementedError, "softmax"),
]
