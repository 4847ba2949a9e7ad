"""``tgrad.random``: seeds, generators and their state.

Every device has a default generator; all start from one fixed seed, so that a program that never
seeds repeats itself. The same seed gives the same numbers on every device.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from tgrad import dtypes
from tgrad.creation.data import from_numpy
from tgrad.device import CPU, CUDA, device, resolve
from tgrad.runtime import cuda, random
from tgrad.tensor import Tensor

__all__ = ["Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed",
           "manual_seed", "seed", "set_rng_state"]  # fmt: skip


class Generator(random.Generator):
    """A stream of random bits for one device; pass it as ``generator=``.

    Its state is the seed and the number of Philox blocks drawn so far.
    """

    def get_state(self) -> Tensor:
        """The state as a uint8 tensor."""
        return from_numpy(super().get_state())

    def set_state(self, new_state: Tensor) -> Generator:
        """Go on from a state.

        Raises: TypeError unless it is a uint8 tensor, RuntimeError for another size.
        """
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a tgrad.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype is not dtypes.uint8:
            raise TypeError(f"RNG state must be a tgrad.ByteTensor, got {new_state.dtype}")
        super().set_state(new_state.cpu().numpy())
        return self

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        return Generator(self.device).set_state(self.get_state())

    def __reduce__(self) -> tuple:
        return _restore_generator, (self.device, self.key, self.counter)


def _restore_generator(where: device, key: int, counter: int) -> Generator:
    g = Generator(where)
    g.key, g.counter = key, counter
    return g


random.set_generator_type(Generator)


def generator_of(where: str | int | device) -> Generator:
    """The default generator of a device."""
    found = random.default_generator(resolve(where))
    assert isinstance(found, Generator)
    return found


default_generator: Generator = generator_of(CPU)


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; returns the CPU's.

    Raises: ValueError outside [-2^63, 2^64).
    """
    random.seed_all(seed)
    return default_generator


def seed() -> int:
    """Seed all default generators unpredictably and return the seed."""
    value = int.from_bytes(os.urandom(8), "little")
    random.seed_all(value)
    return value


def initial_seed() -> int:
    """The seed that the CPU's default generator was started with."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the CPU's default generator, as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the CPU's default generator."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Iterable[str | int | device] | None = None,
    enabled: bool = True,
    device_type: str = "cuda",
) -> Iterator[None]:
    """Inside, random numbers are drawn as ever; afterwards the generators are as they were before.

    Covers the CPU's generator and those of ``devices``: all GPUs unless they are given.
    """
    del device_type
    if not enabled:
        yield
        return
    if devices is None:
        places = [device("cuda", i) for i in range(cuda.active().device_count())] if (
            cuda.is_available()
        ) else []  # fmt: skip
        if len(places) > 1:
            warnings.warn(
                f"fork_rng: {len(places)} CUDA devices are available and all of their generators "
                "are kept; name those in use by devices=[...] to avoid that.",
                stacklevel=3,
            )
    else:
        places = [resolve(d) for d in devices]
    generators = [generator_of(where) for where in {CPU, *places}]
    states = [np.array(g.get_state().numpy()) for g in generators]
    try:
        yield
    finally:
        for g, state in zip(generators, states, strict=True):
            g.set_state(from_numpy(state))


def seed_cuda(seed: int) -> None:
    """Seed the generators of the GPUs alone."""
    generator_of(CUDA)
    random.seed_all(seed, "cuda")
