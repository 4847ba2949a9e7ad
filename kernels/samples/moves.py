"""Samples of ops that move elements: copies, creation, joins, indexing, scattering, pooling."""

from __future__ import annotations

from typing import Any

import tgrad
from tgrad.kernels.samples import ALL, DEVICE, DTYPE, FLOAT, NUMBER, Table, b, i, t
from tgrad.registry import OPS
from tgrad.update import Update

MOVES = "reads or writes where indices or strides say"
WINDOWS = "neighbouring windows overlap"

copy = Table("copy", ALL)
copy("clone", t(1 << 24), backward=False)
copy("clone", t(4096, 4096, layout="transposed"), backward=False, narrow=MOVES)
for to in ("float32", "float16", "bfloat16", "int64", "bool"):
    copy("copy", t(1 << 24), getattr(tgrad, to), backward=False)
copy("Tensor.copy_", t(8192, 4096), t(4096), backward=False)

creation = Table("creation", ALL)
new: dict[str, Any] = {"dtype": DTYPE, "device": DEVICE}
creation("full", (1 << 24,), 1, **new, backward=False)
creation("arange", 1 << 24, **new, dtypes=NUMBER, backward=False)
creation("linspace", 0, 1, 1 << 24, **new, dtypes=NUMBER, backward=False)
creation("logspace", 0, 1, 1 << 24, **new, dtypes=FLOAT, backward=False)
creation("eye", 4096, **new, backward=False)

arrange = Table("arrange", ALL)
arrange("flip", t(4096, 4096), (1,), narrow=MOVES)
arrange("roll", t(4096, 4096), 7, 1, narrow=MOVES)
arrange("repeat_interleave", t(4096, 64), i(4096), 0, narrow=MOVES, dtypes=FLOAT, backward=False)
arrange("_running_sum", i(1 << 20), narrow="one element a lane", dtypes=("int64",))
arrange("constant_pad_nd", t(4096, 4096), (1, 2, 3, 4), narrow=MOVES)
arrange("tril", t(8, 4096, 4096), narrow="a tile crosses the diagonal")
arrange("triu", t(4096, 4096), narrow="a tile crosses the diagonal")
arrange("diag_embed", t(64, 512), narrow=MOVES)

shape = Table("shape", ALL)
shape("cat", [t(4096, 1024), t(4096, 2048), t(4096, 1024)], 1, narrow=MOVES)
shape("cat", [t(64, 1024)] * 9, 0, narrow=MOVES, dtypes=FLOAT)
shape("cat", [t(4096, 1024, layout="strided"), t(4096, 1024)], 1, narrow=MOVES, dtypes=FLOAT)
shape("stack", [t(4096, 1024), t(4096, 1024)], 1, narrow=MOVES)
shape("Tensor.unfold", t(4096, 4096), 1, 3, 2, narrow=WINDOWS, dtypes=FLOAT)
shape("as_strided", t(1 << 20), (1000, 512), (1024, 2), 3, narrow=MOVES, dtypes=FLOAT)
shape("narrow", t(4096, 4096), 1, 5, 1024, narrow=MOVES, dtypes=FLOAT)

index = Table("index", FLOAT)
index("index_select", t(32000, 1024), 0, i(8192), narrow=MOVES)
index("index_select", t(32000, 1024), 0, i(8192), narrow=MOVES, deterministic=True)
index("_index", t(512, 512, 64), [i(8192), i(8192)], 0, narrow=MOVES, dtypes=ALL)
index("index_put", t(4096, 1024), [i(512)], t(512, 1024), narrow=MOVES)
index("index_put", t(4096, 1024), [i(512)], t(512, 1024), True, narrow=MOVES)
index("index_fill", t(4096, 1024), 0, i(512), 1.0, narrow=MOVES)
index("nonzero", t(4096, 4096), dtypes=ALL, backward=False, narrow="writes where elements are set")
index("nonzero", t(1 << 24), dtypes=("bool",), backward=False, narrow=MOVES)
index("nonzero", t(64, 64, 64), dtypes=("bool",), backward=False, narrow=MOVES)
index("masked_select", t(4096, 4096), b(4096, 4096), narrow=MOVES)

scatter = Table("scatter", FLOAT)
scatter("gather", t(8192, 4096), 1, i(8192, 512), narrow=MOVES)
scatter("gather", t(8192, 4096), 1, i(8192, 512), narrow=MOVES, deterministic=True)
scatter("scatter", t(8192, 4096), 1, i(8192, 512), t(8192, 512), narrow=MOVES)
scatter("scatter", t(8192, 4096), 1, i(8192, 512), 1.0, narrow=MOVES, dtypes=ALL)
scatter("scatter_add", t(8192, 4096), 1, i(8192, 512), t(8192, 512), narrow=MOVES, dtypes=NUMBER)
scatter("scatter_add", t(8192, 4096), 1, i(8192, 512), t(8192, 512), narrow=MOVES,
        deterministic=True)  # fmt: skip
for mode in ("prod", "mean", "amax", "amin"):
    scatter("scatter_reduce", t(8192, 4096), 1, i(8192, 512), t(8192, 512), mode, narrow=MOVES)

embedding = Table("embedding", FLOAT)
for by_frequency in (False, True):
    for deterministic in (False, True):
        embedding("nn.functional.embedding", i(16, 2048), t(32000, 4096), narrow=MOVES,
                  scale_grad_by_freq=by_frequency, deterministic=deterministic)  # fmt: skip

pool = Table("pool", FLOAT)
for layout in ("contiguous", "channels_last"):
    pool("nn.functional.max_pool2d", t(32, 64, 112, 112, layout=layout), 3, 2, 1, narrow=WINDOWS)
    pool("nn.functional.avg_pool2d", t(32, 64, 112, 112, layout=layout), 2, narrow=WINDOWS)
pool("nn.functional.max_pool2d", t(32, 64, 56, 56), 2, return_indices=True, narrow=WINDOWS)
pool("nn.functional.max_pool2d", t(32, 64, 56, 56), 2, dtypes=("int32", "int64"), narrow=WINDOWS)
pool("nn.functional.avg_pool2d", t(32, 64, 57, 57), 3, 2, 1, False, False, 5, narrow=WINDOWS)
pool("nn.functional.adaptive_avg_pool2d", t(32, 512, 15, 15), 7, narrow=WINDOWS)
pool("nn.functional.adaptive_max_pool2d", t(32, 512, 15, 15), 7, narrow=WINDOWS)
pool("nn.functional.avg_pool2d", t(32, 64, 56, 56), 3, 2, 1, True, False, narrow=WINDOWS)
pool("_max_pool2d_winners", t(32, 64, 112, 112), t(32, 64, 56, 56, dtype="uint8"), (56, 56),
     (3, 3), (2, 2), (1, 1), (1, 1), False, backward=False, narrow=WINDOWS)  # fmt: skip

resample = Table("resample", FLOAT)
for mode in ("nearest", "bilinear", "bicubic"):
    resample("nn.functional.interpolate", t(32, 64, 56, 56), scale_factor=2, mode=mode,
             narrow=WINDOWS)  # fmt: skip
    resample("nn.functional.interpolate", t(32, 3, 375, 500, dtype="uint8"), 224, mode=mode,
             backward=False, dtypes=("uint8",), narrow=WINDOWS)  # fmt: skip
for mode in ("bilinear", "bicubic", "lanczos"):
    for kind in (None, "uint8"):
        resample("nn.functional.interpolate", t(32, 3, 375, 500, dtype=kind), 224, mode=mode,
                 antialias=True, backward=kind is None, dtypes=("uint8",) if kind else FLOAT,
                 narrow=WINDOWS)  # fmt: skip
resample("nn.functional.interpolate", t(32, 64, 56, 56, layout="channels_last"), 112,
         mode="bilinear", narrow=WINDOWS)  # fmt: skip
resample("nn.functional.interpolate", t(4, 32, 16, 56, 56), scale_factor=2, mode="trilinear",
         narrow=WINDOWS)  # fmt: skip

model = [t(4096, 1024), t(4096), t(1024, 4096), t(1024)]
optim = Table("optim", FLOAT)


def setting(entry: Update, i: int, flag: bool) -> Any:
    return flag if i in entry.flags else 3.0 if entry.names[i] == "step" else 0.5


for entry in OPS.values():
    if isinstance(entry, Update):
        roles = {
            i: "None" in str(entry.signature.parameters[entry.names[i]].annotation)
            for i in entry.tensors
        }
        for full in (False, True):  # the plainest form of the rule, and the one with all of it
            optim(entry.name, *[
                (model if full or not roles[i] else []) if i in roles else setting(entry, i, full)
                for i in range(entry.arity)
            ], backward=False)  # fmt: skip
one = t(dtype="float32")
optim("_unscale", model, one, one, backward=False)
odd = [t(1000, 333, layout="misaligned")]
optim("_adam_step", odd, odd, odd, odd, [], 3.0, 1e-3, 0.9, 0.999, 1e-8, 0.01, True, False,
      backward=False, narrow="off 16 bytes")  # fmt: skip

TABLES = [copy, creation, arrange, shape, index, scatter, embedding, pool, resample, optim]
