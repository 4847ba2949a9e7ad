"""Tile shapes of convolutions, which run as matrix products: chosen as ``tiles.py`` chooses."""

from __future__ import annotations

import functools

import triton

from tgrad.kernels.cuda.configs import (
    Case,
    Config,
    Space,
    array,
    declare,
    example,
    lookup,
    remembers,
)
from tgrad.kernels.cuda.limits import family
from tgrad.kernels.cuda.tiles import (
    EMULATED,
    ITEMSIZE,
    SPLIT_DEPTH,
    TILE_VALUES,
    Machine,
    blocks,
    cost,
    estimate,
    machine,
    refusal,
    splits,
)
from tgrad.runtime import cuda

# (filters, pixels, reduction) of a tile. "ragged": half types whose channels are too few to lie
# innermost. Gathered operands need registers for their addresses: tiles are smaller than above.
CONV_TILES: dict[str, list[Config]] = {
    "half": [
        Config(128, 128, 64, 8, 4), Config(64, 256, 64, 8, 4), Config(64, 128, 64, 4, 4),
        Config(32, 128, 64, 4, 4), Config(16, 128, 32, 8, 4), Config(64, 64, 64, 4, 4),
    ],
    "ragged": [Config(64, 128, 32, 8, 2), Config(32, 128, 32, 4, 2), Config(16, 128, 32, 4, 2)],
    "tf32": [
        Config(128, 128, 32, 8, 4), Config(64, 128, 32, 8, 4), Config(32, 128, 32, 4, 4),
        Config(16, 128, 32, 4, 4),
    ],
    "tf32x3": [Config(64, 128, 32, 8, 3), Config(32, 128, 32, 4, 3), Config(16, 128, 16, 8, 3)],
    "float32": [Config(64, 64, 32, 8, 3), Config(32, 128, 32, 8, 3), Config(16, 128, 32, 4, 3)],
    "float64": [Config(32, 64, 16, 8, 3), Config(16, 64, 16, 8, 3)],
}  # fmt: skip
# (filters, channels, pixels)
WEIGHT_TILES: dict[str, list[Config]] = {
    "half": [
        Config(128, 128, 64, 8, 4), Config(128, 64, 64, 8, 4), Config(64, 64, 64, 4, 4),
        Config(32, 64, 64, 4, 4), Config(16, 64, 64, 4, 4),
    ],
    "ragged": [Config(64, 64, 32, 8, 2), Config(32, 64, 32, 4, 2), Config(16, 64, 32, 4, 2)],
    "tf32": [Config(64, 64, 32, 4, 3), Config(32, 64, 32, 4, 3), Config(16, 64, 32, 4, 3)],
    "tf32x3": [Config(64, 64, 32, 8, 3), Config(32, 64, 32, 4, 3), Config(16, 64, 16, 4, 3)],
    "float32": [Config(64, 64, 16, 8, 3), Config(32, 64, 16, 4, 3), Config(16, 64, 16, 4, 3)],
    "float64": [Config(32, 32, 16, 4, 3), Config(16, 32, 16, 4, 3)],
}  # fmt: skip
CONVOLUTIONS = {"conv2d": CONV_TILES, "conv2d_backward_weight": WEIGHT_TILES}


def shipped(name: str, kind: str, arch: int) -> list[Config]:
    """The row of a convolution's table; on sm_80 three stages of float32's 64 x 64 spill."""
    found = CONVOLUTIONS[name].get(kind, [])
    fewer = name == "conv2d" and kind == "float32" and family(arch) == 80
    return [c._replace(num_stages=2) if fewer and c.block_m == 64 else c for c in found]


def conv_config(name: str, kind: str, sizes: tuple[int, int, int, int]) -> Config:
    """The tile of a convolution whose ``sizes`` as a product are (M, N, K, groups)."""
    return conv_config_of(machine(), name, kind, sizes)


@functools.lru_cache(4096)
def conv_config_of(gpu: Machine, name: str, kind: str, sizes: tuple[int, int, int, int]) -> Config:
    found = lookup(Case(name, kind, gpu.arch, sizes))
    if found is not None:
        return found
    if gpu is EMULATED:
        return Config(16, 64, 32)
    M, N, K, batch = sizes
    size = ITEMSIZE.get(kind, 4)
    fitting = [t for t in shipped(name, kind, gpu.arch) if t.block_m <= max(M, 16)]
    options = [  # a weight gradient's sum over pixels is split, a tile's over channels is not
        t._replace(split_k=split)
        for t in fitting
        for split in (
            splits(gpu, batch * blocks(M, N, t), K, t.block_k) if name != "conv2d" else [1]
        )
    ]
    best = min(options, key=lambda c: cost(gpu, kind, c, M, N, max(K, 1), size, batch))
    return best._replace(split_k=1)  # how often is for weight_parts


remembers(conv_config_of.cache_clear)


def weight_parts(c: Config, tiles: int, pixels: int) -> tuple[int, int]:
    """Parts of a weight gradient's sum over pixels, and pixels of each, to fill the GPU twice."""
    steps = triton.cdiv(max(pixels, 1), c.block_k)
    least = min(1 if cuda.is_emulated() else SPLIT_DEPTH, steps)  # that are worth a program
    wanted = 4 if cuda.is_emulated() else 2 * machine().multiprocessors
    each = max(triton.cdiv(steps, max(wanted // tiles, 1)), least) * c.block_k
    return triton.cdiv(max(pixels, 1), each), each


# ---- what a tuner may try ------------------------------------------------------------------------


def fitting_tiles(case: Case) -> list[Config]:
    """The shipped tiles of a convolution's case."""
    tiles = shipped(case.kernel, case.kind, case.arch)
    return [t for t in tiles if t.block_m <= max(case.sizes[0], 16)]


TINY = example(
    "nn.functional.conv2d", array(1, 16, 6, 6), array(16, 16, 3, 3), padding=1, backward=True
)
for _name in CONVOLUTIONS:
    declare(Space(_name, TILE_VALUES, refusal, Config, fitting_tiles, estimate, estimate, TINY))
