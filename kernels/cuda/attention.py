"""Attention on a GPU: which tile its kernels run with.

The tile depends on the padded head size, of which a program keeps whole rows on chip, and on the
kind of multiplication. A tuner's choice comes first, as in ``tiles.py``.
"""

from __future__ import annotations

import functools
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
from tgrad.kernels.cuda.configs import (
    Case,
    Config,
    Space,
    array,
    away,
    declare,
    example,
    lookup,
    remembers,
)
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import is_wide
from tgrad.kernels.cuda.matmul import accumulator
from tgrad.kernels.cuda.random import signed
from tgrad.kernels.cuda.tiles import SHARED_MEMORY, kind_of, machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.precision import input_precision

LOG2E = 1.4426950408889634
LANES = 8  # 32-bit integers of a Philox block
PAST = 1 << 16  # elements by which offsets of a last tile may pass the end


def tile(queries: int, keys: int, features: int, num_warps: int, num_stages: int) -> Config:
    return Config(queries, keys, features, num_warps, num_stages)


# By kernel and kind of multiplication, for head sizes up to block_k.
TILES: dict[str, dict[str, list[Config]]] = {
    "attention": {
        "half": [
            tile(128, 64, 16, 4, 3), tile(128, 64, 32, 4, 3), tile(128, 64, 64, 4, 3),
            tile(128, 64, 128, 8, 3), tile(64, 32, 256, 8, 2),
        ],
        "ragged": [
            tile(64, 32, 16, 4, 2), tile(64, 32, 32, 4, 2), tile(64, 32, 64, 4, 2),
            tile(64, 32, 128, 8, 2), tile(32, 16, 256, 8, 2),
        ],
        "tf32": [
            tile(64, 32, 16, 4, 3), tile(64, 32, 32, 4, 3), tile(64, 32, 64, 4, 3),
            tile(64, 32, 128, 8, 2), tile(32, 16, 256, 8, 2),
        ],
        "tf32x3": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 8, 2),
            tile(32, 32, 128, 8, 2), tile(32, 32, 256, 8, 2),
        ],
        "float32": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 4, 2),
            tile(32, 32, 128, 8, 2), tile(32, 32, 256, 8, 2),
        ],
        "float64": [
            tile(32, 16, 16, 4, 2), tile(32, 16, 32, 4, 2), tile(16, 16, 64, 4, 2),
            tile(16, 16, 128, 4, 2), tile(16, 16, 256, 8, 2),
        ],
    },
    "attention_backward_keys": {
        "half": [
            tile(64, 64, 16, 8, 2), tile(64, 64, 32, 8, 3), tile(64, 64, 64, 8, 3),
            tile(32, 64, 128, 8, 2), tile(32, 32, 256, 8, 1),
        ],
        "ragged": [
            tile(32, 32, 16, 4, 2), tile(16, 32, 32, 8, 2), tile(16, 32, 64, 8, 2),
            tile(32, 32, 128, 8, 1), tile(16, 16, 256, 8, 1),
        ],
        "tf32": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(16, 32, 64, 8, 1),
            tile(16, 32, 128, 8, 1), tile(16, 16, 256, 8, 1),
        ],
        "tf32x3": [
            tile(32, 32, 16, 4, 2), tile(16, 32, 32, 8, 1), tile(16, 32, 64, 8, 2),
            tile(32, 32, 128, 8, 2), tile(16, 32, 256, 8, 2),
        ],
        "float32": [
            tile(16, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 8, 2),
            tile(32, 32, 128, 8, 2), tile(16, 32, 256, 8, 1),
        ],
        "float64": [
            tile(16, 16, 16, 8, 2), tile(16, 16, 32, 4, 2), tile(16, 16, 64, 4, 2),
            tile(16, 16, 128, 4, 2), tile(16, 16, 256, 8, 2),
        ],
    },
    "attention_backward_queries": {
        "half": [
            tile(64, 64, 16, 4, 3), tile(64, 64, 32, 4, 3), tile(64, 64, 64, 4, 3),
            tile(64, 32, 128, 8, 2), tile(32, 32, 256, 8, 1),
        ],
        "ragged": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 4, 2),
            tile(32, 32, 128, 8, 1), tile(16, 16, 256, 4, 1),
        ],
        "tf32": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 4, 2),
            tile(32, 16, 128, 8, 1), tile(16, 16, 256, 8, 1),
        ],
        "tf32x3": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 8, 2),
            tile(32, 32, 128, 8, 2), tile(32, 32, 256, 8, 2),
        ],
        "float32": [
            tile(32, 32, 16, 4, 2), tile(32, 32, 32, 4, 2), tile(32, 32, 64, 4, 2),
            tile(32, 32, 128, 8, 2), tile(32, 32, 256, 8, 2),
        ],
        "float64": [
            tile(32, 16, 16, 4, 2), tile(32, 16, 32, 4, 2), tile(16, 16, 64, 4, 2),
            tile(16, 16, 128, 4, 2), tile(16, 16, 256, 8, 2),
        ],
    },
}  # fmt: skip


# Padded head sizes from which on rows of q and k are not kept on chip.
SLICED = {"float32": 64, "float64": 64, "tf32x3": 64}


# With a mask or dropout, by kernel, kind and head size, where the rule of :func:`loaded` spills.
LOADED = {
    ("attention", "float32", 32): tile(32, 32, 32, 8, 1),
    ("attention", "float32", 256): tile(16, 32, 256, 8, 1),
    ("attention_backward_keys", "float32", 32): tile(16, 32, 32, 8, 2),
    ("attention_backward_keys", "float32", 256): tile(16, 32, 256, 8, 1),
    ("attention_backward_keys", "tf32x3", 32): tile(16, 32, 32, 8, 2),
    ("attention_backward_keys", "tf32x3", 256): tile(16, 16, 256, 8, 2),
    ("attention_backward_keys", "ragged", 256): tile(16, 16, 256, 8, 2),
    ("attention_backward_queries", "float32", 32): tile(32, 32, 32, 8, 1),
    ("attention_backward_mask", "tf32", 256): tile(16, 16, 256, 8, 2),
    ("attention_backward_mask", "ragged", 128): tile(16, 16, 128, 8, 1),
}


def loaded(name: str, kind: str, c: Config) -> Config:
    """The tile where a mask or dropout takes registers too: more warps, or half the tile."""
    known = LOADED.get((name, kind, c.block_k))
    if known is not None:
        return known
    if c.num_warps < 8:
        return c._replace(num_warps=8)
    if kind in ("float32", "tf32") and c.block_k == 64:
        return c  # half of it spills 12 bytes in float32, the whole none
    if name == "attention_backward_keys":
        return c._replace(block_m=max(c.block_m // 2, 16))
    return c._replace(block_n=max(c.block_n // 2, 16))


def config(name: str, kind: str, more: bool, sizes: tuple[int, ...]) -> Config:
    """The tile for (L, S, padded head size, batch and heads); ``more``: with a mask or dropout."""
    return config_of(machine(), name, kind, more, sizes)


@functools.lru_cache(4096)
def config_of(gpu: Any, name: str, kind: str, more: bool, sizes: tuple[int, ...]) -> Config:
    case = Case(name, kind, gpu.arch, sizes, "masked" if more else "")
    return lookup(case) or rule(case)


def rule(case: Case) -> Config:
    """The tile that is shipped for a case, whose third size is the padded head size."""
    name, kind, arch, sizes, layout = case
    features = sizes[2]
    if arch == 0:
        return tile(16, 16, features, 4, 1)
    c = next(c for c in TILES[name][kind] if c.block_k >= features)
    if arch < 90 and kind == "float32" and c.block_k == 16 and name != "attention":
        return tile(16, 16, 16, 2 if name == "attention_backward_keys" else 4, 1)  # 32 x 32 spill
    if arch < 90:  # without wgmma 64 x 64 scores spill 16 to 56 bytes
        if name == "attention_backward_keys":
            c = c._replace(block_m=min(c.block_m, 32))
        elif name == "attention_backward_queries":
            c = c._replace(block_n=min(c.block_n, 32))
    if arch >= 100 and name == "attention" and c.block_k == 64:
        c = c._replace(num_warps=8)  # 4 warps spill 16 bytes: the sums come back from tensor memory
    if arch >= 100 and name == "attention_backward_keys" and c.block_k == 128:
        c = c._replace(block_n=min(c.block_n, 32))  # 64 keys spill 188 bytes
    return loaded(name, kind, c) if layout else c


remembers(config_of.cache_clear)


def refusal(c: Config, case: Case) -> str:
    """Why a tile cannot be good, "" where it may be."""
    features = max(triton.next_power_of_2(case.sizes[2]), 16)
    if c.block_k != features:
        return f"is not made for heads of {features}"
    size = {"half": 2, "ragged": 2, "float64": 8}.get(case.kind, 4)
    still = 2 * c.block_m if case.kernel != "attention" else c.block_m
    flying = 2 * c.num_stages * c.block_n
    limit = SHARED_MEMORY[80 if case.arch < 90 else 90 if case.arch < 100 else 100]
    if (still + flying) * c.block_k * size > limit:
        return f"needs {(still + flying) * c.block_k * size} of {limit} bytes of shared memory"
    return ""


def order(c: Config, case: Case) -> float:
    """Sooner: near the rule's tile."""
    known = rule(case)
    return sum(
        away(getattr(c, name), getattr(known, name))
        for name in ("block_m", "block_n", "num_warps", "num_stages")
    )


VALUES = {
    "block_m": (16, 32, 64, 128), "block_n": (16, 32, 64, 128),
    "block_k": (16, 32, 64, 128, 256), "num_warps": (4, 8), "num_stages": (1, 2, 3, 4),
}  # fmt: skip
TINY = example(
    "nn.functional.scaled_dot_product_attention", array(1, 2, 19, 8), array(1, 2, 21, 8),
    array(1, 2, 21, 8), backward=True,
)  # fmt: skip
for _name in TILES:
    declare(Space(_name, VALUES, refusal, Config, lambda case: [rule(case)], order, tiny=TINY))


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
    c = LOADED.get(("attention_backward_mask", o.kind, max(o.BLOCK_D, o.BLOCK_DV)))
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
