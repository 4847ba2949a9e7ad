"""The profiler's schedule beside PyTorch's."""

from __future__ import annotations

import pytest

from tgrad import profiler

peer = pytest.importorskip("torch.profiler", reason="torch is not installed")


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
@pytest.mark.parametrize(
    "counts",
    [
        {"wait": 1, "warmup": 1, "active": 2},
        {"wait": 0, "warmup": 0, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 1, "active": 3, "repeat": 1, "skip_first": 2},
        {"wait": 2, "warmup": 1, "active": 1, "skip_first": 1, "skip_first_wait": 1},
    ],
)
def test_schedules_agree(counts: dict[str, int]):
    ours, theirs = profiler.schedule(**counts), peer.schedule(**counts)
    assert [ours(k).name for k in range(20)] == [theirs(k).name for k in range(20)]
