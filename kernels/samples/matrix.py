"""Samples of matrix products and convolutions: model shapes, and every tile that is shipped."""

from __future__ import annotations

from collections.abc import Callable

import tgrad
from tgrad.kernels.samples import FLOAT, HALF, INT, Sample, Table, b, t

SUMS = "multiplies matrices or vectors; judged by its instructions, not by the width of its loads"
BIG = 4096
# How a and b lie in memory; "ragged" rows start off 16-byte boundaries.
LAYOUTS = {
    "nn": (t(BIG, BIG), t(BIG, BIG)),
    "nt": (t(BIG, BIG), t(BIG, BIG, layout="transposed")),
    "tn": (t(BIG, BIG, layout="transposed"), t(BIG, BIG)),
    "tt": (t(BIG, BIG, layout="transposed"), t(BIG, BIG, layout="transposed")),
}
ODD = 4093
RAGGED = {
    "nn": (t(BIG, ODD), t(ODD, ODD)),
    "nt": (t(BIG, ODD), t(ODD, ODD, layout="transposed")),
    "tn": (t(ODD, BIG, layout="transposed"), t(BIG, ODD)),
    "tt": (t(ODD, BIG, layout="transposed"), t(BIG, ODD, layout="transposed")),
}
# By row of TILES: dtypes, precisions of float32, layouts.
KINDS = {
    "half": (HALF, ("highest",), LAYOUTS),
    "ragged": (HALF, ("highest",), RAGGED),
    "tf32": (("float32",), ("medium",), LAYOUTS),
    "tf32x3": (("float32",), ("high",), LAYOUTS),
    "float32": (("float32",), ("highest",), LAYOUTS),
    "float64": (("float64",), ("highest",), LAYOUTS),
    "int": (INT, ("highest",), {"nn": LAYOUTS["nn"]}),
}


def with_tile(tile: object) -> Callable[..., tgrad.Tensor]:
    """matmul with this tile in the place of the one that the heuristic would choose."""

    def matmul(x: tgrad.Tensor, other: tgrad.Tensor) -> tgrad.Tensor:
        from tgrad.kernels.cuda.matmul import gemm

        y = tgrad.empty((x.shape[0], other.shape[1]), dtype=x.dtype, device=x.device)
        gemm(y.array, x.array, other.array, choice=tile)  # pyright: ignore[reportArgumentType]
        return y

    return matmul


def every_tile(arch: int) -> list[Sample]:
    """Each tile shipped for sm_``arch`` in each dtype and layout, and with K split in one."""
    from tgrad.kernels.cuda.tiles import shipped

    found = []
    for kind, (dtypes, precisions, layouts) in KINDS.items():
        for tile in shipped(kind, arch):
            for precision in precisions:
                for name, operands in layouts.items():
                    for split in (1, 4) if name == "nt" else (1,):
                        found.append(
                            Sample(
                                "matmul", "matmul", operands, {}, dtypes, False, SUMS, precision,
                                run=with_tile(tile._replace(split_k=split)),
                            )
                        )  # fmt: skip
    return found


m = Table("matmul")
m("nn.functional.linear", t(8192, 1024), t(4096, 1024), t(4096), narrow=SUMS)
m("nn.functional.linear", t(8192, 1024), t(4096, 1024), t(4096), narrow=SUMS,
  dtypes=("float32",), precision="medium")  # fmt: skip
m("nn.functional.linear", t(64, 784), t(10, 784), t(10), narrow=SUMS)  # small N, split K
m("nn.functional.linear", t(1, 4096), t(4096, 4096), narrow=SUMS)  # one row: a vector
m("matmul", t(4096, 4096), t(4096), narrow=SUMS, dtypes=(*FLOAT, "int64"))
m("matmul", t(32, 16, 512, 64), t(32, 16, 64, 512), narrow=SUMS)  # attention scores
m("bmm", t(512, 512, 64), t(512, 64, 512), narrow=SUMS)
m("addmm", t(1024), t(2048, 1024), t(1024, 1024), beta=0.5, alpha=2, narrow=SUMS)
m("baddbmm", t(64, 128, 128), t(64, 128, 256), t(64, 256, 128), narrow=SUMS)
m("matmul", t(65536, 65536), t(65536, 1024), backward=False, narrow=SUMS)  # 64-bit offsets

c = Table("conv")
for filters in (128, 64, 32, 16):
    for layout in ("contiguous", "channels_last"):
        c("nn.functional.conv2d", t(32, 64, 56, 56, layout=layout), t(filters, 64, 3, 3),
          t(filters), padding=1, narrow=SUMS)  # fmt: skip
        for precision in ("high", "medium"):
            c("nn.functional.conv2d", t(32, 64, 56, 56, layout=layout), t(filters, 64, 3, 3),
              padding=1, narrow=SUMS, dtypes=("float32",), precision=precision)  # fmt: skip
c("nn.functional.conv2d", t(32, 3, 224, 224), t(64, 3, 7, 7), None, 2, 3, narrow=SUMS)
c("nn.functional.conv2d", t(32, 256, 14, 14), t(1024, 256, 1, 1), narrow=SUMS)
c("nn.functional.conv2d", t(32, 96, 56, 56), t(96, 1, 7, 7), t(96), padding=3, groups=96,
  narrow=SUMS)  # depthwise  # fmt: skip
c("nn.functional.conv2d", t(32, 128, 28, 28), t(128, 32, 3, 3), padding=1, groups=4, narrow=SUMS)
c("nn.functional.conv_transpose2d", t(32, 128, 28, 28), t(128, 64, 2, 2), t(64), 2, narrow=SUMS)
c("nn.functional.conv1d", t(32, 80, 3000), t(512, 80, 3), t(512), padding=1, narrow=SUMS)
c("nn.functional.conv3d", t(8, 64, 16, 28, 28), t(64, 64, 3, 3, 3), t(64), padding=1, narrow=SUMS)
c("nn.functional.conv3d", t(8, 3, 16, 112, 112), t(64, 3, 3, 7, 7), None, (1, 2, 2), (1, 3, 3),
  narrow=SUMS)  # fmt: skip
c("nn.functional.conv3d", t(8, 64, 16, 28, 28), t(64, 1, 3, 3, 3), t(64), padding=1, groups=64,
  narrow=SUMS)  # depthwise  # fmt: skip
c("nn.functional.conv_transpose3d", t(8, 64, 8, 14, 14), t(64, 32, 2, 2, 2), t(32), 2, narrow=SUMS)
c("nn.functional.conv2d", t(512, 64, 256, 512), t(64, 64, 3, 3), padding=1, backward=False,
  narrow=SUMS)  # 64-bit offsets  # fmt: skip

a = Table("attention")
ATTENTION = "nn.functional.scaled_dot_product_attention"


def heads(size: int, length: int = 2048, number: int = 16) -> tuple:
    """Query, key and value as a projection leaves them: (N, L, H, E) in memory."""
    return (t(4, number, length, size, layout="heads"),) * 3


for size in (16, 32, 64, 128, 256):
    for precision in ("highest", "high", "medium"):
        dtypes = ("bfloat16", "float32", "float64") if precision == "highest" else ("float32",)
        a(ATTENTION, *heads(size), is_causal=True, narrow=SUMS, dtypes=dtypes,
          precision=precision)  # fmt: skip
        a(ATTENTION, *heads(size), t(2048, 2048), 0.1, narrow=SUMS, dtypes=dtypes,
          precision=precision)  # fmt: skip
for size in (12, 20, 40, 72, 136):  # rows off 16 bytes
    a(ATTENTION, *heads(size, 2047), is_causal=True, narrow=SUMS, dtypes=("bfloat16",))
    a(ATTENTION, *heads(size, 2047), t(2047, 2047), 0.1, narrow=SUMS, dtypes=("bfloat16",))
a(ATTENTION, *heads(64), narrow=SUMS, dtypes=HALF)
a(ATTENTION, *heads(64), b(4, 1, 1, 2048), narrow=SUMS, dtypes=HALF)
a(ATTENTION, *heads(80), is_causal=True, narrow=SUMS, dtypes=HALF)  # padded to 128
a(ATTENTION, t(4, 32, 2048, 128), t(4, 8, 2048, 128), t(4, 8, 2048, 128), is_causal=True,
  enable_gqa=True, narrow=SUMS, dtypes=HALF)  # fmt: skip
a(ATTENTION, *heads(64), t(16, 1, 2048), narrow=SUMS, dtypes=HALF)  # a mask by head and key

TABLES = [m, c, a]
