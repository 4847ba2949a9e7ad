"""Samples of ops that depend on order or chance: sorting, scans, unique, random numbers."""

from __future__ import annotations

from tgrad.kernels.samples import DEVICE, DTYPE, FLOAT, INT, NUMBER, Table, t

NETWORK = "a sort exchanges single elements"
RUNNING = "a scan carries single elements along"
DRAWN = "reads no more than a few weights"

sort = Table("sort", NUMBER)
sort("sort", t(65536, 128), 1, narrow=NETWORK)
sort("sort", t(8192, 4096), 1, True, narrow=NETWORK, dtypes=FLOAT)
sort("sort", t(8, 1 << 20), 1, narrow=NETWORK)  # radix passes
sort("sort", t(8, 1 << 20), 1, True, narrow=NETWORK, dtypes=FLOAT)
sort("sort", t(512, 64, 64), 1, narrow=NETWORK, dtypes=FLOAT)
sort("topk", t(8192, 1000), 5, 1, narrow=NETWORK, dtypes=FLOAT)
sort("median", t(8192, 1000), 1, narrow=NETWORK, dtypes=FLOAT)
sort("mode", t(8192, 1000), 1, narrow=NETWORK)

unique = Table("unique", NUMBER)
unique("unique", t(1 << 20), True, True, True, narrow=NETWORK, backward=False)
unique("unique", t(65536, 4), dim=0, narrow=NETWORK, backward=False, dtypes=FLOAT)
unique("unique_consecutive", t(1 << 20), True, True, narrow=NETWORK, backward=False)

search = Table("search", (*FLOAT, "int32", "int64"))
search("searchsorted", t(4096), t(8192, 1024), backward=False, narrow="probes single elements")
search("searchsorted", t(8192, 512), t(8192, 64), right=True, backward=False,
       narrow="probes single elements")  # fmt: skip

scan = Table("scan", FLOAT)
for name in ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"):
    kinds = NUMBER if name in ("cumsum", "cummax") else FLOAT
    scan(name, t(8192, 4096), 1, narrow=RUNNING, dtypes=kinds)
    scan(name, t(4096, 8192), 0, narrow=RUNNING, dtypes=FLOAT)
    scan(name, t(4, 1 << 22), 1, narrow=RUNNING, dtypes=FLOAT)  # chunks

random = Table("random", FLOAT)
for name in ("uniform_", "normal_", "log_normal_", "exponential_", "cauchy_"):
    random(f"Tensor.{name}", t(1 << 24), backward=False)
random("Tensor.geometric_", t(1 << 24), 0.3, backward=False)
random("Tensor.bernoulli_", t(1 << 24), 0.3, backward=False)
random("bernoulli", t(1 << 24), backward=False)
random("Tensor.random_", t(1 << 24), 0, 100, dtypes=(*FLOAT, *INT[1:]), backward=False)
random("Tensor.random_", t(1 << 24), 0, 1 << 40, dtypes=("int64", "float64"), backward=False)
random("randperm", 1 << 20, dtype=DTYPE, device=DEVICE, dtypes=("int32", "int64"),
       narrow=NETWORK, backward=False)  # fmt: skip
for replacement in (False, True):
    random("multinomial", t(64, 32000), 64, replacement, narrow=DRAWN, backward=False)

TABLES = [sort, unique, search, scan, random]
