"""Op calls on the fake driver: what they launch, and whether they were replayed."""

from __future__ import annotations

import bisect
import struct
import warnings
import zlib
from typing import Any


def start(compiled: bool = False):
    """(tgrad, the fake driver). Unless ``compiled``, kernels are images of their parameters alone;
    memory is never handed out twice, so that an address says what was allocated when."""
    import tgrad
    from tests.fake_driver.record import Fake
    from tgrad.runtime import compiler
    from tgrad.runtime.pool import Block

    warnings.simplefilter("ignore", tgrad.FallbackWarning)
    if not compiled:
        compiler.compile = image
        Block.__del__ = lambda self: None  # pyright: ignore[reportAttributeAccessIssue]
    tgrad.ones(1, device="cuda")
    return tgrad, Fake()


def image(kernel, signature, constants, divisible, arch, **options):
    """A kernel that the fake driver takes, made of its parameters' sizes."""
    from tgrad.runtime.compiler import Binary

    widths = {"i1": 1, "i32": 4, "fp32": 4}
    sizes = [widths.get(kind, 8) for kind in signature.values()]
    text = " ".join(["fake", kernel.__name__, *map(str, sizes), "8", "8"]).encode() + b"\0"
    # Some variants use global scratch, as kernels that make descriptors do.
    scratch = 128 * (zlib.crc32(repr((kernel.__name__, divisible)).encode()) % 3 == 0)
    return Binary(kernel.__name__, arch, tuple(signature.items()), options["num_warps"], 1, 0,
                  scratch, 128, 0.0, text, b"")  # fmt: skip


class Watch:
    """The launches of calls, with addresses replaced by names."""

    def __init__(self, fake: Any):
        self.fake, self.ends = fake, {}
        self.starts: list[int] = []

    def launches(self, call: Any) -> list:
        """What ``call()`` launches. A block is named by when a launch first met it, an address by
        its block and where it lies there."""
        self.collect()
        call()
        made = self.fake.launches()
        self.collect()
        order: dict[int, int] = {}

        def name(parameter: bytes) -> Any:
            if len(parameter) == 8:
                (value,) = struct.unpack("<Q", parameter)
                i = bisect.bisect(self.starts, value) - 1
                if i >= 0 and value < self.ends[self.starts[i]]:
                    start = self.starts[i]
                    return order.setdefault(start, len(order)), value - start
            return parameter

        return [(c.kernel, c.grid, c.block, c.shared, c.stream, *map(name, c.params)) for c in made]

    def collect(self) -> None:
        for c in self.fake.calls("cuMemAllocAsync"):
            if c.result not in self.ends:
                bisect.insort(self.starts, c.result)
            self.ends[c.result] = c.result + c.args[0]
        self.fake.clear()


def counted_replays() -> list[int]:
    """[how many calls were replayed from now on]."""
    from tgrad.runtime import plan

    replay, count = plan.replay, [0]

    def counting(*args: Any) -> Any:
        made = replay(*args)
        count[0] += made is not None
        return made

    plan.replay = counting
    return count
