"""DataLoader: batches of a data set, in the order of a sampler."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from tgrad.device import device as Device
from tgrad.runtime import threads
from tgrad.utils.data.collate import default_collate, default_convert
from tgrad.utils.data.dataset import Dataset, IterableDataset
from tgrad.utils.data.iterators import LoaderIterator, LocalIterator, PoolIterator
from tgrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from tgrad.runtime.random import Generator


class _Endless:
    """The sampler of an iterable data set: as many items as it has."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader:
    """Iterates over ``dataset`` in batches.

    Give either ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``, or a ``batch_sampler``;
    ``batch_size`` None turns batching off. ``num_workers`` processes make batches ahead,
    ``prefetch_factor`` each (2), and hand them over in shared memory; they are forked on Linux
    unless ``multiprocessing_context`` says otherwise ("spawn" where the data set uses a GPU).

    Beyond PyTorch: ``workers="thread"`` makes them threads, for data sets that spend their time in
    NumPy or in reading; ``device`` moves batches there, the next one while the present one is in
    use. Each pass draws one number from ``generator`` or the default one, so that ``manual_seed``
    fixes the order; what tgrad's generator gives while a batch is made depends on that number and
    on the batch alone: the same for any number of workers, none included. Python's and NumPy's
    generators are seeded by worker, as in PyTorch (not in threads: ``get_worker_info().rng``).
    Raises: ValueError for arguments that exclude each other; in a pass, a worker's exception with
    its traceback, RuntimeError for a worker that died or took longer than ``timeout`` seconds.
    """

    _initialized = False

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        device: str | int | Device | None = None,
        workers: str = "process",
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, workers)
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        self.dataset, self.num_workers, self.generator = dataset, num_workers, generator
        self.pin_memory, self.timeout, self.worker_init_fn = pin_memory, timeout, worker_init_fn
        self.workers, self.in_order = workers, in_order
        self.device = None if device is None else Device(device)
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
        self.pin_memory_device = pin_memory_device
        if pin_memory and pin_memory_device:
            warnings.warn(
                "pin_memory_device is deprecated, the current accelerator will be used as the "
                f"device, ignore pin_memory_device='{pin_memory_device}'.",
                stacklevel=2,
            )
        self.iterable = isinstance(dataset, IterableDataset)
        if self.iterable:
            for name, value in (("shuffle", shuffle or None), ("sampler", sampler),
                                ("batch_sampler", batch_sampler)):  # fmt: skip
                if value is not None:
                    raise ValueError(
                        "DataLoader with IterableDataset: expected unspecified "
                        f"{name} option, but got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if self.iterable:
                sampler = _Endless()  # pyright: ignore[reportAssignmentType]
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # pyright: ignore[reportArgumentType]
            else:
                sampler = SequentialSampler(dataset)  # pyright: ignore[reportArgumentType]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # pyright: ignore[reportArgumentType]
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._length_said: int | None = None
        self._iterator: PoolIterator | None = None
        self._warn_of_many_workers()
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> BaseContext | None:
        """How worker processes are started; None for the default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, value: Any) -> None:
        if value is not None and (self.num_workers == 0 or self.workers == "thread"):
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading (num_workers "
                f"> 0), but got num_workers={self.num_workers}"
            )
        if isinstance(value, str):
            known = multiprocessing.get_all_start_methods()
            if value not in known:
                raise ValueError(
                    f"multiprocessing_context option should specify a valid start method in "
                    f"{known!r}, but got multiprocessing_context={value!r}"
                )
            value = multiprocessing.get_context(value)
        if value is not None and not isinstance(value, BaseContext):
            raise TypeError(
                "multiprocessing_context option should be a valid context object or a string "
                f"specifying the start method, but got multiprocessing_context={value}"
            )
        self._context: BaseContext | None = value

    @property
    def _batched(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        """What each task is drawn from: lists of indices, or indices where batching is off."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _warn_of_many_workers(self) -> None:
        cores = threads.available()
        if self.num_workers > cores and self.workers == "process":
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our "
                f"suggested max number of worker in current system is {cores}, which is smaller "
                "than what this DataLoader is going to create. Please be aware that excessive "
                "worker creation might get DataLoader running slow or even freeze, lower the "
                "worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )

    def __iter__(self) -> LoaderIterator:
        if self.num_workers == 0:
            return LocalIterator(self)
        if not self.persistent_workers:
            return PoolIterator(self)
        if self._iterator is None or not self._iterator.is_alive:
            self._iterator = PoolIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        """The number of batches (of items where batching is off). Raises TypeError without one."""
        if not self.iterable:
            return len(self._index_sampler)
        n = self._length_said = len(self.dataset)  # pyright: ignore[reportArgumentType]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _check_workers(
    num_workers: int,
    timeout: float,
    prefetch_factor: int | None,
    persistent_workers: bool,
    workers: str,
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > "
            "0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if workers not in ("process", "thread"):
        raise ValueError(f"workers option should be 'process' or 'thread', but got {workers!r}")
