"""LAPACK's ops beyond the table: errors, gradients of factorisations, the fallback."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.autograd import gradcheck, gradgradcheck


def test_linalg_error_is_a_runtime_error_and_names_the_matrix():
    singular = np.stack([np.eye(3), np.diag([1.0, 0.0, 2.0])])
    x = tgrad.tensor(singular)
    with pytest.raises(tgrad.linalg.LinAlgError, match=r"inv: \(Batch element 1\): .* element 2"):
        tgrad.linalg.inv(x)
    with pytest.raises(RuntimeError, match="inv: The diagonal element 2 is zero"):
        x[1].inverse()
    with pytest.raises(tgrad.linalg.LinAlgError, match="solver failed"):
        tgrad.linalg.solve(x, x)
    negative = tgrad.tensor(np.diag([4.0, -1.0]))
    with pytest.raises(tgrad.linalg.LinAlgError, match="minor of order 2"):
        tgrad.linalg.cholesky(negative)
    with pytest.raises(tgrad.linalg.LinAlgError, match="non-finite"):
        tgrad.linalg.svdvals(negative * float("nan"))


def test_determinants_of_singular_matrices():
    x = tgrad.tensor(np.zeros((2, 2)), requires_grad=True)
    assert tgrad.det(x).item() == 0
    sign, log = tgrad.slogdet(x)
    assert (sign.item(), log.item()) == (0, -np.inf)
    assert tgrad.logdet(x).item() == -np.inf
    assert np.isnan(tgrad.logdet(tgrad.tensor(np.diag([1.0, -1.0]))).item())
    assert type(tgrad.slogdet(x))._fields == ("sign", "logabsdet")


@pytest.mark.parametrize("upper", [False, True])
def test_gradients_of_cholesky(upper):
    x = tgrad.tensor(np.random.default_rng(0).standard_normal((3, 3)), requires_grad=True)
    shift = tgrad.tensor(3 * np.eye(3))

    def f(a):
        return tgrad.linalg.cholesky(a @ a.mT + shift, upper=upper)

    assert gradcheck(f, (x,))
    assert upper or gradgradcheck(f, (x,))


def test_triangular_systems_read_one_triangle_and_divide_by_zero():
    a = tgrad.tensor(np.array([[2.0, np.nan], [1.0, 0.0]]))
    b = tgrad.tensor(np.array([[2.0], [3.0]]))
    y = tgrad.linalg.solve_triangular(a, b, upper=False)
    np.testing.assert_array_equal(y.numpy(), [[1.0], [np.inf]])


def test_out_and_methods():
    x = tgrad.tensor(np.diag([2.0, 4.0]))
    out = tgrad.tensor(np.zeros((2, 2)))
    assert tgrad.linalg.inv(x, out=out) is out
    assert x.det().item() == pytest.approx(8) and x.inverse()[0, 0].item() == 0.5
    assert x.logdet().item() == pytest.approx(np.log(8))


def test_cuda_tensors_come_back_to_cuda():
    entry = tgrad.OPS["_slogdet"]
    x = tgrad.tensor(np.diag([2.0, 4.0])).cuda()
    entry.warned = False  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(tgrad.FallbackWarning, match="_slogdet"):
        sign, log = tgrad.slogdet(x)
    assert sign.is_cuda and log.item() == pytest.approx(np.log(8))
