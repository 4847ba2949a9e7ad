"""Workers begin and end with their loader, whatever ends it; where batches go after them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tgrad
from tests.test_workers import (
    KINDS,
    Items,
    Stream,
    _nothing_is_left,
    alive,
    no_children,
    shared,
    wait_for,
)
from tgrad.runtime import memory, random, threads
from tgrad.utils.data import DataLoader, TensorDataset, get_worker_info

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]
__all__ = ["_nothing_is_left"]  # a fixture, used here too


def worker_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("tgrad data worker")]


@KINDS
def test_leaving_a_pass_early_ends_its_workers(kind: dict):
    loader = DataLoader(Items(1000), 2, num_workers=2, **kind)
    for batch in loader:
        assert batch.tolist() == [0, 1]
        break
    wait_for(no_children)
    wait_for(lambda: not worker_threads())
    it = iter(loader)
    next(it)
    assert worker_threads() or multiprocessing.active_children()
    del it
    wait_for(no_children)
    wait_for(lambda: not worker_threads())


@KINDS
def test_persistent_workers_stay_until_their_loader_goes(kind: dict):
    def make(i: int) -> tuple:
        return i, os.getpid(), threading.get_ident()

    loader = DataLoader(Items(12, make), 1, num_workers=2, persistent_workers=True, **kind)
    seen = set()
    for k in range(4):
        got = []
        for i, pid, thread in loader:
            got.append(i.item())
            seen.add((pid.item(), thread.item()))
            if k == 1 and len(got) == 3:
                break  # what was prefetched is not part of the next pass
        assert got == list(range(3 if k == 1 else 12))
    assert len(seen) == 2
    del loader
    wait_for(no_children)
    wait_for(lambda: not worker_threads())


def test_persistent_workers_start_again_after_one_died():
    loader = DataLoader(Items(6), 1, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 6
    (child,) = multiprocessing.active_children()
    child.kill()
    child.join()
    with pytest.raises(RuntimeError, match="killed by signal"):
        list(loader)
    assert len(list(loader)) == 6


def test_two_passes_at_once_do_not_mix():
    loader = DataLoader(Items(10), 2, num_workers=1)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
    assert all(a == b for a, b in pairs) and len(pairs) == 5


INTERRUPTED = """
import multiprocessing, os, sys, time
from tgrad.utils.data import DataLoader, Dataset


class Slow(Dataset):
    def __len__(self):
        return 1000

    def __getitem__(self, i):
        if i > 3:
            time.sleep(3600)
        return i


def main():
    loader = DataLoader(Slow(), 1, num_workers=2, persistent_workers=PERSISTENT, workers="WORKERS")
    for batch in loader:
        if batch.item() == 3:
            print(*[p.pid for p in multiprocessing.active_children()], flush=True)
            WHERE


main()
"""


def interrupted(where: str, kind: str = "process", persistent: bool = False) -> tuple[Any, list]:
    code = INTERRUPTED.replace("PERSISTENT", str(persistent)).replace("WORKERS", kind)
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code.replace("WHERE", where)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert program.stdout is not None
    return program, [int(pid) for pid in program.stdout.readline().split()]


@pytest.mark.parametrize("where", ["pass", "time.sleep(3600)"], ids=["waiting", "training"])
@pytest.mark.parametrize("group", [False, True], ids=["loader", "everyone"])
def test_ctrl_c_leaves_nothing(where: str, group: bool):
    """In a terminal everyone gets the signal; by ``kill`` the loader's process alone."""
    before = shared()
    program, workers = interrupted(where, persistent=group)
    assert len(workers) == 2 and all(alive(pid) for pid in workers)
    (os.killpg if group else os.kill)(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode in (-signal.SIGINT, 130, 1) and "KeyboardInterrupt" in errors
    wait_for(lambda: not any(alive(pid) for pid in workers))
    wait_for(lambda: shared() <= before)
    assert "resource_tracker" not in errors and "Process tgrad data worker" not in errors


def test_ctrl_c_ends_threads_too():
    program, _ = interrupted("pass", kind="thread")
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and program.returncode != 0


IDLE = """
import multiprocessing, time, tgrad
from tgrad.utils.data import DataLoader, TensorDataset

loaders = [DataLoader(TensorDataset(tgrad.arange(9)), num_workers=2) for _ in range(2)]
passes = [iter(loader) for loader in loaders]  # the second's workers inherit the first's pipes
print(*[p.pid for p in multiprocessing.active_children()], flush=True)
time.sleep(3600)
"""


def test_idle_workers_end_when_their_loader_is_killed():
    program = subprocess.Popen(
        [sys.executable, "-c", IDLE], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert program.stdout is not None
    workers = [int(pid) for pid in program.stdout.readline().split()]
    assert len(workers) == 4 and all(alive(pid) for pid in workers)
    program.kill()
    program.communicate()
    wait_for(lambda: not any(alive(pid) for pid in workers))


def test_a_program_that_ends_with_a_loader_open_ends():
    code = IDLE.replace("time.sleep(3600)", "next(passes[0])")
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0 and made.stderr == ""
    workers = [int(pid) for pid in made.stdout.split()]
    wait_for(lambda: not any(alive(pid) for pid in workers))


# ---- forks ---------------------------------------------------------------------------------------


def test_locks_that_another_thread_holds_do_not_stop_workers():
    held, done = threading.Event(), threading.Event()
    locks = [memory.allocator.lock, random._Defaults.lock, threads._State.lock,
             tgrad.default_generator.lock]  # fmt: skip

    def hold() -> None:
        for lock in locks[:2] + locks[3:]:
            lock.acquire()
        held.set()
        done.wait()
        for lock in locks[:2] + locks[3:]:
            lock.release()

    def make(i: int) -> tgrad.Tensor:
        threads.set_num_threads(2)
        tgrad.manual_seed(i)
        return (
            tgrad.rand(300, 1000).sort().values.sum() * 0 + tgrad.exp(tgrad.zeros(2_000_000)).mean()
        )

    loader = DataLoader(
        Items(4, make), 2, num_workers=2, generator=tgrad.Generator().manual_seed(1)
    )
    tgrad.exp(tgrad.zeros(2_000_000))  # the pool of threads is there
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    it = iter(loader)
    done.set()
    holder.join()
    assert [b.tolist() for b in it] == [[1.0, 1.0]] * 2


def test_workers_use_one_thread_each():
    data = Items(2, lambda i: tgrad.get_num_threads())
    assert list(DataLoader(data, batch_size=None, num_workers=1)) == [1, 1]


# ---- where batches go ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"num_workers": 2}, {"num_workers": 2, "workers": "thread"}],
    ids=["0", "2", "thread"],
)  # fmt: skip
def test_batches_come_on_the_device_asked_for(options: dict):
    def collate(items: list[int]) -> Any:
        return {
            "x": tgrad.tensor(items),
            "names": [str(i) for i in items],
            "pair": (tgrad.ones(1),),
        }

    loader = DataLoader(Items(11), 2, collate_fn=collate, device="cuda", **options)
    for _ in range(2):
        batches = list(loader)
        assert [b["x"].tolist() for b in batches] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10]]
        assert all(b["x"].is_cuda and b["pair"][0].is_cuda for b in batches)
        assert batches[0]["names"] == ["0", "1"] and type(batches[0]["pair"]) is tuple


def test_copies_go_on_a_stream_of_their_own(monkeypatch: pytest.MonkeyPatch):
    used, waited, kept = [], [], []
    kind: Any = tgrad.Tensor
    to, wait = kind.to, tgrad.cuda.Event.wait

    def recorded_to(t: Any, *args: Any, **options: Any) -> Any:
        used.append(tgrad.cuda.current_stream())
        return to(t, *args, **options)

    def recorded_wait(event: Any, on: Any = None) -> None:
        waited.append(on)
        wait(event, on)

    monkeypatch.setattr(tgrad.Tensor, "to", recorded_to)
    monkeypatch.setattr(tgrad.cuda.Event, "wait", recorded_wait)
    monkeypatch.setattr(tgrad.Tensor, "record_stream", lambda t, on: kept.append(on))
    with tgrad.cuda.stream(tgrad.cuda.Stream()):
        computing = tgrad.cuda.current_stream()
        batches = [b.tolist() for b in DataLoader(Items(6), 2, num_workers=1, device="cuda")]
    assert batches == [[0, 1], [2, 3], [4, 5]]
    assert len(set(used)) == 1 and used[0] not in (computing, tgrad.cuda.default_stream())
    assert waited == [computing] * 3 and kept == [computing] * 3


def test_a_failure_ahead_is_raised_in_its_turn():
    def make(i: int) -> int:
        if i == 1:
            raise ValueError("second")
        return i

    it = iter(DataLoader(Items(3, make), 1, num_workers=1, device="cuda"))
    first = next(it)
    assert first.item() == 0 and first.is_cuda
    with pytest.raises(ValueError, match="second"):
        next(it)
    assert next(it).item() == 2
    with pytest.raises(StopIteration):
        next(it)


class Own:
    def __init__(self) -> None:
        self.pinned = False

    def pin_memory(self) -> Own:
        self.pinned = True
        return self


def test_pinning_reaches_tensors_and_own_classes(monkeypatch: pytest.MonkeyPatch):
    pinned = []
    monkeypatch.setattr(tgrad.Tensor, "pin_memory", lambda t, device=None: (pinned.append(t), t)[1])
    loader = DataLoader(
        Items(2), collate_fn=lambda items: [tgrad.tensor(items), Own()], pin_memory=True
    )
    assert all(own.pinned for _, own in loader) and len(pinned) == 2
    monkeypatch.setattr("tgrad.runtime.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert not any(own.pinned for _, own in loader)
    with pytest.warns(UserWarning, match="pin_memory_device is deprecated"):
        DataLoader(Items(2), pin_memory=True, pin_memory_device="cuda")


def test_a_stream_in_the_calling_process_has_no_worker():
    assert [b.tolist() for b in DataLoader(Stream(4), 2)] == [[0, 1], [2, 3]]
    assert get_worker_info() is None


def test_loaders_stay_as_they_were_made():
    loader = DataLoader(TensorDataset(tgrad.arange(4)), 2)
    for name in (
        "batch_size",
        "sampler",
        "batch_sampler",
        "drop_last",
        "dataset",
        "persistent_workers",
    ):
        with pytest.raises(
            ValueError, match=f"{name} attribute should not be set after DataLoader"
        ):
            setattr(loader, name, None)
    loader.timeout = 3
    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        iter(loader).__getstate__()
    with pytest.warns(UserWarning, match="will create 999 worker processes"):
        DataLoader(Items(1), num_workers=999)
