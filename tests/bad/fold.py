"""Bad input to windows as columns."""

F = "nn.functional."


def case(name, error, message, *args, shape, **options):
    return (F + name, lambda t: ((t.ones(*shape), *args), options), error, message)


def unfold(error, message, *args, shape=(1, 2, 5, 5), **options):
    return case("unfold", error, message, *args, shape=shape, **options)


def fold(error, message, *args, shape=(1, 8, 16), **options):
    return case("fold", error, message, *args, shape=shape, **options)


BAD = [
    unfold(RuntimeError, "kernel size should be greater than zero", 0),
    unfold(RuntimeError, "stride should be greater than zero", 2, stride=0),
    unfold(RuntimeError, "dilation should be greater than zero", 2, dilation=0),
    unfold(RuntimeError, "padding should be non-negative", 2, padding=-1),
    unfold(RuntimeError, "too small", 9),
    unfold(RuntimeError, "kernel_size", (1, 2, 3)),
    unfold(RuntimeError, "Expected 3D or 4D", 2, shape=(2, 0, 5, 5)),
    unfold(IndexError, "Dimension out of range", 2, shape=(5, 5)),
    (F + "unfold", lambda t: (t.ones(2, 4, 4).int(), 2), NotImplementedError, "unfold"),
    fold(RuntimeError, "divisible by the product of kernel_size", 5, 3),
    fold(RuntimeError, "number of sliding blocks 3 * 3 = 9", 4, 2),
    fold(RuntimeError, "positive output_size", 0, 2),
    fold(RuntimeError, "kernel size should be greater than zero", 5, 0),
    fold(RuntimeError, "Expected 2D or 3D", 5, 2, shape=(8,)),
    fold(RuntimeError, "Expected 2D or 3D", 5, 2, shape=(1, 8, 1, 16)),
    (F + "fold", lambda t: (t.ones(8, 16).int(), 5, 2), NotImplementedError, "fold"),
]
