"""Bad input to polygamma and its relatives."""


def x(t):
    return t.ones(3)


BAD = [
    ("polygamma", lambda t: (-1, x(t)), RuntimeError, "negative n"),
    ("mvlgamma", lambda t: (x(t), 0), RuntimeError, "greater than or equal to 1"),
    ("igamma", lambda t: (x(t), t.ones(2)), RuntimeError, "size"),
    ("special.zeta", lambda t: (x(t), t.ones(2)), RuntimeError, "size"),
]  # fmt: skip
