"""Attention on a GPU: what its kernels are launched with."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.attention_backward import (
    attention_backward_keys_kernel,
    attention_backward_mask_kernel,
    attention_backward_queries_kernel,
    row_dots_kernel,
)
from tgrad.kernels.cuda.attention_kernels import attention_kernel
from tgrad.kernels.cuda.attention_tiles import SLICED, config, instead
from tgrad.kernels.cuda.configs import Config
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import is_wide
from tgrad.kernels.cuda.matmul import accumulator
from tgrad.kernels.cuda.random import signed
from tgrad.kernels.cuda.tiles import kind_of, machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.precision import input_precision

LOG2E = 1.4426950408889634
LANES = 8  # 32-bit integers of a Philox block
PAST = 1 << 16  # elements by which offsets of a last tile may pass the end


class Problem:
    """One call: sizes, strides and compile-time constants that all kernels take."""

    def __init__(self, q, k, v, mask, scale, causal, p, key, counter, others=()):
        self.q, self.k, self.v = q, k, v
        self.B, self.L, self.H, self.D = q.shape
        _, self.S, self.few, self.DV = v.shape
        self.groups = self.H // self.few if self.few else 1
        self.mask = mask
        masked = "none" if mask is None else "bool" if mask.dtype == np.bool_ else "float"
        dtype = q.dtype
        self.acc, wide = accumulator(dtype)
        number = np.float64 if wide == np.float64 else float
        self.bits = (
            number(1 / (1 - p)), signed(key), signed(counter),
            np.int64(min(int(p * 2.0**32 + 0.5), 2**32 - 1)), -(-self.S // LANES),
        )  # fmt: skip
        self.scale = number(scale * LOG2E)
        precision = input_precision()
        arrays = (q, k, v, *others)
        aligned = all(
            x.steps[-1] == 1 and x.ptr % 16 == 0 and all(s % 16 == 0 for s in x.steps[:-1])
            for x in arrays
        )
        self.kind = kind_of(dtype, precision, aligned)
        self.BLOCK_D, self.BLOCK_DV = (
            max(triton.next_power_of_2(n), 16) for n in (self.D, self.DV)
        )
        reach = [abs(x.steps[1]) * (x.shape[1] + PAST) for x in arrays]
        if mask is not None:
            reach.append(
                sum(
                    abs(s) * (n + PAST) for s, n in zip(mask.steps[2:], mask.shape[2:], strict=True)
                )
            )
        self.constants = {
            "MASK": masked, "CAUSAL": bool(causal), "DROP": p > 0, "ACC": self.acc,
            "EVEN_D": self.BLOCK_D == self.D, "EVEN_DV": self.BLOCK_DV == self.DV,
            "BLOCK_D": self.BLOCK_D, "BLOCK_DV": self.BLOCK_DV, "PRECISION": precision,
            "SLICED": SLICED.get(self.kind, 512) <= max(self.BLOCK_D, self.BLOCK_DV)
            and min(self.BLOCK_D, self.BLOCK_DV) >= 32,
            "UPCAST": dtype.name == "bfloat16" and cuda.is_emulated(), "WIDE": is_wide(*reach),
        }  # fmt: skip

    def mask_argument(self) -> tuple[CudaArray, tuple[int, ...]]:
        """The mask, or any array in its place, and its strides by batch, head, query and key."""
        if self.mask is None:
            return self.q, (0, 0, 0, 0)
        return self.mask, tuple(
            0 if n == 1 else s for n, s in zip(self.mask.shape, self.mask.steps, strict=True)
        )

    def tile(self, name: str) -> Config:
        features = max(self.BLOCK_D, self.BLOCK_DV)
        more = self.constants["DROP"] or self.mask is not None
        return config(name, self.kind, more, (self.L, self.S, features, self.B * self.H))

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.H, self.groups, self.L, self.S, self.D, self.DV

    def launch(self, kernel: Any, choice: Config, programs: int, *args: Any, **more: Any) -> None:
        cuda.launch(
            kernel, (programs,), *args, BLOCK_M=choice.block_m, BLOCK_N=choice.block_n,
            num_warps=choice.num_warps, num_stages=choice.num_stages, **{**self.constants, **more},
        )  # fmt: skip


@kernel("_attention", "cuda")
def _attention(y, lse, q, k, v, mask, scale, causal, p, key, counter):
    if lse.size == 0:
        return
    o = Problem(q, k, v, mask, scale, causal, p, key, counter)
    m, m_steps = o.mask_argument()
    c = o.tile("attention")
    keep, *bits = o.bits
    o.launch(
        attention_kernel, c, triton.cdiv(o.L, c.block_m) * o.B * o.H,
        y, lse, q, k, v, m, o.scale, keep, *bits, *o.sizes,
        *y.steps, *q.steps, *k.steps, *v.steps, *m_steps,
    )  # fmt: skip


@kernel("_row_dots", "cuda")
def _row_dots(delta, g, y):
    if delta.size == 0:
        return
    _, length, heads, features = y.shape
    block_d = triton.next_power_of_2(max(features, 1))
    block_m = max(2048 // block_d, 1)
    cuda.launch(
        row_dots_kernel, (triton.cdiv(delta.size, block_m),), delta, g, y, delta.size, length,
        heads, features, *g.steps, *y.steps, ACC=accumulator(y.dtype)[0], BLOCK_M=block_m,
        BLOCK_D=block_d,
    )  # fmt: skip


@kernel("attention_backward", "cuda")
def attention_backward(dq, dk, dv, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter):
    o = Problem(q, k, v, mask, scale, causal, p, key, counter, (g,))
    m, m_steps = o.mask_argument()
    shared = (g, q, k, v, m, lse, delta, o.scale, *o.bits, *o.sizes)
    steps = (*g.steps, *q.steps, *k.steps, *v.steps, *m_steps)
    if dk.size or dv.size:
        c = o.tile("attention_backward_keys")
        # One program's sums of 256 features in float64 leave 8 bytes too few registers.
        parts = 2 if o.constants["SLICED"] and o.kind == "float64" and c.block_k == 256 else 1
        o.launch(
            attention_backward_keys_kernel, c, triton.cdiv(o.S, c.block_n) * o.B * o.few * parts,
            dk, dv, *shared, *dk.steps, *dv.steps, *steps, PARTS=parts,
        )  # fmt: skip
    if dq.size:
        c = o.tile("attention_backward_queries")
        o.launch(
            attention_backward_queries_kernel, c, triton.cdiv(o.L, c.block_m) * o.B * o.H,
            dq, *shared, *dq.steps, *steps,
        )  # fmt: skip


@kernel("attention_backward_mask", "cuda")
def attention_backward_mask(
    dm, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter
):  # fmt: skip
    o = Problem(q, k, v, mask, scale, causal, p, key, counter, (g,))
    if dm.size == 0:
        return
    if lse.size == 0 or o.S == 0:
        _fill(dm, dm, 0)
        return
    m, m_steps = o.mask_argument()
    features = max(o.BLOCK_D, o.BLOCK_DV)
    c = instead(machine().arch, "attention_backward_mask", o.kind, features, True)
    c = c or o.tile("attention_backward_queries")
    if o.kind == "ragged" and c.block_k == 256:  # whole rows spill 32 bytes
        o.constants["SLICED"] = True
    batches, masks, one_row, one_column = dm.shape[0], dm.shape[1], dm.shape[2], dm.shape[3]
    one_row, one_column = one_row == 1, one_column == 1
    tiles_m = 1 if one_row else triton.cdiv(o.L, c.block_m)
    tiles_n = 1 if one_column else triton.cdiv(o.S, c.block_n)
    if o.constants["SLICED"]:  # 8 warps spill 16 bytes in float64, 68 in float32
        c = c._replace(num_warps=4)
    del o.constants["MASK"]
    o.launch(
        attention_backward_mask_kernel, c, batches * masks * tiles_m * tiles_n,
        dm, g, q, k, v, m, lse, delta, o.scale, *o.bits, *o.sizes, masks, o.B // batches,
        o.H // masks, *dm.steps, *g.steps, *q.steps, *k.steps, *v.steps, *m_steps,
        ONE_ROW=one_row, ONE_COLUMN=one_column,
    )  # fmt: skip
