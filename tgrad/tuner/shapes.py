"""The calls that are tuned where none are given: of model sizes, and tiny ones for the emulator."""

from __future__ import annotations

from tgrad.kernels.samples import FLOAT, Sample, Table, matrix, pointwise, rows, t

FAMILIES = ("softmax", "norm", "loss", "reduction")  # of rows, that have choices
DTYPES = ("bfloat16", "float32")  # what models run in
TINY_DTYPES = ("float32",)


def model_shapes() -> list[Sample]:
    """The samples of kernels that have choices; every expression of pointwise ops has the same."""
    tables = [*matrix.TABLES, *(s for s in rows.TABLES if s.family in FAMILIES), pointwise.s]
    return [sample for table in tables for sample in table.samples]


def tiny_shapes() -> list[Sample]:
    """A call or two of each kernel that has choices, at sizes that the interpreter can run."""
    s = Table("tiny", FLOAT)
    s("nn.functional.linear", t(24, 40), t(20, 40), t(20), backward=False)
    s("matmul", t(24, 40), t(40), backward=False)
    s("nn.functional.conv2d", t(1, 16, 6, 6), t(16, 16, 3, 3), padding=1)
    s("nn.functional.conv2d", t(1, 8, 6, 6), t(8, 1, 3, 3), padding=1, groups=8)  # depthwise
    s("softmax", t(8, 60), 1)
    s("nn.functional.layer_norm", t(8, 60), (60,), t(60), t(60))
    s("sum", t(12, 70), 1, backward=False)
    s("add", t(500), 2.0, backward=False)
    return s.samples
