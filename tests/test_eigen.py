"""Eigenvalues of any matrices and L D L^H: what does not depend on LAPACK's choices."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tests.test_decomposition import agrees_with_differences, matrices
from tgrad import linalg


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (0, 0), (2, 0, 0)])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex64, np.complex128])
def test_vectors_turn_by_their_values(shape, kind):
    rng = np.random.default_rng(1)
    a = rng.standard_normal(shape).astype(kind)
    if a.dtype.kind == "c":
        a = a + 1j * rng.standard_normal(shape).astype(kind)
    x = tgrad.from_numpy(a)
    values, vectors = linalg.eig(x)
    wide = np.dtype(kind).itemsize // (1 if a.dtype.kind == "c" else 0.5)
    assert values.dtype is vectors.dtype
    assert values.dtype is (tgrad.complex64 if wide == 8 else tgrad.complex128)
    left, right = x.to(values.dtype) @ vectors, vectors * values.unsqueeze(-2)
    np.testing.assert_allclose(left.numpy(), right.numpy(), atol=1e-4 if wide == 8 else 1e-12)
    np.testing.assert_array_equal(linalg.eigvals(x).numpy(), values.numpy())


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3)])
def test_gradients_of_eigenvalues_and_vectors(shape):
    x = matrices(*shape)
    agrees_with_differences(lambda x: linalg.eigvals(x).abs(), x)
    agrees_with_differences(lambda x: linalg.eig(x).eigenvalues.real, x)
    agrees_with_differences(lambda x: linalg.eig(x).eigenvectors.abs(), x)
    agrees_with_differences(lambda x: (linalg.eig(x).eigenvectors.abs() * linalg.eigvals(x).abs()
                                       .unsqueeze(-2)), x)  # fmt: skip


def test_gradients_of_eigenvalues_may_be_differentiated():
    x = matrices(3, 3)

    def first(x):
        (g,) = tgrad.autograd.grad(linalg.eigvals(x).abs().sum(), x, create_graph=True)
        return g

    g = first(x)
    (second,) = tgrad.autograd.grad((g * g).sum(), x)
    e, d = 1e-6, tgrad.from_numpy(np.random.default_rng(2).standard_normal((3, 3)))

    def size(x):
        return (first(x.detach().requires_grad_()).detach() ** 2).sum().item()

    want = (size(x.detach() + e * d) - size(x.detach() - e * d)) / (2 * e)
    assert (second * d).sum().item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_systems_are_solved_by_the_symmetric_factors(hermitian: bool, kind):
    rng = np.random.default_rng(4)
    a = rng.standard_normal((2, 5, 5)).astype(kind)
    if kind is np.complex128:
        a = a + 1j * rng.standard_normal((2, 5, 5))
    a = a + np.swapaxes(a.conj() if hermitian else a, -1, -2)
    a[:, range(5), range(5)] = 0  # no pivot of its own: blocks of 2
    b = tgrad.from_numpy(rng.standard_normal((5, 2)).astype(kind)).requires_grad_()
    data, pivots, info = linalg.ldl_factor_ex(tgrad.from_numpy(a), hermitian=hermitian)
    assert pivots.dtype is info.dtype is tgrad.int32 and not info.any()
    assert (pivots < 0).any()
    x = linalg.ldl_solve(data, pivots, b, hermitian=hermitian)
    np.testing.assert_allclose(
        x.detach().numpy(), np.linalg.solve(a, b.detach().numpy()), rtol=1e-9
    )
    g = tgrad.from_numpy(rng.standard_normal((2, 5, 2)).astype(kind))
    (db,) = tgrad.autograd.grad(x, b, g)
    want = np.linalg.solve(np.swapaxes(a.conj(), -1, -2), g.numpy()).sum(0)
    np.testing.assert_allclose(db.numpy(), want, rtol=1e-9)
    assert tgrad.equal(linalg.ldl_factor(tgrad.from_numpy(a), hermitian=hermitian).LD, data)


def test_singular_matrices_are_reported():
    _, _, info = linalg.ldl_factor_ex(tgrad.zeros(2, 2))
    assert info.item() == 1
    with pytest.raises(linalg.LinAlgError, match="block 1 is singular"):
        linalg.ldl_factor_ex(tgrad.zeros(2, 2), check_errors=True)
    for p in (None, 1, "fro"):
        assert linalg.cond(tgrad.ones(2, 2) if p else tgrad.diag(tgrad.tensor([1.0, 0])), p) > 1e6
    x, info = linalg.solve_ex(tgrad.stack([tgrad.zeros(2, 2), tgrad.eye(2)]), tgrad.ones(2, 2, 1))
    assert info.tolist() == [1, 0] and x[1].tolist() == [[1], [1]]


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4)])
def test_the_reflections_of_geqrf_multiply_to_q(shape):
    a = matrices(*shape).detach()
    packed, tau = tgrad.geqrf(a)
    r = packed.triu()[..., : tau.shape[-1], :]
    tall = packed[..., :, : tau.shape[-1]]
    q = linalg.householder_product(tall, tau)
    np.testing.assert_allclose((q @ r).numpy(), a.numpy(), atol=1e-12)
    back = tgrad.ormqr(tall, tau, a, transpose=True)
    np.testing.assert_allclose(back.numpy(), packed.triu().numpy(), atol=1e-12)
