"""Taking gradients out of a loss scale."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.runtime.quiet import quiet


@kernel("_unscale", "cpu")
def unscale(grads: list[np.ndarray], found_inf: np.ndarray, inv_scale: np.ndarray) -> None:
    """One pass to look, one to scale; half precision is scaled in float32."""
    factor = inv_scale.reshape(-1)[0]
    finite = [quiet.run(scale_one, g, factor) for g in grads]
    if not all(finite):
        found_inf.fill(1)


def scale_one(g: np.ndarray, factor: np.float32) -> bool:
    """g *= factor; whether all of g was finite."""
    finite = bool(np.isfinite(g).all())
    if factor != 1:
        wide = np.multiply(g, factor, dtype=np.float64 if g.dtype == np.float64 else np.float32)
        g[...] = wide
    return finite
