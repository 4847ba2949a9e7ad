"""Bad input to pooling."""

F = "nn.functional."


def case(name, error, message, *args, shape=(2, 4, 5, 5), **options):
    return (F + name, lambda t: ((t.ones(*shape), *args), options), error, message)


BAD = [
    case("max_pool2d", RuntimeError, "max_pool2d", 0),
    case("max_pool2d", RuntimeError, "stride should not be zero", 2, 0),
    case("max_pool2d", RuntimeError, "at most half", 2, padding=2),
    case("max_pool2d", RuntimeError, "non-negative", 2, padding=-1),
    case("max_pool2d", RuntimeError, "Output size is too small", 7),
    case("max_pool2d", RuntimeError, "dilation should be greater than zero", 2, dilation=0),
    case("max_pool2d", RuntimeError, "max_pool2d", 2, shape=(5, 5)),
    case("max_pool2d", RuntimeError, "optional 0 dim batch size", 2, shape=(2, 0, 4, 4)),
    case("max_pool2d", RuntimeError, "optional 0 dim batch size", 2, shape=(2, 3, 0, 4)),
    case("max_pool2d", RuntimeError, "kernel_size", (2, 2, 2)),
    case("max_pool2d", TypeError, "kernel_size", 2.5),
    (F + "max_pool2d", lambda t: (t.ones(1, 4, 4).bool(), 2), NotImplementedError, "max_pool2d"),
    case("max_pool1d", RuntimeError, "Expected 2D or 3D", 2),
    case("max_pool1d", RuntimeError, "max_pool1d", 7, shape=(4, 5)),
    case("max_pool1d", RuntimeError, "kernel_size", (2, 2), shape=(4, 5)),
    case("avg_pool2d", RuntimeError, "avg_pool2d", 0),
    case("avg_pool2d", RuntimeError, "stride should not be zero", 2, 0),
    case("avg_pool2d", RuntimeError, "at most half", 2, padding=2),
    case("avg_pool2d", RuntimeError, "divisor must be not zero", 2, divisor_override=0),
    case("avg_pool2d", IndexError, "Dimension out of range", 2, shape=(5, 5)),
    (F + "avg_pool2d", lambda t: (t.ones(1, 4, 4).int(), 2), NotImplementedError, "avg_pool2d"),
    case("avg_pool1d", RuntimeError, "avg_pool1d", 2),
    case("adaptive_avg_pool2d", RuntimeError, "greater than or equal to 0", -1),
    case("adaptive_avg_pool2d", RuntimeError, "output_size must be 2", (1, 2, 3)),
    case("adaptive_avg_pool2d", RuntimeError, "adaptive_avg_pool2d", 2, shape=(5, 5)),
    case("adaptive_avg_pool1d", TypeError, "output_size", None, shape=(4, 5)),
    case("adaptive_max_pool2d", RuntimeError, "adaptive_max_pool2d", 2, shape=(2, 3, 0, 4)),
]
