"""Factorisations: what does not depend on the signs that LAPACK chose, and least squares."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad import linalg


def matrices(*shape, seed=0):
    return tgrad.from_numpy(np.random.default_rng(seed).standard_normal(shape)).requires_grad_()


def agrees_with_differences(f, x, rel=1e-5):
    """The gradient of f's sum of weighted squares, along a random direction."""
    rng = np.random.default_rng(3)
    direction = tgrad.from_numpy(rng.standard_normal(x.shape))

    def loss(x):
        y = f(x)
        weights = np.random.default_rng(4).uniform(1, 2, y.shape)
        return (y * y * tgrad.from_numpy(np.asarray(weights))).sum()

    (g,) = tgrad.autograd.grad(loss(x), x)
    e = 1e-6
    with tgrad.no_grad():
        want = (loss(x + e * direction) - loss(x - e * direction)).item() / (2 * e)
    assert (g * direction).sum().item() == pytest.approx(want, rel=rel)


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3)])
def test_gradients_of_eigenvalues_and_vectors_of_symmetric_matrices(shape):
    x = matrices(*shape)
    agrees_with_differences(lambda x: linalg.eigvalsh(x + x.mT), x)
    agrees_with_differences(lambda x: linalg.eigh(x + x.mT).eigenvectors.abs(), x)
    agrees_with_differences(lambda x: linalg.eigh(x + x.mT, UPLO="U").eigenvalues, x)
    agrees_with_differences(lambda x: linalg.pinv(x + x.mT, hermitian=True), x)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3)])
def test_factors_multiply_to_the_matrix(shape):
    a = matrices(*shape).detach()
    for full in (False, True):
        u, s, vh = linalg.svd(a, full_matrices=full)
        k = s.shape[-1]
        back = (u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :]
        np.testing.assert_allclose(back.numpy(), a.numpy(), atol=1e-12)
        np.testing.assert_allclose((u.mT @ u).numpy(), np.broadcast_to(
            np.eye(u.shape[-1]), (*shape[:-2], u.shape[-1], u.shape[-1])), atol=1e-12)  # fmt: skip
    q, r = linalg.qr(a, mode="complete")
    np.testing.assert_allclose((q @ r).numpy(), a.numpy(), atol=1e-12)
    assert linalg.qr(a, mode="r").Q.shape == (0,)


def test_singular_values_of_full_matrices_have_gradients_and_vectors_say_why_not():
    x = matrices(4, 2)
    agrees_with_differences(lambda x: linalg.svd(x).S, x)
    with pytest.raises(RuntimeError, match="full_matrices=False"):
        linalg.svd(x).U.sum().backward()
    with pytest.raises(RuntimeError, match="taller"):
        linalg.qr(x, "complete").Q.sum().backward()


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4)])
def test_least_squares_by_every_driver(driver, shape):
    a = matrices(*shape)
    b = matrices(*shape[:-1], 2, seed=1)
    found = linalg.lstsq(a, b, driver=driver)
    want = np.linalg.pinv(a.detach().numpy()) @ b.detach().numpy()
    np.testing.assert_allclose(found.solution.detach().numpy(), want, atol=1e-10)
    agrees_with_differences(lambda a: linalg.lstsq(a, b, driver=driver).solution, a)
    agrees_with_differences(lambda b: linalg.lstsq(a, b, driver=driver).solution, b)
    if shape == (5, 3):
        rest = a.detach().numpy() @ want - b.detach().numpy()
        np.testing.assert_allclose(found.residuals.detach().numpy(), (rest**2).sum(0), rtol=1e-9)
    else:
        assert found.residuals.numel() == 0
    assert found.rank.numel() == (0 if driver == "gels" else int(np.prod(shape[:-2])))
    wanted = min(shape[-2:]) if driver in ("gelsd", "gelss") else 0
    assert found.singular_values.shape[-1] == wanted


def test_least_squares_of_vectors_and_of_matrices_without_full_rank():
    a = tgrad.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    x = linalg.lstsq(a, tgrad.tensor([1.0, 1.0, 2.0])[:, None])
    np.testing.assert_allclose(x.solution.numpy(), [[0.5], [0.5]], atol=1e-6)
    assert x.rank.item() == 1 and x.residuals.numel() == 0
    many = linalg.lstsq(tgrad.eye(2).expand(3, 2, 2), tgrad.ones(3, 2))
    np.testing.assert_allclose(many.solution.numpy(), np.ones((3, 2)), atol=1e-6)


def test_failures_are_reported_and_raised_on_request():
    singular = tgrad.zeros(2, 2, 2)
    assert linalg.inv_ex(singular).info.tolist() == [1, 1]
    assert linalg.cholesky_ex(-tgrad.eye(2)).info.item() == 1
    for call in (lambda: linalg.inv_ex(singular, check_errors=True),
                 lambda: linalg.cholesky_ex(-tgrad.eye(2), check_errors=True),
                 lambda: linalg.eigh(tgrad.full((2, 2), float("nan"))),
                 lambda: linalg.svd(tgrad.full((2, 2), float("nan")))):  # fmt: skip
        with pytest.raises(linalg.LinAlgError):
            call()
