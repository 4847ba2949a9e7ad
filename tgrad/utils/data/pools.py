"""Workers as the loader sees them: processes or threads that take tasks and give batches."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import random as python_random
import select
import signal
import sys
import threading
import time
import warnings
from multiprocessing import connection
from typing import Any, NoReturn

import numpy as np

from tgrad import random as tgrad_random
from tgrad.runtime import random, threads
from tgrad.utils.data.fetch import WORD
from tgrad.utils.data.pipes import Inbox, send
from tgrad.utils.data.shared import ALIGN, RESTING, Opener, Slot
from tgrad.utils.data.worker import (
    BATCH,
    FAILURE,
    HEAD,
    READY,
    RESET,
    RNG,
    STOP,
    TASK,
    Batches,
    Work,
    WorkerInfo,
    run_process,
    set_worker_info,
)

GRACE = 2.0  # seconds for a worker to finish the batch it is at
SPARE = 2  # slots beyond those in flight: what the user holds, and the one before
Result = tuple[int, int, int, Any]  # worker, kind, number of the batch, batch or failure


def default_context() -> Any:
    """Fork on Linux: the data set is shared as it is. Elsewhere what Python takes."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


class ProcessPool:
    """Worker processes, each with a pipe for tasks, one for results, and slots of its own.

    Every pipe has one writer: a worker that dies closes its end, and nobody waits for a lock that
    it held. Messages are short, so that no side ever waits for the other to read.
    """

    def __init__(self, work: Work, base_seed: int, prefetch: int, context: Any):
        self.owner = os.getpid()
        self.context = context or default_context()
        self.inline = max(64, min(4096, 32768 // prefetch))  # a pipe holds 64 kB
        self.processes: list[Any] = []
        self.tasks: list[Any] = []
        self.results: list[Inbox] = []
        self.slots: list[list[Slot]] = []
        self.openers = [Opener() for _ in range(work.num_workers)]
        self.free = [-1] * work.num_workers  # a slot known to be free, for the next task
        self.closed = False
        threads.release()
        try:
            for worker in range(work.num_workers):
                self.slots.append([Slot() for _ in range(prefetch + SPARE)])
                self._start(work, worker, base_seed)
        except BaseException:
            self.close()
            raise
        self.waiters = [_Waiter([r], self.processes) for r in self.results]
        self.anyone = _Waiter(self.results, self.processes)

    def _start(self, work: Work, worker: int, base_seed: int) -> None:
        theirs, ours = self.context.Pipe(duplex=False)
        self.tasks.append(ours)
        back, forth = self.context.Pipe(duplex=False)
        self.results.append(Inbox(back))
        forked = self.context.get_start_method() == "fork"
        inherited = [*self.tasks, *(inbox.end for inbox in self.results)] if forked else []
        process = self.context.Process(
            target=run_process,
            name=f"tgrad data worker {worker}",
            args=(
                work,
                worker,
                base_seed,
                theirs,
                forth,
                self.slots[worker],
                self.inline,
                inherited,
            ),
            daemon=True,
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forks beside threads, whose locks stay shut in the child. A
            # worker takes none that tgrad's threads take: theirs are made anew after a fork.
            warnings.filterwarnings(
                "ignore", "This process .* is multi-threaded", DeprecationWarning
            )
            process.start()
        self.processes.append(process)
        theirs.close()
        forth.close()
        self.results[worker].stop_blocking()

    def submit(self, worker: int, number: int, places: Any) -> None:
        """Give a worker its next task."""
        slots, index = self.slots[worker], self.free[worker]
        if index < 0:
            index = _free(slots, len(slots))  # receive() leaves one
        slot, self.free[worker] = slots[index], -1
        data, extra, used = pickle.dumps(places, pickle.HIGHEST_PROTOCOL), 0, 0
        if len(data) > self.inline:
            extra, used = ALIGN, ALIGN + len(data)
            slot.map(used)[extra:used] = data
            data = b""
        slot.in_flight = True
        self._send(worker, HEAD.pack(TASK, index, number, extra, used) + data)

    def _send(self, worker: int, message: bytes) -> None:
        try:
            send(self.tasks[worker], message)
        except (BrokenPipeError, ConnectionResetError):
            self._raise_death([worker])

    def is_ready(self, worker: int | None) -> bool:
        """Whether :meth:`receive` would not wait."""
        waiter = self.anyone if worker is None else self.waiters[worker]
        return not self.closed and bool(waiter.wait(0)[0])

    def receive(self, worker: int | None, timeout: float) -> Result:
        """The next result of a worker, or of any. Raises RuntimeError for a dead worker."""
        if self.closed:
            raise RuntimeError("DataLoader: the workers of this pass have ended")
        message = None if worker is None else self._take(worker)
        if worker is None or message is None:
            worker, message = self._wait(worker, timeout)
        kind, index, number, extra, used = HEAD.unpack_from(message)
        if kind == READY:
            return worker, kind, 0, None
        slots = self.slots[worker]
        slot = slots[index]
        slot.in_flight = False
        if kind not in (BATCH, FAILURE):
            return worker, kind, number, None
        spare = self.free[worker] = _free(slots, index)
        batch = self.openers[worker].unpack(message[HEAD.size :], extra, used, slot, spare >= 0)
        return worker, kind, number, batch

    def _wait(self, worker: int | None, timeout: float) -> tuple[int, bytes]:
        """The worker that has a message, and that."""
        waiter = self.anyone if worker is None else self.waiters[worker]
        deadline = time.monotonic() + timeout
        while True:
            ready, dead = waiter.wait(max(0.0, deadline - time.monotonic()) if timeout else None)
            if dead:
                self._raise_death(dead)
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
            found = ready[0] if worker is None else worker
            message = self._take(found)
            if message is not None:
                return found, message

    def _take(self, worker: int) -> bytes | None:
        try:
            return self.results[worker].take()
        except (EOFError, ConnectionResetError):
            self._raise_death([worker])

    def reset(self, base_seed: int) -> None:
        """Another pass with the same workers; what is left of the last one is thrown away."""
        signed = base_seed - (1 << 64) if base_seed >> 63 else base_seed
        for worker in range(len(self.processes)):
            self._send(worker, HEAD.pack(RESET, 0, signed, 0, 0))
        for worker in range(len(self.processes)):
            while self.receive(worker, 0)[1] != READY:
                pass

    def _raise_death(self, workers: list[int]) -> NoReturn:
        for worker in workers:
            self.processes[worker].join(1)
        pids = ", ".join(str(self.processes[w].pid) for w in workers)
        code = self.processes[workers[0]].exitcode
        self.close(0)
        if code is not None and code < 0:
            memory = ""
            if -code == getattr(signal, "SIGBUS", 0):
                memory = " It is possible that dataloader's workers are out of shared memory."
            raise RuntimeError(
                f"DataLoader worker (pid {pids}) is killed by signal: "
                f"{signal.strsignal(-code)}.{memory}"
            )
        raise RuntimeError(
            f"DataLoader worker (pid(s) {pids}) exited unexpectedly with exit code {code}"
        )

    def close(self, grace: float = GRACE) -> None:
        """End the workers and give up the memory; batches that the user holds stay.

        After ``grace`` seconds, workers that are still at a batch are ended by signal.
        """
        if self.closed or os.getpid() != self.owner:
            return
        self.closed = True
        for end in self.tasks:
            # A worker ends at this word, or, where the loader is killed, when it cannot read on.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                send(end, HEAD.pack(STOP, 0, 0, 0, 0))
            end.close()
        try:
            deadline = time.monotonic() + grace
            for process in self.processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # also where Ctrl-C is pressed again
            for process in self.processes:
                if process.is_alive():
                    process.terminate()
            for process in self.processes:
                process.join(GRACE)
                if process.is_alive():
                    process.kill()
                    process.join()
                process.close()
            for inbox in self.results:
                inbox.close()
            for slot in [s for slots in self.slots for s in slots]:
                slot.close()


def _free(slots: list[Slot], but: int) -> int:
    """A slot that nothing lies over, other than ``but`` (their number: any); -1 if there is none.

    Slots are used in turn: the tasks that follow ``but``'s have those after it, what the user
    holds is just before it.
    """
    n = len(slots)
    for step in range(1, n + (but == n)):
        slot = slots[but - step]
        if not slot.in_flight:
            pages = slot.memory
            if pages is None or sys.getrefcount(pages) <= RESTING:
                return (but - step) % n
    return -1


class _Waiter:
    """Waits for results while watching over the workers' lives; ``poll`` is made once."""

    def __init__(self, results: list[Inbox], processes: list[Any]):
        self.results, self.processes = results, processes
        self.poll = select.poll() if hasattr(select, "poll") else None
        if self.poll is not None:
            self.which = {r.fileno(): i for i, r in enumerate(results)}
            self.alive = {p.sentinel: i for i, p in enumerate(processes)}
            for fd in (*self.which, *self.alive):
                self.poll.register(fd, select.POLLIN)

    def wait(self, timeout: float | None) -> tuple[list[int], list[int]]:
        """(results that can be read, workers that are dead)."""
        for i, inbox in enumerate(self.results):
            if inbox.buffer and inbox.has_message():
                return [i], []
        if self.poll is not None:
            found = self.poll.poll(None if timeout is None else timeout * 1000)
            if len(found) == 1 and found[0][0] in self.which:
                return [self.which[found[0][0]]], []
            dead = [self.alive[fd] for fd, _ in found if fd in self.alive]
            return [self.which[fd] for fd, _ in found if fd in self.which], dead
        ends = [*(r.end for r in self.results), *(p.sentinel for p in self.processes)]
        ready = connection.wait(ends, timeout)
        dead = [i for i, p in enumerate(self.processes) if p.sentinel in ready]
        return [i for i, r in enumerate(self.results) if r.end in ready], dead


class ThreadPool:
    """Worker threads: batches are handed over as they are. ``None`` as a task ends a thread."""

    def __init__(self, work: Work, base_seed: int, in_order: bool):
        n = work.num_workers
        self.tasks: list[queue.SimpleQueue] = [queue.SimpleQueue() for _ in range(n)]
        shared: queue.SimpleQueue = queue.SimpleQueue()
        self.results = [queue.SimpleQueue() if in_order else shared for _ in range(n)]
        self.abandoned, self.closed = threading.Event(), False
        self.threads = [
            threading.Thread(
                target=_run_thread,
                name=f"tgrad data worker {i}",
                args=(work, i, base_seed, self.tasks[i], self.results[i], self.abandoned),
                daemon=True,
            )
            for i in range(n)
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, worker: int, number: int, places: Any) -> None:
        """Give a worker its next task."""
        self.tasks[worker].put((TASK, number, places))

    def is_ready(self, worker: int | None) -> bool:
        """Whether :meth:`receive` would not wait."""
        return not self.results[worker or 0].empty()

    def receive(self, worker: int | None, timeout: float) -> Result:
        """The next result of a worker, or of any."""
        try:
            return self.results[worker or 0].get(timeout=timeout or None)
        except queue.Empty:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None

    def reset(self, base_seed: int) -> None:
        """Another pass with the same threads; what is left of the last one is thrown away."""
        for tasks in self.tasks:
            tasks.put((RESET, base_seed, None))
        for results in self.results:
            while results.get()[1] != READY:
                pass

    def close(self, grace: float = GRACE) -> None:
        """End the threads after the batches they are at, waiting ``grace`` seconds at most."""
        self.closed = True
        self.abandoned.set()
        for tasks in self.tasks:
            tasks.put(None)
        deadline = time.monotonic() + grace
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


def _run_thread(
    work: Work, worker: int, base_seed: int, tasks: queue.SimpleQueue, results: queue.SimpleQueue,
    abandoned: threading.Event,
) -> None:  # fmt: skip
    seed = (base_seed + worker) & WORD
    rng = RNG(
        python_random.Random(seed),
        tgrad_random.Generator().manual_seed(seed),
        np.random.default_rng([worker, base_seed]),
    )
    info = WorkerInfo(worker, work.num_workers, seed, work.dataset, rng, "thread")
    set_worker_info(info)
    random.use(rng.tgrad_generator)
    batches = Batches(work, worker, base_seed, f"in DataLoader worker thread {worker}")
    while (task := tasks.get()) is not None:
        kind, number, places = task
        if kind == RESET:
            batches.restart(number)
            results.put((worker, READY, 0, None))
        elif not abandoned.is_set():
            results.put((worker, *_numbered(batches, number, places)))
        del task, places


def _numbered(batches: Batches, number: int, places: Any) -> tuple[int, int, Any]:
    kind, value = batches.make(number, places)
    return kind, number, value
