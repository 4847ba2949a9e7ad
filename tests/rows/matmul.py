"""Rows of the matrix products."""

import functools

import numpy as np

from tests.table import i, row, s, t


def addmm(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * (a @ b)


def linear(x, w, bias=0.0):
    return x @ w.T + bias


def addbmm(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * (a @ b).sum(0)


def addr(x, u, v, beta=1, alpha=1):
    return beta * x + alpha * np.outer(u, v)


def multi_dot(xs):
    return functools.reduce(np.matmul, xs)


def chain_matmul(*xs):
    return functools.reduce(np.matmul, xs)


ROWS = [
    row(
        "matmul",
        s(t(5), t(5)), s(t(4), t(4, 3)), s(t(4, 3), t(3)),
        s(t(4), t(2, 4, 3)), s(t(2, 1, 4, 3), t(3)),
        s(t(37, 23), t(23, 19)),
        s(t(3, 17, 5), t(5, 17)), s(t(17, 5), t(3, 5, 7)),  # one side without batch
        s(t(2, 1, 4, 3), t(3, 3, 5)), s(t(2, 1, 2, 2, 3), t(2, 1, 3, 2)),  # broadcast batches
        s(t(1, 7), t(7, 35)), s(t(35, 7), t(7, 1)), s(t(2, 1, 7), t(2, 7, 3)),
        s(t(3, 300), t(300, 2)), s(t(2500), t(2500)),  # K is split
        s(t(0, 4), t(4, 3)), s(t(4, 0), t(0, 3)), s(t(0), t(0)), s(t(2, 0, 4), t(4, 3)),
        s(i(5, 4), i(4, 3)), s(i(2, 5, 4), i(4)),
        ref=np.matmul,
    ),
    row("linalg.matmul", s(t(5, 4), t(4, 3)), ref=np.matmul, covers=["linalg_matmul"]),
    row("mm", s(t(5, 4), t(4, 3)), s(t(1, 1), t(1, 1)), s(t(0, 2), t(2, 3)), ref=np.matmul),
    row("bmm", s(t(3, 5, 4), t(3, 4, 2)), s(t(0, 5, 4), t(0, 4, 2)), ref=np.matmul),
    row(
        "addmm",
        s(t(5, 3), t(5, 4), t(4, 3)), s(t(3), t(35, 4), t(4, 3), beta=0.5, alpha=-2.0),
        s(t(5, 1), t(5, 4), t(4, 3), beta=0), s(t(), t(2, 0), t(0, 3)),
        s(t(2), t(3, 300), t(300, 2), alpha=0.25),  # K is split
        s(t(1, 3), t(1, 4), t(4, 3), beta=2),
        s(i(5, 3), i(5, 4), i(4, 3), beta=2, alpha=3),
        ref=addmm,
    ),
    row(
        "baddbmm",
        s(t(3, 5, 2), t(3, 5, 4), t(3, 4, 2)),
        s(t(5, 1), t(3, 5, 4), t(3, 4, 2), beta=2.0, alpha=0.5),
        s(t(2), t(3, 1, 4), t(3, 4, 2), beta=0),
        ref=addmm,
    ),
    row(
        "nn.functional.linear",
        s(t(5, 4), t(3, 4)), s(t(2, 17, 4), t(17, 4), bias=t(17)), s(t(4), t(3, 4), t(3)),
        s(t(2, 5, 4), t(4), t()), s(t(5, 4), t(1, 4), t(1)), s(t(0, 4), t(3, 4), t(3)),
        s(t(5, 0), t(3, 0), t(3)),
        ref=linear,
    ),
    row("mv", s(t(5, 4), t(4)), s(t(0, 4), t(4)), ref=np.matmul),
    row("dot", s(t(7), t(7)), s(t(0), t(0)), s(i(5), i(5)), ref=np.dot),
    row("vdot", s(t(7), t(7)), ref=np.vdot),
    row("outer", s(t(4), t(3)), s(t(0), t(3)), ref=np.outer, covers=["ger"]),
    row("inner", s(t(4), t(4)), s(t(2, 3, 4), t(5, 4)), s(t(2, 3), t()), ref=np.inner),
    row(
        "addmv",
        s(t(5), t(5, 4), t(4)), s(t(1), t(5, 4), t(4), beta=2.0, alpha=-1.0),
        s(t(), t(5, 4), t(4), beta=0),
        ref=addmm,
    ),
    row(
        "addr",
        s(t(4, 3), t(4), t(3)), s(t(3), t(4), t(3), beta=0.5, alpha=2.0),
        s(t(4, 1), t(4), t(3), beta=0),
        ref=addr,
    ),
    row(
        "addbmm",
        s(t(5, 2), t(3, 5, 4), t(3, 4, 2)), s(t(2), t(3, 5, 4), t(3, 4, 2), beta=2.0, alpha=0.5),
        ref=addbmm,
    ),
    row(
        "tensordot",
        s(t(2, 3, 4), t(3, 4, 5)), s(t(2, 3), t(4), 0),
        s(t(2, 3, 4), t(4, 5, 2), ([0, 2], [2, 0])),
        ref=lambda a, b, dims=2: np.tensordot(a, b, dims),
    ),
    # torch's takes dense tensors only
    row(
        "kron", s(t(2, 3), t(3, 2)), s(t(2, 3), t(2)), s(t(), t(2)),
        ref=np.kron, torch=lambda a, b: a.contiguous().kron(b.contiguous()),
    ),
    row(
        "einsum",
        s("bhqd,bkhd->bhqk", t(2, 2, 3, 4), t(2, 5, 2, 4)),  # no operand is copied
        s("ij->j", t(4, 3)), s("i,j", t(4), t(3)), s("i,i->i", t(4), t(4)),
        s("...ij,...jk->...ik", t(2, 1, 4, 3), t(3, 3, 2)),
        s("bi,oij,bj->bo", t(4, 3), t(2, 3, 5), t(4, 5)),
        s("iijj->ji", t(3, 3, 2, 2)), s("ii,i->i", t(4, 4), t(4)),
        s(t(2, 4, 3), [..., 1], t(3), [1]), s("ij,jk", t(2, 0), t(0, 2)),
        ref=np.einsum,
    ),
    row(
        "linalg.multi_dot",
        s([t(4, 3), t(3, 5), t(5, 2), t(2, 6)]), s([t(3), t(3, 4), t(4)]),
        ref=multi_dot,
    ),
    row(
        "chain_matmul", s(t(4, 3), t(3, 5), t(5, 2)),
        ref=chain_matmul,
    ),
]  # fmt: skip
