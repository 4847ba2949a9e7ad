"""Rows of the scatter family."""

import numpy as np

from tests.table import i, row, s, t, value


def places(x, dim, index):
    """Coordinates, for fancy indexing, of what ``index`` says along ``dim``."""
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def gather(x, dim, index):
    if not x.ndim or not index.ndim:
        return np.take(x, index)
    return x[places(x, dim, index)]


def take_along(x, index, dim=None):
    if dim is None:
        return x.reshape(-1)[index.reshape(-1)]
    d = dim % x.ndim
    x, index = np.moveaxis(x, d, -1), np.moveaxis(index, d, -1)
    shape = np.broadcast_shapes(x.shape[:-1], index.shape[:-1])
    x, index = (np.broadcast_to(a, (*shape, a.shape[-1])) for a in (x, index))
    return np.moveaxis(np.take_along_axis(x, index, -1), -1, d)


COMBINE = {"add": np.add, "sum": np.add, "multiply": np.multiply, "prod": np.multiply,
           "amax": np.maximum, "amin": np.minimum}  # fmt: skip
FIRST = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -np.inf, "amin": np.inf}


def scatter(x, dim, index, src=None, value=None, reduce=None):
    y = np.array(x, copy=True)
    src = np.asarray(value if src is None else src)
    if y.ndim and not index.ndim:
        index, src = index.reshape(1), src.reshape(1)
    if not y.ndim:
        y[...] = src if reduce is None else COMBINE[reduce](y, src)
        return y
    part = src[tuple(slice(n) for n in index.shape)] if src.ndim else src
    if reduce is None:
        y[places(y, dim, index)] = part
    else:
        COMBINE[reduce].at(y, places(y, dim, index), part)
    return y


def scatter_add(x, dim, index, src):
    return scatter(x, dim, index, src, reduce="add")


def scatter_reduce(x, dim, index, src, reduce, include_self=True):
    y = np.array(x, np.float64)
    at = places(y, dim, index)
    if not include_self:
        y[at] = FIRST[reduce]
    part = src[tuple(slice(n) for n in index.shape)]
    COMBINE.get(reduce, np.add).at(y, at, part)
    if reduce == "mean":
        count = np.ones(x.shape)
        if not include_self:
            count[at] = 0
        np.add.at(count, at, 1)
        y /= np.maximum(count, 1)
    return y


def index_put(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        np.add.at(y, tuple(indices), values)
    else:
        y[tuple(indices)] = values
    return y


def index_add(x, dim, index, source, alpha=1):
    y = np.moveaxis(x.copy(), dim, 0) if x.ndim else x.reshape(1).copy()
    np.add.at(y, np.atleast_1d(index), alpha * (np.moveaxis(source, dim, 0) if x.ndim else source))
    return np.moveaxis(y, 0, dim) if x.ndim else y.reshape(())


def index_copy(x, dim, index, source):
    y = np.moveaxis(x.copy(), dim, 0)
    y[np.atleast_1d(index)] = np.moveaxis(source, dim, 0)
    return np.moveaxis(y, 0, dim)


def index_fill(x, dim, index, value):
    y = np.moveaxis(x.copy(), dim, 0)
    y[np.atleast_1d(index)] = value
    return np.moveaxis(y, 0, dim)


def one_hot(x, num_classes=-1):
    n = num_classes if num_classes > 0 else x.max() + 1
    return (x[..., None] == np.arange(n)).astype(np.int64)


def unlike(n, *shape):
    """Indices that differ along dim 0: with repeated ones it is open which value stays."""
    rng = np.random.default_rng(3)
    columns = np.stack([rng.permutation(n)[: shape[0]] for _ in range(int(np.prod(shape[1:])))], -1)
    return value(columns.reshape(shape).tolist(), "int")


INDEX = i(3, 4, high=5)
REDUCED = [s(t(5, 4), 0, i(7, 4, high=5), t(7, 4, distinct=True), mode, include_self=own)
           for mode in ("sum", "prod", "mean", "amax", "amin") for own in (True,
        False)]  # fmt: skip

ROWS = [
    row("gather", s(t(5, 4), 0, INDEX), s(t(3, 9), 1, INDEX), s(t(5, 6), 0, INDEX),
        s(t(2, 3, 4), -2, i(2, 6, 4, high=3)), s(t(), 0, value(0, "int")), s(t(),
        0, value([0, 0], "int")),
        s(t(4), 0, value(3, "int")), s(t(4, 3), 1, i(4, 0)), s(i(5, 4), 0, INDEX),
        s(t(50, 41), 0, i(60, 41, high=50)), ref=gather),
    row("take_along_dim", s(t(3, 5), i(3, 2, high=5), 1), s(t(3, 1), i(2, 4, high=3), 0),
        s(t(3, 4), i(2, 2, high=12)), s(t(3, 5), i(1, 2, high=5), -1), ref=take_along),
    row("scatter", s(t(5, 4), 0, unlike(5, 3, 4), t(3, 4)), s(t(5, 4), 0, unlike(5, 2, 3),
        t(4, 4, grad=False)),
        s(t(5, 4), 0, INDEX, 2.5), s(t(5, 4), 0, INDEX, value=-1), s(t(), 0, value(0, "int"), t()),
        s(t(5), 0, value(3, "int"), 1.0), s(t(4, 3), 0, i(0, 3), t(2, 3, grad=False)),
        s(i(5, 4), 0, unlike(5, 3, 4), i(3, 4)), ref=scatter, covers=("scatter_",)),
    row("scatter", s(t(5, 4), 0, INDEX, t(3, 4), reduce="add"), s(t(5, 4),
        0, INDEX, 0.5, reduce="add"),
        s(t(5, 4), 0, INDEX, t(3, 4), reduce="multiply"), ref=scatter,
        torch=None),  # torch differentiates neither
    row("scatter_add", s(t(5, 4), 0, INDEX, t(3, 4)), s(t(3, 5), 1, INDEX, t(3, 4)),
        s(t(5, 4), 0, i(2, 3, high=5), t(3, 4, grad=False)), s(t(), 0, value(0, "int"), t()),
        s(t(3),
        0, i(0), t(0)),
        s(i(5, 4), 0, INDEX, i(3, 4)), s(t(5, 2, 3), -2, i(5, 90, 3, high=2), t(5, 90, 3)),
        ref=scatter_add,
        covers=("scatter_add_",)),
    row("scatter_reduce", *REDUCED, s(value([0.0, 2.0, 0.0]), 0, value([0, 1, 1, 2, 2], "int"),
        value([3.0, 0.0, 5.0, 0.0, 0.0]), "prod", include_self=False),
        ref=scatter_reduce, covers=("scatter_reduce_",),
        gradgrad=False),  # amax and amin are not differentiable twice where they tie; torch neither
    row("index_put", s(t(5, 4), (unlike(5, 3),), t(3, 4)), s(t(5, 4), (unlike(5, 3),), t()),
        s(t(5, 4), (unlike(5, 3), i(3, low=-4, high=4)), t(3)),
        s(t(5, 4), (i(6, low=-5, high=5),), t(6, 4), True), s(t(5, 4), (i(6, high=5),
        i(6, high=4)), t(1), True),
        s(t(900, 20), (i(1000, high=900),), t(1000, 20), True), s(i(5, 4), (i(6, high=5),),
        i(6, 4), True),
        ref=index_put, covers=("index_put_",)),
    row("index_add", s(t(5, 4), 0, i(6, high=5), t(6, 4)), s(t(5, 4), 1, i(3, high=4), t(5, 3),
        alpha=2),
        s(t(), 0, value([0], "int"), t()), s(i(5), 0, i(3, high=5), i(3)), s(t(2, 3, 4),
        -2, i(5, high=3), t(2, 5, 4)),
        ref=index_add, covers=("index_add_",)),
    row("index_copy", s(t(5, 4), 0, unlike(5, 3), t(3, 4)), s(t(5, 4), -1, unlike(4, 2), t(5, 2)),
        ref=index_copy, covers=("index_copy_",)),
    row("index_fill", s(t(5, 4), 0, i(3, low=-5, high=5), 1.5), s(t(5, 4), 1, i(2, high=4), t()),
        ref=index_fill, covers=("index_fill_",)),
    row("nn.functional.one_hot", s(i(4, 3, high=5), 5), s(i(4, high=5)), s(value(2, "int")),
        s(i(0), 3),
        ref=one_hot, grad=False),
]  # fmt: skip
