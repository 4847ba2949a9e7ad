"""Bad input to the pooling of volumes."""

F = "nn.functional."


def case(name, error, message, *args, shape=(2, 3, 4, 4, 4), **options):
    return (F + name, lambda t: ((t.ones(*shape), *args), options), error, message)


BAD = [
    case("max_pool3d", RuntimeError, "greater than zero", 0),
    case("max_pool3d", RuntimeError, "stride should not be zero", 2, 0),
    case("max_pool3d", RuntimeError, "at most half", 2, padding=2),
    case("max_pool3d", RuntimeError, "non-negative", 2, padding=-1),
    case("max_pool3d", RuntimeError, "Output size is too small", 7),
    case("max_pool3d", RuntimeError, "dilation should be greater than zero", 2, dilation=0),
    case("max_pool3d", RuntimeError, "Expected 4D or 5D", 2, shape=(5, 5)),
    case("max_pool3d", RuntimeError, "optional 0 dim batch size", 2, shape=(2, 0, 4, 4, 4)),
    case("max_pool3d", RuntimeError, "kernel_size", (2, 2)),
    (F + "max_pool3d", lambda t: (t.ones(1, 4, 4, 4).bool(), 2), NotImplementedError, "max_pool3d"),
    case("avg_pool3d", RuntimeError, "greater than zero", 0),
    case("avg_pool3d", RuntimeError, "divisor must be not zero", 2, divisor_override=0),
    case("avg_pool3d", RuntimeError, "avg_pool3d", 2, shape=(5, 5)),
    (F + "avg_pool3d", lambda t: (t.ones(1, 4, 4, 4).int(), 2), NotImplementedError, "avg_pool3d"),
    case("adaptive_avg_pool3d", RuntimeError, "greater than or equal to 0", -1),
    case("adaptive_avg_pool3d", RuntimeError, "output_size must be 3", (1, 2)),
    case("adaptive_avg_pool3d", RuntimeError, "adaptive_avg_pool3d", 2, shape=(5, 5, 5)),
    (F + "adaptive_avg_pool3d", lambda t: (t.ones(1, 4, 4, 4).int(), 2), RuntimeError, "mean"),
    case("adaptive_max_pool3d", RuntimeError, "adaptive_max_pool3d", 2, shape=(2, 3, 0, 4, 4)),
]
