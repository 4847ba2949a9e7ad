"""Bad input to bags of embeddings."""

IDS = [0, 1, 2, 4, 4]


def case(error, message, ids=IDS, starts=(0, 2), shape=(5, 4), dtype="float32", **options):
    def make(t):
        given = {k: t.tensor(v) if isinstance(v, list) else v for k, v in options.items()}
        offsets = None if starts is None else t.tensor(starts)
        return (t.tensor(ids), t.ones(*shape).to(getattr(t, dtype)), offsets), given

    return ("nn.functional.embedding_bag", make, error, message)


BAD = [
    case(ValueError, "offsets has to be a 1D Tensor", starts=None),
    case(ValueError, "offsets has to be a 1D Tensor", starts=[[0, 2]]),
    case(ValueError, "if input is 2D, then offsets has to be None", [IDS]),
    case(ValueError, "input has to be 1D or 2D", [[IDS]], None),
    case(ValueError, "weight has to be a 2D", shape=(5,)),
    case(ValueError, "mode has to be", mode="min"),
    case(ValueError, "max mode does not support scaling", mode="max", scale_grad_by_freq=True),
    case(ValueError, "max mode does not support sparse", mode="max", sparse=True),
    case(ValueError, "same shape as the input", mode="sum", per_sample_weights=[1.0] * 4),
    case(NotImplementedError, "only supported for mode='sum'", per_sample_weights=[1.0] * 5),
    case(RuntimeError, "float32", mode="sum", per_sample_weights=[1.0] * 5, dtype="float64"),
    case(RuntimeError, "offsets[0] has to be 0", starts=[1, 2]),
    case(RuntimeError, "offsets[-1] can not be greater", starts=[0, 6]),
    case(RuntimeError, "must not decrease", starts=[0, 3, 1]),
    case(RuntimeError, "Index 2 of input takes value 5", [0, 1, 5, 2, 3]),
    case(RuntimeError, "not in the valid range [0, 5)", [0, 1, -1, 2, 3]),
    case(RuntimeError, "indices", [0.0, 1, 2, 3, 4]),
    case(RuntimeError, "floating dtype", dtype="int32"),
    case(RuntimeError, "padding_idx must be within", padding_idx=5),
    case(RuntimeError, "at least 1", [], [], include_last_offset=True),
    ("nn.EmbeddingBag", lambda t: ((5, 3), {"padding_idx": 5}), AssertionError, "within"),
    ("nn.EmbeddingBag", lambda t: ((5, 3), {"_weight": t.ones(3, 3)}), AssertionError, "Shape"),
]
