"""Rows of the view family: other shapes and orders of the same elements."""

import numpy as np

from tests.table import row, s, t


def moved(x, source, destination):
    return np.moveaxis(x, source, destination)


def squeeze(x, dim=None):
    dims = (dim,) if isinstance(dim, int) else dim
    axes = range(x.ndim) if dims is None else [d % max(x.ndim, 1) for d in dims]
    return np.squeeze(x, tuple(d for d in axes if x.ndim and x.shape[d] == 1))


def flat(x, start_dim=0, end_dim=-1):
    if not x.ndim:
        return x.reshape(1)
    a, b = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(
        *x.shape[:a], -1 if x.size else int(np.prod(x.shape[a : b + 1])), *x.shape[b + 1 :]
    )


def expanded(x, *size):
    size = size[0] if isinstance(size[0], tuple) else size
    extra = len(size) - x.ndim
    shape = [n if m == -1 else m for m, n in zip(size, (1,) * extra + x.shape, strict=True)]
    return np.broadcast_to(x, shape)


def each(f):
    def ref(*xs):
        if len(xs) == 1 and not isinstance(xs[0], (tuple, list)):
            return f(xs[0])
        return [f(x) for x in (xs[0] if len(xs) == 1 else xs)]

    return ref


def swap(x, a, b):
    return np.swapaxes(x, a, b) if x.ndim else x


def grid(*xs, indexing="ij"):
    xs = xs[0] if isinstance(xs[0], list) else xs
    grids = np.meshgrid(*xs, indexing="ij")
    if indexing == "ij" or len(xs) < 2:
        return grids
    return [np.swapaxes(g, 0, 1) for g in grids]


ROWS = [
    row("reshape", s(t(4, 6), (3, 8)), s(t(4, 6), (-1, 2)), s(t(), (1, 1)), s(t(1), ()),
        s(t(0, 3), (3, 0)), s(t(2, 3, 4), (6, -1)), ref=lambda x, size: x.reshape(size)),
    row("Tensor.reshape", s(t(4, 6), 3, 8), s(t(4, 6), -1), ref=lambda x, *size: x.reshape(size)),
    row("Tensor.reshape_as", s(t(4, 6), t(3, 8, grad=False)), ref=lambda x, y: x.reshape(y.shape)),
    row("Tensor.view", s(t(1), 1, 1), s(t(0, 3), 0), ref=lambda x, *size: x.reshape(size)),
    row("Tensor.view_as", s(t(1), t(1, 1, grad=False)), ref=lambda x, y: x.reshape(y.shape)),
    row("flatten", s(t(2, 3, 4)), s(t(2, 3, 4), 1), s(t(2, 3, 4), 0, -2), s(t()), s(t(0, 3)),
        s(t(5), 0, 0), ref=flat),
    row("unflatten", s(t(6, 4), 0, (2, 3)), s(t(4, 6), -1, (-1, 2)), s(t(0), 0, (0, 3)),
        ref=lambda x, d, sizes: x.reshape(*x.shape[: d % x.ndim], *sizes,
        *x.shape[d % x.ndim + 1 :])),
    row("ravel", s(t(3, 4)), s(t()), ref=np.ravel),
    row("squeeze", s(t(1, 3, 1)), s(t(1, 3, 1), 0), s(t(1, 3, 1), 1), s(t(1, 3, 1, 1), (0, -1)),
        s(t()), s(t(), 0), s(t(1, 0)), ref=squeeze),
    row("unsqueeze", s(t(3, 4), 0), s(t(3, 4), 1), s(t(3, 4), -1), s(t(), 0), s(t(0), 1),
        ref=np.expand_dims),
    row("transpose", s(t(3, 4), 0, 1), s(t(2, 3, 4), -1, 0), s(t(), 0, -1), s(t(0, 3), 0, 1),
        ref=swap),
    row("swapaxes", s(t(2, 3, 4), 0, 2), ref=np.swapaxes),
    row("swapdims", s(t(2, 3, 4), 1, 2), ref=np.swapaxes),
    row("t", s(t(3, 4)), s(t(3)), s(t()), ref=np.transpose),
    row("adjoint", s(t(2, 3, 4)), ref=lambda x: x.swapaxes(-1, -2)),
    row("permute", s(t(2, 3, 4), (2, 0, 1)), s(t(2, 3), (-1, 0)), s(t(), ()), s(t(0, 3), (1, 0)),
        ref=np.transpose),
    row("movedim", s(t(2, 3, 4), 0, 2), s(t(2, 3, 4), (0, 1), (-1, 0)), s(t(2, 3, 4), -1, 0),
        ref=moved),
    row("moveaxis", s(t(2, 3, 4), 0, 1), ref=moved),
    row("Tensor.expand", s(t(3, 1), 3, 4), s(t(3, 1), 2, -1, 5), s(t(), 2, 3), s(t(1, 0), 3, 0),
        s(t(3, 1), (3, 4)), ref=expanded),
    row("Tensor.expand_as", s(t(3, 1), t(2, 3, 4, grad=False)),
        ref=lambda x, y: np.broadcast_to(x, y.shape)),
    row("broadcast_to", s(t(3, 1), (2, 3, 4)), s(t(), (2,)), ref=np.broadcast_to),
    row("broadcast_tensors", s(t(3, 1), t(4)), s(t(), t(2, 1), t(1, 3)),
        ref=lambda *xs: list(np.broadcast_arrays(*xs))),
    row("broadcast_shapes", s((3, 1), (4,)), s((2,), (), (5, 1)),
        ref=lambda *shapes: list(np.broadcast_shapes(*shapes)), dtypes=(), grad=False,
        torch=lambda *shapes: tuple(np.broadcast_shapes(*shapes))),
    row("atleast_1d", s(t()), s(t(3)), s(t(), t(2, 2)), ref=each(np.atleast_1d)),
    row("atleast_2d", s(t()), s(t(3)), s([t(2), t(1, 2)]), ref=each(np.atleast_2d)),
    row("atleast_3d", s(t()), s(t(3)), s(t(3, 2)), s(t(1, 2, 3)), ref=each(np.atleast_3d)),
    row("meshgrid", s(t(3), t(4), indexing="ij"), s([t(3), t(2), t(4)], indexing="xy"),
        s(t(), t(2), indexing="ij"), s(t(5), indexing="xy"), ref=grid),
]  # fmt: skip
