"""Which tile the attention kernels run with.

It depends on the padded head size, of which a program keeps whole rows on chip, and on the kind of
multiplication. A tuner's choice comes first, as in ``tiles.py``.
"""

from __future__ import annotations

import functools
from typing import Any

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
from tgrad.kernels.cuda.limits import SHARED_MEMORY, family
from tgrad.kernels.cuda.tiles import machine


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
            tile(64, 64, 16, 8, 2), tile(64, 64, 32, 8, 2), tile(64, 64, 64, 8, 2),
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

# What is shipped where these tiles, or the rule of :func:`loaded`, spill: by architecture (0: all),
# kernel, kind of multiplication, head size, and whether there is a mask or dropout.
INSTEAD: dict[tuple[int, str, str, int, bool], Config] = {
    (0, "attention", "float32", 32, True): tile(32, 32, 32, 8, 1),
    (0, "attention", "float32", 256, True): tile(16, 32, 256, 8, 1),
    (0, "attention_backward_keys", "float32", 32, True): tile(16, 32, 32, 8, 2),
    (0, "attention_backward_keys", "float32", 256, True): tile(16, 32, 256, 8, 1),
    (0, "attention_backward_keys", "tf32x3", 32, True): tile(16, 32, 32, 8, 2),
    (0, "attention_backward_keys", "tf32x3", 256, True): tile(16, 16, 256, 8, 2),
    (0, "attention_backward_keys", "ragged", 256, True): tile(16, 16, 256, 8, 2),
    (0, "attention_backward_queries", "float32", 32, True): tile(32, 32, 32, 8, 1),
    (0, "attention_backward_mask", "tf32", 256, True): tile(16, 16, 256, 8, 2),
    (0, "attention_backward_mask", "ragged", 128, True): tile(16, 16, 128, 8, 1),
    (80, "attention", "float64", 256, False): tile(16, 16, 256, 8, 1),
    (80, "attention_backward_keys", "tf32", 16, False): tile(32, 32, 16, 4, 1),
    (80, "attention_backward_keys", "tf32", 32, False): tile(32, 32, 32, 4, 1),
    (80, "attention_backward_keys", "tf32", 256, True): tile(16, 16, 256, 8, 2),
    (80, "attention_backward_keys", "tf32x3", 128, False): tile(16, 32, 128, 8, 2),
    (80, "attention_backward_queries", "tf32", 128, False): tile(16, 16, 128, 8, 1),
    (80, "attention_backward_queries", "tf32", 256, True): tile(16, 16, 256, 8, 2),
    (80, "attention_backward_mask", "ragged", 64, True): tile(16, 16, 64, 8, 2),
    (100, "attention", "float32", 16, True): tile(32, 32, 16, 8, 1),
    (100, "attention", "float32", 64, True): tile(16, 32, 64, 8, 2),
    (100, "attention", "tf32", 128, True): tile(64, 16, 128, 8, 1),
    (100, "attention", "ragged", 256, True): tile(16, 16, 256, 8, 2),
    (100, "attention_backward_keys", "tf32x3", 16, False): tile(32, 32, 16, 4, 1),
    (100, "attention_backward_keys", "float32", 32, False): tile(32, 32, 32, 4, 1),
    (100, "attention_backward_keys", "float64", 32, False): tile(16, 16, 32, 4, 1),
    (100, "attention_backward_keys", "ragged", 32, False): tile(16, 32, 32, 4, 2),
    (100, "attention_backward_keys", "ragged", 128, False): tile(16, 32, 128, 8, 1),
    (100, "attention_backward_queries", "tf32x3", 32, False): tile(32, 32, 32, 4, 1),
    (100, "attention_backward_queries", "tf32", 128, False): tile(16, 16, 128, 8, 1),
    (100, "attention_backward_mask", "tf32", 32, True): tile(32, 32, 32, 8, 1),
    (100, "attention_backward_mask", "tf32", 128, True): tile(16, 16, 128, 8, 1),
}


def instead(arch: int, name: str, kind: str, features: int, more: bool) -> Config | None:
    """The entry of INSTEAD for an architecture, else that for all."""
    for a in (family(arch), 0):
        found = INSTEAD.get((a, name, kind, features, more))
        if found is not None:
            return found
    return None


def loaded(name: str, kind: str, c: Config) -> Config:
    """The tile where a mask or dropout takes registers too: more warps, or half the tile."""
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
    known = instead(arch, name, kind, features, bool(layout))
    if known is not None:
        return known
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
    limit = SHARED_MEMORY[family(case.arch)]
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
