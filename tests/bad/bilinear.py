"""Bad input to the bilinear form."""


def case(message, a=(3, 4), b=(3, 5), w=(2, 4, 5), c=(2,), dtype="float32", **other):
    return (
        "nn.functional.bilinear",
        lambda t: (t.ones(a).to(getattr(t, dtype)), t.ones(b), t.ones(w), t.ones(c)),
        other.get("error", RuntimeError), message,
    )  # fmt: skip


BAD = [
    case("batch dimensions do not match at dim 0", b=(2, 5)),
    case("input dimensions do not match: got 2 and 1", b=(5,)),
    case("input1 size does not match", a=(3, 5)),
    case("input2 size does not match", b=(3, 4)),
    case("does not match weight size", w=(4, 5)),
    case("bias size does not match", c=(3,)),
    case("same dtype", dtype="float64"),
    case("no dimensions", (), (), error=IndexError),
    ("nn.Bilinear", lambda t: (0, 2, 3), ValueError, "in1_features must be > 0"),
]
