"""Copies with conversion."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel


@kernel("copy", "cpu")
def copy(y, x, dtype=None):
    with np.errstate(all="ignore"):  # NaN to integer is whatever the cast gives, as in PyTorch
        np.copyto(y, x, casting="unsafe")


@kernel("_overwrite", "cpu")
def _overwrite(y, x, source):
    copy(y, source)
