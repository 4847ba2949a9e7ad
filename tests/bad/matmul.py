"""Bad input to matrix products, einsum and linear algebra."""


def f(lib, *shape):
    return lib.ones(shape)


def d(lib, *shape):
    return lib.ones(shape).double()


def b(lib, *shape):
    return lib.ones(shape).bool()


BAD = [
    ("matmul", lambda lib: (f(lib, 4, 3), f(lib, 5, 2)), RuntimeError, "cannot be multiplied (4x3"),
    ("matmul", lambda lib: (f(lib, 4, 3), f(lib, 5)), RuntimeError, "size mismatch"),
    ("matmul", lambda lib: (f(lib, 5), f(lib, 4)), RuntimeError, "inconsistent tensor size"),
    ("matmul", lambda lib: (f(lib, 4), f(lib, 2, 3, 5)), RuntimeError, "matmul"),
    ("matmul", lambda lib: (f(lib, 2, 4, 3), f(lib, 2, 4, 2)), RuntimeError, "but got: [2, 4]"),
    ("matmul", lambda lib: (f(lib, 2, 4, 3), f(lib, 3, 3, 2)), RuntimeError, "must match the size"),
    ("matmul", lambda lib: (f(lib), f(lib, 3)), RuntimeError, "to be at least 1D"),
    ("matmul", lambda lib: (f(lib, 4, 3), d(lib, 3, 2)), RuntimeError, "same dtype"),
    ("matmul", lambda lib: (b(lib, 2, 2), b(lib, 2, 2)), RuntimeError, "for 'Bool'"),
    ("matmul", lambda lib: (f(lib, 2, 2), 3.0), TypeError, "Tensor"),
    ("mm", lambda lib: (f(lib, 3), f(lib, 3, 2)), RuntimeError, "must be a matrix"),
    ("mm", lambda lib: (f(lib, 3, 3), f(lib, 1, 3, 2)), RuntimeError, "must be a matrix"),
    ("bmm", lambda lib: (f(lib, 3, 3, 2), f(lib, 3, 2)), RuntimeError, "must be a 3D tensor"),
    ("bmm", lambda lib: (f(lib, 3, 3, 2), f(lib, 2, 2, 2)), RuntimeError, "first two dimensions"),
    ("mv", lambda lib: (f(lib, 3, 3), f(lib, 3, 1)), RuntimeError, "vector + matrix @ vector"),
    ("mv", lambda lib: (f(lib, 3, 3), f(lib, 4)), RuntimeError, "size mismatch"),
    ("dot", lambda lib: (f(lib, 5, 1), f(lib, 4)), RuntimeError, "1D tensors expected"),
    ("dot", lambda lib: (f(lib, 3), d(lib, 3)), RuntimeError, "same dtype"),
    ("outer", lambda lib: (f(lib, 3, 3), f(lib, 3)), RuntimeError, "Expected 1-D argument self"),
    ("inner", lambda lib: (f(lib, 3, 4), f(lib, 3)), RuntimeError, "last dimension must match"),
    ("addmm", lambda lib: (f(lib, 2, 3), f(lib, 3, 4), f(lib, 4, 3)), RuntimeError, "expanded"),
    ("addmm", lambda lib: (d(lib, 3), f(lib, 3, 4), f(lib, 4, 3)), RuntimeError, "same dtype"),
    (
        "Tensor.addmm_", lambda lib: (f(lib, 1, 3), f(lib, 3, 4), f(lib, 4, 3)),
        RuntimeError, "doesn't match the broadcast shape",
    ),
    ("addmv", lambda lib: (f(lib, 2), f(lib, 3, 4), f(lib, 4)), RuntimeError, "size mismatch"),
    ("addr", lambda lib: (f(lib, 3, 3), f(lib, 3), f(lib, 4)), RuntimeError, "expanded size"),
    (
        "baddbmm", lambda lib: (f(lib, 3, 2), f(lib, 2, 3, 4), f(lib, 2, 4, 3)),
        RuntimeError, "expanded size",
    ),
    (
        "nn.functional.linear", lambda lib: (f(lib, 4, 3), f(lib, 2, 5)),
        RuntimeError, "cannot be multiplied (4x3 and 5x2)",
    ),
    (
        "nn.functional.linear", lambda lib: (f(lib, 4, 3), f(lib, 2, 3), f(lib, 3)),
        RuntimeError, "expanded size",
    ),
    (
        "nn.functional.linear", lambda lib: (f(lib, 4, 3), d(lib, 2, 3)),
        RuntimeError, "same dtype",
    ),
    (
        "nn.functional.linear", lambda lib: (f(lib), f(lib, 2, 3)),
        RuntimeError, "need to be at least 1D",
    ),
    ("tensordot", lambda lib: (f(lib, 3, 4), f(lib, 5, 4)), RuntimeError, "need to match"),
    ("tensordot", lambda lib: (f(lib, 3, 4), f(lib, 4, 3), 3), RuntimeError, "dims=3"),
    ("tensordot", lambda lib: (f(lib, 3, 4), f(lib, 4, 3), -1), RuntimeError, "dims >= 0"),
    (
        "tensordot", lambda lib: (f(lib, 3, 4), f(lib, 4, 3), ([1], [0, 1])),
        RuntimeError, "same length",
    ),
    ("linalg.multi_dot", lambda lib: ([f(lib, 3, 4)],), RuntimeError, "at least 2 tensors"),
    ("chain_matmul", lambda lib: (f(lib, 2), f(lib, 2, 3)), RuntimeError, "expected 2"),
    ("einsum", lambda lib: ("ij,jk", f(lib, 2, 3), f(lib, 4, 5)), RuntimeError, "subscript j has"),
    ("einsum", lambda lib: ("ij,jk->iz", f(lib, 2, 3), f(lib, 3, 5)), RuntimeError, "subscript z"),
    ("einsum", lambda lib: ("ij->ii", f(lib, 2, 3)), RuntimeError, "more than once"),
    ("einsum", lambda lib: ("ij", f(lib, 2, 3), f(lib, 3)), RuntimeError, "more operands"),
    ("einsum", lambda lib: ("ij,jk", f(lib, 2, 3)), RuntimeError, "fewer operands"),
    ("einsum", lambda lib: ("ijk", f(lib, 2, 3)), RuntimeError, "number of subscripts"),
    ("einsum", lambda lib: ("i.j", f(lib, 2, 3)), RuntimeError, "found '.'"),
    ("einsum", lambda lib: ("i$", f(lib, 2, 3)), RuntimeError, "[a-zA-Z]"),
    ("einsum", lambda lib: ("ii", f(lib, 2, 3)), RuntimeError, "is repeated for operand 0"),
    ("einsum", lambda lib: (f(lib, 2, 3), [0, 60]), ValueError, "valid range"),
    ("einsum", lambda lib: ("ij",), ValueError, "at least one operand"),
    ("linalg.inv", lambda lib: (f(lib, 3),), RuntimeError, "at least 2 dimensions"),
    ("linalg.inv", lambda lib: (f(lib, 3, 4),), RuntimeError, "square matrices"),
    ("linalg.inv", lambda lib: (f(lib, 3, 3).long(),), RuntimeError, "floating point"),
    ("linalg.inv", lambda lib: (f(lib, 3, 3).half(),), RuntimeError, "Low precision"),
    ("linalg.inv", lambda lib: (f(lib, 3, 3),), RuntimeError, "singular"),
    ("det", lambda lib: (f(lib, 3, 4),), RuntimeError, "square matrices"),
    ("slogdet", lambda lib: (f(lib, 3),), RuntimeError, "at least 2 dimensions"),
    ("linalg.cholesky", lambda lib: (-f(lib, 1, 1),), RuntimeError, "not positive-definite"),
    ("linalg.solve", lambda lib: (f(lib, 3, 3), f(lib, 4, 2)), RuntimeError, "Incompatible shapes"),
    ("linalg.solve", lambda lib: (f(lib, 3, 3), d(lib, 3, 2)), RuntimeError, "same dtype"),
    ("linalg.solve", lambda lib: (f(lib, 3, 3), f(lib, 3, 2)), RuntimeError, "singular"),
    ("linalg.matrix_norm", lambda lib: (f(lib, 3),), RuntimeError, "at least 2 dimensions"),
    ("linalg.matrix_norm", lambda lib: (f(lib, 3, 3), 3), RuntimeError, "Order 3 not supported"),
    (
        "linalg.matrix_norm", lambda lib: (f(lib, 3, 3), "fro", (0, 0)),
        RuntimeError, "must be different",
    ),
    (
        "linalg.matrix_norm", lambda lib: (f(lib, 3, 3), "fro", (0, 5)),
        IndexError, "Dimension out of range",
    ),
    ("linalg.norm", lambda lib: (f(lib, 2, 3, 4), 2), RuntimeError, "must be 1D or 2D"),
]  # fmt: skip
