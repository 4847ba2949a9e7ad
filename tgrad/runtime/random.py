"""Random bits: Philox-4x64-10, counter based, the same on every device for a seed.

A stream is a key (the seed) and a counter of *blocks* of four 64-bit words (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"). Nothing is carried from one draw to the next but
the counter: an op reserves the blocks it needs, and any of its words can be computed alone. On the
CPU they come from NumPy's bit generator, on a GPU from ``kernels/cuda/random.py``.

Where an op's element finds its bits is the same on both: 32-bit element ``i`` is half ``i % 2``
(low half first) of word ``i // 2``, 64-bit element ``i`` is word ``i``, and word ``w`` is lane
``w % 4`` of block ``w // 4``.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.device import CUDA, device, resolve
from tgrad.runtime import stream

if TYPE_CHECKING:
    from typing_extensions import Self

LANES = 4  # words in a block
DEFAULT_SEED = 67280421310721  # PyTorch's, so that an unseeded program repeats itself as there
_WORD = (1 << 64) - 1
_STATE = struct.Struct("<QQ")  # seed, counter


class Generator:
    """A stream of random bits for one device: a seed and the number of blocks drawn so far."""

    def __init__(self, device: str | device = "cpu"):
        self.device = resolve(device)
        self.lock = threading.Lock()
        self.key, self.counter = DEFAULT_SEED, 0

    def manual_seed(self, seed: int) -> Self:
        """Start the stream of ``seed``, an integer in [-2^63, 2^64); negative ones wrap."""
        value = checked_seed(seed)
        with self.lock:
            self.key, self.counter = value, 0
        return self

    def seed(self) -> int:
        """Start an unpredictable stream and return its seed."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed that the stream was started with."""
        return self.key

    def get_state(self) -> Any:
        """Seed and counter as 16 bytes (uint8)."""
        return np.frombuffer(_STATE.pack(self.key, self.counter), np.uint8).copy()

    def set_state(self, new_state: Any) -> Any:
        """Go on from what :meth:`get_state` returned. Raises RuntimeError for another size."""
        state = np.asarray(new_state, np.uint8)
        if state.size != _STATE.size:
            raise RuntimeError(
                f"RNG state is wrong size: expected {_STATE.size} bytes, got {state.size}"
            )
        with self.lock:
            self.key, self.counter = _STATE.unpack(state.tobytes())

    def reserve(self, n64: int) -> tuple[Any, Any]:
        """(key, counter) of ``n64`` words that nobody else will get.

        Where the words are drawn by a CUDA graph that is being captured, both lie in device memory
        (int64) and are other ones at each replay.
        """
        if self.device.type == "cuda":
            capture = stream.capture()
            if capture is not None and capture.records():
                return capture.draw(self, -(-n64 // LANES))
        with self.lock:
            counter = self.counter
            self.counter = (counter + -(-n64 // LANES)) & _WORD
            return self.key, counter

    def __repr__(self) -> str:
        return f"<tgrad.Generator device={self.device} seed={self.key} counter={self.counter}>"


def checked_seed(seed: int) -> int:
    """``seed`` modulo 2^64. Raises ValueError out of range, or unless it can be an int."""
    value = int(seed)
    if not -(1 << 63) <= value <= _WORD:
        raise ValueError("Overflow when unpacking long long: seeds lie in [-2^63, 2^64)")
    return value & _WORD


class _Defaults:
    """The generator of each device, made when first asked for and seeded like those before it."""

    cls: type[Generator] = Generator
    seed = DEFAULT_SEED
    generators: dict[device, Generator] = {}  # noqa: RUF012 - process-wide on purpose
    lock = threading.Lock()


def set_generator_type(cls: type[Generator]) -> None:
    """The class of default generators; ``tgrad.random`` names the public one."""
    _Defaults.cls = cls


class _Here(threading.local):
    generator: Generator | None = None


_here = _Here()


def use(generator: Generator | None) -> Generator | None:
    """Let ops on the CPU draw from ``generator`` in this thread (None: from the process's).

    Returns what they drew from before, to be given back.
    """
    before, _here.generator = _here.generator, generator
    return before


def new_generator() -> Generator:
    """A generator of the public class for the CPU."""
    return _Defaults.cls("cpu")


def default_generator(where: device) -> Generator:
    """The generator that ops on ``where`` draw from unless they are given one."""
    if _here.generator is not None and where.type == "cpu":
        return _here.generator
    found = _Defaults.generators.get(where)
    if found is None:
        with _Defaults.lock:
            where = CUDA if where.type == "cuda" and where.index is None else where
            if where not in _Defaults.generators:
                _Defaults.generators[where] = _Defaults.cls(where).manual_seed(_Defaults.seed)
            found = _Defaults.generators[where]
    return found


def seed_all(seed: int, kind: str | None = None) -> None:
    """Seed the default generators of every device, or of one kind; later ones start alike."""
    value = checked_seed(seed)
    if _here.generator is not None and kind != "cuda":
        _here.generator.manual_seed(value)
    with _Defaults.lock:
        if kind != "cpu":
            _Defaults.seed = value
        for where, generator in _Defaults.generators.items():
            if kind in (None, where.type):
                generator.manual_seed(value)


def _after_fork() -> None:
    """Locks that another thread held at the fork would never open in the child."""
    _Defaults.lock = threading.Lock()
    for generator in _Defaults.generators.values():
        generator.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Thread(threading.local):
    """NumPy's bit generator, one a thread: setting its state takes 1 us, making one 11."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)
        self.state: Any = self.philox.state
        self.key, self.counter = self.state["state"]["key"], self.state["state"]["counter"]
        self.counter[:] = 0


_thread = _Thread()


def words(key: int, counter: int, n64: int) -> np.ndarray:
    """Words 0..n64-1 of the blocks that start at ``counter``, as uint64.

    NumPy's ``Philox(key=key, counter=counter).random_raw(n64)``: it increments its counter before
    it draws, so that block ``i`` here is the function of ``counter + i + 1``.
    """
    own = _thread
    own.key[0], own.counter[0] = key, counter
    philox = own.philox
    philox.state = own.state
    return philox.random_raw(n64)
