"""Sharing a data set out among processes that train together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

from tgrad.creation import randperm
from tgrad.random import Generator
from tgrad.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index from ``rank`` on, of one order that all replicas agree on.

    So that all get equally many, the first indices come again at the end, or the last are left
    out if ``drop_last``. The order is random anew in each pass if :meth:`set_epoch` is called
    before it, with the same number by all.
    Raises: ValueError for a rank out of range, RuntimeError where a number is not given: there are
    no process groups to ask.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if num_replicas is None or rank is None:
            missing = "num_replicas" if num_replicas is None else "rank"
            raise RuntimeError(
                f"DistributedSampler: {missing} must be given: requires distributed package to be "
                "available"
            )
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        self.epoch = 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = list(range(n))
        if self.shuffle:
            agreed = Generator().manual_seed(self.seed + self.epoch)
            order = randperm(n, generator=agreed, device="cpu").tolist()
        if n and self.total_size > n:
            order *= math.ceil(self.total_size / n)
        return iter(order[: self.total_size][self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Another order from the next pass on, the same for every replica that is told so."""
        self.epoch = epoch
