"""Bad input to the loss of connectionist temporal classification."""

LABELS = [[1, 2], [1, 1]]


def case(error, message, targets=None, inputs=(5, 5), sizes=(2, 2), shape=(5, 2, 3), **options):
    def make(t):
        dtype = getattr(t, options.get("dtype", "float32"))
        rest = {k: v for k, v in options.items() if k != "dtype"}
        given = t.tensor(LABELS if targets is None else targets)
        return (t.zeros(*shape).to(dtype), given, inputs, sizes), rest

    return ("nn.functional.ctc_loss", make, error, message)


BAD = [
    case(RuntimeError, "blank must be in label range", blank=3),
    case(RuntimeError, "blank must be in label range", blank=-1),
    case(RuntimeError, "input_lengths must be of size batch_size", inputs=(5,)),
    case(RuntimeError, "target_lengths must be of size batch_size", sizes=(2,)),
    case(RuntimeError, "input_lengths to have value at least 0 and at most 5", inputs=(6, 5)),
    case(RuntimeError, "input_lengths to have value at least 0", inputs=(-1, 5)),
    case(RuntimeError, "target_lengths to have value at least 0", sizes=(-1, 2)),
    case(RuntimeError, "target_lengths", sizes=(3, 2)),
    case(RuntimeError, "Expected targets to have size 4 at dimension 0", [1, 2, 1]),
    case(RuntimeError, "Expected targets to have size 4 at dimension 0", [1, 2, 1, 1, 1]),
    case(RuntimeError, "Expected targets to have size 2 at dimension 0", [[1, 2]]),
    case(RuntimeError, "1 to 2 dimensions", [[[1, 2], [1, 1]]]),
    case(RuntimeError, "1 to 2 dimensions", 3),
    case(RuntimeError, "dimension", shape=(5,)),
    case(RuntimeError, "must not be empty", shape=(0, 2, 3)),
    case(RuntimeError, "must not be empty", shape=(5, 2, 0)),
    case(NotImplementedError, "not implemented for", dtype="float16"),
    case(NotImplementedError, "not implemented for", dtype="int64"),
    case(ValueError, "not a valid value for reduction", reduction="batchmean"),
    case(TypeError, "", inputs=5),
    case(TypeError, "", sizes=(2.0, 2.0)),
    (
        "nn.functional.ctc_loss",
        lambda t: (t.zeros(5, 2, 3), t.tensor(LABELS), t.tensor([5.0, 5.0]), t.tensor([2, 2])),
        RuntimeError,
        "must be integral",
    ),
    ("nn.functional.ctc_loss", lambda t: (3, t.tensor([1]), (1,), (1,)), TypeError, ""),
    ("nn.functional.ctc_loss", lambda t: (t.zeros(5, 1, 3), [1], (1,), (1,)), TypeError, ""),
]
