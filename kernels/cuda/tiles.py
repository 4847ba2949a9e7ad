"""Tile shapes of the matrix products: which block sizes, warps, stages and split of K for a shape.

Apart from the kernels because a tuner replaces these choices and nothing else.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import triton

from tgrad.runtime import cuda


class Config(NamedTuple):
    """The compile-time choices of one launch."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int = 4
    num_stages: int = 3
    split_k: int = 1
    group_m: int = 8


# By kind of multiplication, from large to small. 64 rows per 4 warps is the least that wgmma takes
# on sm_90, where none of them spills registers in any layout.
TILES: dict[str, list[Config]] = {
    "half": [
        Config(128, 256, 64, 8, 3), Config(128, 128, 64, 8, 4), Config(64, 128, 64, 4, 4),
        Config(128, 64, 64, 4, 4), Config(64, 64, 64, 4, 4), Config(64, 32, 64, 4, 5),
        Config(32, 64, 64, 4, 5), Config(32, 32, 64, 4, 5), Config(16, 128, 64, 4, 4),
        Config(128, 16, 64, 4, 4), Config(16, 32, 64, 2, 5), Config(16, 16, 64, 1, 5),
    ],
    # 2-byte elements whose rows start off 16-byte boundaries cannot be copied asynchronously: they
    # pass through registers, of which a 128 x 128 tile has none to spare.
    "ragged": [
        Config(64, 128, 32, 8, 2), Config(128, 64, 32, 8, 2), Config(64, 64, 32, 4, 2),
        Config(64, 32, 32, 4, 2), Config(32, 64, 32, 4, 2), Config(32, 32, 64, 4, 2),
        Config(16, 64, 64, 4, 2), Config(64, 16, 64, 4, 2), Config(16, 16, 64, 1, 2),
    ],
    "tf32": [
        Config(128, 128, 32, 8, 4), Config(64, 128, 32, 8, 4), Config(64, 64, 32, 4, 4),
        Config(64, 32, 32, 4, 5), Config(32, 64, 32, 4, 5), Config(32, 32, 32, 4, 5),
        Config(16, 128, 32, 4, 4), Config(128, 16, 32, 4, 4), Config(16, 16, 64, 1, 4),
    ],
    "float32": [
        Config(128, 128, 16, 8, 3), Config(64, 128, 16, 8, 3), Config(64, 64, 16, 4, 3),
        Config(32, 64, 32, 4, 3), Config(64, 32, 32, 4, 3), Config(32, 32, 32, 4, 3),
        Config(16, 128, 16, 4, 3), Config(128, 16, 16, 4, 3), Config(16, 32, 32, 2, 3),
        Config(16, 16, 32, 1, 3),
    ],
    "float64": [
        Config(64, 64, 16, 4, 3), Config(32, 64, 16, 4, 3), Config(32, 32, 16, 4, 3),
        Config(16, 128, 16, 4, 3), Config(128, 16, 16, 4, 3), Config(16, 16, 32, 1, 3),
    ],
    "int": [Config(32, 32, 8, 4, 2), Config(16, 16, 16, 4, 2)],
}  # fmt: skip

MAX_SPLITS = 128
SPLIT_DEPTH = 4  # steps along K that a split must have to be worth its second pass


class Machine(NamedTuple):
    """What the cost model knows of a GPU; per multiprocessor and microsecond where not said."""

    multiprocessors: int
    flops: dict[str, float]
    l2_bytes: float = 1.0e5
    dram_bytes: float = 3.0e6  # of the whole GPU
    shared_memory: int = 220 * 1024  # bytes of a multiprocessor
    step: float = 0.15  # us, the least that one step along K takes
    start: float = 2.0  # us, filling the pipeline and storing the tile
    launch: float = 3.0  # us, a second pass


# Sustained rates of an H100 SXM, about 70% of the peak.
H100 = Machine(
    132,
    {"half": 5.2e6, "ragged": 2.0e6, "tf32": 2.6e6, "float32": 3e5, "float64": 3e5, "int": 3e4},
)
# The interpreter's time is Python's: so much a program and a step, whatever the tile.
EMULATED = H100._replace(multiprocessors=4, shared_memory=1, start=2000.0, step=1000.0)


def machine() -> Machine:
    return EMULATED if cuda.is_emulated() else H100


def kind_of(dtype: np.dtype, precision: str, aligned: bool = True) -> str:
    """The row of TILES for a dtype; ``aligned``: rows of both operands start on 16 elements."""
    if dtype.kind in "iu":
        return "int"
    if dtype.itemsize == 2:
        return "half" if aligned else "ragged"
    return "float64" if dtype.itemsize == 8 else "float32" if precision == "ieee" else "tf32"


@functools.lru_cache(4096)
def config(
    M: int,
    N: int,
    K: int,
    dtype: np.dtype,
    batch: int = 1,
    precision: str = "ieee",
    aligned: bool = True,
) -> Config:
    """Tile, warps, stages and split of K that the cost model finds fastest for this shape.

    Tiles larger than the matrix are left out.
    """
    kind, gpu = kind_of(dtype, precision, aligned), machine()
    fitting = [t for t in TILES[kind] if t.block_m <= max(M, 16) and t.block_n <= max(N, 16)]
    options = [
        tile._replace(split_k=split)
        for tile in fitting
        for split in splits(gpu, batch * blocks(M, N, tile), K, tile.block_k)
    ]
    return min(options, key=lambda c: cost(gpu, kind, c, M, N, K, dtype.itemsize, batch))


def blocks(M: int, N: int, c: Config) -> int:
    return triton.cdiv(M, c.block_m) * triton.cdiv(N, c.block_n)


def splits(gpu: Machine, tiles: int, K: int, block_k: int) -> list[int]:
    """1, and the powers of two by which K may be split without more programs than fit at once."""
    most = min(MAX_SPLITS, triton.cdiv(K, block_k) // SPLIT_DEPTH, 2 * gpu.multiprocessors // tiles)
    return [1, *(1 << i for i in range(1, max(most, 1).bit_length()))]


def cost(
    gpu: Machine, kind: str, c: Config, M: int, N: int, K: int, itemsize: int, batch: int
) -> float:
    """Estimated microseconds: a roofline of one multiprocessor, times its rounds of programs."""
    programs = triton.cdiv(batch * blocks(M, N, c) * c.split_k, gpu.multiprocessors)
    steps = triton.cdiv(triton.cdiv(K, c.block_k), c.split_k)
    tile_bytes = (c.block_m + c.block_n) * c.block_k * itemsize
    together = min(programs, max(1, gpu.shared_memory // (tile_bytes * c.num_stages)), 8)
    area = c.block_m * c.block_n
    # A warp with a small part of the tile reads each operand from shared memory more often.
    reuse = min(1.0, (area / c.num_warps / 2048) ** 0.5)
    arithmetic = 2 * area * c.block_k / (gpu.flops[kind] * reuse)
    step = max(together * max(arithmetic, tile_bytes / gpu.l2_bytes), gpu.step)
    time = triton.cdiv(programs, together) * (steps * step + gpu.start)
    if c.split_k > 1:
        wide = max(itemsize, 4)
        time += gpu.launch + 2 * c.split_k * batch * M * N * wide / gpu.dram_bytes
    return time


def vector_config(M: int, K: int, step_k: int, batch: int = 1) -> Config:
    """For a matrix times a vector: lanes along whichever axis lies together in memory."""
    block_k = min(triton.next_power_of_2(max(K, 1)), 512 if abs(step_k) == 1 else 32)
    block_m = min(triton.next_power_of_2(M), max(2048 // block_k, 4))
    tiles = batch * triton.cdiv(M, block_m)
    return Config(block_m, 1, block_k, split_k=splits(machine(), tiles, K, block_k)[-1])
