"""Loaders, samplers and data sets beside torch's: the same batches and the same refusals."""

from __future__ import annotations

import warnings
from collections import namedtuple
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.utils import data as ours

torch = pytest.importorskip("torch", reason="torch is not installed")
theirs = import_module("torch.utils.data")
BOTH = [(tgrad, ours), (torch, theirs)]
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
Pair = namedtuple("Pair", "a b")


class Squares:
    def __init__(self, n: int = 7):
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        return i * i, {"x": np.full(2, i, np.float32), "s": str(i)}, Pair(i / 2, [i, None is None])


def plain(x: Any) -> Any:
    if isinstance(x, (tgrad.Tensor, torch.Tensor)):
        return str(x.dtype).partition(".")[2], x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [type(x).__name__, *map(plain, x)] if isinstance(x, (list, tuple)) else x


def stream(module: Any, n: int) -> Any:
    class Stream(module.IterableDataset):
        def __iter__(self):
            info = module.get_worker_info()
            return iter(range(n) if info is None else range(info.id, n, info.num_workers))

    return Stream()


@pytest.mark.parametrize(
    "make",
    [
        lambda lib, d: d.DataLoader(Squares(), 3),
        lambda lib, d: d.DataLoader(Squares(), 3, drop_last=True),
        lambda lib, d: d.DataLoader(Squares(), batch_size=None),
        lambda lib, d: d.DataLoader(Squares(), batch_sampler=[[1, 2], [5]]),
        lambda lib, d: d.DataLoader(Squares(), 2, sampler=[3, 3, 1]),
        lambda lib, d: d.DataLoader(Squares(), 3, num_workers=2),
        lambda lib, d: d.DataLoader(Squares(), 3, collate_fn=len, num_workers=1, prefetch_factor=1),
        lambda lib, d: d.DataLoader(stream(d, 9), 2, num_workers=2),
        lambda lib, d: d.DataLoader(stream(d, 9), 2, num_workers=2, drop_last=True),
        lambda lib, d: d.DataLoader(stream(d, 5), batch_size=None),
        lambda lib, d: d.DataLoader(d.StackDataset(a=Squares(4), b=Squares(4)), 3),
        lambda lib, d: d.DataLoader(d.ConcatDataset([Squares(2), Squares(3)]), 4),
        lambda lib, d: d.DataLoader(d.TensorDataset(lib.arange(8).view(4, 2)), 3, num_workers=1),
        lambda lib, d: d.DistributedSampler(Squares(10), 4, 3, shuffle=False),
        lambda lib, d: d.DistributedSampler(Squares(10), 4, 3, shuffle=False, drop_last=True),
        lambda lib, d: d.DistributedSampler(Squares(2), 7, 5, shuffle=False),
        lambda lib, d: d.BatchSampler(range(5), 2, False),
    ],
    ids=range(17),
)
def test_passes_agree(make: Any):
    got, want = ([plain(b) for b in make(lib, module)] for lib, module in BOTH)
    assert got == want


@pytest.mark.parametrize(
    "make",
    [
        lambda d: d.DataLoader(Squares(), num_workers=-1),
        lambda d: d.DataLoader(Squares(), timeout=-1),
        lambda d: d.DataLoader(Squares(), prefetch_factor=2),
        lambda d: d.DataLoader(Squares(), num_workers=1, prefetch_factor=-1),
        lambda d: d.DataLoader(Squares(), persistent_workers=True),
        lambda d: d.DataLoader(Squares(), multiprocessing_context="fork"),
        lambda d: d.DataLoader(Squares(), num_workers=1, multiprocessing_context="none"),
        lambda d: d.DataLoader(Squares(), num_workers=1, multiprocessing_context=3),
        lambda d: d.DataLoader(Squares(), sampler=[1], shuffle=True),
        lambda d: d.DataLoader(Squares(), 2, batch_sampler=[[1]]),
        lambda d: d.DataLoader(Squares(), batch_sampler=[[1]], drop_last=True),
        lambda d: d.DataLoader(Squares(), batch_size=None, drop_last=True),
        lambda d: d.DataLoader(Squares(), batch_size=0),
        lambda d: d.DataLoader(Squares(), batch_size=2.5),
        lambda d: d.DataLoader(stream(d, 3), shuffle=True),
        lambda d: d.DataLoader(stream(d, 3), sampler=[1]),
        lambda d: d.DataLoader(stream(d, 3), batch_sampler=[[1]]),
        lambda d: len(d.DataLoader(stream(d, 3))),
        lambda d: setattr(d.DataLoader(Squares()), "batch_size", 3),
        lambda d: next(iter(d.DataLoader([object()]))),
        lambda d: next(iter(d.DataLoader([[1], [1, 2]], 2))),
        lambda d: next(iter(d.DataLoader([np.array(["a"])]))),
        lambda d: next(iter(d.DataLoader([1], num_workers=1, sampler=[3]))),
        lambda d: d.StackDataset(),
        lambda d: d.StackDataset(Squares(1), Squares(2)),
        lambda d: d.StackDataset(Squares(1), a=Squares(1)),
        lambda d: d.DistributedSampler(Squares(), 2, 2),
        lambda d: d.RandomSampler(Squares(), num_samples=-1),
        lambda d: d.RandomSampler(Squares(), replacement=1),
        lambda d: d.WeightedRandomSampler([1.0], True),
        lambda d: d.WeightedRandomSampler([[1.0]], 1),
        lambda d: d.BatchSampler([1], 0, False),
        lambda d: d.BatchSampler([1], 1, 0),
        lambda d: d.random_split(Squares(), [3, 3]),
        lambda d: d.random_split(Squares(), [0.5, -0.5, 1.0]),
        lambda d: d.ConcatDataset([]),
        lambda d: d.ConcatDataset([stream(d, 1)]),
    ],
    ids=range(37),
)
def test_refusals_agree(make: Any):
    def outcome(module: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = make(module)
            except Exception as e:
                return type(e)
        return "made" if isinstance(made, (ours.DataLoader, theirs.DataLoader)) else made

    assert outcome(ours) == outcome(theirs)


def test_a_workers_exception_reads_as_torchs():
    class Bad(Squares):
        def __getitem__(self, i: int) -> int:
            raise KeyError("absent")

    texts = []
    for _, module in BOTH:
        with pytest.raises(KeyError) as e:
            next(iter(module.DataLoader(Bad(), num_workers=1)))
        texts.append(str(e.value).splitlines())
    assert texts[0][:2] == texts[1][:2] and texts[0][-1] == texts[1][-1]


def test_workers_see_the_same_seeds_of_their_own():
    def make(module: Any) -> list:
        class Info(Squares):
            def __getitem__(self, i: int) -> Any:
                info = module.get_worker_info()
                return info.id, info.num_workers, info.worker_method, len(info.dataset)

        return [tuple(x) for x in module.DataLoader(Info(4), batch_size=None, num_workers=2)]

    assert make(ours) == make(theirs)
