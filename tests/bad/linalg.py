"""Bad input to linear algebra, distances, search and counts."""


def m(lib, *shape):
    return lib.ones(*(shape or (3, 3)))


BAD = [
    ("linalg.qr", lambda t: ((m(t, 3),), {}), RuntimeError, "at least 2 dimensions"),
    ("linalg.qr", lambda t: ((m(t), "thin"), {}), RuntimeError, "unrecognized mode"),
    ("linalg.eigh", lambda t: ((m(t, 2, 3),), {}), RuntimeError, "square"),
    ("linalg.eigh", lambda t: ((m(t), "X"), {}), RuntimeError, "UPLO"),
    ("linalg.svd", lambda t: ((t.ones(2, 2, dtype=t.int64),), {}), RuntimeError, "floating"),
    ("linalg.lstsq", lambda t: ((m(t), m(t, 4, 2)), {}), RuntimeError, "size"),
    ("linalg.lstsq", lambda t: ((m(t), m(t).double()), {}), RuntimeError, "same dtype"),
    ("linalg.lstsq", lambda t: ((m(t), m(t)), {"driver": "lu"}), RuntimeError, "driver"),
    ("linalg.matrix_power", lambda t: ((m(t, 2, 3), 2), {}), RuntimeError, "square"),
    ("matrix_exp", lambda t: ((m(t, 2, 3),), {}), RuntimeError, "square"),
    ("cdist", lambda t: ((m(t, 3), m(t, 3)), {}), RuntimeError, "at least 2D"),
    ("cdist", lambda t: ((m(t, 2, 3), m(t, 2, 4)), {}), RuntimeError, "same number of columns"),
    ("cdist", lambda t: ((m(t), m(t), -1.0), {}), RuntimeError, "non-negative"),
    ("cross", lambda t: ((m(t, 4), m(t, 4)), {}), RuntimeError, "size 3"),
    ("linalg.cross", lambda t: ((m(t, 2), m(t, 2)), {}), RuntimeError, "length 3"),
    ("renorm", lambda t: ((m(t, 3), 2, 0, 1.0), {}), RuntimeError, "2 dimensions"),
    ("renorm", lambda t: ((m(t), 2, 0, -1.0), {}), RuntimeError, "maxnorm"),
    ("cov", lambda t: ((m(t, 2, 2, 2),), {}), RuntimeError, "two or fewer"),
    ("cov", lambda t: ((m(t),), {"fweights": t.ones(3)}), RuntimeError, "integral"),
    ("searchsorted", lambda t: ((m(t, 2, 3), m(t, 3, 3)), {}), RuntimeError, "dimension"),
    ("searchsorted", lambda t: ((m(t, 3), 1.0), {"side": "up"}), RuntimeError, "side"),
    ("bucketize", lambda t: ((m(t, 3), m(t, 2, 2)), {}), RuntimeError, "1 dimension"),
    ("bincount", lambda t: ((t.tensor([-1]),), {}), RuntimeError, "non-negative"),
    ("bincount", lambda t: ((t.tensor([[1]]),), {}), RuntimeError, "1-d"),
    ("histc", lambda t: ((m(t), 0), {}), RuntimeError, "bins"),
    ("histc", lambda t: ((m(t), 4, 2.0, 1.0), {}), RuntimeError, "max must be larger"),
    ("quantile", lambda t: ((m(t), 1.5), {}), RuntimeError, "range"),
    ("quantile", lambda t: ((t.ones(0), 0.5), {}), RuntimeError, "non-empty"),
    ("quantile", lambda t: ((m(t).half(), 0.5), {}), RuntimeError, "float or double"),
    ("quantile", lambda t: ((m(t), 0.5), {"interpolation": "cubic"}), RuntimeError, "cubic"),
    ("diff", lambda t: ((t.tensor(1.0),), {}), RuntimeError, "one-dimensional"),
    ("trapezoid", lambda t: ((m(t), m(t, 2)), {}), RuntimeError, "x"),
    ("put", lambda t: ((m(t), t.tensor([0]), t.ones(2)), {}), IndexError, "elements"),
    ("put", lambda t: ((m(t), t.tensor([9]), t.ones(1)), {}), IndexError, "out of"),
    ("select_scatter", lambda t: ((m(t), t.ones(2), 0, 0), {}), RuntimeError, "size"),
    ("index_reduce", lambda t: ((m(t), 0, t.tensor([0]), m(t, 1, 3), "sum"), {}), RuntimeError,
     "reduce"),
    ("combinations", lambda t: ((m(t),), {}), RuntimeError, "1D"),
    ("cartesian_prod", lambda t: ((m(t),), {}), RuntimeError, "1D"),
    ("unravel_index", lambda t: ((t.ones(1), (2,)), {}), TypeError, "integer"),
]  # fmt: skip
