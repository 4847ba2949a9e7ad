"""Recurrent layers step by step, features first: every gate of a step is one contiguous block.

The projections of x are made for many steps at once; a step is then one product with the hidden
weights, which stay in cache. Sigmoids are 0.5 tanh(0.5 x) + 0.5 with the inner half in the weights:
one tanh over all gates. Backward collects the gates' gradients of many steps and multiplies them
into the gradients of x and of the weights at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import as_wide, wide_dtype
from tgrad.runtime import memory

COLUMNS = 512  # rows of x that are projected at once, and whose gradients are collected
PAD = 16  # elements by which rows of the collection end before a power of two: no cache conflicts


def spans_of(rows: int, batch: int, offsets: Any, backwards: bool) -> list[tuple[int, int]]:
    """First and last row of each step, in the order of computation."""
    if not rows:
        return []
    edges = range(0, rows + 1, batch) if offsets is None else offsets.tolist()
    spans = list(itertools.pairwise(edges))
    return spans[::-1] if backwards else spans


def resized(a: np.ndarray, start: np.ndarray, n: int) -> np.ndarray:
    """State (F, m) for n sequences: the last ones end, or begin with those of ``start``."""
    m = a.shape[1]
    return a[:, :n].copy() if m >= n else np.concatenate((a, start[:, m:n]), 1)


class Projection:
    """W_ih x + b of each step, (rows, n), made for about COLUMNS rows of x at once."""

    def __init__(
        self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None,
        spans: list[tuple[int, int]], batch: int,
    ):  # fmt: skip
        self.x, self.w, self.bias, self.spans = x, w, bias, spans
        self.made = memory.empty((len(w), max(COLUMNS, batch) + PAD), w.dtype)
        self.low = self.high = 0

    def of(self, k: int) -> np.ndarray:
        """Of the k-th step computed; steps are asked for in their order."""
        start, stop = self.spans[k]
        if not self.low <= start < stop <= self.high:
            self.low, self.high = start, stop
            for first, last in self.spans[k + 1 :]:
                low, high = min(self.low, first), max(self.high, last)
                if high - low > COLUMNS:
                    break
                self.low, self.high = low, high
            part = as_wide(self.x[self.low : self.high], self.w.dtype)
            made = self.made[:, : len(part)]
            np.matmul(self.w, part.T, out=made)
            if self.bias is not None:
                np.add(made, self.bias, out=made)
        return self.made[:, start - self.low : stop - self.low]


def columns(a: np.ndarray | None, features: int, batch: int, dtype: np.dtype) -> np.ndarray:
    """(N, F) as (F, N) in ``dtype``; zeros for None."""
    if a is None:
        return np.zeros((features, batch), dtype)
    return np.ascontiguousarray(a.T, dtype)


# ---- the cells: numbers of rows, order of gates, one step each way -------------------------------


class Plain:
    """tanh or relu of W_ih x + W_hh h."""

    gates, kept, order, halved = 1, 0, (0,), 0

    def __init__(self, relu: bool):
        self.relu = relu

    def forward(self, a: np.ndarray, c: Any, h: np.ndarray, new_c: Any, work: np.ndarray) -> None:
        (np.maximum(a, 0, out=h) if self.relu else np.tanh(a, out=h))

    def backward(
        self, d: np.ndarray, dh: np.ndarray, dc: Any, s: Any, c: Any, c_before: Any, h: Any,
        h_before: Any, work: np.ndarray,
    ) -> None:  # fmt: skip
        if self.relu:
            np.multiply(dh, h > 0, out=d)
            return
        np.multiply(h, h, out=work[0])
        np.subtract(1, work[0], out=work[0])
        np.multiply(dh, work[0], out=d)


class Lstm:
    """c' = f c + i g, m = o tanh(c'). Gates stand in the order i, f, o, g: sigmoids together."""

    gates, kept, order, halved = 4, 4, (0, 1, 3, 2), 3

    def forward(self, s: np.ndarray, c: Any, m: np.ndarray, new_c: Any, work: np.ndarray) -> None:
        """s: products in, gates out."""
        H = m.shape[0]
        np.tanh(s, out=s)
        sigmoids = s[: 3 * H]
        np.multiply(sigmoids, 0.5, out=sigmoids)
        np.add(sigmoids, 0.5, out=sigmoids)
        np.multiply(s[:H], s[3 * H :], out=work[0])
        np.multiply(s[H : 2 * H], c, out=new_c)
        np.add(new_c, work[0], out=new_c)
        np.tanh(new_c, out=m)
        np.multiply(m, s[2 * H : 3 * H], out=m)

    def backward(
        self, d: np.ndarray, dm: np.ndarray, dc: np.ndarray, s: np.ndarray, c: np.ndarray,
        c_before: np.ndarray, h: Any, h_before: Any, work: np.ndarray,
    ) -> None:  # fmt: skip
        """d and, in place, dc of the step before from dm and dc; m of the step to work[3]."""
        H = dm.shape[0]
        i, f, o, g = s[:H], s[H : 2 * H], s[2 * H : 3 * H], s[3 * H :]
        t, u = work[0], work[1]
        np.tanh(c, out=t)
        np.multiply(o, t, out=work[3])  # m
        np.multiply(dm, t, out=work[2])  # do
        np.multiply(work[3], t, out=u)
        np.subtract(o, u, out=u)  # o (1 - tanh^2)
        np.multiply(u, dm, out=u)
        np.add(dc, u, out=dc)
        sigmoids, slopes = s[: 3 * H], work[4:7].reshape(3 * H, -1)
        np.multiply(sigmoids, sigmoids, out=slopes)
        np.subtract(sigmoids, slopes, out=slopes)
        np.multiply(dc, g, out=t)
        np.multiply(t, work[4], out=d[:H])
        np.multiply(dc, c_before, out=t)
        np.multiply(t, work[5], out=d[H : 2 * H])
        np.multiply(work[2], work[6], out=d[2 * H : 3 * H])
        np.multiply(g, g, out=t)
        np.subtract(1, t, out=t)
        np.multiply(t, i, out=t)
        np.multiply(t, dc, out=d[3 * H :])
        np.multiply(dc, f, out=dc)


class Gru:
    """h' = n + z (h - n). Kept: r, z, n and W_hn h + b_hn."""

    gates, kept, order, halved = 3, 4, (0, 1, 2), 2

    def forward(
        self, s: np.ndarray, a: np.ndarray, b: np.ndarray, h: np.ndarray, work: np.ndarray
    ) -> None:
        """s: gates out, from a = (n, r, z) of x and b = (r, z, n) of h; h in place."""
        H = h.shape[0]
        rz, n = s[: 2 * H], s[2 * H : 3 * H]
        np.add(a[H:], b[: 2 * H], out=rz)
        np.tanh(rz, out=rz)
        np.multiply(rz, 0.5, out=rz)
        np.add(rz, 0.5, out=rz)
        s[3 * H :] = b[2 * H :]
        np.multiply(s[:H], b[2 * H :], out=n)
        np.add(n, a[:H], out=n)
        np.tanh(n, out=n)
        np.subtract(h, n, out=h)
        np.multiply(h, s[H : 2 * H], out=h)
        np.add(h, n, out=h)

    def backward(
        self, d: np.ndarray, dh: np.ndarray, dc: Any, s: np.ndarray, c: Any, c_before: Any, h: Any,
        h_before: np.ndarray, work: np.ndarray,
    ) -> None:  # fmt: skip
        """d = (dn, dr, dz, r dn): the first three are of W_ih's rows, the last of W_hh's."""
        H = dh.shape[0]
        r, z, n, hn = s[:H], s[H : 2 * H], s[2 * H : 3 * H], s[3 * H :]
        t, u = work[0], work[1]
        np.subtract(1, z, out=t)
        np.multiply(n, n, out=u)
        np.subtract(1, u, out=u)
        np.multiply(u, t, out=u)
        np.multiply(u, dh, out=d[:H])
        np.multiply(t, z, out=t)
        np.multiply(t, dh, out=t)
        np.subtract(h_before, n, out=u)
        np.multiply(t, u, out=d[2 * H : 3 * H])
        np.multiply(d[:H], r, out=d[3 * H :])
        np.subtract(1, r, out=t)
        np.multiply(t, hn, out=t)
        np.multiply(t, d[3 * H :], out=d[H : 2 * H])


CELLS: dict[str, Any] = {"tanh": Plain(False), "relu": Plain(True), "lstm": Lstm(), "gru": Gru()}


def ordered(w: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Blocks of rows in another order, as (gates, H, ...)."""
    return w.reshape(len(order), -1, *w.shape[1:])[list(order)]


def stacked(
    w: np.ndarray | None, order: Sequence[int], halved: Sequence[int], dtype: np.dtype
) -> Any:
    """A weight with its gates in ``order``, the rows of the ``halved`` ones times a half; a bias as
    a column."""
    if w is None:
        return None
    made = ordered(w.astype(dtype, copy=False), order)
    for k, gate in enumerate(order):
        if gate in halved:
            made[k] *= 0.5
    return made.reshape(len(w), -1)


class Scratch:
    """Work buffers of steps of n sequences, views of memory that all steps share."""

    def __init__(self, rows: dict[str, int], batch: int, dtype: np.dtype):
        self.memory = {name: memory.empty((k * batch,), dtype) for name, k in rows.items()}
        self.rows = rows

    def views(self, n: int) -> dict[str, np.ndarray]:
        return {name: a[: self.rows[name] * n].reshape(-1, n) for name, a in self.memory.items()}


@kernel("_recurrence", "cpu")
def _recurrence(
    y, h_n, c_n, cells, gates, x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets, cell, backwards,
    keep,
):  # fmt: skip
    with np.errstate(all="ignore"):
        if cell == "gru":
            gru(y, h_n, gates, x, w_ih, w_hh, b_ih, b_hh, h, offsets, backwards)
        else:
            stack(
                y, h_n, c_n, cells, gates, x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets, cell,
                backwards,
            )  # fmt: skip


def stack(
    y, h_n, c_n, cells, gates, x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets, cell, backwards
):  # fmt: skip
    """tanh, relu and lstm: x and h meet in one sum."""
    rule, wide = CELLS[cell], wide_dtype(x)
    batch, out = h.shape
    hidden = w_ih.shape[0] // rule.gates
    halved = (0, 1, 3) if rule.halved else ()
    bias = None if b_ih is None else b_ih.astype(wide) + b_hh
    w_x, w, bias = (stacked(part, rule.order, halved, wide) for part in (w_ih, w_hh, bias))
    spans = spans_of(x.shape[0], batch, offsets, backwards)
    projection = Projection(x, w_x, bias, spans, batch)
    w_hr = None if w_hr is None else np.ascontiguousarray(w_hr, wide)
    lstm = cell == "lstm"
    scratch = Scratch(
        {"z": out, "a": w.shape[0], "c": hidden * lstm, "d": hidden * lstm,
         "m": hidden * (w_hr is not None), "work": hidden}, batch, wide,
    )  # fmt: skip
    h0, c0 = columns(h, out, batch, wide), columns(c, hidden, batch, wide)
    h, c, n, v = h0, c0, -1, {}
    for k, (start, stop) in enumerate(spans):
        if n != stop - start:
            if n > 0:
                retire(h_n, h, stop - start)
                retire(c_n if lstm else None, c, stop - start)
            n = stop - start
            h, c, v = resized(h, h0, n), resized(c, c0, n), scratch.views(n)
            v["z"][...] = h
            h = v["z"]
        direct = len(gates) and gates.dtype == wide
        a = block(gates, start, n, w.shape[0]) if direct else v["a"]
        new_c = block(cells, start, n, hidden) if direct else v["d"] if c is v["c"] else v["c"]
        np.matmul(w, h, out=a)
        np.add(a, projection.of(k), out=a)
        m = h if w_hr is None else v["m"]
        rule.forward(a, c, m, new_c, v["work"][None])
        if w_hr is not None:
            np.matmul(w_hr, m, out=h)
        if lstm:
            c = new_c
        if len(gates) and not direct:
            block(gates, start, n, w.shape[0])[...] = a
            block(cells, start, n, hidden)[...] = c
        y[start:stop] = h.T
    retire(h_n, h, 0)
    retire(c_n if lstm else None, c, 0)


def retire(last: np.ndarray | None, state: np.ndarray, n: int) -> None:
    """Write the state of sequences from the n-th on, which end."""
    if last is not None:
        last[n : state.shape[1]] = state[:, n:].T


def block(kept: np.ndarray, start: int, n: int, rows: int) -> np.ndarray:
    """Where (rows, n) numbers of a step are kept: (R, rows) in memory, blocks features first."""
    return kept.reshape(-1)[start * rows : (start + n) * rows].reshape(rows, n)


def gru(y, h_n, gates, x, w_ih, w_hh, b_ih, b_hh, h, offsets, backwards):
    """The new gate takes what comes of x and of h apart."""
    rule, wide = CELLS["gru"], wide_dtype(x)
    batch, hidden = h.shape
    w_x, b_x = (stacked(part, (2, 0, 1), (0, 1), wide) for part in (w_ih, b_ih))
    w_h, b_h = (stacked(part, (0, 1, 2), (0, 1), wide) for part in (w_hh, b_hh))
    spans = spans_of(x.shape[0], batch, offsets, backwards)
    projection = Projection(x, w_x, b_x, spans, batch)
    scratch = Scratch({"z": hidden, "b": 3 * hidden, "s": 4 * hidden, "work": hidden}, batch, wide)
    h0 = columns(h, hidden, batch, wide)
    h, n, v = h0, -1, {}
    for k, (start, stop) in enumerate(spans):
        if n != stop - start:
            if n > 0:
                retire(h_n, h, stop - start)
            n = stop - start
            h, v = resized(h, h0, n), scratch.views(n)
            v["z"][...] = h
            h = v["z"]
        direct = len(gates) and gates.dtype == wide
        s = block(gates, start, n, 4 * hidden) if direct else v["s"]
        np.matmul(w_h, h, out=v["b"])
        if b_h is not None:
            np.add(v["b"], b_h, out=v["b"])
        rule.forward(s, projection.of(k), v["b"], h, v["work"])
        if len(gates) and not direct:
            block(gates, start, n, 4 * hidden)[...] = s
        y[start:stop] = h.T
    retire(h_n, h, 0)


# ---- backward ------------------------------------------------------------------------------------


class Sums:
    """Weight gradients: collects (rows of gates, n) of each step beside [x, 1, h, 1]'s rows."""

    def __init__(
        self, rows: int, inputs: int, out: int, ones: int, split: bool, batch: int,
        w_x: np.ndarray, dx: np.ndarray | None,
    ):  # fmt: skip
        dtype = w_x.dtype
        self.w_x, self.dx, self.places = w_x, dx, []
        self.room = max(COLUMNS // batch, 1) * batch
        self.d = memory.empty((rows, self.room + PAD), dtype)
        self.z = memory.empty((self.room, inputs + out + ones * (1 + split)), dtype)
        self.first, self.inputs, self.used = inputs + ones, inputs, 0
        self.z[:, inputs : self.first] = self.z[:, self.first + out :] = 1
        self.out, self.split = out, split
        three = rows // 4 * 3
        shapes = [(rows, self.z.shape[1])] if not split else [
            (three, self.first), (three, out + ones)
        ]  # fmt: skip
        self.totals = [np.zeros(s, dtype) for s in shapes]
        self.made = [memory.empty(s, dtype) for s in shapes]
        self.made_x = memory.empty((self.room if dx is not None else 0, inputs), dtype)

    def place(self, n: int) -> np.ndarray:
        """Where the next step's gate gradients go."""
        if self.used + n > self.room:
            self.flush()
        return self.d[:, self.used : self.used + n]

    def add(self, start: int, n: int, x: np.ndarray, before: Sequence[np.ndarray]) -> None:
        """The step at :meth:`place` is complete: its rows of x, the parts of h before it."""
        at = self.used
        self.places.append((at, start, n))
        self.z[at : at + n, : self.inputs] = x[start : start + n]
        for part in before:
            self.z[at : at + len(part), self.first : self.first + self.out] = part
            at += len(part)
        self.used = at

    def flush(self) -> None:
        d, z = self.d[:, : self.used], self.z[: self.used]
        quarter = len(d) // 4
        pairs = [(d, z)] if not self.split else [
            (d[: 3 * quarter], z[:, : self.first]), (d[quarter:], z[:, self.first :])
        ]  # fmt: skip
        for (d, z), made, total in zip(pairs, self.made, self.totals, strict=True):
            np.matmul(d, z, out=made)
            np.add(total, made, out=total)
        if self.dx is not None:
            made_x = np.matmul(
                self.d[: len(self.w_x), : self.used].T, self.w_x, out=self.made_x[: self.used]
            )
            for at, start, n in self.places:
                self.dx[start : start + n] = made_x[at : at + n]
        self.used, self.places = 0, []


def put(total: np.ndarray, order: Sequence[int], dw: np.ndarray, db: np.ndarray, at: int, w: int):
    """Columns of collected gradients into a weight's and, where there is one, its bias's."""
    back = [*map(int, np.argsort(order))]
    dw[...] = ordered(total[:, at : at + dw.shape[1]], back).reshape(dw.shape)
    if db.size:
        db[...] = ordered(total[:, w], back).reshape(db.shape)


def before_rows(
    y: np.ndarray, h0: np.ndarray, span: tuple[int, int] | None, n: int
) -> list[np.ndarray]:
    """Rows of h before a step of n sequences, in at most two parts."""
    if span is None:
        return [h0[:n]]
    start, stop = span
    m = min(n, stop - start)
    return [y[start : start + m]] + ([h0[m:n]] if m < n else [])


@kernel("recurrence_backward", "cpu")
def recurrence_backward(
    dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr, dh0, dc0, g_y, g_h, g_c, x, w_ih, w_hh, b_ih, b_hh,
    w_hr, h, c, offsets, y, cells, gates, cell, backwards, needs_x,
):  # fmt: skip
    rule, wide = CELLS[cell], wide_dtype(x)
    batch, out = h.shape
    inputs, hidden, rows = x.shape[1], w_ih.shape[0] // rule.gates, max(rule.kept, rule.gates)
    split, ones, lstm = cell == "gru", int(b_ih is not None), cell == "lstm"
    orders = ((2, 0, 1), (0, 1, 2)) if split else (rule.order, rule.order)
    w_x, back = (stacked(w, order, (), wide) for w, order in zip((w_ih, w_hh), orders, strict=True))
    back = np.ascontiguousarray(back.T)
    w_hr = None if w_hr is None else np.ascontiguousarray(w_hr, wide)
    dw_p = np.zeros((out, hidden), wide)
    sums = Sums(
        rows * hidden, inputs, out, ones, split, max(batch, 1), w_x, dx if needs_x else None
    )
    scratch = Scratch(
        {"z": out, "s": rows * hidden, "dm": hidden, "work": 7 * hidden},
        batch, wide,
    )  # fmt: skip
    ended_h, ended_c = columns(g_h, out, batch, wide), columns(g_c, hidden, batch, wide)
    first_c = columns(c, hidden, batch, wide)
    dh, dc, n, v, work = ended_h[:, :0], ended_c[:, :0], -1, {}, scratch.memory["work"]
    spans = spans_of(x.shape[0], batch, offsets, backwards)
    with np.errstate(all="ignore"):
        for k in range(len(spans) - 1, -1, -1):
            start, stop = spans[k]
            span = spans[k - 1] if k else None
            if n != stop - start:
                retire(dh0, dh, stop - start)
                retire(dc0 if lstm else None, dc, stop - start)
                n = stop - start
                dh, dc = resized(dh, ended_h, n), resized(dc, ended_c, n)
                v = scratch.views(n)
                work = v["work"].reshape(7, hidden, n)
            if g_y is not None:
                np.add(dh, g_y[start:stop].T, out=dh, casting="unsafe")
            before = before_rows(y, h, span, n)
            s = as_wide(block(gates, start, n, rows * hidden), wide) if rule.kept else None
            ct = c_before = None
            if lstm:
                ct = as_wide(block(cells, start, n, hidden), wide)
                c_before = first_c[:, :n]
                if span is not None:
                    m = span[1] - span[0]
                    c_before = as_wide(block(cells, span[0], m, hidden), wide)
                    c_before = c_before if m == n else resized(c_before, first_c, n)
            ht = None if rule.kept else as_wide(y[start:stop], wide).T
            h_before = None
            if split:
                parts = before if len(before) == 1 else [np.concatenate(before)]
                h_before = as_wide(parts[0], wide).T
            dm = dh if w_hr is None else np.matmul(w_hr.T, dh, out=v["dm"])
            d = sums.place(n)
            rule.backward(d, dm, dc, s, ct, c_before, ht, h_before, work)
            if w_hr is not None:
                dw_p += dh @ work[3].T
            sums.add(start, n, x, before)
            if split:
                np.multiply(dh, s[hidden : 2 * hidden], out=dh)  # pyright: ignore[reportOptionalSubscript]
                np.add(dh, np.matmul(back, d[hidden:], out=v["z"]), out=dh)
            else:
                dh = np.matmul(back, d, out=v["z"])
        retire(dh0, dh, 0)
        retire(dc0 if lstm else None, dc, 0)
        sums.flush()
        total = sums.totals
        if split:
            put(total[0], orders[0], dw_ih, db_ih, 0, inputs)
            put(total[1], orders[1], dw_hh, db_hh, 0, out)
        else:
            put(total[0], rule.order, dw_ih, db_ih, 0, inputs)
            put(total[0], rule.order, dw_hh, db_hh, sums.first, inputs)
        if w_hr is not None:
            dw_hr[...] = dw_p
