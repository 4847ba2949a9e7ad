"""Rows of the put family: flat indices, slices and diagonals overwritten in a copy."""

import numpy as np

from tests.table import i, row, s, t, value


def put(x, index, source, accumulate=False):
    y = np.array(x)
    if accumulate:
        np.add.at(y.reshape(-1), index.reshape(-1), source.reshape(-1))
    else:
        y.reshape(-1)[index.reshape(-1)] = source.reshape(-1)
    return y


def select(x, src, dim, index):
    y = np.array(x)
    np.moveaxis(y, dim, 0)[index] = src
    return y


def sliced(x, src, dim=0, start=None, end=None, step=1):
    y = np.array(x)
    np.moveaxis(y, dim, 0)[start:end:step] = np.moveaxis(src, dim, 0)
    return y


def diagonal(x, src, offset=0, dim1=0, dim2=1):
    y = np.array(x)
    rows, columns = np.nonzero(np.eye(y.shape[dim1], y.shape[dim2], offset))
    np.moveaxis(y, (dim1, dim2), (0, 1))[rows, columns] = np.moveaxis(src, -1, 0)
    return y


def index_reduce(x, dim, index, source, reduce, include_self=True):
    y = np.moveaxis(np.array(x, np.float64), dim, 0)
    source = np.moveaxis(source, dim, 0)
    combine = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum, "mean": np.add}[reduce]
    start = {"prod": 1.0, "amax": -np.inf, "amin": np.inf, "mean": 0.0}[reduce]
    counts = np.ones(len(y)) if include_self else np.where(np.isin(np.arange(len(y)), index), 0, 1)
    if not include_self:
        y[index] = start
    for k, part in zip(index, source, strict=True):
        y[k] = combine(y[k], part)
        counts[k] += 1
    if reduce == "mean":
        y = y / np.maximum(counts, 1).reshape(-1, *(1,) * (y.ndim - 1))
    return np.moveaxis(y, 0, dim)


FLAT = value([[5, 0], [-1, 7]], "int")
REPEATED = value([0, 3, 0, 3, 0], "int")
ROWS = [
    row("put", s(t(3, 4), FLAT, t(2, 2)), s(t(3, 4), value([1, 1, 2], "int"), t(3), True),
        s(t(3), i(0), t(0)), ref=put, covers=["put_"]),
    row("select_scatter", s(t(3, 4), t(4), 0, 1), s(t(2, 3, 4), t(2, 4), 1, -1), ref=select),
    row("slice_scatter", s(t(5, 4), t(2, 4), 0, 1, 5, 2), s(t(3, 4), t(3, 2), 1, -2),
        s(t(3, 4), t(3, 4)), ref=sliced),
    row("diagonal_scatter", s(t(3, 3), t(3)), s(t(3, 4), t(2), 2), s(t(2, 3, 3), t(2, 2), -1, 1, 2),
        ref=diagonal),
    row(
        "index_reduce", s(t(4, 3), 0, REPEATED, t(5, 3), "prod"),
        s(t(4, 3), 0, REPEATED, t(5, 3, distinct=True), "amax"),
        s(t(2, 4), 1, REPEATED, t(2, 5), "mean"),
        s(t(4, 3), 0, REPEATED, t(5, 3), "mean", include_self=False),
        s(t(4, 3), 0, REPEATED, t(5, 3, distinct=True), "amin", include_self=False),
        ref=index_reduce, covers=["index_reduce_"], gradgrad=False,
        why_no_torch_grad="torch has it only where no place is named twice",
    ),
]  # fmt: skip
