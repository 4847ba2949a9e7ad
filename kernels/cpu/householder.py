"""QR on LAPACK that keeps the reflections."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel


@kernel("_geqrf", "cpu")
def _geqrf(y, tau, x):
    if x.size == 0:
        tau[...] = 0
        return
    raw, scales = np.linalg.qr(x, "raw")  # as LAPACK leaves it, by columns
    y[...], tau[...] = np.swapaxes(raw, -1, -2), scales
