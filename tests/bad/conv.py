"""Bad input to convolutions."""


def x(t, *shape):
    return t.ones(*(shape or (2, 4, 5, 5)))


def w(t, *shape):
    return t.ones(*(shape or (6, 4, 3, 3)))


def case(error, message, *, name="conv2d", image=(), weight=(), **options):
    return (name, lambda t: ((x(t, *image), w(t, *weight)), options), error, message)


BAD = [
    case(RuntimeError, "to have 3 channels, but got 4 channels instead", weight=(6, 3, 3, 3)),
    case(RuntimeError, "to have 12 channels, but got 4 channels instead", groups=3),
    case(RuntimeError, "divisible by 4 at dimension 0", weight=(6, 2, 3, 3), groups=4),
    case(RuntimeError, "non-positive groups is not supported", groups=0),
    case(RuntimeError, "expected weight to be at least 1", weight=(0, 4, 3, 3)),
    case(RuntimeError, "Kernel size can't be greater", image=(2, 4, 2, 2)),
    case(RuntimeError, "(2 x 7). Kernel size: (3 x 3)", image=(2, 4, 0, 5), padding=1),
    case(RuntimeError, "non-positive stride", stride=0),
    case(RuntimeError, "negative padding", padding=-1),
    case(RuntimeError, "non-positive dilation", dilation=(1, 0)),
    case(RuntimeError, "list of 2 values", stride=(1, 2, 3)),
    case(RuntimeError, "Invalid padding string: 'full'", padding="full"),
    case(RuntimeError, "not supported for strided", padding="same", stride=2),
    case(RuntimeError, "3D (unbatched) or 4D (batched)", image=(5, 5)),
    case(RuntimeError, "3D (unbatched) or 4D (batched)", image=(1, 1, 4, 5, 5)),
    case(RuntimeError, "conv2d", weight=(6, 4, 3)),
    case(TypeError, "stride", stride=1.5),
    case(TypeError, "padding", padding=None),
    ("conv2d", lambda t: (x(t), w(t), t.ones(5)), RuntimeError, "bias to be 1-dimensional with 6"),
    ("conv2d", lambda t: (x(t), w(t), t.ones(1, 6)), RuntimeError, "bias to be 1-dimensional"),
    ("conv2d", lambda t: (x(t), w(t).double()), RuntimeError, "should be the same"),
    ("conv2d", lambda t: (x(t), w(t), t.ones(6).double()), RuntimeError, "bias type"),
    ("conv2d", lambda t: (x(t), "w"), TypeError, "conv2d()"),
    ("conv2d", lambda t: (x(t).bool(), w(t).bool()), NotImplementedError, "not implemented for"),
    case(RuntimeError, "to conv1d", name="conv1d", weight=(6, 4, 3)),
    case(RuntimeError, "size: (7)", name="conv1d", image=(5, 5), weight=(6, 5, 7)),
    case(RuntimeError, "to have 3 channels", name="conv_transpose2d", weight=(3, 6, 3, 3)),
    case(RuntimeError, "output padding must be smaller", name="conv_transpose2d",
         weight=(4, 6, 3, 3), output_padding=1),
    case(RuntimeError, "negative output_padding", name="conv_transpose2d", weight=(4, 6, 3, 3),
         output_padding=-1),
    case(TypeError, "padding", name="conv_transpose2d", weight=(4, 6, 3, 3), padding="same"),
    case(RuntimeError, "4D (unbatched) or 5D (batched)", name="conv3d", image=(4, 5, 5)),
    case(RuntimeError, "5-dimensional weight", name="conv3d", image=(4, 5, 5, 5)),
    case(RuntimeError, "(2 x 5 x 5). Kernel size: (3 x 3 x 3)", name="conv3d",
         image=(4, 2, 5, 5), weight=(6, 4, 3, 3, 3)),
    case(RuntimeError, "list of 3 values", name="conv3d", image=(4, 3, 5, 5),
         weight=(6, 4, 3, 3, 3), padding=(1, 2)),
    case(RuntimeError, "not supported for strided", name="conv3d", image=(4, 3, 5, 5),
         weight=(6, 4, 3, 3, 3), padding="same", stride=(1, 2, 1)),
    case(RuntimeError, "output padding must be smaller", name="conv_transpose3d",
         image=(4, 3, 5, 5), weight=(4, 6, 3, 3, 3), output_padding=(0, 0, 1)),
    ("conv_tbc", lambda t: (t.ones(4, 2), t.ones(2, 2, 3), t.ones(3)), RuntimeError,
     "input must have 3 dims"),
    ("conv_tbc", lambda t: (t.ones(4, 1, 2), t.ones(2, 3, 3), t.ones(3)), RuntimeError,
     "channels"),
]  # fmt: skip
