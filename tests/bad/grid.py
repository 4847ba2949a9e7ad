"""Bad input to sampling at points."""


def sampling(error, message, shape=(2, 3, 4, 5), points=(2, 6, 7, 2), kinds=("float32",) * 2, **o):
    def make(t):
        x, grid = (
            t.zeros(*n).to(getattr(t, k)) for n, k in zip((shape, points), kinds, strict=True)
        )
        return (x, grid), {"align_corners": False, **o}

    return ("nn.functional.grid_sample", make, error, message)


def affine(error, message, theta=(1, 2, 3), size=(1, 1, 2, 3), dtype="float32"):
    return (
        "nn.functional.affine_grid",
        lambda t: (t.ones(*theta).to(getattr(t, dtype)), size, False), error, message,
    )  # fmt: skip


BAD = [
    sampling(ValueError, "expected mode to be", mode="linear"),
    sampling(ValueError, "expected padding_mode to be", padding_mode="circular"),
    sampling(RuntimeError, "same batch size", points=(1, 6, 7, 2)),
    sampling(RuntimeError, "size 2 in last dimension", points=(2, 6, 7, 3)),
    sampling(RuntimeError, "grid_sampler()", points=(6, 7, 2)),
    sampling(RuntimeError, "grid_sampler()", shape=(3, 4, 5), points=(6, 7, 2)),
    sampling(RuntimeError, "only supports 4D input", (2, 2, 3, 4, 5), (2, 1, 1, 1, 3),
             mode="bicubic"),
    sampling(RuntimeError, "non-empty spatial", (2, 3, 4, 0)),
    sampling(RuntimeError, "float64", kinds=("float32", "float64")),
    sampling(NotImplementedError, "not implemented", kinds=("int32", "int32")),
    affine(ValueError, "floating point type", dtype="int32"),
    affine(ValueError, "shape Nx2x3", (2, 3)),
    affine(ValueError, "shape Nx2x3", (1, 3, 4)),
    affine(ValueError, "shape Nx3x4", size=(1, 1, 2, 3, 4)),
    affine(ValueError, "positive output size", size=(1, 1, 0, 3)),
    affine(NotImplementedError, "only supports 4D and 5D", size=(1, 1, 2)),
    affine(RuntimeError, "", size=(2, 1, 2, 3)),
    affine(TypeError, "", size=(1, 1, 2.0, 3)),
]  # fmt: skip
