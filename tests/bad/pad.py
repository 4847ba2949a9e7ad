"""Bad input to padding."""

BAD = [
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (1,)), {}), RuntimeError, "divisible by 2"),
    ("nn.functional.pad", lambda t: ((t.ones(2), (1, 1, 1, 1)), {}), RuntimeError, "two times"),
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (-2, -2)), {}), RuntimeError, "negative"),
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (3, 0), "reflect"), {}), RuntimeError, "less"),
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (4, 0), "circular"), {}), RuntimeError, "once"),
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (1, 1), "foo"), {}), NotImplementedError,
     "foo"),
    ("nn.functional.pad", lambda t: ((t.ones(2), (1, 1), "reflect"), {}), NotImplementedError,
     "supported for now"),
    ("nn.functional.pad", lambda t: ((t.ones(2, 3), (1, 1), "reflect", 2.0), {}), RuntimeError,
     "value"),
]  # fmt: skip
