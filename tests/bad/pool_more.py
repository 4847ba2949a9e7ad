"""Bad input to the poolings that are made of others."""

F = "nn.functional."


def lp(error, message, *args, name="lp_pool2d", shape=(1, 2, 4, 4)):
    return (F + name, lambda t: (t.ones(*shape), *args), error, message)


def unpool(error, message, *args, name="max_unpool2d", shape=(1, 2, 2, 2), at=0, kind="int64",
           index=None, **options):  # fmt: skip
    def make(t):
        indices = t.zeros(*(index or shape)).to(getattr(t, kind)) + at
        return (t.ones(*shape), indices, *args), options

    return (F + name, make, error, message)


def fractional(error, message, *args, name="fractional_max_pool2d", shape=(1, 2, 6, 6), **options):
    return (F + name, lambda t: ((t.ones(*shape), *args), options), error, message)


def sampled(error, message, *shape, dtype="float32"):
    def make(t):
        samples = t.zeros(*shape).to(getattr(t, dtype))
        return (t.ones(1, 2, 6, 6), 2, 2), {"_random_samples": samples}

    return (F + "fractional_max_pool2d", make, error, message)


BAD = [
    lp(ZeroDivisionError, "zero", 0, 2),
    lp(TypeError, "", "a", 2),
    lp(IndexError, "Dimension out of range", 2, 2, shape=(4, 4)),
    lp(RuntimeError, "stride should not be zero", 2, 2, 0, name="lp_pool1d", shape=(1, 2, 4)),
    (F + "lp_pool1d", lambda t: (t.ones(1, 4).int(), 2, 2), NotImplementedError, "not implemented"),
    unpool(RuntimeError, "should be type int64", 2, kind="int32"),
    unpool(RuntimeError, "Expected shape of indices", 2, index=(1, 1, 2, 2)),
    unpool(RuntimeError, "out of bounds", 2, at=16),
    unpool(RuntimeError, "out of bounds", 2, at=-1),
    unpool(RuntimeError, "3d or 4d Tensor", 2, shape=(2, 2)),
    unpool(RuntimeError, "non-zero size for non-batch", 2, shape=(2, 0, 2, 2)),
    unpool(ValueError, "dim 0 must be between 2 and 6", 2, output_size=(9, 9)),
    unpool(ValueError, "containing 2 or 4", 2, output_size=(4, 4, 4)),
    unpool(ValueError, "non-negative spatial", 2, 2, 3),
    unpool(RuntimeError, "strides should be greater", 2, 0, name="max_unpool3d",
           shape=(2, 2, 2, 2)),
    unpool(RuntimeError, "4d or 5d Tensor", 2, name="max_unpool3d", shape=(2, 2, 2)),
    (F + "max_unpool2d", lambda t: (t.ones(2, 2, 2).int(), t.zeros(2, 2, 2).long(), 2),
     NotImplementedError, "max_unpool2d"),
    fractional(ValueError, "requires specifying either", 2),
    fractional(RuntimeError, "pool height 3 too large", 3, 5),
    fractional(ValueError, "output_ratio", 2, None, (0.5, 0.5, 0.5)),
    fractional(IndexError, "Dimension out of range", 2, 2, shape=(6, 6)),
    fractional(RuntimeError, "kernel_size", (2, 2, 2), 2),
    fractional(RuntimeError, "output_size", 2, (2, 2, 2)),
    fractional(RuntimeError, "negative dimension", 2, -1),
    fractional(RuntimeError, "batch", 2, 2, shape=(1, 0, 6, 6)),
    fractional(RuntimeError, "pool time 3 too large", 3, 5, name="fractional_max_pool3d",
               shape=(1, 6, 6, 6)),
    (F + "fractional_max_pool2d", lambda t: (t.ones(2, 6, 6).int(), 2, 2), NotImplementedError,
     "not implemented"),
    sampled(RuntimeError, "_random_samples of shape (1, 2, 2)", 1, 2, 3),
    sampled(RuntimeError, "_random_samples of shape (1, 2, 2)", 1, 1, 2),
    sampled(RuntimeError, "same dtype", 1, 2, 2, dtype="float64"),
]  # fmt: skip
