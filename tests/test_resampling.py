"""Unequal classes, data sets side by side, and data shared out among replicas."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.test_data import Count, Squares, generator
from tgrad.utils.data import (
    ChainDataset,
    DataLoader,
    DistributedSampler,
    RandomOverSampler,
    RandomUnderSampler,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    class_weights,
    sample_weights,
)

LABELS = [0] * 12 + [1] * 3 + [2] * 6


@pytest.fixture(autouse=True)
def _seed():
    tgrad.manual_seed(0)


def drawn(sampler: Any, labels: Any = LABELS) -> dict:
    indices = list(sampler)
    assert len(indices) == len(sampler)
    return dict(Counter(labels[i] for i in indices))


def test_class_weights_balance_a_loss():
    w = class_weights(LABELS)
    assert w.dtype is tgrad.float32 and w.tolist() == pytest.approx([21 / 36, 21 / 9, 21 / 18])
    assert (w * tgrad.tensor([12.0, 3.0, 6.0])).tolist() == pytest.approx([7, 7, 7])
    assert class_weights(tgrad.tensor([0, 0, 2]), num_classes=4).tolist() == [0.75, 0, 1.5, 0]
    assert tgrad.nn.CrossEntropyLoss(weight=w)(tgrad.zeros(21, 3), tgrad.tensor(LABELS)).item() > 0


def test_effective_numbers_of_samples():
    w = class_weights(LABELS, beta=0.9).tolist()
    raw = [0.1 / (1 - 0.9**n) for n in (12, 3, 6)]
    assert w == pytest.approx([3 * r / sum(raw) for r in raw])
    assert class_weights(LABELS, beta=0.0).tolist() == pytest.approx([1, 1, 1])


def test_sample_weights_make_classes_equally_likely():
    labels = np.array(list("aab") * 50 + ["c"])
    w = sample_weights(labels)
    assert w.dtype is tgrad.float64 and w.shape == (151,)
    counts = drawn(WeightedRandomSampler(w, 6000), labels)
    assert all(n == pytest.approx(2000, rel=0.1) for n in counts.values()) and len(counts) == 3


@pytest.mark.parametrize(
    "strategy, expected",
    [("auto", [12, 12, 12]), ("minority", [12, 12, 6]), ("not minority", [12, 3, 12]),
     ("all", [12] * 3),     ({1: 5}, [12, 5, 6]), (lambda y: {2: int(y.size)}, [12, 3, 21])],
    ids=["auto", "minority", "not minority", "all", "dict", "function"],
)  # fmt: skip
def test_over_sampling_repeats_small_classes(strategy: Any, expected: list[int]):
    sampler = RandomOverSampler(LABELS, strategy)
    assert drawn(sampler) == dict(enumerate(expected))
    indices = list(sampler)
    assert set(indices) == set(range(21)) and indices != sorted(indices)
    assert indices != list(sampler)


@pytest.mark.parametrize(
    "strategy, expected",
    [("auto", [3, 3, 3]), ("majority", [3, 3, 6]), ("not majority", [12, 3, 3]), ("all", [3] * 3),
     ({0: 7, 2: 0}, [7, 3, 0])],
    ids=["auto", "majority", "not majority", "all", "dict"],
)  # fmt: skip
@pytest.mark.parametrize("replacement", [False, True])
def test_under_sampling_leaves_out(strategy: Any, expected: list[int], replacement: bool):
    sampler = RandomUnderSampler(LABELS, strategy, replacement)
    assert drawn(sampler) == {k: n for k, n in enumerate(expected) if n}
    if not replacement:
        assert len(set(sampler)) == len(sampler)
    seen = {i for _ in range(60) for i in sampler if LABELS[i] == 0}
    assert seen == set(range(12))  # others in each pass


def test_ratios_are_for_two_classes():
    labels = ["yes"] * 100 + ["no"] * 10
    assert drawn(RandomOverSampler(labels, 0.5), labels) == {"yes": 100, "no": 50}
    assert drawn(RandomUnderSampler(labels, 0.25), labels) == {"yes": 40, "no": 10}
    assert drawn(RandomOverSampler(labels, 1), labels) == {"yes": 100, "no": 100}


def test_a_seed_fixes_what_is_resampled():
    for make in (RandomOverSampler, RandomUnderSampler):
        a, b = (list(make(tgrad.tensor(LABELS), generator=generator(3))) for _ in "ab")
        assert a == b
        tgrad.manual_seed(5)
        c = list(make(LABELS))
        tgrad.manual_seed(5)
        assert list(make(LABELS)) == c


def test_a_loader_draws_balanced_batches():
    data = TensorDataset(tgrad.tensor(LABELS))
    batches = DataLoader(data, 6, sampler=RandomOverSampler(LABELS))
    counts = Counter(i for (b,) in batches for i in b.tolist())
    assert len(batches) == 6 and counts == {0: 12, 1: 12, 2: 12}


def test_data_sets_stack():
    both = StackDataset(Squares(4), [10, 11, 12, 13])  # pyright: ignore[reportArgumentType]
    named = StackDataset(x=Squares(4), y=Subset(Squares(4), [3, 2, 1, 0]))
    assert len(both) == len(named) == 4 and both[2] == (4, 12) and named[1] == {"x": 1, "y": 4}
    assert both.__getitems__([1, 3]) == [(1, 11), (9, 13)]
    assert named.__getitems__([0, 3]) == [{"x": 0, "y": 9}, {"x": 9, "y": 0}]
    assert [b.tolist() for b in next(iter(DataLoader(both, 2)))] == [[0, 1], [10, 11]]
    batch = next(iter(DataLoader(named, 2)))
    assert batch["x"].tolist() == [0, 1] and batch["y"].tolist() == [9, 4]

    class Short(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [0]

    with pytest.raises(ValueError, match="output size mismatch"):
        StackDataset(Short(4)).__getitems__([1, 2])


def test_chains_have_the_length_of_their_parts():
    class Known(Count):
        def __len__(self) -> int:
            return self.n

    assert len(ChainDataset([Known(2), Known(3)])) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        len(ChainDataset([Squares(2)]))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n, replicas", [(10, 3), (9, 3), (2, 5), (0, 2)])
def test_replicas_share_the_data_out(n: int, replicas: int, drop_last: bool):
    data, ranks = Squares(n), range(replicas)
    samplers = [DistributedSampler(data, replicas, rank, drop_last=drop_last) for rank in ranks]
    orders = []
    for epoch in range(2):
        for s in samplers:
            s.set_epoch(epoch)
        parts = [list(s) for s in samplers]
        assert len({len(p) for p in parts}) == 1 and len(parts[0]) == len(samplers[0])
        seen = Counter(i for p in parts for i in p)
        if drop_last:
            assert all(k == 1 for k in seen.values())
        else:
            assert set(seen) == set(range(n))
        orders.append(parts)
    assert n < 9 or orders[0] != orders[1]


BAD = [
    (lambda: StackDataset(), ValueError, "At least one dataset"),
    (lambda: StackDataset(Squares(2), x=Squares(2)), ValueError, "both types are given"),
    (lambda: StackDataset(Squares(2), Squares(3)), ValueError, "Size mismatch between datasets"),
    (lambda: DistributedSampler(Squares(4), 2, 2), ValueError, "Invalid rank 2"),
    (lambda: DistributedSampler(Squares(4), 2, -1), ValueError, "Invalid rank -1"),
    (lambda: DistributedSampler(Squares(4)), RuntimeError, "requires distributed package"),
    (lambda: class_weights([[1]]), ValueError, "one label an item"),
    (lambda: class_weights([0.5]), ValueError, "integers from 0 on"),
    (lambda: class_weights([-1]), ValueError, "integers from 0 on"),
    (lambda: class_weights([5], num_classes=3), ValueError, "label 5 with num_classes=3"),
    (lambda: class_weights([0], beta=1.0), ValueError, "beta in"),
    (lambda: RandomOverSampler([]), ValueError, "at least one label"),
    (lambda: RandomOverSampler(LABELS, "majority"), ValueError, "expected one of 'minority'"),
    (lambda: RandomUnderSampler(LABELS, "minority"), ValueError, "expected one of 'majority'"),
    (lambda: RandomOverSampler(LABELS, 0.5), ValueError, "there are 3"),
    (lambda: RandomOverSampler([0, 1], 1.5), ValueError, r"ratio in \(0, 1\]"),
    (lambda: RandomOverSampler([0] * 10 + [1] * 9, 0.5), ValueError, "fewer than the 9"),
    (lambda: RandomUnderSampler([0] * 10 + [1] * 9, 0.5), ValueError, "more than the 10"),
    (lambda: RandomOverSampler(LABELS, {1: 2}), ValueError, "fewer than the 3"),
    (lambda: RandomUnderSampler(LABELS, {1: 4}), ValueError, "more than the 3"),
    (lambda: RandomUnderSampler(LABELS, {9: 1}), ValueError, "no item has the label 9"),
    (lambda: RandomUnderSampler(LABELS, {1: 1.5}), ValueError, "a number of items"),  # pyright: ignore[reportArgumentType]
    (lambda: RandomUnderSampler(LABELS, [1]), ValueError, "a str, a number, a dict"),  # pyright: ignore[reportArgumentType]
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", BAD, ids=[m for _, _, m in BAD])
def test_bad_arguments_are_refused(make: Any, error: type, message: str):
    with pytest.raises(error, match=message):
        make()
