"""Copies between host and GPU: beside the program where the host memory is page-locked, through
page-locked pieces where it is not.

A pageable array of up to 64 KB is given to the driver as it is, which then copies it aside before
it returns; not so where the GPU itself can read such memory, since nothing says when it will. All
others pass through two page-locked pieces in turn: the processor fills one while the GPU fetches
the other.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from tgrad.runtime import driver, waits
from tgrad.runtime.pinned import block_of, empty
from tgrad.runtime.stream import capture

if TYPE_CHECKING:
    from tgrad.runtime.gpu import Unit
    from tgrad.runtime.pool import Block

DIRECT = 64 << 10  # bytes; to here the driver itself copies pageable memory aside
PIECE = 4 << 20  # bytes: 0.4 ms of the processor's copying, against some 10 us of calls
WAITING = 256 << 20  # bytes of pieces in flight, from which on a copy waits for earlier ones


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def window(block: Block, nbytes: int) -> np.ndarray:
    """The first bytes of a block."""
    memory = (ctypes.c_char * nbytes).from_address(block.ptr)
    return np.frombuffer(memory, np.uint8)  # pyright: ignore[reportCallIssue, reportArgumentType]


def pieces(nbytes: int) -> list[tuple[int, int]]:
    """(start, size) of the pieces that a copy is done in."""
    return [(i, min(PIECE, nbytes - i)) for i in range(0, nbytes, PIECE)]


def upload(unit: Unit, to: int, a: np.ndarray, stream: int, non_blocking: bool) -> None:
    """Copy contiguous ``a`` to the device address ``to``, in the order of ``stream``."""
    block = block_of(a)
    recording = capture()
    if block is not None and recording is None and not non_blocking:
        waits.told("copying page-locked memory to the GPU without non_blocking")
    if recording is not None:
        if block is None:
            kept = empty(a.shape, a.dtype)
            np.copyto(kept, a)
            a = kept
        driver.memcpy_htod_async(to, address(a), a.nbytes, stream)
        recording.hold(a)
        return
    if block is not None:
        driver.memcpy_htod_async(to, address(a), a.nbytes, stream)
        block.record_stream(unit.key(stream))
        if not non_blocking:
            driver.stream_synchronize(stream)
        return
    if a.nbytes <= DIRECT and not unit.reads_pageable:
        driver.memcpy_htod_async(to, address(a), a.nbytes, stream)
        return
    source = a.reshape(-1).view(np.uint8)
    with Pieces(unit, stream) as staged:
        for start, size in pieces(a.nbytes):
            block = staged.next(size)
            np.copyto(window(block, size), source[start : start + size])
            driver.memcpy_htod_async(to + start, block.ptr, size, stream)
            staged.used()


def download(unit: Unit, a: np.ndarray, source: int, stream: int, non_blocking: bool) -> None:
    """Copy from the device address ``source`` into contiguous ``a``, in the order of ``stream``."""
    block = block_of(a)
    if block is not None:
        driver.memcpy_dtoh_async(address(a), source, a.nbytes, stream)
        recording = capture()
        if recording is not None:
            recording.hold(a)
            return
        block.record_stream(unit.key(stream))
        if not non_blocking:
            driver.stream_synchronize(stream)
        return
    if a.nbytes <= DIRECT:
        driver.memcpy_dtoh_async(address(a), source, a.nbytes, stream)
        driver.stream_synchronize(stream)
        return
    out = a.reshape(-1).view(np.uint8)
    ahead: list[tuple[int, int, Block]] = []
    with Pieces(unit, stream) as staged:
        for start, size in pieces(a.nbytes):
            if len(ahead) == 2:
                staged.collect(out, *ahead.pop(0))
            block = staged.next(size)
            driver.memcpy_dtoh_async(block.ptr, source + start, size, stream)
            staged.used()
            ahead.append((start, size, block))
        for entry in ahead:
            staged.collect(out, *entry)


class Pieces:
    """Two page-locked blocks, in turn, each with the event after which it may be used again."""

    def __init__(self, unit: Unit, stream: int):
        self.unit, self.stream = unit, stream
        self.blocks: list[Block] = []
        self.events: list[int] = []
        self.at = -1

    def __enter__(self) -> Pieces:
        pool = self.unit.pinned
        if pool.waiting() > WAITING:
            pool.poll(wait=True)
        return self

    def next(self, size: int) -> Block:
        """The block whose turn it is, once the GPU is done with it."""
        self.at += 1
        if self.at < 2:
            self.events.append(self.unit.event())
            self.blocks.append(self.unit.pinned.host_heap().allocate(size))
        else:
            driver.event_synchronize(self.events[self.at % 2])
        return self.blocks[self.at % 2]

    def used(self) -> None:
        """The stream has been given the copy from or to the block."""
        self.blocks[self.at % 2].record_stream(self.unit.key(self.stream))
        driver.event_record(self.events[self.at % 2], self.stream)

    def collect(self, out: np.ndarray, start: int, size: int, block: Block) -> None:
        """Wait for a block that was downloaded into, and take its bytes."""
        driver.event_synchronize(self.events[self.blocks.index(block)])
        np.copyto(out[start : start + size], window(block, size))

    def __exit__(self, *exc: object) -> None:
        for event in self.events:
            self.unit.spare(event)
        self.blocks.clear()
