"""One pass over a loader: in the calling process, or through a pool of workers."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tgrad.device import resolve
from tgrad.runtime import cuda
from tgrad.utils.data.fetch import Draws, fetcher
from tgrad.utils.data.pools import ProcessPool, ThreadPool
from tgrad.utils.data.sampler import draw_seed
from tgrad.utils.data.transfer import Mover, pin_memory
from tgrad.utils.data.worker import END, FAILURE, Work

if TYPE_CHECKING:
    from tgrad.utils.data.dataloader import DataLoader


class LoaderIterator:
    """The batches of a loader in turn. ``_make`` gets the next one; the rest is alike for all."""

    def __init__(self, loader: DataLoader):
        # Not the loader itself: one with persistent workers holds its iterator.
        self._dataset, self._iterable = loader.dataset, loader.iterable
        self._index_sampler, self._num_workers = loader._index_sampler, loader.num_workers
        self._begin_pass(loader)
        self._pin = loader.pin_memory and cuda.is_available()
        if loader.pin_memory and not self._pin:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device "
                "pinned memory won't be used.",
                stacklevel=4,
            )
        self._mover = None if loader.device is None else Mover(resolve(loader.device))
        self._ahead: list[tuple[Any, Any, BaseException | None]] = []

    def _begin_pass(self, loader: DataLoader) -> None:
        self._places = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)
        self._yielded, self._length_said = 0, loader._length_said

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def __next__(self) -> Any:
        if self._mover is None:
            batch = self._make()
            if self._pin:
                batch = pin_memory(batch)
        else:
            batch = self._moved(self._mover)
        self._yielded += 1
        if self._iterable:
            self._check_length()
        return batch

    def _moved(self, mover: Mover) -> Any:
        """The next batch on the device; the one after it is set off if it is there already."""
        batch, copied, error = self._ahead.pop() if self._ahead else self._set_off(mover)
        if error is not None:
            raise error
        if self._is_ready():
            self._ahead.append(self._set_off(mover))
        return mover.finish(batch, copied)

    def _set_off(self, mover: Mover) -> tuple[Any, Any, BaseException | None]:
        try:
            batch = self._make()
            return *mover.start(pin_memory(batch) if self._pin else batch), None
        except Exception as e:  # raised when its turn has come, the end of the data too
            return None, None, e.with_traceback(None)  # which would hold this iterator

    def _check_length(self) -> None:
        said = self._length_said
        if said is not None and self._yielded > said:
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {said} (when "
                f"accessing len(dataloader)), but {self._yielded} samples have been fetched. "
                + ("With workers, each of which has the whole data set, use get_worker_info() to "
                   "share it out." if self._num_workers else ""),
                stacklevel=3,
            )  # fmt: skip

    def _make(self) -> Any:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        return False


class LocalIterator(LoaderIterator):
    """Batches made in the calling process when they are asked for."""

    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        self._fetch = fetcher(
            loader.dataset, loader.iterable, loader._batched, loader.collate_fn, loader.drop_last
        )
        self._draws = Draws(self._base_seed)
        self._numbers = itertools.count()

    def _make(self) -> Any:
        return self._draws.during(next(self._numbers), self._fetch, next(self._places))


class PoolIterator(LoaderIterator):
    """Batches made by workers: task ``i`` goes to worker ``i`` modulo their number.

    A worker does its tasks in order, so that the next batch is the next result of a known worker.
    """

    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        work = Work(loader.dataset, loader.iterable, loader._batched, loader.collate_fn,
                    loader.drop_last, loader.worker_init_fn, loader.num_workers)  # fmt: skip
        self._in_order, self._timeout = loader.in_order, loader.timeout
        self._persistent = loader.persistent_workers
        self._prefetch = max(loader.prefetch_factor or 1, 1)
        self._limit = self._prefetch * loader.num_workers
        if loader.workers == "thread":
            pool = ThreadPool(work, self._base_seed, loader.in_order)
        else:
            context = loader.multiprocessing_context
            per_worker = self._prefetch if loader.in_order else self._limit
            pool = ProcessPool(work, self._base_seed, per_worker, context)
        self._pool = pool
        self._close = weakref.finalize(self, pool.close)
        self._begin()

    def _begin(self) -> None:
        n = self._num_workers
        self._active, self._alive = [True] * n, n
        self._counts = [0] * n
        self._turn = itertools.cycle(range(n))
        self._sent = 0
        self._owners: dict[int, int] = {}  # task: worker, in the order of sending
        for _ in range(self._limit):
            self._submit()

    def restart(self, loader: DataLoader) -> None:
        """Another pass with the same workers (``persistent_workers``)."""
        self._begin_pass(loader)
        self._ahead.clear()
        self._pool.reset(self._base_seed)
        self._begin()

    @property
    def is_alive(self) -> bool:
        """Whether there are workers still: none after a worker died or Ctrl-C."""
        return self._close.alive and not self._pool.closed

    def _submit(self) -> None:
        """Send one more task, if there is one and a worker for it."""
        if not self._alive:
            return
        try:
            places = next(self._places)
        except StopIteration:
            return
        room = self._prefetch if self._in_order else self._limit // self._alive
        for worker in itertools.islice(self._turn, self._num_workers):
            if self._active[worker] and self._counts[worker] < room:
                break
        else:  # of a stream, whose places are all alike: none is lost
            return
        number, self._sent = self._sent, self._sent + 1
        self._owners[number] = worker
        self._counts[worker] += 1
        self._pool.submit(worker, number, places)

    def _next_owner(self) -> int | None:
        """The worker whose result comes next; None for anyone's."""
        return next(iter(self._owners.values())) if self._in_order else None

    def _is_ready(self) -> bool:
        return bool(self._owners) and self._pool.is_ready(self._next_owner())

    def _make(self) -> Any:
        while self._owners:
            try:
                worker, kind, number, value = self._pool.receive(self._next_owner(), self._timeout)
            except KeyboardInterrupt:
                self._pool.close(0)
                raise
            del self._owners[number]
            self._counts[worker] -= 1
            if kind == END:
                # The tasks it still has come back as ended too. What the others lack in tasks now
                # is made up one by one, as each of those comes back.
                self._alive -= self._active[worker]
                self._active[worker] = False
            self._submit()
            if kind == FAILURE:
                value.reraise()
            if kind != END:
                return value
        if not self._persistent:
            self._close()
        raise StopIteration
