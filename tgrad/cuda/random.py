"""Seeds and states of the GPUs' generators. ``tgrad.manual_seed`` seeds these too."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tgrad.device import device
from tgrad.random import Tensor, generator_of, seed_cuda
from tgrad.runtime import cuda
from tgrad.runtime.stream import gpu

Where = str | int | device


def manual_seed(seed: int) -> None:
    """Seed the GPUs' generators; does nothing to the CPU's."""
    seed_cuda(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Seed the GPUs' generators unpredictably, all alike."""
    seed_cuda(int.from_bytes(os.urandom(8), "little"))


seed_all = seed


def initial_seed() -> int:
    """The seed that the current GPU's generator was started with."""
    return generator_of("cuda").initial_seed()


def get_rng_state(device: Where = "cuda") -> Tensor:
    """The state of a GPU's generator, as a uint8 tensor on the CPU."""
    return generator_of("cuda" if device is None else device).get_state()


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators."""
    return [get_rng_state(gpu(i)) for i in range(_count())]


def set_rng_state(new_state: Tensor, device: Where = "cuda") -> None:
    """Set the state of a GPU's generator."""
    generator_of("cuda" if device is None else device).set_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Set the states of all GPUs' generators, in order."""
    for i, state in enumerate(new_states):
        set_rng_state(state, gpu(i))


def _count() -> int:
    return cuda.active().device_count() if cuda.is_available() else 0
