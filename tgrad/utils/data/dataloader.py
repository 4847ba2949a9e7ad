"""DataLoader: batches of a data set, in the order of a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tgrad.utils.data.collate import default_collate, default_convert
from tgrad.utils.data.dataset import Dataset, IterableDataset, Subset, TensorDataset
from tgrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed

if TYPE_CHECKING:
    from tgrad.runtime.random import Generator


class _Endless:
    """The sampler of an iterable data set: as many items as it has."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader:
    """Iterates over ``dataset`` in batches.

    Give either ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``, or a ``batch_sampler``;
    ``batch_size`` None turns batching off. Each pass draws one number from the default generator,
    so that ``manual_seed`` fixes the order.
    Raises: ValueError for arguments that exclude each other, NotImplementedError for
    ``num_workers`` above 0: batches are made in the calling process.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: object = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset, self.num_workers, self.generator = dataset, num_workers, generator
        self.pin_memory, self.timeout, self.worker_init_fn = pin_memory, timeout, worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor, self.persistent_workers = prefetch_factor, persistent_workers
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
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)

    def __iter__(self) -> Iterator[Any]:
        if self.generator is None:
            draw_seed()  # PyTorch's base seed of workers: programs draw alike with and without
        if self.iterable:
            yield from self._stream()
            return
        if self.batch_sampler is None:
            for index in self.sampler:  # pyright: ignore[reportOptionalIterable]
                yield self.collate_fn(self.dataset[index])
            return
        whole = self.collate_fn is default_collate and _has_rows(self.dataset)
        fetch = getattr(self.dataset, "__getitems__", None)
        for batch in self.batch_sampler:
            if whole:
                yield list(self.dataset[list(batch)])
            elif fetch is not None:
                yield self.collate_fn(fetch(batch))
            else:
                yield self.collate_fn([self.dataset[i] for i in batch])

    def _stream(self) -> Iterator[Any]:
        items = iter(self.dataset)  # pyright: ignore[reportArgumentType]
        if self.batch_sampler is None:
            yield from map(self.collate_fn, items)
            return
        batch = []
        for item in items:
            batch.append(item)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)

    def __len__(self) -> int:
        """The number of batches (of items where batching is off). Raises TypeError without one."""
        if not self.iterable:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # pyright: ignore[reportArgumentType]
        n = len(self.dataset)  # pyright: ignore[reportArgumentType]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _has_rows(dataset: Dataset) -> bool:
    """Whether indexing with a list gathers a batch: what stacking the items would give, at once."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) is TensorDataset


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers > 0:
        raise NotImplementedError(
            f"DataLoader: num_workers={num_workers} is not available, batches are made in the "
            "calling process; use num_workers=0"
        )
    if prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > "
            "0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if persistent_workers:
        raise ValueError("persistent_workers option needs num_workers > 0")
