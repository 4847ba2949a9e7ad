"""Bad input to histograms, derivatives of samples, windows and copies."""


def x(t, *shape):
    return t.ones(*(shape or (4,)))


BAD = [
    ("histogram", lambda t: (x(t), 0), RuntimeError, "bins must be > 0"),
    ("histogram", lambda t: (x(t), x(t, 2, 2)), RuntimeError, "one dimension"),
    ("histogram", lambda t: (x(t), x(t).double()), RuntimeError, "dtype"),
    ("histogram", lambda t: ((x(t), 3), {"range": (2.0, 1.0)}), RuntimeError, "exceed max"),
    ("histogram", lambda t: ((x(t), 3), {"range": (0.0, float("inf"))}), RuntimeError, "finite"),
    ("histogram", lambda t: ((x(t), 3), {"weight": x(t, 3)}), RuntimeError, "same shape"),
    ("histogram", lambda t: (x(t).long(), 3), NotImplementedError, "not implemented"),
    ("histogramdd", lambda t: (x(t), 3), RuntimeError, "at least 2 dimensions"),
    ("histogramdd", lambda t: (x(t, 4, 2), [3]), RuntimeError, "expected 2 sequences"),
    ("histogramdd", lambda t: ((x(t, 4, 2), 3), {"range": (0.0, 1.0)}), RuntimeError,
     "should have 4 elements"),
    ("gradient", lambda t: ((x(t),), {"edge_order": 3}), RuntimeError, "edge_order=1"),
    ("gradient", lambda t: (x(t, 1),), RuntimeError, "at least edge_order+1"),
    ("gradient", lambda t: ((x(t),), {"spacing": [1.0, 2.0]}), RuntimeError, "list of length 1"),
    ("gradient", lambda t: ((x(t, 2, 2),), {"dim": (0, 0)}), RuntimeError, "dim"),
    ("hann_window", lambda t: (-1,), RuntimeError, "non-negative window_length"),
    ("kaiser_window", lambda t: ((4,), {"dtype": t.int64}), RuntimeError, "floating point"),
    ("nonzero_static", lambda t: ((x(t),), {"size": -1}), RuntimeError, "non-negative"),
    ("slice_copy", lambda t: (x(t), 1), IndexError, "out of range"),
    ("slice_copy", lambda t: (x(t), 0, 0, 2, 0), RuntimeError, "step must be positive"),
    ("as_strided_scatter", lambda t: (x(t), x(t), (2,), (1,)), RuntimeError, "size"),
    ("feature_dropout", lambda t: (x(t), 0.5, True), RuntimeError, "at least 2"),
]  # fmt: skip
