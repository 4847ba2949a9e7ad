"""The calls that are tuned where none are given: of model sizes, and tiny ones for the emulator.

Neither names a kernel: the samples reach every kernel, and a space brings a tiny call of its own.
"""

from __future__ import annotations

from collections.abc import Collection

from tgrad.kernels.cuda.configs import SPACES
from tgrad.kernels.samples import Sample, samples
from tgrad.tuner.discover import sample_of

DTYPES = ("bfloat16", "float32")  # what models run in
TINY_DTYPES = ("float32",)


def model_shapes() -> list[Sample]:
    """The samples, of which those count whose kernels have choices."""
    return samples()


def tiny_shapes(kernels: Collection[str] = (), dtypes: Collection[str] = ()) -> list[Sample]:
    """The calls that spaces bring along, of the kernels and dtypes that are named, if any."""
    chosen = [space for name, space in SPACES.items() if not kernels or name in kernels]
    calls = {id(s.tiny): s.tiny for s in chosen if s.tiny is not None}
    return [sample_of({**call, "dtype": list(dtypes or TINY_DTYPES)}) for call in calls.values()]
