"""Making tensors from numbers, lists, arrays and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.device import device as Device
from tgrad.device import resolve
from tgrad.dispatch import wrap
from tgrad.runtime import cuda, memory
from tgrad.tensor import Tensor


def tensor(data: Any, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    a = np.asarray(data)
    if dtype is None and a.dtype == np.float64 and not isinstance(data, np.ndarray):
        dtype = dtypes.get_default_dtype()
    a = np.array(a, dtype.numpy if dtype else a.dtype)
    where = resolve(device)
    t = wrap(a if where.type == "cpu" else cuda.active().from_host(a), where)
    return t.requires_grad_(requires_grad)


def from_numpy(a):
    return wrap(a, resolve("cpu"))


def new_ones(self, size, **options):
    return tensor(np.ones(size, self.array.dtype), device=self.device)


Tensor.new_ones = new_ones
