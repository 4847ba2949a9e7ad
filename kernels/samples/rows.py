"""Samples of ops that work along rows or columns: softmax, norms, losses, reductions."""

from __future__ import annotations

from tgrad.kernels.samples import ALL, FLOAT, NUMBER, Table, i, t

ODD = "rows of an odd length start off 16 bytes"
FEW = "a few numbers a program"

softmax = Table("softmax")
for name in ("softmax", "log_softmax"):
    softmax(name, t(8192, 4096), 1)  # in registers
    softmax(name, t(2048, 151936), 1)  # walked: logits of a language model
    softmax(name, t(16, 151936), 1)  # few of them: split over programs
    softmax(name, t(32, 64, 128, 64), 1)  # along an inner axis
    softmax(name, t(8192, 1000, layout="strided"), 1, backward=False, narrow="strided")
    softmax(name, t(8192, 1001), 1, narrow=ODD)
    softmax(name, t(65536, 40960), 1, backward=False)  # 64-bit offsets

norm = Table("norm")
norm("nn.functional.layer_norm", t(8192, 4096), (4096,), t(4096), t(4096))
norm("nn.functional.layer_norm", t(8192, 768), (768,))
norm("nn.functional.layer_norm", t(2048, 65536), (65536,), t(65536), t(65536))
norm("nn.functional.layer_norm", t(16, 1 << 20), (1 << 20,), t(1 << 20), t(1 << 20))  # split
norm("nn.functional.layer_norm", t(8192, 1023), (1023,), t(1023), t(1023), narrow=ODD)
norm("nn.functional.rms_norm", t(8192, 4096), (4096,), t(4096))
norm("nn.functional.rms_norm", t(2048, 65536), (65536,), t(65536))
norm("nn.functional.group_norm", t(32, 256, 56, 56), 32, t(256), t(256))

batch_norm = Table("batch_norm")
for layout, narrow in (("contiguous", ""), ("channels_last", "x and gradient lie differently")):
    batch_norm("nn.functional.batch_norm", t(32, 256, 56, 56, layout=layout),
               t(256, dtype="float32"), t(256, dtype="float32"), t(256), t(256), training=True,
               dtypes=("float32",), narrow=narrow)  # fmt: skip
    batch_norm("nn.functional.batch_norm", t(32, 256, 56, 56, layout=layout), None, None,
               t(256), t(256), training=True, narrow=narrow)  # fmt: skip
batch_norm("nn.functional.batch_norm", t(32, 256, 56, 56, layout="channels_last"), None, None,
           t(256), t(256), training=True, backward=False)  # fmt: skip
batch_norm("nn.functional.batch_norm", t(32, 256, 56, 56), None, None, training=True)
batch_norm("nn.functional.batch_norm", t(8192, 1024), None, None, t(1024), t(1024), training=True)

loss = Table("loss")
for reduction in ("mean", "none"):
    loss("nn.functional.cross_entropy", t(8192, 32000), i(8192), reduction=reduction)
    loss("nn.functional.cross_entropy", t(16, 151936), i(16), reduction=reduction,
         narrow="split: the last launch reads one logit a row")  # fmt: skip
    loss("nn.functional.nll_loss", t(8192, 32000), i(8192), reduction=reduction, narrow="gathers")
loss("nn.functional.cross_entropy", t(8192, 1000), i(8192), t(1000))
loss("nn.functional.cross_entropy", t(8192, 10), i(8192), narrow=FEW)
loss("nn.functional.cross_entropy", t(16, 32, 256, 256), i(16, 256, 256))  # per pixel

ctc = Table("ctc", ("float32", "float64"))
ctc("nn.functional.ctc_loss", t(500, 32, 5000), t(32, 60, dtype="int64"), (500,) * 32, (60,) * 32,
    narrow="gathers labels")  # fmt: skip
ctc("nn.functional.ctc_loss", t(2000, 4, 32), t(4, 700, dtype="int64"), (2000,) * 4, (700,) * 4,
    narrow="gathers labels", zero_infinity=True)  # fmt: skip

dropout = Table("dropout")
dropout("nn.functional.dropout", t(8192, 4096), 0.1)

norms = Table("norms")
for p in (1, 2, 3, float("inf")):
    norms("linalg.vector_norm", t(8192, 4096), p, 1)
norms("logsumexp", t(8192, 4096), 1)
norms("logsumexp", t(4096, 8192), 0)

statistics = Table("statistics")
for name in ("var_mean", "std_mean"):
    statistics(name, t(8192, 4096), 1)
    statistics(name, t(8192, 4096), 0)
    statistics(name, t(16, 1 << 22), 1)  # split rows

reduction = Table("reduction")
for name in ("sum", "mean", "nansum", "prod", "any", "all", "count_nonzero"):
    kinds = FLOAT if name == "mean" else ALL
    for shape, dim in (((8192, 4096), 1), ((8192, 4096), 0)):
        reduction(name, t(*shape), dim, dtypes=kinds, backward=name != "prod")
    if name != "prod":
        reduction(name, t(1 << 26), dtypes=kinds, backward=False)  # split, and a second pass
reduction("prod", t(8192, 4096), 1)
reduction("sum", t(32, 256, 56, 56), (0, 2, 3))
reduction("sum", t(8192, 4096, layout="strided"), 1, backward=False, narrow="strided")
reduction("sum", t(8192, 1001), 1, backward=False, narrow=ODD)
reduction("sum", t(65536, 65536), 1, backward=False)  # 64-bit offsets

extrema = Table("extrema", NUMBER)
for name in ("amax", "amin", "argmax", "argmin"):
    for dim in (0, 1):
        extrema(name, t(8192, 4096), dim)
extrema("max", t(8192, 4096), 1)
extrema("min", t(8192, 4096), 0)
extrema("argmax", t(1 << 26), backward=False)
extrema("pick", t(8192, 4096), i(8192, 16), 1, narrow="gathers")
extrema("place", t(8192, 16), i(8192, 16), 1, 4096, narrow="scatters")

TABLES = [softmax, norm, batch_norm, loss, ctc, dropout, norms, statistics, reduction, extrema]
