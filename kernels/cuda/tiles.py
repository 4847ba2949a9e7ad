"""Tile shapes of matrix products: which block sizes, warps, stages and split of K for a shape.

Apart from the kernels because a tuner replaces these choices and nothing else: :func:`choose` asks
the tables of ``configs.py`` first and a cost model last.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import triton

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
from tgrad.kernels.cuda.limits import SHARED_MEMORY, family, limits
from tgrad.runtime import cuda
from tgrad.runtime.current import here

# By kind of multiplication, from large to small: tiles whose operands are read by pointers. 64 rows
# per 4 warps is the least that wgmma takes on sm_90, where none of them spills in any layout.
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
    # Three products of each pair of numbers, and registers for both halves of the factors.
    "tf32x3": [
        Config(128, 128, 32, 8, 3), Config(64, 128, 32, 8, 3), Config(64, 64, 32, 4, 3),
        Config(64, 32, 32, 4, 4), Config(32, 64, 32, 4, 4), Config(32, 32, 32, 4, 4),
        Config(16, 128, 32, 4, 3), Config(128, 16, 32, 4, 3), Config(16, 16, 64, 1, 3),
    ],
    "float32": [
        Config(128, 128, 16, 16, 3), Config(64, 128, 16, 8, 3), Config(64, 64, 16, 8, 3),
        Config(32, 64, 32, 4, 3), Config(64, 32, 32, 8, 3), Config(32, 32, 32, 4, 3),
        Config(16, 128, 16, 4, 3), Config(128, 16, 16, 4, 3), Config(16, 32, 32, 2, 3),
        Config(16, 16, 32, 1, 3),
    ],
    "float64": [
        Config(64, 64, 16, 8, 3), Config(32, 64, 16, 4, 3), Config(32, 32, 16, 4, 3),
        Config(16, 64, 16, 4, 3), Config(64, 16, 16, 8, 3), Config(16, 16, 32, 1, 3),
    ],
    "int": [Config(32, 32, 8, 4, 2), Config(16, 16, 16, 4, 2)],
}  # fmt: skip

# The same for operands brought by the copy engine: sm_90 and later, tensor cores alone (in FMAs of
# float32 the layout of its tiles spills 5 KiB a thread). Large tiles are persistent.
DESCRIPTOR_TILES: dict[str, list[Config]] = {
    "half": [
        Config(128, 256, 64, 8, 3, tma=True, persistent=True, subtiles=2),
        Config(128, 128, 64, 8, 4, tma=True, persistent=True, subtiles=2),
        Config(64, 256, 64, 8, 4, tma=True, persistent=True, subtiles=2),
        Config(64, 128, 64, 4, 4, tma=True), Config(128, 64, 64, 4, 4, tma=True),
        Config(64, 64, 64, 4, 5, tma=True),
    ],
    "tf32": [
        Config(128, 128, 32, 8, 4, tma=True, persistent=True, subtiles=2),
        Config(64, 128, 32, 4, 4, tma=True), Config(128, 64, 32, 4, 4, tma=True),
    ],
    "tf32x3": [
        Config(128, 128, 32, 8, 3, tma=True, persistent=True, subtiles=2),
        Config(64, 128, 32, 8, 3, tma=True), Config(64, 64, 32, 4, 3, tma=True),
    ],
}  # fmt: skip
# Warps of their own for loads and products pay or not by shape and GPU: a tuner's choice only.
# 128 x 256 spills 328 bytes where a whole matrix is added; tf32 does not compile so for sm_90, nor
# does a tile that is stored in parts with Triton 3.6.
IN_PARTS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7)
SPECIALIZED_TILES: dict[str, list[Config]] = {
    "half": [
        Config(128, 128, 64, 4, 4, tma=True, persistent=True, warp_specialize=True,
               subtiles=2 if IN_PARTS else 1),
    ],
}  # fmt: skip


# On sm_80 factors pass through registers, where both halves of a 128 x 128 tile's spill 496 bytes.
# In half types 4 warps spill 4 to 8 bytes of a 64 x 128 tile.
AMPERE_TILES: dict[str, list[Config]] = {
    "half": [c._replace(num_warps=8) if c.block_m * c.block_n == 64 * 128 else c
             for c in TILES["half"]],
    "float32": [Config(64, 16, 16, 4, 3) if c.block_n == 16 and c.block_m == 128 else c
                for c in TILES["float32"]],  # 128 x 16 spills 8 bytes
    "tf32x3": [
        Config(64, 128, 32, 8, 3), Config(64, 64, 32, 8, 3), Config(64, 32, 32, 4, 4),
        Config(32, 64, 32, 4, 4), Config(32, 32, 32, 4, 4), Config(16, 128, 32, 4, 3),
        Config(128, 16, 16, 4, 3), Config(16, 16, 64, 1, 3),
    ],
}  # fmt: skip


def by_pointers(kind: str, arch: int) -> list[Config]:
    """The row of TILES; on sm_100 what would spill there is left out or given more warps.

    128 x 256: its accumulator comes back from tensor memory whole, and spills 80 bytes a thread
    where a bias is added. 64 x 64 without tensor cores spills 24 with a transposed and K split.
    """
    if arch < 90 and kind in AMPERE_TILES:
        return [*AMPERE_TILES[kind]]
    if arch < 100:
        return [*TILES[kind]]
    found = [c for c in TILES[kind] if c.block_m * c.block_n <= 128 * 128]
    spilling = (TILES["float32"][2], TILES["half"][6], TILES["tf32x3"][2])
    return [c._replace(num_warps=8) if any(c is s for s in spilling) else c for c in found]


def described_tiles(kind: str, arch: int) -> list[Config]:
    """The row of DESCRIPTOR_TILES; 4 warps spill 8 bytes of tf32x3's 64 x 64 on sm_100."""
    found = DESCRIPTOR_TILES.get(kind, [])
    few = kind == "tf32x3" and arch >= 100
    return [c._replace(num_warps=8) if few else c for c in found]


def shipped(kind: str, arch: int) -> list[Config]:
    """Every tile that may be launched for a kind of multiplication on an architecture."""
    found = by_pointers(kind, arch)
    return (
        found
        if arch < 90
        else [*found, *described_tiles(kind, arch), *SPECIALIZED_TILES.get(kind, [])]
    )


MAX_SPLITS = 128
SPLIT_DEPTH = 4  # steps along K that a split must have to be worth its second pass
DESCRIPTOR_GAIN = 0.95  # of the time by pointers; published: 3 to 13% on an H100 (TRITON.md)


@dataclasses.dataclass(frozen=True, eq=False)  # one object a GPU: caches go by identity
class Machine:
    """What the cost model knows of a GPU; per multiprocessor and microsecond where not said."""

    arch: int
    multiprocessors: int
    flops: dict[str, float]
    l2_bytes: float = 1.0e5
    dram_bytes: float = 2.3e6  # of the whole GPU
    shared_memory: int = 220 * 1024  # bytes of a multiprocessor
    step: float = 0.15  # us, the least that one step along K takes
    start: float = 2.0  # us, filling the pipeline and storing the tile
    launch: float = 3.0  # us, a second pass


def rates(half: float, float32: float, float64: float, multiprocessors: int) -> dict[str, float]:
    """70% of the dense peaks in TFLOP/s of a whole GPU, for one multiprocessor."""
    peak = {
        "half": half, "ragged": 0.4 * half, "tf32": half / 2, "tf32x3": half / 6,
        "float32": float32, "float64": float64, "int": float32 / 10,
    }  # fmt: skip
    return {kind: 0.7 * 1e6 * value / multiprocessors for kind, value in peak.items()}


# Peaks of NVIDIA's data sheets for the A100, H100 SXM and B200.
A100 = Machine(80, 108, rates(312, 19.5, 19.5, 108), dram_bytes=1.4e6, shared_memory=160 * 1024)
H100 = Machine(90, 132, rates(989, 67, 67, 132))
B200 = Machine(100, 148, rates(2250, 75, 37, 148), l2_bytes=2.0e5, dram_bytes=5.6e6)
# The interpreter's time is Python's: so much a program and a step, whatever the tile.
EMULATED = dataclasses.replace(
    H100, arch=0, multiprocessors=4, shared_memory=1, start=2000.0, step=1000.0
)


def machine() -> Machine:
    """The model of the GPU in use: the thread's current one."""
    if cuda.is_emulated():
        return EMULATED
    gpu: Any = cuda.active()
    arch = getattr(gpu, "arch", None)
    return model_of(here.place.index) if arch is None else model(arch)


@functools.cache
def model_of(index: int) -> Machine:
    """The model of one of the driver's GPUs."""
    gpu: Any = cuda.active()
    return model(gpu.unit(index).arch, gpu.driver.device_attribute(index, "MULTIPROCESSOR_COUNT"))


@functools.cache
def model(arch: int, multiprocessors: int = 0) -> Machine:
    """The model of an architecture, with a number of multiprocessors other than its largest's."""
    base = A100 if arch < 90 else H100 if arch < 100 else B200
    return dataclasses.replace(
        base, arch=arch, multiprocessors=multiprocessors or base.multiprocessors
    )


def kind_of(dtype: np.dtype, precision: str, aligned: bool = True) -> str:
    """The row of TILES for a dtype; ``aligned``: rows of both operands start on 16 elements."""
    if dtype.kind in "iu":
        return "int"
    if dtype.itemsize == 2:
        return "half" if aligned else "ragged"
    return "float64" if dtype.itemsize == 8 else "float32" if precision == "ieee" else precision


def config(
    M: int,
    N: int,
    K: int,
    dtype: np.dtype,
    batch: int = 1,
    precision: str = "ieee",
    aligned: bool = True,
    described: bool = False,
    layout: str = "nn",
) -> Config:
    """The tile of a product: a tuner's where it has one for this bucket, else the cost model's.

    ``described``: the copy engine can read both operands. Tiles larger than the matrix are left
    out.
    """
    shape = (M, N, K, batch)
    return matmul_config(machine(), shape, dtype, precision, aligned, described, layout)


@functools.lru_cache(4096)
def matmul_config(
    gpu: Machine,
    shape: tuple[int, int, int, int],
    dtype: np.dtype,
    precision: str,
    aligned: bool,
    described: bool,
    layout: str,
) -> Config:
    M, N, K, batch = shape
    described = described and gpu.arch >= 90 and dtype.kind not in "iu" and dtype.itemsize < 8
    kind = kind_of(dtype, precision, aligned or described)
    found = lookup(Case("matmul", kind, gpu.arch, shape, layout if described else ""))
    if found is not None and (described or not found.tma):
        return found
    tiles = by_pointers(kind_of(dtype, precision, aligned), gpu.arch)
    if described:
        tiles += described_tiles(kind, gpu.arch)
    fitting = [t for t in tiles if t.block_m <= max(M, 16) and t.block_n <= max(N, 16)]
    options = [
        tile._replace(split_k=split)
        for tile in fitting
        for split in splits(gpu, batch * blocks(M, N, tile), K, tile.block_k)
    ]
    return min(options, key=lambda c: cost(gpu, kind, c, M, N, K, dtype.itemsize, batch))


remembers(matmul_config.cache_clear)


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
    if c.tma:
        time *= DESCRIPTOR_GAIN
    if c.split_k > 1:
        wide = max(itemsize, 4)
        time += gpu.launch + 2 * c.split_k * batch * M * N * wide / gpu.dram_bytes
    return time


def vector_config(M: int, K: int, step_k: int, batch: int = 1) -> Config:
    """For a matrix times a vector: lanes along whichever axis lies together in memory."""
    gpu = machine()
    found = lookup(Case("matvec", "any", gpu.arch, (M, 1, K, batch), "n" if step_k == 1 else "t"))
    if found is not None:
        return found
    block_k = min(triton.next_power_of_2(max(K, 1)), 512 if abs(step_k) == 1 else 32)
    block_m = min(triton.next_power_of_2(M), max(2048 // block_k, 4))
    tiles = batch * triton.cdiv(M, block_m)
    return Config(block_m, 1, block_k, split_k=splits(gpu, tiles, K, block_k)[-1])


# ---- what a tuner may try ------------------------------------------------------------------------

ITEMSIZE = {"half": 2, "ragged": 2, "float64": 8}  # others 4


def shared_bytes(c: Config, kind: str) -> int:
    """Shared memory of the operands' tiles in flight, and of the tile on its way out."""
    size = ITEMSIZE.get(kind, 4)
    operands = c.num_stages * (c.block_m + c.block_n) * c.block_k * size
    return operands + (c.block_m * c.block_n // c.subtiles * size if c.tma else 0)


def refusal(c: Config, case: Case) -> str:
    """Why a tiled config cannot be good, "" where it may be."""
    kind, arch = case.kind, case.arch
    M, N, K, _ = case.sizes
    limit = SHARED_MEMORY[family(arch)]
    if shared_bytes(c, kind) > limit:
        return f"needs {shared_bytes(c, kind)} of {limit} bytes of shared memory"
    if c.block_m > max(M, 16) or c.block_n > max(N, 16):
        return "is larger than the matrix"
    accumulators = c.block_m * c.block_n // (32 * c.num_warps)
    if accumulators > (64 if kind in ("float32", "float64", "ragged", "tf32x3") else 256):
        return f"keeps {accumulators} sums a thread"
    if accumulators < 2:
        return "has warps with less than 2 sums a thread"
    if c.split_k > 1 and c.split_k * SPLIT_DEPTH > triton.cdiv(K, c.block_k):
        return "splits K into too few steps"
    if c.tma and not (arch >= 90 and kind in DESCRIPTOR_TILES and case.layout):
        return "describes tensors that no copy engine can read, or no tensor core is fed with"
    return engine_refusal(c, kind)


def engine_refusal(c: Config, kind: str) -> str:
    """Why a config's use of the copy engine makes no sense, "" where it does."""
    if (c.persistent or c.warp_specialize or c.subtiles > 1) and not c.tma:
        return "is persistent, specialised or split without descriptors"
    if c.warp_specialize and not (c.persistent and c.num_warps == 4 and c.block_m >= 128):
        return "specialises warps of another number than 4, or of one tile"
    if c.warp_specialize and c.subtiles > 1 and not IN_PARTS:
        return "specialises warps and stores in parts, which Triton 3.6 does not compile"
    if c.warp_specialize and kind != "half":
        return "specialises warps, which Triton 3.9 compiles for sm_90 in half types only"
    if c.split_k > 1 and c.persistent and c.warp_specialize:
        return "splits K and specialises warps"
    return ""


def fitting_tiles(case: Case) -> list[Config]:
    """The shipped tiles of a product's case."""
    M, N, _, _ = case.sizes
    tiles = shipped(case.kind, case.arch) if case.layout else by_pointers(case.kind, case.arch)
    return [t for t in tiles if t.block_m <= max(M, 16) and t.block_n <= max(N, 16)]


def estimate(c: Config, case: Case) -> float:
    """:func:`cost` of a case's bucket, on the largest GPU of its architecture."""
    M, N, K, batch = case.sizes
    gpu = EMULATED if case.arch == 0 else model(case.arch)
    return cost(gpu, case.kind, c, M, N, max(K, 1), ITEMSIZE.get(case.kind, 4), batch)


def vector_refusal(c: Config, case: Case) -> str:
    """Why a config of a matrix times a vector cannot be good, "" where it may be."""
    M, _, K, _ = case.sizes
    if c.block_m > triton.next_power_of_2(M) or c.block_k > triton.next_power_of_2(K):
        return "is larger than the matrix"
    each = c.block_m * c.block_k // (32 * c.num_warps)
    if not 1 <= each <= 64:
        return f"keeps {each} products a thread"
    if c.split_k > 1 and c.split_k * SPLIT_DEPTH > triton.cdiv(K, c.block_k):
        return "splits K into too few steps"
    return ""


def vector_order(c: Config, case: Case) -> float:
    """Sooner: 16 products a thread, and as many programs as fill a GPU four times."""
    M, batch = case.sizes[0], case.sizes[3]
    programs = batch * triton.cdiv(M, c.block_m) * c.split_k
    each = c.block_m * c.block_k / (32 * c.num_warps)
    return away(each, 16) + away(programs, max(programs, limits.programs)) + away(c.num_warps, 4)


TILE_VALUES = {
    "block_m": (16, 32, 64, 128, 256), "block_n": (16, 32, 64, 128, 256),
    "block_k": (8, 16, 32, 64, 128), "num_warps": (1, 2, 4, 8), "num_stages": (2, 3, 4, 5),
}  # fmt: skip
SPLIT_VALUES = {"split_k": (1, 2, 4, 8, 16, 32, 64, 128)}
ENGINE_VALUES = {"tma": (False, True), "persistent": (False, True),
                 "warp_specialize": (False, True), "subtiles": (1, 2)}  # fmt: skip
VECTOR_VALUES = {
    "block_m": (1, 2, 4, 8, 16, 32, 64, 128, 256), "block_n": (1,),
    "block_k": (16, 32, 64, 128, 256, 512, 1024), "num_warps": (1, 2, 4, 8), **SPLIT_VALUES,
}  # fmt: skip
PRODUCT_VALUES = {**TILE_VALUES, **SPLIT_VALUES, **ENGINE_VALUES}
LINEAR = example("nn.functional.linear", array(24, 40), array(20, 40), array(20))
VECTOR = example("matmul", array(24, 40), array(40))
declare(Space("matmul", PRODUCT_VALUES, refusal, Config, fitting_tiles, estimate, estimate, LINEAR))
declare(Space("matvec", VECTOR_VALUES, vector_refusal, order=vector_order, tiny=VECTOR))
