"""Attention in blocks of scores that stay in cache: BLAS for the products, one pass for exp.

A block is a slice of the batch, of the key heads and of the queries, against all keys up to
COLUMNS of them; longer rows are gone through a chunk at a time with a running maximum and sum
(Milakov & Gimelshein 2018, arXiv:1805.02867). Backward folds what each row subtracts, its logsumexp
and its delta, into the products as one more feature, so that a score is passed over twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.matmul import is_blas, packed
from tgrad.kernels.cpu.random import narrow
from tgrad.kernels.cpu.rows import ones
from tgrad.runtime import memory
from tgrad.runtime.quiet import quiet

BLOCK = 1 << 18  # scores held at a time: 1 MB of float32
COLUMNS = 2048  # keys of a block
ROWS = 128  # queries that a product of a long row should have at least
SAFE = 30.0  # scores that are smaller than this in size need no shift before exp
LANES = 8  # 32-bit integers of a Philox block


def sums(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis, kept as size 1."""
    return np.vecdot(x, ones(x.shape[-1], x.dtype))[..., None]


def by_head(x: np.ndarray, heads: int) -> np.ndarray:
    """(B, L, H, E) as (B, heads, H / heads, L, E)."""
    b, length, all_heads, features = x.shape
    groups = all_heads // heads if heads else 1
    return x.reshape(b, length, heads, groups, features).transpose(0, 2, 3, 1, 4)


def readable(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x in ``dtype``, as BLAS can read it."""
    if x.dtype == dtype and is_blas(x):
        return x
    return np.broadcast_to(packed(x, dtype), x.shape)  # of blocks, which slice what was broadcast


def scaled(x: np.ndarray, scale: float, dtype: np.dtype) -> np.ndarray:
    out = memory.empty(x.shape, dtype)
    np.multiply(x, dtype.type(scale), out=out, casting="unsafe")
    return out


def with_feature(x: np.ndarray, last: np.ndarray | float) -> np.ndarray:
    """x (..., L, E) with ``last`` as one more feature."""
    out = memory.empty((*x.shape[:-1], x.shape[-1] + 1), x.dtype)
    out[..., :-1] = x
    out[..., -1] = last
    return out


class Block:
    """Slices of batch, key heads and queries, and how many keys its last query may see."""

    def __init__(self, batch: slice, heads: slice, rows: slice, end: int):
        self.batch, self.heads, self.rows, self.end = batch, heads, rows, end

    def of(self, x: np.ndarray) -> np.ndarray:
        """What it takes of (B, heads, G, L, ...)."""
        return x[self.batch, self.heads, :, self.rows]

    def keys(self, x: np.ndarray, first: int, last: int) -> np.ndarray:
        """Keys ``first`` to ``last`` of (B, heads, 1, S, ...)."""
        return x[self.batch, self.heads, :, first:last]


class Scores:
    """The scores of one call: q k^T with mask, causal edge and dropout, block by block.

    Shape: q (B, L, H, E), k (B, S, heads, E); inside (B, heads, H / heads, L or S, E).
    """

    def __init__(self, q, k, mask, causal, p, key, counter):
        self.batch, self.length, all_heads, _ = q.shape
        self.size, self.heads = k.shape[1], k.shape[2]
        self.groups = all_heads // self.heads if self.heads else 1
        self.causal, self.p, self.key, self.counter = causal, p, key, counter
        self.mask = None
        if mask is not None:
            full = np.broadcast_to(mask, (self.batch, all_heads, self.length, self.size))
            self.mask = full.reshape(self.batch, self.heads, self.groups, *full.shape[2:])
        self.columns = min(max(self.size, 1), COLUMNS)

    def blocks(self) -> Iterator[Block]:
        """Blocks of about BLOCK scores; those of the same heads follow one another."""
        row = max(self.groups, 1) * self.columns
        rows = max(min(self.length, max(BLOCK // row, ROWS)), 1)
        heads = max(min(self.heads, BLOCK // (row * rows)), 1)
        batch = max(BLOCK // (row * rows * heads), 1) if heads == self.heads else 1
        for b in range(0, self.batch, batch):
            for h in range(0, self.heads, heads):
                for i in range(0, self.length, rows):
                    last = min(i + rows, self.length)
                    end = min(self.size, last) if self.causal else self.size
                    which = slice(b, min(b + batch, self.batch))
                    yield Block(which, slice(h, min(h + heads, self.heads)), slice(i, last), end)

    def chunks(self, block: Block) -> Iterator[tuple[int, int]]:
        """The keys of a block, from first to last."""
        for j in range(0, block.end, self.columns):
            yield j, min(j + self.columns, block.end)

    def hide(self, s: np.ndarray, block: Block, first: int, last: int) -> None:
        """Mask scores ``s`` of a block and its keys ``first`` to ``last``."""
        if self.mask is not None:
            m = block.of(self.mask)[..., first:last]
            if m.dtype == np.bool_:
                m = np.where(unrepeated(m), s.dtype.type(0), s.dtype.type(-np.inf))
            np.add(s, m, out=s, casting="unsafe")
        i = block.rows.start
        if self.causal and last - 1 > i:
            edge = max(i, first)
            future = np.arange(edge, last) > np.arange(i, block.rows.stop)[:, None]
            np.copyto(s[..., edge - first :], -np.inf, where=future)

    def drop(self, x: np.ndarray, block: Block, first: int, last: int) -> None:
        """Zero the weights ``x`` of a block that dropout takes; the others stay as they are."""
        threshold = np.uint32(min(int(self.p * 2.0**32 + 0.5), 2**32 - 1))
        padded = -(-self.size // LANES) * LANES
        rows = block.rows.stop - block.rows.start
        for place in np.ndindex(x.shape[:3]):
            head = (block.heads.start + place[1]) * self.groups + place[2]
            row = ((block.batch.start + place[0]) * self.heads * self.groups + head) * self.length
            start = (row + block.rows.start) * padded
            if last - first == self.size:
                bits = narrow(self.key, self.counter, start, rows * padded)
                keep = bits.reshape(rows, padded)[:, first:last] >= threshold
                np.multiply(x[place], keep, out=x[place])
                continue
            for r in range(rows):
                bits = narrow(self.key, self.counter, start + r * padded + first, last - first)
                np.multiply(x[place][r], bits >= threshold, out=x[place][r])


def unrepeated(m: np.ndarray) -> np.ndarray:
    """The mask with size 1 along axes that it was broadcast along."""
    return m[tuple(slice(0, 1) if s == 0 else slice(None) for s in m.strides)]


def is_small(q: np.ndarray, k: np.ndarray) -> bool:
    """Whether no score can pass SAFE in size, by the lengths of the longest rows."""
    if q.size == 0 or k.size == 0:
        return True
    longest = float(np.vecdot(q, q).max()) * float(np.vecdot(k, k).max())
    return longest <= SAFE * SAFE  # false for NaN


# ---- forward -------------------------------------------------------------------------------------


def forward(y, lse, q, k, v, mask, scale, causal, p, key, counter):
    s = Scores(q, k, mask, causal, p, key, counter)
    wide = lse.dtype
    q = scaled(by_head(q, s.heads), scale, wide)
    k, v = (readable(by_head(x, s.heads), wide) for x in (k, v))
    safe = is_small(q, k) and (mask is None or mask.dtype == np.bool_)
    out, log = by_head(y, s.heads), lse.reshape(*q.shape[:3], s.length)
    work: dict[str, np.ndarray] = {}
    for block in s.blocks():
        total, shift, acc = one_block(s, block, q, k, v, safe, work)
        seen = total != 0
        np.log(total, out=log[block.batch, block.heads, :, block.rows][..., None])
        if shift is not None:
            block.of(log)[...] += shift[..., 0]
        if not seen.all():
            np.copyto(block.of(log), np.inf, where=~seen[..., 0])
            np.copyto(total, 1, where=~seen)
        np.multiply(total, 1 - p, out=total)
        np.divide(1, total, out=total)
        np.multiply(acc, total, out=block.of(out), casting="unsafe")


def one_block(
    s: Scores, block: Block, q: np.ndarray, k: np.ndarray, v: np.ndarray, safe: bool,
    work: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:  # fmt: skip
    """(sum of exponentials, what was subtracted before or None, weights times v) of its rows."""
    rows = block.of(q)
    shape = rows.shape[:-1]
    total: Any = None
    shift: Any = None
    acc: Any = None
    for first, last in s.chunks(block):
        x = taken(work, "scores", (*shape, last - first), q.dtype)
        np.matmul(rows, block.keys(k, first, last).swapaxes(-1, -2), out=x)
        s.hide(x, block, first, last)
        factor = None
        if not safe:
            top = x.max(-1, keepdims=True)
            if shift is not None:
                np.maximum(top, shift, out=top)
            np.copyto(top, 0 if shift is None else shift, where=np.isneginf(top))
            factor = None if shift is None else np.exp(shift - top)
            shift = top
            np.subtract(x, shift, out=x)
        np.exp(x, out=x)
        part = sums(x)
        if s.p:
            s.drop(x, block, first, last)
        name = "more" if acc is not None else "acc"
        product = taken(work, name, (*shape, v.shape[-1]), q.dtype)
        np.matmul(x, block.keys(v, first, last), out=product)
        if acc is None:
            total, acc = part, product
            continue
        if factor is not None:
            total *= factor
            acc *= factor
        total += part
        acc += product
    if acc is None:  # no keys at all
        return np.zeros((*shape, 1), q.dtype), None, np.zeros((*shape, v.shape[-1]), q.dtype)
    return total, shift, acc


def taken(work: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype):
    """A work array of this shape; its memory is kept for the blocks that follow."""
    n = math.prod(shape)
    have = work.get(name)
    if have is None or have.size < n:
        have = work[name] = memory.empty((n,), dtype)
    return have[:n].reshape(shape)


@kernel("_attention", "cpu")
def _attention(y, lse, q, k, v, mask, scale, causal, p, key, counter):
    quiet.run(forward, y, lse, q, k, v, mask, scale, causal, p, key, counter)


@kernel("_row_dots", "cpu")
def _row_dots(delta, g, y):
    wide = delta.dtype
    product = memory.empty(y.shape, wide)
    quiet.run(np.multiply, g.astype(wide, copy=False), y.astype(wide, copy=False), product)
    delta[...] = sums(product)[..., 0].transpose(0, 2, 1)


# ---- backward ------------------------------------------------------------------------------------


class Backward:
    """The weights and the gradients of the scores, block by block, from q, k, v, g and each row's
    logsumexp and delta."""

    def __init__(self, s: Scores, g, q, k, v, lse, delta, scale):
        self.s, self.wide = s, lse.dtype
        split = (s.batch, s.heads, s.groups, s.length)
        self.q = scaled(by_head(q, s.heads), scale, self.wide)
        self.k, self.v, self.g = (readable(by_head(x, s.heads), self.wide) for x in (k, v, g))
        # exp(-1e30) is 0 as exp(-inf) is, and 0 * 1e30 is no NaN.
        away = np.minimum(lse.reshape(split), self.wide.type(1e30))
        self.q_more = with_feature(self.q, -away)
        self.k_more = with_feature(self.k, 1)
        self.delta = delta.reshape(split)
        self.g_more, self.v_more = self.g, self.v
        if not s.p:
            self.g_more, self.v_more = with_feature(self.g, -self.delta), with_feature(self.v, 1)
        self.work: dict[str, np.ndarray] = {}

    def chunk(self, block: Block, first: int, last: int):
        """(weights after dropout or None, gradient of the scores) of a block and some keys."""
        s = self.s
        shape = (*block.of(self.q).shape[:-1], last - first)
        weights = taken(self.work, "weights", shape, self.wide)
        ds = taken(self.work, "ds", shape, self.wide)
        keys = block.keys(self.k_more, first, last)
        np.matmul(block.of(self.q_more), keys.swapaxes(-1, -2), out=weights)
        s.hide(weights, block, first, last)
        np.exp(weights, out=weights)
        values = block.keys(self.v_more, first, last)
        np.matmul(block.of(self.g_more), values.swapaxes(-1, -2), out=ds)
        if not s.p:
            np.multiply(ds, weights, out=ds)
            return weights, ds
        # dS = (P D) (g v^T) - P delta
        dropped = taken(self.work, "dropped", shape, self.wide)
        np.multiply(weights, self.wide.type(1 / (1 - s.p)), out=dropped)
        s.drop(dropped, block, first, last)
        np.multiply(ds, dropped, out=ds)
        np.multiply(weights, block.of(self.delta)[..., None], out=weights)
        np.subtract(ds, weights, out=ds)
        return dropped, ds


def add_product(y: np.ndarray, a: np.ndarray, b: np.ndarray, seen: int, work: dict) -> None:
    """y[:, :, j] = a^T b for keys j from ``seen`` on, += for those before.

    a and b are (batch, heads, G, L, keys or features); the sum is over G and L.
    """
    if a.shape[2] == 1:
        a, b = a[:, :, 0], b[:, :, 0]
    else:
        shape = (*a.shape[:2], a.shape[2] * a.shape[3])
        a, b = a.reshape(*shape, a.shape[-1]), np.ascontiguousarray(b).reshape(*shape, b.shape[-1])
    if seen == 0:
        np.matmul(a.swapaxes(-1, -2), b, out=y)
        return
    part = taken(work, "part", y.shape, y.dtype)
    np.matmul(a.swapaxes(-1, -2), b, out=part)
    y[:, :, :seen] += part[:, :, :seen]
    y[:, :, seen:] = part[:, :, seen:]


def backward(dq, dk, dv, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter):
    s = Scores(q, k, mask, causal, p, key, counter)
    back = Backward(s, g, q, k, v, lse, delta, scale)
    wide = back.wide
    dk5, dv5 = (memory.empty((s.batch, s.heads, s.size, x.shape[-1]), wide) for x in (dk, dv))
    out = by_head(dq, s.heads)
    seen = 0  # keys that earlier rows of these heads have written
    for block in s.blocks():
        place = (block.batch, block.heads)
        seen = seen if block.rows.start else 0
        acc = taken(back.work, "dq", block.of(back.q).shape, wide)
        for first, last in s.chunks(block):
            weights, ds = back.chunk(block, first, last)
            before = min(max(seen - first, 0), last - first)
            keys = slice(first, last)
            add_product(dv5[place][:, :, keys], weights, block.of(back.g), before, back.work)
            add_product(dk5[place][:, :, keys], ds, block.of(back.q), before, back.work)
            rows = acc if first == 0 else taken(back.work, "more", acc.shape, wide)
            np.matmul(ds, block.keys(back.k, first, last), out=rows)
            if first:
                acc += rows
        if block.end == 0:
            acc[...] = 0
        np.multiply(acc, wide.type(scale), out=block.of(out), casting="unsafe")
        seen = block.end
        if block.rows.stop == s.length:
            dk5[place][:, :, seen:] = 0
            dv5[place][:, :, seen:] = 0
    if s.length == 0:
        dk5[...] = dv5[...] = 0
    np.copyto(dk, dk5.transpose(0, 2, 1, 3), casting="unsafe")
    np.copyto(dv, dv5.transpose(0, 2, 1, 3), casting="unsafe")


@kernel("attention_backward", "cpu")
def attention_backward(dq, dk, dv, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter):
    quiet.run(
        backward, dq, dk, dv, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter
    )  # fmt: skip


def backward_mask(dm, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter):
    s = Scores(q, k, mask, causal, p, key, counter)
    back = Backward(s, g, q, k, v, lse, delta, scale)
    full = (s.batch, s.heads * s.groups, s.length, s.size)
    total = np.zeros(dm.shape, back.wide)
    for block in s.blocks():
        for first, last in s.chunks(block):
            _, ds = back.chunk(block, first, last)
            ds = ds.reshape(ds.shape[0], -1, *ds.shape[3:])
            heads = slice(block.heads.start * s.groups, block.heads.stop * s.groups)
            where = (block.batch, heads, block.rows, slice(first, last))
            over = tuple(i for i in range(4) if dm.shape[i] == 1 and full[i] != 1)
            place = tuple(slice(None) if dm.shape[i] == 1 else w for i, w in enumerate(where))
            total[place] += ds.sum(over, keepdims=True) if over else ds
    np.copyto(dm, total, casting="unsafe")


@kernel("attention_backward_mask", "cpu")
def attention_backward_mask(
    dm, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter
):  # fmt: skip
    quiet.run(
        backward_mask, dm, g, q, k, v, mask, lse, delta, scale, causal, p, key, counter
    )  # fmt: skip
