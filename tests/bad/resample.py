"""Bad input to resampling."""

F = "nn.functional.interpolate"


def case(error, message, *args, shape=(2, 3, 4, 5), dtype="float32", **options):
    return (
        F, lambda t: ((t.ones(*shape).to(getattr(t, dtype)), *args), options), error, message
    )  # fmt: skip


BAD = [
    case(ValueError, "either size or scale_factor"),
    case(ValueError, "only one of size or scale_factor", 3, 2.0),
    case(ValueError, "same number of spatial dimensions", (3, 3, 3)),
    case(ValueError, "same number of spatial dimensions", (3,)),
    case(ValueError, "Input and scale_factor must have", None, (2.0,)),
    case(ValueError, "align_corners option", 3, align_corners=False),
    case(ValueError, "align_corners option", 3, mode="area", align_corners=True),
    case(ValueError, "not meaningful with an explicit size", 3, recompute_scale_factor=True),
    case(ValueError, "Anti-alias option is restricted", 3, antialias=True),
    case(ValueError, "Anti-alias option", 3, mode="linear", antialias=True, shape=(1, 1, 3)),
    case(ValueError, "requires antialias", 3, mode="lanczos"),
    case(ValueError, "align_corners", 3, mode="lanczos", align_corners=True, antialias=True),
    case(TypeError, "size", (2.5, 2.5)),
    case(TypeError, "size", 2.5),
    case(TypeError, "", "two"),
    case(TypeError, "scale_factor", None, "two"),
    case(TypeError, "align_corners", 3, mode="bilinear", align_corners=3),
    case(RuntimeError, "greater than 0", 0),
    case(RuntimeError, "output (H: -1, W: 2)", (-1, 2)),
    case(RuntimeError, "greater than 0", None, 0.1),
    case(RuntimeError, "greater than 0", None, -1.0),
    case(RuntimeError, "", None, float("nan")),
    case(RuntimeError, "input (H: 0, W: 4)", 3, shape=(1, 2, 0, 4)),
    case(RuntimeError, "Non-empty 4D data tensor expected", 3, shape=(1, 0, 4, 4)),
    case(NotImplementedError, "bilinear mode needs 4D input", 3, mode="bilinear", shape=(1, 1, 3)),
    case(NotImplementedError, "linear mode needs 3D input", 3, mode="linear"),
    case(NotImplementedError, "got 2D", 3, shape=(4, 5)),
    case(NotImplementedError, "(got foo)", 3, mode="foo"),
    case(NotImplementedError, "not implemented for", 3, dtype="int32"),
    case(NotImplementedError, "not implemented for", 3, mode="bilinear", dtype="bool"),
    case(NotImplementedError, "not implemented for", 3, mode="area", dtype="uint8"),
    case(NotImplementedError, "not implemented for", 3, mode="linear", dtype="uint8",
         shape=(1, 1, 3)),
]  # fmt: skip
