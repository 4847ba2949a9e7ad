"""Classes of unequal size: weights for losses and samplers, over- and under-sampling.

The vocabulary is imbalanced-learn's (Lemaitre, Nogueira and Aridas 2017): a ``sampling_strategy``
says how many items of each class a pass is to have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import from_numpy, randint, randperm
from tgrad.tensor import Tensor
from tgrad.utils.data.sampler import Sampler, private_generator

if TYPE_CHECKING:
    from tgrad.runtime.random import Generator

Labels = Tensor | np.ndarray | Sequence[Any]
Strategy = str | float | Mapping[Any, int] | Callable[[np.ndarray], Mapping[Any, int]]


def class_weights(
    labels: Labels, num_classes: int | None = None, beta: float | None = None
) -> Tensor:
    """n / (K n_k) for each class k: "balanced", for ``CrossEntropyLoss(weight=...)``.

    With ``beta`` in [0, 1), proportional to (1 - beta) / (1 - beta^n_k), the inverse of the class's
    effective number of samples, and summing to K (Cui et al. 2019, arXiv:1901.05555, eq. 2). A
    class without items weighs 0 and is not counted in K.
    Shape: labels (N) of classes 0 to C - 1; result (C). dtype: float32.
    Raises: ValueError for labels that are not 1-d or no such classes, or ``beta`` out of range.
    """
    y = _checked("class_weights", labels)
    if y.dtype.kind not in "iub" or (y.size and y.min() < 0):
        raise ValueError("class_weights: expected labels that are integers from 0 on")
    counts = np.bincount(y.astype(np.int64), minlength=num_classes or 0)
    if num_classes is not None and len(counts) > num_classes:
        raise ValueError(f"class_weights: label {y.max()} with num_classes={num_classes}")
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f"class_weights: expected beta in [0, 1), got {beta}")
    weights, there = np.zeros(len(counts)), counts > 0
    k = there.sum()
    if beta is None:
        weights[there] = y.size / (k * counts[there])
    else:
        weights[there] = (1 - beta) / (1 - beta ** counts[there])
        weights *= k / max(weights.sum(), np.finfo(float).tiny)
    return from_numpy(weights.astype(np.float32))


def sample_weights(labels: Labels, beta: float | None = None) -> Tensor:
    """The :func:`class_weights` of each item's class, for :class:`WeightedRandomSampler`.

    Labels may be of any kind here. Drawing by these weights, every class is equally likely (without
    ``beta``). Shape: labels (N), result (N). dtype: float64.
    """
    y = _checked("sample_weights", labels)
    _, places = np.unique(y, return_inverse=True)
    return class_weights(places, beta=beta).to(dtypes.float64)[from_numpy(places)]


def _checked(name: str, labels: Labels) -> np.ndarray:
    y = labels.detach().host() if isinstance(labels, Tensor) else np.asarray(labels)
    if y.ndim != 1:
        raise ValueError(f"{name}: expected one label an item, got labels of shape {y.shape}")
    return y


class _Resampler(Sampler[int]):
    """Indices in random order, so many of each class as the strategy says."""

    names: tuple[str, ...]
    auto: str

    def __init__(
        self,
        labels: Labels,
        sampling_strategy: Strategy = "auto",
        generator: Generator | None = None,
    ):
        name = type(self).__name__
        y = _checked(name, labels)
        if not y.size:
            raise ValueError(f"{name}: expected at least one label")
        classes, places, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.generator, self.sampling_strategy = generator, sampling_strategy
        order, stops = np.argsort(places, kind="stable"), np.cumsum(counts)
        self.members = np.split(order, stops[:-1])
        self.classes: list[Any] = classes.tolist()
        before = dict(zip(self.classes, counts.tolist(), strict=True))
        if callable(sampling_strategy):
            sampling_strategy = sampling_strategy(y)
        self.counts: dict[Any, int] = {**before, **self._targets(name, before, sampling_strategy)}

    def _targets(self, name: str, counts: dict[Any, int], strategy: Any) -> dict[Any, int]:
        """The number wanted of each class that is to change."""
        if isinstance(strategy, str):
            if strategy not in (*self.names, "auto"):
                known = ", ".join(repr(n) for n in (*self.names, "auto"))
                raise ValueError(f"{name}: expected one of {known}, got {strategy!r}")
            chosen = _chosen(self.auto if strategy == "auto" else strategy, counts)
            return dict.fromkeys(chosen, self._size(counts))
        if isinstance(strategy, Mapping):
            for label, n in strategy.items():
                if label not in counts:
                    raise ValueError(f"{name}: no item has the label {label!r}")
                self._check(name, label, counts[label], n)
            return {label: int(n) for label, n in strategy.items()}
        if not isinstance(strategy, (int, float)) or isinstance(strategy, bool):
            raise ValueError(
                f"{name}: expected a str, a number, a dict or a function, got {strategy!r}"
            )
        if len(counts) != 2:
            raise ValueError(f"{name}: a ratio is for two classes, there are {len(counts)}")
        if not 0 < strategy <= 1:
            raise ValueError(f"{name}: expected a ratio in (0, 1], got {strategy}")
        label, n = self._by_ratio(counts, float(strategy))
        self._check(name, label, counts[label], n)
        return {label: n}

    def _size(self, counts: dict[Any, int]) -> int:
        raise NotImplementedError

    def _by_ratio(self, counts: dict[Any, int], ratio: float) -> tuple[Any, int]:
        raise NotImplementedError

    def _check(self, name: str, label: Any, there: int, wanted: Any) -> None:
        raise NotImplementedError

    def _draw(self, members: np.ndarray, n: int, generator: Generator) -> np.ndarray:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        generator = private_generator(self.generator)
        drawn = [
            self._draw(members, self.counts[label], generator)
            for label, members in zip(self.classes, self.members, strict=True)
        ]
        whole = np.concatenate(drawn)
        order = randperm(whole.size, generator=generator, device="cpu").numpy()
        return iter(whole[order].tolist())

    def __len__(self) -> int:
        return sum(self.counts.values())


def _chosen(strategy: str, counts: dict[Any, int]) -> list[Any]:
    """The classes that a strategy's name means."""
    least = min(counts, key=lambda label: counts[label])
    most = max(counts, key=lambda label: counts[label])
    return {
        "minority": [least],
        "majority": [most],
        "not minority": [label for label in counts if label != least],
        "not majority": [label for label in counts if label != most],
        "all": list(counts),
    }[strategy]


def _whole(name: str, wanted: Any) -> None:
    if not isinstance(wanted, (int, np.integer)) or isinstance(wanted, bool) or wanted < 0:
        raise ValueError(f"{name}: expected a number of items, got {wanted!r}")


class RandomOverSampler(_Resampler):
    """Every index once, and indices of small classes again, drawn at random, until they are large.

    ``sampling_strategy``: "minority", "not minority", "not majority" (as "auto") or "all": these
    classes grow to the size of the largest; a number: that of the smaller of two classes over that
    of the larger; a dict of the number of items by label, or a function of the labels that returns
    one. Each pass draws anew, in random order.
    Raises: ValueError for other strategies, and numbers below those that are there.
    """

    names, auto = ("minority", "not minority", "not majority", "all"), "not majority"

    def _size(self, counts: dict[Any, int]) -> int:
        return max(counts.values())

    def _by_ratio(self, counts: dict[Any, int], ratio: float) -> tuple[Any, int]:
        least = min(counts, key=lambda label: counts[label])
        return least, int(ratio * max(counts.values()))

    def _check(self, name: str, label: Any, there: int, wanted: Any) -> None:
        _whole(name, wanted)
        if wanted < there:
            raise ValueError(
                f"{name}: {wanted} items of {label!r} are fewer than the {there} that are there"
            )

    def _draw(self, members: np.ndarray, n: int, generator: Generator) -> np.ndarray:
        more = n - members.size
        if not more:
            return members
        again = randint(members.size, (more,), generator=generator, device="cpu").numpy()
        return np.concatenate([members, members[again]])


class RandomUnderSampler(_Resampler):
    """Indices of large classes, drawn at random until they are small, and all of the small ones.

    ``sampling_strategy``: "majority", "not minority" (as "auto"), "not majority" or "all": these
    classes shrink to the size of the smallest; a number: that of the smaller of two classes over
    that of the larger, which shrinks; a dict of the number of items by label, or a function of the
    labels that returns one. With ``replacement`` an index may come twice. Each pass draws anew, in
    random order, so that in time all items are seen.
    Raises: ValueError for other strategies, and numbers above those that are there.
    """

    names, auto = ("majority", "not minority", "not majority", "all"), "not minority"

    def __init__(
        self,
        labels: Labels,
        sampling_strategy: Strategy = "auto",
        replacement: bool = False,
        generator: Generator | None = None,
    ):
        self.replacement = replacement
        super().__init__(labels, sampling_strategy, generator)

    def _size(self, counts: dict[Any, int]) -> int:
        return min(counts.values())

    def _by_ratio(self, counts: dict[Any, int], ratio: float) -> tuple[Any, int]:
        most = max(counts, key=lambda label: counts[label])
        return most, int(min(counts.values()) / ratio)

    def _check(self, name: str, label: Any, there: int, wanted: Any) -> None:
        _whole(name, wanted)
        if wanted > there:
            raise ValueError(
                f"{name}: {wanted} items of {label!r} are more than the {there} that are there"
            )

    def _draw(self, members: np.ndarray, n: int, generator: Generator) -> np.ndarray:
        if self.replacement:
            return members[randint(members.size, (n,), generator=generator, device="cpu").numpy()]
        if n == members.size:
            return members
        return members[randperm(members.size, generator=generator, device="cpu").numpy()[:n]]
