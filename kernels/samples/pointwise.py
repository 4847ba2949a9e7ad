"""Samples of the pointwise ops: every expression in every dtype, and every way to address arrays.

Each expression is compiled flat, on contiguous arrays; how operands are addressed does not depend
on the expression, so that the other ways are sampled with one.
"""

from __future__ import annotations

from typing import Any

from tgrad import dtypes
from tgrad.autograd.recorded import Together
from tgrad.kernels.cuda.pointwise import is_heavy
from tgrad.kernels.samples import ALL, FLOAT, HALF, INT, Table, b, t
from tgrad.pointwise import Pointwise
from tgrad.registry import OPS

N = 1 << 24


def accepted(entry: Pointwise) -> tuple[str, ...]:
    """The dtypes that the op is compiled for. Backward ops see floats alone."""
    names: tuple[str, ...] = ()
    if dtypes.FLOAT in entry.accepts:
        names += FLOAT
    if entry.name.endswith("_backward"):
        return names
    if dtypes.INT in entry.accepts and "float" not in entry.results:
        names += INT
    if dtypes.BOOL in entry.accepts and not entry.refuses_bool and "float" not in entry.results:
        names += ("bool",)
    return names


def argument(entry: Pointwise, k: int) -> Any:
    """A tensor for an operand (of bool for a condition), and 1 for a number without a default."""
    if k in entry.tensors:
        return b(N) if k in entry.program.conditions else t(N)
    default = entry.defaults[k]
    return {"bool": False}.get(str(default), 1) if default is entry.signature.empty else default


def every_expression() -> list[Table]:
    tables = []
    seen = set()
    for rule in [rule for entry in OPS.values() for rule in entry.rules]:
        if isinstance(rule, Together):  # which declares its parts when they are asked for
            for k in range(len(rule.targets)):
                rule.alone(k)
    for entry in OPS.values():
        if not isinstance(entry, Pointwise) or entry.card in seen:
            continue
        seen.add(entry.card)
        if not accepted(entry):  # of complex numbers alone
            continue
        s = Table(entry.family, accepted(entry))
        arguments = [argument(entry, k) for k in range(entry.arity)]
        narrow = "a thread computes one element" if is_heavy(entry) else ""
        s(entry.name, *arguments, backward=False, narrow=narrow)
        tables.append(s)
    return tables


s = Table("pointwise", ALL)
STRIDED = "neighbours lie apart in memory"
s("add", t(N), 2, backward=False)
s("add", t(N + 3), t(N + 3), dtypes=FLOAT, backward=False)  # a masked tail
s("add", t(N, layout="misaligned"), t(N), dtypes=FLOAT, backward=False, narrow="off 16 bytes")
s("add", t(4096, 4096, layout="strided"), t(4096, 4096), dtypes=FLOAT, backward=False,
  narrow=STRIDED)  # fmt: skip
s("add", t(4096, 4096, layout="transposed"), t(4096, 4096), dtypes=FLOAT, backward=False,
  narrow=STRIDED)  # fmt: skip
s("add", t(8192, 4096), t(4096), dtypes=FLOAT)  # a bias
s("mul", t(32, 256, 56, 56), t(256, 1, 1), dtypes=FLOAT)  # a scale by channel
s("mul", t(32, 256, 56, 56, layout="channels_last"), t(256, 1, 1), dtypes=FLOAT, backward=False)
s("add", t(64, 1, 128, 1), t(32, 1, 256), dtypes=FLOAT, backward=False, narrow=STRIDED)
s("add", t(1 << 16, 1 << 16), t(1 << 16, 1 << 16), dtypes=FLOAT, backward=False)  # 64-bit offsets
s("add", t(1 << 16, 1 << 16), t(1 << 16), dtypes=FLOAT, backward=False)
s("add", t(N), t(N, dtype="float32"), dtypes=HALF, backward=False)
s("mul", t(N), t(N, dtype="float32"), dtypes=INT, backward=False)

TABLES = [s, *every_expression()]
