"""Bad input to functions of one variable."""


def outs(t, mantissa, exponent):
    return (t.ones(2),), {"out": (t.ones(2, dtype=mantissa), t.ones(2, dtype=exponent))}


BAD = [
    ("frexp", lambda t: (t.arange(3),), RuntimeError, "only supports floating-point dtypes"),
    ("frexp", lambda t: (t.ones(2, dtype=t.complex64),), RuntimeError, "floating-point dtypes"),
    (
        "frexp",
        lambda t: outs(t, t.float32, t.float32),
        RuntimeError,
        "expects exponent to have int",
    ),
    ("frexp", lambda t: outs(t, t.int32, t.int32), RuntimeError, "can't be cast"),
]
