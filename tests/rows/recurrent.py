"""Rows of recurrent layers and cells: every cell, layers, directions, projections, lengths."""

import numpy as np

from tests.table import row, s, t, value

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, x, h, c, w_ih, w_hh, b_ih=0.0, b_hh=0.0, w_hr=None):
    """(h', c') of rows (N, I)."""
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if cell in ("tanh", "relu"):
        return np.tanh(a + b) if cell == "tanh" else np.maximum(a + b, 0), None
    if cell == "gru":
        (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
        r, z = sigmoid(ar + br), sigmoid(az + bz)
        return (1 - z) * np.tanh(an + r * bn) + z * h, None
    i, f, g, o = np.split(a + b, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h if w_hr is None else h @ w_hr.T), c


def one_way(cell, sequence, h, c, weights, backwards):
    """(outputs (L, P), h, c) of one sequence (L, I) by itself."""
    h, c, ys = h[None], None if c is None else c[None], []
    for x in sequence[::-1] if backwards else sequence:
        h, c = step(cell, x[None], h, c, *weights)
        ys.append(h[0])
    return np.array(ys[::-1] if backwards else ys), h[0], None if c is None else c[0]


def parts(params, has_biases, projects):
    size = 2 + 2 * has_biases + projects
    for k in range(0, len(params), size):
        w = params[k : k + size]
        plain = w[:-1] if projects else w
        biases = plain[2:] if has_biases else [0.0, 0.0]
        yield [*plain[:2], *biases, w[-1] if projects else None]


def sequences(cell, xs, hx, params, has_biases, layers, dropout, train, bidirectional):
    """(outputs of each sequence, h, c) of a list of sequences (L_i, I)."""
    h0, c0 = hx if cell == "lstm" else (hx, None)
    projects = c0 is not None and h0.shape[2] != c0.shape[2]
    weights, ways = list(parts(params, has_biases, projects)), 2 if bidirectional else 1
    hs, cs = np.empty(h0.shape), None if c0 is None else np.empty(c0.shape)
    for layer in range(layers):
        outs = []
        for n, x in enumerate(xs):
            both = []
            for way in range(ways):
                k = layer * ways + way
                c = None if c0 is None else c0[k, n]
                y, hs[k, n], last = one_way(cell, x, h0[k, n], c, weights[k], way == 1)
                if cs is not None:
                    cs[k, n] = last
                both.append(y)
            outs.append(np.concatenate(both, 1))
        xs = outs
    return xs, hs, cs


def reference(cell):
    """The layer in float64 NumPy, sequence by sequence; packed ones are unpacked first."""

    def ref(x, *args):
        sizes, args = (args[0], args[1:]) if isinstance(args[-1], tuple) else (None, args)
        *args, last = args
        if sizes is None:
            xs = list(x if last else x.swapaxes(0, 1))
            ys, h, c = sequences(cell, xs, *args)
            y = np.stack(ys, 0 if last else 1)
        else:
            starts = np.cumsum([0, *sizes])
            xs = [
                np.array([x[starts[j] + n] for j in range(len(sizes)) if sizes[j] > n])
                for n in range(sizes[0])
            ]
            ys, h, c = sequences(cell, xs, *args)
            y = np.array([ys[n][j] for j in range(len(sizes)) for n in range(sizes[j])])
        return (y, h) if c is None else (y, h, c)

    return ref


def weights(cell, I, H, P=0, layers=1, ways=1, biases=True):
    rows, P = GATES[cell] * H, P or H
    made = []
    for layer in range(layers):
        for _ in range(ways):
            made += [t(rows, P * ways if layer else I, low=-0.5, high=0.5),
                     t(rows, P, low=-0.5, high=0.5)]  # fmt: skip
            made += [t(rows), t(rows)] if biases else []
            made += [t(P, H)] if P != H else []
    return made


def padded(cell, L, N, I, H, P=0, layers=1, ways=1, biases=True, batch_first=False):
    h = t(layers * ways, N, P or H)
    hx = (h, t(layers * ways, N, H)) if cell == "lstm" else h
    x = t(N, L, I) if batch_first else t(L, N, I)
    params = weights(cell, I, H, P, layers, ways, biases)
    return s(x, hx, params, biases, layers, 0.0, True, ways == 2, batch_first)


def packed(cell, sizes, I, H, P=0, layers=1, ways=1, biases=True):
    h = t(layers * ways, sizes[0], P or H)
    hx = (h, t(layers * ways, sizes[0], H)) if cell == "lstm" else h
    params = weights(cell, I, H, P, layers, ways, biases)
    return s(t(sum(sizes), I), value(sizes, "int"), hx, params, biases, layers, 0.0, True,
             ways == 2)  # fmt: skip


def ref_of(cell):
    plain = reference(cell)

    def ref(x, *args):
        first = args[0] if cell == "lstm" else args[1]
        if isinstance(first, np.ndarray):  # the packed signature
            return plain(x, args[0].tolist(), *args[1:], ())
        return plain(x, *args)

    return ref


def torch_of(name):
    """torch's function; it reads batch_sizes as if they were contiguous."""

    def call(*args):
        import torch

        kept = [a.contiguous() if getattr(a, "dtype", None) == torch.int64 else a for a in args]
        return getattr(torch, name)(*kept)

    return call


def layer_rows(name, cell, once, *more):
    """Two rows: what is differentiated twice, ``once``, stays small: every step is many ops."""
    common = {
        "ref": ref_of(cell),
        "tolerance": 4.0,
        "torch": torch_of(name),
    }  # errors of steps add up
    return [
        row(name, once, **common),
        row(
            name,
            padded(cell, 2, 17, 2, 18, biases=False),  # more than one tile
            packed(cell, [3, 2, 1], 3, 4, layers=2, ways=2),
            *more,
            gradgrad=False,
            **common,
        ),
    ]


def cell_ref(cell):
    def ref(x, hx, *weights):
        h, c = hx if cell == "lstm" else (hx, None)
        y, c = step(cell, x, h, c, *weights)
        return y if c is None else (y, c)

    return ref


def cell_row(name, cell):
    def state(N, H):
        return (t(N, H), t(N, H)) if cell == "lstm" else t(N, H)

    rows = GATES[cell] * 4
    made = s(t(2, 3), state(2, 4), t(rows, 3), t(rows, 4), t(rows), t(rows))
    return row(name, made, ref=cell_ref(cell))


ROWS = [
    *layer_rows("rnn_tanh", "tanh", padded("tanh", 2, 1, 1, 2)),
    *layer_rows("rnn_relu", "relu", padded("relu", 2, 1, 1, 2, batch_first=True)),
    *layer_rows("gru", "gru", packed("gru", [2, 1], 1, 2)),
    *layer_rows("lstm", "lstm", packed("lstm", [2, 1], 1, 2, biases=False),
                padded("lstm", 2, 2, 3, 4, 2), packed("lstm", [2, 1], 3, 4, 3, ways=2)),
    cell_row("rnn_tanh_cell", "tanh"), cell_row("rnn_relu_cell", "relu"),
    cell_row("gru_cell", "gru"), cell_row("lstm_cell", "lstm"),
]  # fmt: skip
