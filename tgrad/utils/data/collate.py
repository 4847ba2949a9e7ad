"""Making one batch of a list of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import as_tensor, tensor
from tgrad.registry import OPS
from tgrad.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Items of one structure as that structure of batches.

    Tensors and arrays are stacked along a new first dim, numbers become a tensor (float64 for
    Python floats), strings stay a list; tuples, lists and mappings are collated part by part.
    Raises: TypeError for other types, RuntimeError for parts of unequal length.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return OPS["stack"].function(list(batch), 0)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(_complaint(first.dtype))
        return as_tensor(np.stack(list(batch)))
    if isinstance(first, np.generic):
        return as_tensor(np.array(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=dtypes.float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        parts = {key: default_collate([item[key] for item in batch]) for key in first}
        try:
            return type(first)(parts)  # pyright: ignore[reportCallIssue]
        except TypeError:  # a mapping class with another constructor
            return parts
    if isinstance(first, Sequence):
        return _sequence(first, batch)
    raise TypeError(_complaint(type(first)))


def _sequence(first: Any, batch: Sequence[Any]) -> Any:
    if any(len(item) != len(first) for item in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    parts = [default_collate(samples) for samples in zip(*batch, strict=True)]
    if hasattr(first, "_fields"):  # a named tuple
        return type(first)(*parts)
    if isinstance(first, tuple):
        return parts  # PyTorch gives a list here too
    try:
        return type(first)(parts)
    except TypeError:  # a sequence class with another constructor, such as range
        return parts


def _complaint(kind: object) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {kind}"
    )


def default_convert(data: Any) -> Any:
    """Arrays in any structure become tensors; used where batching is off."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        a = np.asarray(data)
        return data if a.dtype.kind in "SUO" else as_tensor(a)
    if isinstance(data, Mapping):
        return {k: default_convert(v) for k, v in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[default_convert(v) for v in data])
    if isinstance(data, (tuple, list)):
        return [default_convert(v) for v in data]
    return data
