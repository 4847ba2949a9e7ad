"""Optimiser steps: one launch for all tensors of a model, which it finds by a table of pointers.

The tables are uploaded once and kept while the pointers stay the same: parameters and state do,
and gradients usually return to the blocks that the allocator freed. A program updates BLOCK
elements of one tensor. Bytes moved: each input read once, each output written once.
"""
# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import triton
import triton.language as tl

from tgrad.dtypes import from_numpy_dtype
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import array, example, is_quiet
from tgrad.kernels.cuda.lines import block_of, declare_line
from tgrad.kernels.cuda.pointwise import TL
from tgrad.runtime import cuda, rehearsal, stream
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import here

KEPT = 16  # tables; one per group of parameters that step together


@triton.jit
def element(table_ptr, i, offs, ROLE: tl.constexpr, ROLES: tl.constexpr, T: tl.constexpr,
            ALIGNED: tl.constexpr):  # fmt: skip
    """Pointers to the elements ``offs`` of tensor ``i`` in role ROLE."""
    address = tl.load(table_ptr + i * ROLES + ROLE)
    pointer = address.to(tl.pointer_type(T))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer + offs


@triton.jit
def fetch(pointers, offs, n, ACC: tl.constexpr, FULL: tl.constexpr):
    """The elements that lie inside the tensor. Without a mask where all do: loads stay wide."""
    if FULL:
        return tl.load(pointers).to(ACC)
    return tl.load(pointers, mask=offs < n).to(ACC)


@triton.jit
def put(pointers, x, offs, n, T: tl.constexpr, FULL: tl.constexpr):
    if FULL:
        tl.store(pointers, maths.to(x, T))
    else:
        tl.store(pointers, maths.to(x, T), mask=offs < n)


class Tables:
    """On the device: addresses (tensor, role), sizes, and (tensor, first element) per program."""

    def __init__(self, addresses: np.ndarray, sizes: list[int], block: int):
        gpu = cuda.active()
        work = [(i, k) for i, n in enumerate(sizes) for k in range(0, n, block)]
        self.programs = len(work)
        self.aligned = bool((addresses % 16 == 0).all())
        self.arrays: list[CudaArray] = [
            gpu.from_host(a)
            for a in (addresses, np.array(sizes, np.int64), np.array(work, np.int64).reshape(-1))
        ]


_tables: OrderedDict[tuple, Tables] = OrderedDict()


def tables(lists: list[list[CudaArray]], block: int) -> Tables:
    """The tables of these tensors, made where they are new on the current stream.

    A table is filled in the order of one stream, which nothing makes others wait for. A CUDA graph
    that is being captured keeps those that it uses, and writes new ones at each replay: nobody else
    may find them filled.
    """
    roles = [role for role in lists if role]
    place = here.place.index, here.place.stream
    key = (*place, block, *[a.ptr for role in roles for a in role], *[a.size for a in roles[0]])
    found, capture = _tables.get(key), stream.capture()
    if found is None:
        addresses = np.array([[a.ptr for a in role] for role in roles], np.int64).T
        found = Tables(np.ascontiguousarray(addresses), [a.size for a in roles[0]], block)
        if capture is None:
            _tables[key] = found
            if len(_tables) > KEPT:
                _tables.popitem(last=False)
    else:
        _tables.move_to_end(key)
    if capture is not None:
        for a in [*found.arrays, *[a for role in roles for a in role]]:
            capture.hold(a.owner)
    return found


@triton.jit
def number(n):
    """A number given as such, or where it lies in device memory."""
    if isinstance(n, tl.tensor):  # noqa: SIM102 - Triton knows at compile time; `and` it traces
        if n.dtype.is_ptr():
            n = tl.load(n)
    return n


def launch(function, lists: list[list[CudaArray]], numbers: list[float], **constants) -> None:
    """``function`` over every tensor of the roles in ``lists``."""
    dtype = from_numpy_dtype(lists[0][0].dtype)
    wide = dtype.name == "float64"
    key = function, tuple(tuple(a.ptr for a in role) for role in lists)
    given = rehearsal.numbers(key, numbers, np.dtype(np.float64 if wide else np.float32))
    if given is None:
        return
    block, warps = 8192 if cuda.is_emulated() else 1024, 4
    if not is_quiet():  # the sum of sizes costs something
        n, roles = sum(a.size for a in lists[0]), sum(bool(role) for role in lists)
        block, warps = block_of("update", lists[0][0].itemsize, (n,), block, f"{roles} roles")
    found = tables(lists, block)
    cuda.launch(
        function,
        (found.programs,),
        *found.arrays,
        *[x if isinstance(x, CudaArray) else np.float64(x) if wide else float(x) for x in given],
        ROLES=sum(bool(role) for role in lists),
        T=TL[dtype.name],
        ACC=tl.float64 if wide else tl.float32,
        ALIGNED=found.aligned,
        BLOCK=block,
        num_warps=warps,
        **constants,
    )


STATE = [[array(9, 5), array(23)] for _ in range(4)]
NUMBERS = (3.0, 1e-3, 0.9, 0.999, 1e-8)
declare_line("update", example("_adam_step", *STATE, [], *NUMBERS, None, False, False))
