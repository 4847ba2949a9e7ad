"""Interpolation along one axis as a banded matrix: row p holds the weights of output p.

A band is stored as where each row starts, (P), and its weights, (P, K). The gradient of an
interpolation is one with the transposed band.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tgrad.device import CPU, device
from tgrad.dispatch import wrap
from tgrad.runtime import cuda

FIXED_BITS = 15  # weights of uint8 images: signed, of 16 bits


class Band(NamedTuple):
    """What a band follows from. ``scale`` is the factor given by the user, 0 for source / size.

    ``kind``: "nearest", "nearest-exact", "linear", "cubic", or with ``antialias`` "lanczos" too.
    """

    kind: str
    source: int
    size: int
    scale: float = 0.0
    align_corners: bool = False
    antialias: bool = False
    transposed: bool = False

    @property
    def length(self) -> int:
        """Of the axis that comes out."""
        return self.source if self.transposed else self.size


# ---- filters -------------------------------------------------------------------------------------


def triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(t), 0)


def cubic(t: np.ndarray, a: float) -> np.ndarray:
    """The piecewise cubic through 1, 0, 0 with slope ``a`` at 1 (Keys 1981)."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def lanczos(t: np.ndarray) -> np.ndarray:
    """sinc(t) sinc(t / 3) for |t| < 3."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


# The reach of each filter, and the filter itself; cubic has another slope where it antialiases.
SMOOTH: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "linear": (1, triangle),
    "cubic": (2, lambda t: cubic(t, -0.5)),
    "lanczos": (3, lanczos),
}


# ---- bands ---------------------------------------------------------------------------------------


def step_of(b: Band) -> float:
    """Source pixels for one output pixel."""
    if b.align_corners:
        return (b.source - 1) / (b.size - 1) if b.size > 1 else 0.0
    return 1 / b.scale if b.scale > 0 else b.source / b.size


def nearest(b: Band) -> np.ndarray:
    """The pixel of each output. In float32, as PyTorch, whose choice at a boundary it decides."""
    step = np.float32(1 / b.scale) if b.scale > 0 else np.float32(b.source) / np.float32(b.size)
    p = np.arange(b.size, dtype=np.float32)
    if b.kind == "nearest-exact":
        p = p + np.float32(0.5)
    return np.minimum(np.floor(p * step).astype(np.int64), b.source - 1)


def interpolating(b: Band) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, weights), both (P, 2) or (P, 4): what a point between pixels is made of."""
    p = np.arange(b.size, dtype=np.float64)
    at = p * step_of(b) if b.align_corners else (p + 0.5) * step_of(b) - 0.5
    if b.kind == "linear":
        at = np.maximum(at, 0)
    low = np.minimum(np.floor(at), b.source - 1)
    part = np.clip(at - low, 0, 1)
    offsets = np.arange(2) if b.kind == "linear" else np.arange(-1, 3)
    distance = part[:, None] - offsets
    weights = triangle(distance) if b.kind == "linear" else cubic(distance, -0.75)
    return np.clip(low[:, None].astype(np.int64) + offsets, 0, b.source - 1), weights


def antialiasing(b: Band) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, weights): the filter, as wide as the step where pixels become fewer, sums to 1."""
    reach, weigh = SMOOTH[b.kind]
    step = step_of(b)
    stretch = max(step, 1.0)
    support = reach * stretch
    center = step * (np.arange(b.size) + 0.5)
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    last = np.minimum((center + support + 0.5).astype(np.int64), b.source)
    taps = np.arange(math.ceil(support) * 2 + 1)
    pixels = first[:, None] + taps
    weights = weigh((pixels - center[:, None] + 0.5) / stretch)
    weights = np.where(pixels < last[:, None], weights, 0)
    totals = weights.sum(1, keepdims=True)
    return np.minimum(pixels, b.source - 1), weights / np.where(totals == 0, 1, totals)


def banded(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, size: int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """(start, weight) of the matrix with these entries; entries at one place add up."""
    kept = weights != 0
    rows, columns, weights = rows[kept], columns[kept], weights[kept]
    start = np.full(size, limit, np.int64)
    np.minimum.at(start, rows, columns)
    start[start == limit] = 0  # a row without entries
    taps = int((columns - start[rows]).max(initial=0)) + 1
    weight = np.zeros((size, taps))
    np.add.at(weight, (rows, columns - start[rows]), weights)
    return start.astype(np.int32), weight


@functools.lru_cache(256)
def band(b: Band) -> tuple[np.ndarray, np.ndarray | None]:
    """(start, weight); weight None stands for single ones."""
    if b.transposed:
        start, weight = band(b._replace(transposed=False))
        if weight is None:
            weight = np.ones((b.size, 1))
        rows = np.repeat(np.arange(b.size), weight.shape[1])
        columns = (start[:, None] + np.arange(weight.shape[1])).reshape(-1)
        return banded(columns, rows, weight.reshape(-1), b.source, b.size)
    if b.kind.startswith("nearest"):
        return nearest(b).astype(np.int32), None
    pixels, weights = antialiasing(b) if b.antialias else interpolating(b)
    rows = np.repeat(np.arange(b.size), pixels.shape[1])
    return banded(rows, pixels.reshape(-1), weights.reshape(-1), b.size, b.source)


def fixed_point(weight: np.ndarray) -> tuple[np.ndarray, int]:
    """(integers, shift): the weights times 2^shift, as large as 16 bits hold."""
    top = weight.max()
    shift = 0
    while shift < 22 and int(0.5 + top * (1 << (shift + 1))) < 1 << FIXED_BITS:
        shift += 1
    scaled = weight * (1 << shift)
    return np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32), shift


def table(b: Band, where: device, kind: str) -> tuple:
    """(start, weight, shift): the band as tensors on a device, ``kind`` the weights' NumPy dtype.

    int32 weights are fixed-point numbers with ``shift`` fractional bits.
    """
    return _table(b, where, kind, None if where is CPU else cuda.active())


@functools.lru_cache(128)
def _table(b: Band, where: device, kind: str, memory_of: object) -> tuple:
    start, weight = band(b)
    shift = 0
    if weight is not None:
        if kind == "int32":
            weight, shift = fixed_point(weight)
        weight = placed(weight.astype(kind), where)
    return placed(start, where), weight, shift


def placed(a: np.ndarray, where: device):
    t = wrap(a, CPU).to(where)
    t.inference = False  # it outlives the mode that it is made in
    return t
