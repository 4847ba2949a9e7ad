"""``tgrad.backends``: what computes, and its settings, under the names of ``torch.backends``.

tgrad has kernels of its own and links none of the libraries that PyTorch's settings are about. What
a setting means here is said with it; ``is_available()`` answers as PyTorch's CPU build does.

``fp32_precision``: how float32 products and convolutions use a GPU's tensor cores, "ieee", "tf32"
or "none", where ``cuda.matmul`` and ``cudnn.conv`` have no setting of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.backends import cpu, cuda, cudnn, mha, mkl, mkldnn, mps, openmp, opt_einsum
from tgrad.backends.settings import Setting, install
from tgrad.runtime.precision import get_fp32_precision, set_fp32_precision

__all__ = ["cpu", "cuda", "cudnn", "flags", "mha", "mkl", "mkldnn", "mps", "openmp",
           "opt_einsum"]  # fmt: skip

fp32_precision: str


@contextlib.contextmanager
def flags(fp32_precision: str = "none") -> Iterator[None]:
    """Inside, ``fp32_precision`` is set."""
    before = get_fp32_precision("generic")
    set_fp32_precision("generic", fp32_precision)
    try:
        yield
    finally:
        set_fp32_precision("generic", before)


install(
    __name__,
    fp32_precision=Setting(
        lambda: get_fp32_precision("generic"), lambda v: set_fp32_precision("generic", v)
    ),
)
