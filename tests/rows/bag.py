"""Rows of bags of embeddings."""

import itertools

import numpy as np

from tests.table import i, own, row, s, t, value


def bags(
    indices, weight, offsets=None, max_norm=None, norm_type=2, by_frequency=False, mode="mean",
    sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None,
):  # fmt: skip
    if indices.ndim == 2:
        parts = list(range(0, indices.size + 1, max(indices.shape[1], 1)))
    else:
        parts = [*np.asarray(offsets), *([] if include_last_offset else [indices.size])]
    flat = indices.reshape(-1)
    scale = np.ones(flat.size) if per_sample_weights is None else per_sample_weights.reshape(-1)
    y = np.zeros((len(parts) - 1, weight.shape[1]))
    for b, (start, stop) in enumerate(itertools.pairwise(parts)):
        kept = [k for k in range(start, stop) if padding_idx is None
                or flat[k] != padding_idx % len(weight)]  # fmt: skip
        if kept:
            rows = weight[flat[kept]] * scale[kept, None]
            y[b] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)
    return y


IDS = value([0, 6, 2, 2, 4, 1, 2], "int")
STARTS = value([0, 3, 3, 4], "int")
TABLE, FIXED = t(7, 3, distinct=True), t(7, 3, distinct=True, grad=False)

ROWS = [
    row(
        "nn.functional.embedding_bag",
        s(IDS, TABLE, STARTS),
        s(IDS, TABLE, STARTS, mode="sum"),
        s(IDS, TABLE, STARTS, mode="max"),
        s(i(3, 4, high=7), TABLE),
        s(value([[0, 1, 5], [6, 2, 4]], "int"), TABLE, mode="max"),
        s(IDS, TABLE, STARTS, mode="sum", per_sample_weights=t(7)),
        s(i(2, 3, high=7), TABLE, mode="sum", per_sample_weights=t(2, 3)),
        # The row of the padding has no gradient, which no difference shows.
        s(IDS, FIXED, STARTS, padding_idx=2),
        s(IDS, FIXED, STARTS, mode="max", padding_idx=-5),
        s(value([[2, 2], [1, 2]], "int"), FIXED, mode="max", padding_idx=2),
        s(IDS, TABLE, value([0, 2, 7], "int"), include_last_offset=True),
        own("torch's dtypes disagree about what is past the last offset",
            s(IDS, TABLE, value([0, 2, 5], "int"), mode="sum", include_last_offset=True)),
        s(i(0, high=7), TABLE, value([0, 0], "int"), mode="sum"),
        ref=bags,
    ),
]  # fmt: skip
