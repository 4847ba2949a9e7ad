"""Bad input to attention."""

NAME = "nn.functional.scaled_dot_product_attention"


def f(lib, *shape):
    return lib.ones(shape)


def q(lib, dtype="float32"):
    return lib.ones((2, 2, 4, 5), dtype=getattr(lib, dtype))


def masked(lib, mask, dtype="float32"):
    return (q(lib, dtype), q(lib, dtype), q(lib, dtype), mask)


BAD = [
    (NAME, lambda lib: (None, q(lib), q(lib)), TypeError, "'query'"),
    (NAME, lambda lib: (q(lib), q(lib), q(lib), 1.0), TypeError, "'attn_mask'"),
    (NAME, lambda lib: (f(lib, 5), f(lib, 6, 5), f(lib, 6, 3)), RuntimeError, "at least 2 dim"),
    (NAME, lambda lib: (q(lib, "float64"), q(lib), q(lib)), RuntimeError, "the same dtype"),
    (NAME, lambda lib: (f(lib, 4, 5), f(lib, 6, 4), f(lib, 6, 3)), RuntimeError, ""),
    (NAME, lambda lib: (f(lib, 4, 5), f(lib, 6, 5), f(lib, 7, 3)), RuntimeError, ""),
    (NAME, lambda lib: (q(lib), f(lib, 3, 6, 5), f(lib, 3, 6, 5)), RuntimeError, "must match"),
    (NAME, lambda lib: masked(lib, lib.ones((4, 4)).long()), RuntimeError, "attn_mask dtype"),
    (NAME, lambda lib: masked(lib, lib.ones((4, 4)).double()), RuntimeError, "attn_mask dtype"),
    (
        NAME, lambda lib: masked(lib, lib.ones((4, 4)).half(), "bfloat16"),
        RuntimeError, "attn_mask dtype",
    ),
    (NAME, lambda lib: masked(lib, f(lib, 3, 4)), RuntimeError, "must match the size"),
    (NAME, lambda lib: masked(lib, f(lib, 3, 1, 2, 4, 4)), RuntimeError, "broadcast shape"),
    (
        NAME, lambda lib: (q(lib), q(lib), q(lib), None, 1.5),
        RuntimeError, "dropout probability has to be between 0 and 1, but got 1.5",
    ),
    (NAME, lambda lib: (q(lib), q(lib), q(lib), None, -0.5), RuntimeError, ""),
]  # fmt: skip
