"""BLAS held to one thread: for as long as somebody asks, and given back after."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tgrad
from tgrad.runtime import blas, threads

held = pytest.mark.skipif(blas.controls() is None, reason="NumPy's BLAS has no threads to hold")


def count() -> int:
    found = blas.controls()
    assert found is not None
    return found[0]()


@held
def test_the_limit_ends_with_the_last_of_its_users():
    before, inside, leave = count(), threading.Event(), threading.Event()

    def other() -> None:
        with blas.one_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with blas.one_thread():
        thread.start()
        assert inside.wait(10)
    assert count() == 1
    leave.set()
    thread.join()
    assert count() == before


@held
def test_the_limit_ends_with_an_error():
    before = count()

    def fail(start: int, stop: int) -> None:
        raise ValueError(f"{start} {stop}")

    with pytest.raises(ValueError):
        blas.split(fail, 4)
    assert count() == before


def test_work_is_one_part_where_blas_cannot_be_held(monkeypatch):
    monkeypatch.setattr(blas, "controls", lambda: None)
    monkeypatch.setattr(threads._State, "threads", 2)
    parts = []
    blas.split(lambda start, stop: parts.append((start, stop)), 5)
    assert parts == [(0, 5)]


def test_convolutions_from_several_threads_at_once_are_right():
    rng = np.random.default_rng(0)
    x = tgrad.from_numpy(rng.standard_normal((4, 16, 32, 32), np.float32))
    w = tgrad.from_numpy(rng.standard_normal((24, 16, 3, 3), np.float32))
    expected, found = tgrad.conv2d(x, w).numpy(), []

    def run() -> None:
        for _ in range(3):
            found.append(tgrad.conv2d(x, w).numpy())

    several = [threading.Thread(target=run) for _ in range(3)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert len(found) == 9
    for y in found:
        np.testing.assert_array_equal(y, expected)
