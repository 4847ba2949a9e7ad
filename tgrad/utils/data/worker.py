"""What runs in a worker: a process that fetches batches and writes them to shared memory."""

from __future__ import annotations

import contextlib
import pickle
import random as python_random
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tgrad import random
from tgrad.device import CPU
from tgrad.runtime import threads
from tgrad.runtime.random import default_generator
from tgrad.utils.data.fetch import WORD, Draws, Failure, fetcher
from tgrad.utils.data.pipes import Inbox, send
from tgrad.utils.data.shared import Slot, pack

# A message in either direction: what, which slot, which batch, where in the slot its text is (0: it
# follows here), how much of the slot is used.
HEAD = struct.Struct("<BIqQQ")
TASK, RESET, STOP, BATCH, FAILURE, END, READY = range(7)


@dataclass(frozen=True)
class RNG:
    """The generators of a thread worker: Python's, tgrad's and NumPy's."""

    random_generator: python_random.Random
    tgrad_generator: random.Generator
    numpy_generator: np.random.Generator


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker is: its number of how many, its seed and its copy of the data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: RNG | None = None
    worker_method: str = "multiprocessing"


class _Here(threading.local):
    info: WorkerInfo | None = None


_here = _Here()


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs this code; None outside of workers."""
    return _here.info


def set_worker_info(info: WorkerInfo | None) -> None:
    _here.info = info


@dataclass
class Work:
    """What workers need to know; pickled where they are not forked."""

    dataset: Any
    iterable: bool
    batched: bool
    collate: Callable[[Any], Any]
    drop_last: bool
    init: Callable[[int], None] | None
    num_workers: int

    def fetcher(self) -> Callable[[Any], Any]:
        return fetcher(self.dataset, self.iterable, self.batched, self.collate, self.drop_last)


def seed_all(base_seed: int, worker: int) -> int:
    """Seed tgrad's, Python's and NumPy's generators as PyTorch does; returns the worker's seed."""
    seed = (base_seed + worker) & WORD
    python_random.seed(seed)
    random.manual_seed(seed)
    words = np.random.SeedSequence([worker, base_seed & 0xFFFFFFFF, base_seed >> 32])
    np.random.seed(words.generate_state(4))
    return seed


class Batches:
    """The batches of a worker, one task after the other, as results or failures."""

    def __init__(self, work: Work, worker: int, base_seed: int, where: str):
        self.work, self.where = work, where
        self.failure: Failure | None = None
        self.fetch: Callable[[Any], Any] = _no_fetch
        self.draws: Draws | None = Draws(base_seed)
        generator = default_generator(CPU)  # of this process, or of this thread
        seed = generator.key
        try:
            if work.init is not None:
                work.init(worker)
            self.fetch = work.fetcher()
        except Exception as e:
            self.failure = Failure(e, where)
        if generator.key != seed:
            self.draws = None  # the program seeded it itself, and means it
        self.ended = False

    def restart(self, base_seed: int) -> None:
        """Another pass over the data."""
        self.ended = False
        if self.draws is not None:
            self.draws = Draws(base_seed)
        try:
            self.fetch = self.work.fetcher()
        except Exception as e:
            self.failure = Failure(e, self.where)

    def make(self, number: int, places: Any) -> tuple[int, Any]:
        """(BATCH, batch), (FAILURE, failure) or (END, None) where a stream has ended."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            return FAILURE, failure
        if self.ended:
            return END, None
        try:
            if self.draws is None:
                return BATCH, self.fetch(places)
            return BATCH, self.draws.during(number, self.fetch, places)
        except Exception as e:
            if isinstance(e, StopIteration) and self.work.iterable:
                self.ended = True
                return END, None
            return FAILURE, Failure(e, self.where)


def _no_fetch(places: Any) -> Any:
    raise RuntimeError("the worker could not start")


def run_process(
    work: Work, worker: int, base_seed: int, tasks: Connection, results: Connection,
    slots: list[Slot], inline: int, inherited: list[Connection],
) -> None:  # fmt: skip
    """A worker process: until its end of the task pipe is closed, or Ctrl-C."""
    try:
        for end in inherited:  # else siblings would hide from each other that the loader is gone
            end.close()
        threads.set_num_threads(1)
        seed = seed_all(base_seed, worker)
        set_worker_info(WorkerInfo(worker, work.num_workers, seed, work.dataset))
        where = f"in DataLoader worker process {worker}"
        batches = Batches(work, worker, base_seed, where)
        inbox = Inbox(tasks)
        with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
            while (message := inbox.receive())[0] != STOP:
                _answer(batches, message, results, slots, inline, where)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the loader has it too, and says so


def _answer(
    batches: Batches, message: bytes, results: Connection, slots: list[Slot], inline: int,
    where: str,
) -> None:  # fmt: skip
    kind, index, number, extra, used = HEAD.unpack_from(message)
    if kind == RESET:
        batches.restart(number & WORD)
        send(results, HEAD.pack(READY, 0, 0, 0, 0))
        return
    slot = slots[index]
    text = slot.map(used)[extra:used] if extra else message[HEAD.size :]
    made, value = batches.make(number, pickle.loads(text))
    data, extra, used = b"", 0, 0
    if made == BATCH:
        try:
            data, extra, used = pack(value, slot, inline)
        except Exception as e:  # whatever pickling the user's object raises goes to the user
            made, value = FAILURE, Failure(e, where)
    if made == FAILURE:
        try:
            value.kind = pickle.loads(pickle.dumps(value.kind))
        except Exception:  # a class that only this process has
            value.portable()
        data, extra, used = pack(value, slot, inline)
    send(results, HEAD.pack(made, index, number, extra, used) + data)
