"""Getting the items of one batch, and carrying an exception from where that happens to the user."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from tgrad.runtime import random
from tgrad.utils.data.collate import default_collate
from tgrad.utils.data.dataset import Subset, TensorDataset

STEP = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: keys far from the workers' seeds
WORD = (1 << 64) - 1
ROOM = 1 << 40  # blocks of random bits that a batch may draw


def fetcher(
    dataset: Any, iterable: bool, batched: bool, collate: Callable[[Any], Any], drop_last: bool
) -> Callable[[Any], Any]:
    """The function from a sampler's output to a batch; StopIteration where a stream has ended."""
    if iterable:
        return _Stream(dataset, batched, collate, drop_last).fetch
    if not batched:
        return lambda index: collate(dataset[index])
    if collate is default_collate and _has_rows(dataset):
        return lambda indices: list(dataset[list(indices)])
    several = getattr(dataset, "__getitems__", None)
    if several:
        return lambda indices: collate(several(indices))
    return lambda indices: collate([dataset[i] for i in indices])


def _has_rows(dataset: Any) -> bool:
    """Whether indexing with a list gathers a batch: what stacking the items would give, at once."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) is TensorDataset


class _Stream:
    """The items of an iterable data set, so many at a time."""

    def __init__(self, dataset: Any, batched: bool, collate: Callable, drop_last: bool):
        self.items: Iterator[Any] = iter(dataset)
        self.batched, self.collate, self.drop_last = batched, collate, drop_last
        self.ended = False

    def fetch(self, places: Any) -> Any:
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate(next(self.items))
        batch = []
        for _ in places:
            try:
                batch.append(next(self.items))
            except StopIteration:
                self.ended = True
                break
        if not batch or (self.drop_last and len(batch) < len(places)):
            raise StopIteration
        return self.collate(batch)


class Draws:
    """Random bits by batch: what a batch draws depends on the loader's seed and its number alone.

    So it is the same in the calling process, in a worker and in a thread, whatever their number.
    """

    def __init__(self, base_seed: int):
        self.generator = random.new_generator()
        self.key = (base_seed + STEP) & WORD

    def during(self, number: int, fetch: Callable[[Any], Any], places: Any) -> Any:
        """``fetch(places)`` as batch ``number``."""
        self.generator.key, self.generator.counter = self.key, (number * ROOM) & WORD
        before = random.use(self.generator)
        try:
            return fetch(places)
        finally:
            random.use(before)


class Failure:
    """An exception on its way to another process or thread, as its class and its text."""

    def __init__(self, error: BaseException, where: str):
        self.kind = type(error)
        self.name = self.kind.__name__
        self.where = where
        self.text = "".join(traceback.format_exception(error))

    def portable(self) -> Failure:
        """The same without the class, where that cannot be pickled."""
        self.kind = RuntimeError
        return self

    def reraise(self) -> None:
        """Raise the original class with the original traceback in the message."""
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            raise KeyError(_Text(message))
        if getattr(self.kind, "message", None):
            raise self.kind(message=message)  # pyright: ignore[reportCallIssue]
        try:
            error = self.kind(message)
        except Exception:  # a class that cannot be made of one text; any error of its own will do
            raise RuntimeError(message) from None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: a cycle, and the loader's workers in it


class _Text(str):
    """A KeyError's message that keeps its line ends: KeyError prints the repr."""

    def __repr__(self) -> str:
        return str(self)
