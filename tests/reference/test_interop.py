"""Memory shared with torch through DLPack, on the CPU."""

from __future__ import annotations

import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("dtype", tgrad.dtypes.ALL, ids=str)
def test_tensors_pass_both_ways_without_a_copy(dtype: tgrad.dtype):
    x = tgrad.arange(12).reshape(3, 4).to(dtype).T
    y = torch.from_dlpack(x)
    assert y.data_ptr() == x.data_ptr() and tuple(y.stride()) == x.stride()
    assert str(y.dtype) == f"torch.{dtype.name}" and y.tolist() == x.tolist()
    z = tgrad.from_dlpack(y[1:])
    assert z.dtype is dtype and z.data_ptr() == y[1:].data_ptr() and z.tolist() == x[1:].tolist()


def test_torchs_capsules_are_taken():
    y = torch.arange(6).reshape(2, 3)
    x = tgrad.from_dlpack(torch.utils.dlpack.to_dlpack(y))
    del y
    x += 1
    assert x.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert torch.utils.dlpack.from_dlpack(x.__dlpack__()).tolist() == x.tolist()


def test_torch_refuses_what_requires_a_gradient():
    with pytest.raises(BufferError, match="require gradient"):
        torch.from_dlpack(tgrad.ones(1, requires_grad=True))
