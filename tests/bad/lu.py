"""Bad input to LU, reflections, eigenvalues and systems of tensors."""


def m(t, *shape):
    return t.ones(*(shape or (3, 3)))


def rows(t, *shape):
    return t.ones(*(shape or (3,))).int()


BAD = [
    ("linalg.lu_factor", lambda t: ((m(t),), {"pivot": False}), RuntimeError, "without pivoting"),
    ("linalg.lu", lambda t: ((m(t),), {"pivot": False}), RuntimeError, "without pivoting"),
    ("linalg.lu", lambda t: (m(t, 3),), RuntimeError, "at least 2 dimensions"),
    ("linalg.lu_factor", lambda t: (t.zeros(2, 2),), RuntimeError, "U[1,1] is zero"),
    ("linalg.lu_factor", lambda t: (t.stack([t.eye(2), m(t, 2, 2)]),), RuntimeError,
     "(Batch element 1): U[2,2] is zero"),
    ("linalg.lu_factor_ex", lambda t: ((t.zeros(2, 2),), {"check_errors": True}), RuntimeError,
     "U[1,1] is zero"),
    ("linalg.lu_factor", lambda t: (m(t).half(),), RuntimeError, "Low precision"),
    ("lu_unpack", lambda t: (m(t), m(t, 3)), RuntimeError, "int32"),
    ("lu_unpack", lambda t: (m(t), rows(t, 2)), RuntimeError, "pivots of shape [3], got [2]"),
    ("linalg.lu_solve", lambda t: (m(t), rows(t), m(t, 3)), RuntimeError, "at least 2 dimensions"),
    ("linalg.lu_solve", lambda t: (m(t), rows(t), m(t, 2, 3)), RuntimeError, "Incompatible shapes"),
    ("linalg.lu_solve", lambda t: (m(t), m(t, 3), m(t)), RuntimeError, "int32"),
    ("linalg.lu_solve", lambda t: (m(t), rows(t, 2), m(t)), RuntimeError, "Number of pivots"),
    ("linalg.solve_ex", lambda t: ((t.zeros(2, 2), m(t, 2, 1)), {"check_errors": True}),
     RuntimeError, "singular"),
    ("linalg.solve_ex", lambda t: (m(t), m(t, 2, 1)), RuntimeError, "Incompatible shapes"),
    ("triangular_solve", lambda t: (m(t, 2, 1), m(t)), RuntimeError, "Incompatible shapes"),
    ("cholesky_solve", lambda t: (m(t, 3), m(t)), RuntimeError, "b should have at least 2"),
    ("cholesky_solve", lambda t: (m(t, 2, 1), m(t)), RuntimeError, "Incompatible"),
    ("cholesky_inverse", lambda t: (m(t, 2, 3),), RuntimeError, "square matrices"),
    ("geqrf", lambda t: (m(t, 3),), RuntimeError, "at least 2 dimensions"),
    ("linalg.householder_product", lambda t: (m(t, 2, 3), m(t, 2)), RuntimeError, "shape[-2]"),
    ("linalg.householder_product", lambda t: (m(t, 3, 2), m(t, 3)), RuntimeError, "tau.shape[-1]"),
    ("linalg.householder_product", lambda t: (m(t, 3, 2), m(t, 2, 2)), RuntimeError,
     "one dimension less"),
    ("orgqr", lambda t: (m(t, 3, 2), m(t, 2).double()), RuntimeError, "dtype"),
    ("ormqr", lambda t: (m(t), m(t, 3), m(t, 2, 3)), RuntimeError, "other.shape[-2]"),
    ("ormqr", lambda t: (m(t), m(t, 3), m(t, 3, 2), False), RuntimeError, "other.shape[-1]"),
    ("ormqr", lambda t: (m(t), m(t, 4), m(t)), RuntimeError, "tau.shape[-1]"),
    ("linalg.eig", lambda t: (m(t, 2, 3),), RuntimeError, "square matrices"),
    ("linalg.eig", lambda t: (m(t) * float("nan"),), RuntimeError, "infs or NaNs"),
    ("linalg.eigvals", lambda t: (m(t).long(),), RuntimeError, "floating"),
    ("linalg.ldl_factor", lambda t: (m(t, 2, 3),), RuntimeError, "square matrices"),
    ("linalg.ldl_factor", lambda t: (t.zeros(2, 2),), RuntimeError, "1"),
    ("linalg.ldl_solve", lambda t: (m(t), rows(t), m(t, 2, 1)), RuntimeError, "Incompatible"),
    ("linalg.cond", lambda t: (m(t), 3), RuntimeError, "invalid norm type: 3"),
    ("linalg.cond", lambda t: (m(t, 2, 3), 1), RuntimeError, "square matrices"),
    ("linalg.tensorinv", lambda t: (m(t), 0), RuntimeError, "strictly positive"),
    ("linalg.tensorinv", lambda t: (m(t, 2, 3, 5),), RuntimeError, "5 != 6"),
    ("linalg.tensorsolve", lambda t: (m(t, 2, 3, 5), m(t, 2, 3)), RuntimeError, "5 != 6"),
    ("linalg.tensorsolve", lambda t: (m(t, 2, 3, 6), m(t, 2, 4)), RuntimeError, "6 != 8"),
    ("frobenius_norm", lambda t: (m(t, 2, 2, 2), (0, 1, 2)), RuntimeError, "at most 2"),
]  # fmt: skip
