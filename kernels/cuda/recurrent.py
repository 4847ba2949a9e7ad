"""Recurrent layers: one launch for all steps of a layer in one direction, products around it.

The projections of x are one matrix product before the recurrence, the gradients of x and of the
weights one each behind it, over all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import OPS, kernel
from tgrad.kernels.cuda.configs import Case, Space, array, ask, away, declare, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import SHARED_MEMORY, family
from tgrad.kernels.cuda.matmul import gemm
from tgrad.kernels.cuda.norm import dense
from tgrad.kernels.cuda.recurrent_kernels import recurrence_backward_kernel, recurrence_kernel
from tgrad.kernels.cuda.reduction import _sum
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.precision import input_precision

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
KEPT = {"tanh": 0, "relu": 0, "gru": 4, "lstm": 4}


class Tile(NamedTuple):
    """Sequences, hidden units and length of a product's step of a program's tile."""

    block_n: int
    block_h: int
    block_k: int
    num_warps: int
    num_stages: int


# Of a pass forward, which keeps four sums a hidden unit, and of one backward, which keeps one.
TILES = {
    "half": (Tile(16, 64, 64, 4, 3), Tile(16, 64, 64, 4, 4)),
    "tf32": (Tile(16, 32, 32, 4, 4), Tile(16, 64, 32, 4, 4)),
    "tf32x3": (Tile(16, 32, 32, 4, 2), Tile(16, 32, 32, 4, 3)),
    "ieee": (Tile(16, 16, 32, 4, 2), Tile(16, 16, 16, 4, 2)),
    "float64": (Tile(16, 16, 16, 8, 2), Tile(16, 16, 16, 4, 2)),
}
EMULATED = Tile(16, 16, 16, 4, 1)


def settings(x: CudaArray, batch: int, hidden: int, cell: str, back: bool) -> dict[str, Any]:
    """Tile and constants of a launch for the dtype of x; a tuner's choice comes first."""
    size = x.dtype.itemsize
    precision = input_precision() if size == 4 else "ieee"
    kind = "half" if size == 2 else "float64" if size == 8 else precision
    name = "recurrent_backward" if back else "recurrent"
    t = ask(name, kind, (batch, hidden), cell) or rule(cuda.is_emulated(), kind, back)
    most = max(16, triton.next_power_of_2(hidden))
    return {
        "ACC": tl.float64 if size == 8 else tl.float32, "PRECISION": precision,
        "UPCAST": x.dtype.name == "bfloat16" and cuda.is_emulated(), "BLOCK_N": t.block_n,
        "BLOCK_H": min(t.block_h, most), "BLOCK_K": min(t.block_k, most),
        "num_warps": t.num_warps, "num_stages": t.num_stages,
    }  # fmt: skip


def rule(emulated: bool, kind: str, back: bool) -> Tile:
    return EMULATED if emulated else TILES[kind][back]


def shipped(case: Case) -> Tile:
    return rule(case.arch == 0, case.kind, case.kernel == "recurrent_backward")


def refusal(c: Tile, case: Case) -> str:
    """Why a tile cannot be good, "" where it may be: operands on their way must fit on chip."""
    batch, hidden = case.sizes
    if c.block_n > max(16, batch) or c.block_h > max(16, hidden) or c.block_k > max(16, hidden):
        return "is larger than the layer"
    size = {"half": 2, "float64": 8}.get(case.kind, 4)
    gates = 1 if case.kernel == "recurrent_backward" else GATES[case.layout]
    needed = c.num_stages * c.block_k * (c.block_n + gates * c.block_h) * size
    limit = SHARED_MEMORY[family(case.arch)]
    return f"needs {needed} of {limit} bytes of shared memory" if needed > limit else ""


def order(c: Tile, case: Case) -> float:
    """Sooner: near the rule's tile."""
    return sum(away(a, b) for a, b in zip(c, shipped(case), strict=True))


VALUES = {
    "block_n": (16, 32, 64), "block_h": (16, 32, 64, 128), "block_k": (16, 32, 64, 128),
    "num_warps": (2, 4, 8), "num_stages": (1, 2, 3, 4),
}  # fmt: skip
TINY = example(
    "_recurrence", array(15, 7), array(76, 7), array(76, 19), array(76), array(76), None,
    array(5, 19), array(5, 19), None, "lstm", False, True, backward=True,
)  # fmt: skip


def scale(call: Any) -> float:
    """Of states that stay finite, and forget what was rounded."""
    weight = call.args[7 if call.op == "_recurrence" else 13]  # (gates H, P)
    return weight.shape[1] ** -0.5


def run_forward(device: str, args: Sequence[Any]) -> None:
    """Fill y, cells and gates of a call backward; the last states go where dh and dc will be."""
    dh, dc, y, cells, gates, cell, backwards = (*args[6:8], *args[20:25])
    forward = OPS["_recurrence"].kernel(device)
    assert forward is not None
    forward(y, dh, dc, cells, gates, *args[11:20], cell, backwards, True)


declare(
    Space("recurrent", VALUES, refusal, Tile, lambda case: [shipped(case)], order, tiny=TINY,
          scale=scale, private=(3, 4))
)  # fmt: skip
declare(
    Space("recurrent_backward", VALUES, refusal, Tile, lambda case: [shipped(case)], order,
          tiny=TINY, scale=scale, ready=run_forward)
)  # fmt: skip


def accumulating(out: CudaArray) -> CudaArray:
    """``out`` itself where it is exact enough to be carried from step to step, else a buffer."""
    return out if out.dtype.itemsize >= 4 else cuda.empty(out.shape, np.dtype(np.float32))


def ready(a: Any) -> Any:
    return None if a is None else dense(a)


@kernel("_recurrence", "cuda")
def _recurrence(
    y, h_n, c_n, cells, gates, x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets, cell, backwards,
    keep,
):  # fmt: skip
    (batch, out), rows, hidden = h.shape, x.shape[0], w_ih.shape[0] // GATES[cell]
    if not rows:
        copy(h_n, h)
        if c is not None:
            copy(c_n, c)
        return
    w, b, w_hr, h, c, offsets = map(ready, (w_hh, b_hh, w_hr, h, c, offsets))
    kept = KEPT[cell]
    if kept and not keep:
        gates = cuda.empty((rows, kept * hidden), x.dtype)
    projected = gates[:, : GATES[cell] * hidden] if kept else y
    gemm(projected, x, w_ih.transpose(), 1, 1, b_ih)
    state = cuda.empty((2, batch, out), x.dtype)
    carried = accumulating(c_n) if c is not None else state
    s = settings(x, batch, hidden, cell, False)
    cuda.launch(
        recurrence_kernel, (triton.cdiv(batch, s["BLOCK_N"]),),
        y, h_n, carried, cells if c is not None and keep else state, gates if kept else y, state,
        state if w_hr is None else cuda.empty((batch, hidden), x.dtype), w,
        w if b is None else b, w if w_hr is None else w_hr, h, h if c is None else c,
        h if offsets is None else offsets, batch, steps_of(rows, batch, offsets), hidden, out,
        CELL=cell, GATES=GATES[cell], KEPT=kept, BACKWARDS=backwards, BIAS=b is not None,
        PROJECT=w_hr is not None, PACKED=offsets is not None, KEEP=keep, **s,
    )  # fmt: skip
    if c is not None and carried is not c_n:
        copy(c_n, carried)


def steps_of(rows: int, batch: int, offsets: CudaArray | None) -> int:
    return rows // batch if offsets is None else offsets.shape[0] - 1


@kernel("recurrence_backward", "cuda")
def recurrence_backward(
    dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr, dh, dc, g_y, g_h, g_c, x, w_ih, w_hh, b_ih, b_hh,
    w_hr, h, c, offsets, y, cells, gates, cell, backwards, needs_x,
):  # fmt: skip
    (batch, out), rows, hidden = h.shape, x.shape[0], w_ih.shape[0] // GATES[cell]
    if not rows:
        for g, passed in ((dh, g_h), (dc, g_c)):
            copy(g, passed) if passed is not None else _fill(g, g, 0)
        for g in (dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr):
            _fill(g, g, 0)
        return
    g_y, g_h, g_c, w, w_hr, h, c, offsets = map(ready, (g_y, g_h, g_c, w_hh, w_hr, h, c, offsets))
    kept = KEPT[cell]
    d = cuda.empty((rows, max(kept, 1) * hidden), x.dtype)
    before = d if offsets is None else cuda.empty((rows, out), x.dtype)
    total = d if w_hr is None else cuda.empty((rows, out), x.dtype)
    m = d if w_hr is None else cuda.empty((rows, hidden), x.dtype)
    carried = accumulating(dh), accumulating(dc)
    s = settings(x, batch, max(hidden, out), cell, True)
    cuda.launch(
        recurrence_backward_kernel, (triton.cdiv(batch, s["BLOCK_N"]),),
        d, carried[0], d if c is None else carried[1], total, m, before,
        *(d if g is None else g for g in (g_y, g_h, g_c)), y, d if c is None else cells,
        gates if kept else d, w, w if w_hr is None else w_hr, h, h if c is None else c,
        h if offsets is None else offsets, batch, steps_of(rows, batch, offsets), hidden, out,
        CELL=cell, GATES=GATES[cell], KEPT=kept, BACKWARDS=backwards, GY=g_y is not None,
        GH=g_h is not None, GC=g_c is not None, PROJECT=w_hr is not None,
        PACKED=offsets is not None, **s,
    )  # fmt: skip
    for end, g in zip((dh, dc), carried, strict=True):
        if g is not end:
            copy(end, g)
    if w_hr is not None:
        gemm(dw_hr, total.transpose(), m)
    of_h = d[:, : GATES[cell] * hidden]
    weight_gradient(dw_hh, of_h, y, h, before if offsets is not None else None, backwards)
    # A gru's new gate has one gradient for x and another for h.
    parts = (
        [(0, 4, 0)] if cell == "lstm" else [(0, 2, 0), (2, 3, 3)] if cell == "gru" else [(0, 1, 0)]
    )
    for k, (first, stop, column) in enumerate(parts):
        gate = slice(first * hidden, stop * hidden)
        of_x = d[:, column * hidden : (column + stop - first) * hidden]
        gemm(dw_ih[gate], of_x.transpose(), x)
        if needs_x:
            gemm(dx, of_x, w_ih[gate], 1, int(k > 0), dx if k else None)
        if b_ih is not None:
            _sum(db_ih[gate], of_x, (0,), False, None)
    if b_ih is not None:
        _sum(db_hh, of_h, (0,), False, None)


def weight_gradient(
    dw: CudaArray, d: CudaArray, y: CudaArray, h: CudaArray, before: CudaArray | None,
    backwards: bool,
) -> None:  # fmt: skip
    """dw = d^T [h before each step]: ``before``, else y one step on with the first state."""
    if before is not None:
        gemm(dw, d.transpose(), before)
        return
    n, rows = h.shape[0], y.shape[0]
    first, later = (slice(rows - n, rows), slice(0, rows - n)) if backwards else (
        slice(0, n), slice(n, rows)
    )  # fmt: skip
    gemm(dw, d[first].transpose(), h)
    if rows > n:
        earlier = slice(n, rows) if backwards else slice(0, rows - n)
        gemm(dw, d[later].transpose(), y[earlier], 1, 1, dw)
