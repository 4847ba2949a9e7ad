"""Spaces: every kernel has one or a reason to have none, and every config computes what it must."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="kernels are written in Triton")

from tgrad.kernels.cuda.configs import SPACES, choosing
from tgrad.tuner import arms, discover, session, shapes

session.every_kernel()
TRIED = 6  # configs of a kernel, from the likeliest to the least likely


def tasks_of(kernel: str) -> list[discover.Task]:
    found = discover.of_samples(shapes.tiny_shapes([kernel]), 0)
    return [t for t in found if t.case.kernel == kernel]


@pytest.mark.parametrize("kernel", sorted(SPACES))
def test_every_config_gives_the_results_of_numpy(kernel):
    tasks = tasks_of(kernel)
    assert tasks, "its tiny call does not ask for a config"
    for task in tasks[:1]:
        line = arms.lineup(task, 0, 10_000)
        blocks = {tuple(arms.fingerprint(n)[:3] for n in a.launches): a for a in line.arms}
        every = list(blocks.values())
        inputs = session.Inputs(line, 0, emulated=True)
        want = inputs.wanted()
        for arm in every[:: -(-len(every) // TRIED)]:
            with choosing(task.case, arm.config):
                assert inputs.disagreement(want) == "", arm.config
