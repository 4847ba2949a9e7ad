"""Data sets, samplers, collation and the loader."""

from __future__ import annotations

from collections import Counter, namedtuple
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.datasets import digits
from tgrad.utils import data
from tgrad.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n: int):
        self.n = n

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise IndexError(index)
        return index**2

    def __len__(self) -> int:
        return self.n


class Count(IterableDataset):
    def __init__(self, n: int):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def rows(n: int) -> TensorDataset:
    x = tgrad.tensor(np.arange(2 * n, dtype=np.float32).reshape(n, 2))
    return TensorDataset(x, tgrad.tensor(np.arange(n)))


def generator(seed: int) -> tgrad.Generator:
    made = tgrad.Generator()
    made.manual_seed(seed)
    return made


@pytest.fixture(autouse=True)
def _seed():
    tgrad.manual_seed(0)


# ---- data sets -----------------------------------------------------------------------------------


def test_tensor_dataset_pairs_rows():
    x, y = rows(4)[2]
    assert x.tolist() == [4.0, 5.0] and y.item() == 2 and len(rows(4)) == 4
    with pytest.raises(AssertionError, match="Size mismatch"):
        TensorDataset(tgrad.tensor([1]), tgrad.tensor([1, 2]))


def test_data_sets_concatenate():
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset) and len(both) == 5
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1] and both[-1] == 1 and both[-5] == 0
    with pytest.raises(ValueError, match="should not exceed dataset length"):
        both[-6]
    with pytest.raises(AssertionError, match="empty iterable"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        ConcatDataset([Count(1)])
    assert list(Count(2) + Count(1)) == [0, 1, 0]


def test_subsets_choose_items():
    part = Subset(Squares(5), [4, 1])
    assert len(part) == 2 and part[0] == 16 and part.__getitems__([1, 0]) == [1, 16]
    assert list(next(iter(DataLoader(part, 2)))) == [16, 1]


def test_random_split_divides_everything_once():
    parts = random_split(Squares(10), [7, 3])
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    assert [len(p) for p in random_split(Squares(10), [0.35, 0.65])] == [4, 6]
    a, b = (random_split(Squares(10), [5, 5], generator(4)) for _ in "ab")
    assert a[0].indices == b[0].indices
    with pytest.raises(ValueError, match="does not equal the length"):
        random_split(Squares(10), [7, 4])
    with pytest.raises(ValueError, match="not between 0 and 1"):
        random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="is 0"):
        random_split(Squares(1), [0.5, 0.5])


def test_the_digits_are_there():
    images, labels = digits().tensors
    assert images.shape == (1797, 1, 8, 8) and images.dtype is tgrad.float32
    assert labels.dtype is tgrad.int64 and float(images.max()) == 1.0 and float(images.min()) == 0.0
    counts = Counter(labels.tolist())
    assert set(counts) == set(range(10)) and min(counts.values()) == 174


# ---- samplers ------------------------------------------------------------------------------------


def test_sequential_and_random_orders():
    assert list(SequentialSampler(Squares(4))) == [0, 1, 2, 3]
    order = list(RandomSampler(Squares(50)))
    assert sorted(order) == list(range(50)) != order
    assert list(RandomSampler(Squares(50))) != order


def test_random_sampler_draws_more_or_with_replacement():
    sampler = RandomSampler(Squares(5), num_samples=12)
    drawn = list(sampler)
    assert len(sampler) == len(drawn) == 12
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == [0, 1, 2, 3, 4]
    again = list(RandomSampler(Squares(5), replacement=True, num_samples=5000))
    assert len(again) == 5000 and min(Counter(again).values()) > 850


def test_a_seed_fixes_every_order():
    def orders():
        tgrad.manual_seed(7)
        yield list(RandomSampler(Squares(20)))
        yield list(SubsetRandomSampler([3, 5, 8, 9, 12]))
        yield list(WeightedRandomSampler([1, 2, 3], 20))
        yield [b.tolist() for b in DataLoader(Squares(20), 6, shuffle=True)]
        yield list(RandomSampler(Squares(20), generator=generator(1)))

    assert list(orders()) == list(orders())


def test_subset_random_sampler_permutes_its_indices():
    assert (
        sorted(SubsetRandomSampler([3, 5, 8])) == [3, 5, 8] and len(SubsetRandomSampler([3])) == 1
    )


def test_weighted_sampler_follows_its_weights():
    drawn = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert drawn[0] == 0 and drawn[2] / drawn[1] == pytest.approx(3, rel=0.15)
    assert sorted(WeightedRandomSampler([1.0, 1.0, 0.5], 3, replacement=False)) == [0, 1, 2]


def test_batch_sampler_groups():
    order = SequentialSampler(Squares(5))
    assert list(BatchSampler(order, 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(order, 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(order, 2, False)) == 3 and len(BatchSampler(order, 2, True)) == 2


# ---- collation -----------------------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


def test_collation_follows_the_structure():
    item = {"x": np.ones(2, np.float32), "y": (1, 2.5), "s": "text", "p": Pair(True, [3])}
    batch = default_collate([item, item])
    assert batch["x"].shape == (2, 2) and batch["x"].dtype is tgrad.float32
    assert batch["y"][0].dtype is tgrad.int64 and batch["y"][1].dtype is tgrad.float64
    assert batch["s"] == ["text", "text"] and isinstance(batch["p"], Pair)
    assert batch["p"].a.dtype is tgrad.bool and batch["p"].b[0].tolist() == [3, 3]
    assert default_collate([np.float32(1), np.float32(2)]).dtype is tgrad.float32
    assert default_collate([tgrad.tensor([1, 2]), tgrad.tensor([3, 4])]).tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_collation_refuses_what_it_cannot_stack():
    with pytest.raises(TypeError, match="must contain tensors"):
        default_collate([object()])
    with pytest.raises(TypeError, match="must contain tensors"):
        default_collate([np.array(["a"])])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(RuntimeError):
        default_collate([tgrad.tensor([1]), tgrad.tensor([1, 2])])


# ---- the loader ----------------------------------------------------------------------------------


def test_the_loader_batches_in_order():
    loader = DataLoader(Squares(5), batch_size=2)
    assert [b.tolist() for b in loader] == [[0, 1], [4, 9], [16]] and len(loader) == 3
    assert [b.tolist() for b in DataLoader(Squares(5), 2, drop_last=True)] == [[0, 1], [4, 9]]
    assert len(DataLoader(Squares(5), 2, drop_last=True)) == 2


def test_rows_are_gathered_as_stacking_would():
    fast = list(DataLoader(rows(5), 2))
    slow = list(DataLoader(rows(5), 2, collate_fn=lambda items: default_collate(items)))
    part = list(DataLoader(Subset(rows(7), [0, 1, 2, 3, 4]), 2))
    for a, b, c in zip(fast, slow, part, strict=True):
        assert isinstance(a, list)
        assert [x.tolist() for x in a] == [x.tolist() for x in b] == [x.tolist() for x in c]
        assert [x.dtype for x in a] == [x.dtype for x in b]


def test_the_loader_shuffles_anew_each_pass():
    loader = DataLoader(Squares(50), 50, shuffle=True)
    first, second = (b.tolist() for _ in range(2) for b in loader)
    assert sorted(first) == sorted(second) == [i**2 for i in range(50)] and first != second


def test_samplers_and_collation_can_be_given():
    assert [b.tolist() for b in DataLoader(Squares(5), 2, sampler=[4, 0, 1])] == [[16, 0], [1]]
    batches = DataLoader(Squares(5), batch_sampler=[[1], [2, 3]], collate_fn=sum)
    assert list(batches) == [1, 13] and len(batches) == 2


def test_without_batching_items_are_converted():
    items = list(DataLoader([np.ones(2), 3], batch_size=None))  # pyright: ignore[reportArgumentType]
    assert isinstance(items[0], tgrad.Tensor) and items[1] == 3
    assert len(DataLoader(Squares(5), batch_size=None)) == 5
    nested = data.default_convert({"a": (np.ones(2), "s"), "p": Pair(np.int32(3), b"")})
    assert nested["a"][0].shape == (2,) and nested["a"][1] == "s" and nested["p"].a.item() == 3


def test_iterable_data_sets_stream():
    assert [b.tolist() for b in DataLoader(Count(5), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Count(5), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Count(3), batch_size=None)) == [0, 1, 2]
    with pytest.raises(TypeError):
        len(DataLoader(Count(3)))


def test_an_empty_data_set_has_no_batches():
    assert list(DataLoader(Squares(0), 2)) == [] and len(DataLoader(Squares(0), 2)) == 0
    assert list(DataLoader(Count(0), 2)) == []
    assert list(DataLoader(Squares(0), 2, shuffle=True)) == []


YES: Any = 1  # no bool
BAD = [
    (lambda: DataLoader(Squares(3), num_workers=-1), ValueError, "should be non-negative"),
    (lambda: DataLoader(Squares(3), timeout=-1), ValueError, "timeout option"),
    (lambda: DataLoader(Squares(3), prefetch_factor=2), ValueError, "prefetch_factor"),
    (lambda: DataLoader(Squares(3), persistent_workers=True), ValueError, "persistent_workers"),
    (lambda: DataLoader(Squares(3), shuffle=True, sampler=[1]), ValueError, "with shuffle"),
    (lambda: DataLoader(Squares(3), 2, batch_sampler=[[1]]), ValueError, "with batch_size"),
    (lambda: DataLoader(Squares(3), None, drop_last=True), ValueError, "disables auto-batching"),
    (lambda: DataLoader(Count(3), shuffle=True), ValueError, "expected unspecified shuffle"),
    (lambda: DataLoader(Count(3), sampler=[1]), ValueError, "expected unspecified sampler"),
    (lambda: DataLoader(Squares(3), batch_size=0), ValueError, "batch_size should be a positive"),
    (lambda: BatchSampler([1], 2, YES), ValueError, "drop_last should be a boolean"),
    (lambda: RandomSampler(Squares(3), YES), TypeError, "replacement should be a boolean"),
    (lambda: RandomSampler(Squares(3), num_samples=0), ValueError, "should be a positive"),
    (lambda: WeightedRandomSampler([1.0], 0), ValueError, "num_samples should be a positive"),
    (lambda: WeightedRandomSampler([1.0], 1, YES), ValueError, "replacement should be a boolean"),
    (lambda: WeightedRandomSampler(tgrad.ones(1, 1), 1), ValueError, "1d sequence"),
    (lambda: Dataset()[0], NotImplementedError, "__getitem__"),
    (lambda: iter(IterableDataset()), NotImplementedError, "__iter__"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", BAD, ids=[m for _, _, m in BAD])
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
