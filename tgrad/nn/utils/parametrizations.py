"""Parametrizations of weights: orthogonal, of unit spectral norm, and by norm and direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad.autograd import no_grad
from tgrad.creation import eye, from_numpy, randn, zeros_like
from tgrad.dtypes import finfo
from tgrad.nn.modules import Module
from tgrad.nn.utils.parametrize import register_parametrization
from tgrad.nn.utils.spectral_norm import as_matrix, default_dim, unit
from tgrad.nn.utils.weight_norm import norm_except_dim, normalized
from tgrad.ops import cat, diagonal, matrix_exp, mv, tril, vdot, where
from tgrad.ops.linalg import solve
from tgrad.tensor import Tensor

MAPS = ("matrix_exp", "cayley", "householder")


def _parameter(module: Any, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---- matrices ------------------------------------------------------------------------------------


def householder_product(a: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of I - tau_i v_i v_i^T.

    v_i is column i of ``a`` below the diagonal, with 1 on it (LAPACK's orgqr).
    Shape: a (..., M, N), tau (..., N); result (..., M, N).
    """
    m, n = a.shape[-2], a.shape[-1]
    v = tril(a, -1) + eye(m, n, dtype=a.dtype, device=a.device)
    q = eye(m, n, dtype=a.dtype, device=a.device).expand(a.shape)
    for i in range(n - 1, -1, -1):
        column = v[..., i : i + 1]  # (..., M, 1)
        q = q - tau[..., i : i + 1].unsqueeze(-1) * column @ (column.mT @ q)
    return q


def reflections(x: Tensor) -> tuple[Tensor, Tensor]:
    """LAPACK's geqrf of real matrices: reflections under R, and tau; on the host, no gradient."""
    host = x.detach().cpu().numpy()
    flat = host.reshape(-1, *host.shape[-2:])
    made = [np.linalg.qr(matrix, mode="raw") for matrix in flat]
    h = np.stack([r.T for r, _ in made]).reshape(host.shape)
    tau = np.stack([t for _, t in made]).reshape(*host.shape[:-2], -1)
    return tuple(
        [  # pyright: ignore[reportReturnType]
            from_numpy(np.array(t, order="C")).to(x.device, x.dtype) for t in (h, tau)
        ]
    )


def is_orthogonal(q: Tensor) -> bool:
    n = q.shape[-2]
    identity = eye(q.shape[-1], dtype=q.dtype, device=q.device)
    return (q.mT @ q - identity).abs().amax().item() <= 10 * n * finfo(q.dtype).eps


def make_orthogonal(x: Tensor) -> Tensor:
    """The orthogonal factor of x with the signs that make R's diagonal positive."""
    h, tau = reflections(x)
    return householder_product(h, tau) * diagonal(h, dim1=-2, dim2=-1).sign().unsqueeze(-2)


# ---- orthogonal ----------------------------------------------------------------------------------


class _Orthogonal(Module):
    """X to a matrix with orthonormal rows or columns, whichever are fewer."""

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True):
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        transposed = x.shape[-2] < x.shape[-1]
        x = x.mT if transposed else x
        n, k = x.shape[-2], x.shape[-1]
        if self.orthogonal_map == "householder":
            a = tril(x, -1)
            tau = 2.0 / (1.0 + (a * a).sum(-2))
            signs = diagonal(x, dim1=-2, dim2=-1).int().to(x.dtype)
            q = householder_product(a, tau) * signs.unsqueeze(-2)
        else:
            q = self._of_skew(tril(x), n, k)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if transposed else q

    def _of_skew(self, x: Tensor, n: int, k: int) -> Tensor:
        """The first k columns of exp(A) or (I - A/2)^-1 (I + A/2), A = X - X^T."""
        if n != k:
            x = cat([x, x.new_zeros((*x.shape[:-2], n, n - k))], -1)
        a = x - x.mT
        if self.orthogonal_map == "matrix_exp":
            q = matrix_exp(a)
        else:
            identity = eye(n, dtype=a.dtype, device=a.device)
            q = solve(identity - 0.5 * a, identity + 0.5 * a)
        return q[..., :k] if n != k else q

    def right_inverse(self, value: Tensor) -> Tensor:
        """An X for ``value``, made orthogonal first where it is not."""
        if value.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {value.shape}."
            )
        with no_grad():
            transposed = value.shape[-2] < value.shape[-1]
            q = value.mT if transposed else value
            n, k = q.shape[-2], q.shape[-1]
            if not hasattr(self, "base"):
                a = self._reflected(q)
                return a.mT.contiguous() if transposed else a
            if n != k:
                more = randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
                q = make_orthogonal(cat([q, more], -1))
            else:
                q = q.clone() if is_orthogonal(q) else make_orthogonal(q)
            self.base = q
            start = zeros_like(value)
            diagonal(start, dim1=-2, dim2=-1).fill_(-1.0)
            return start

    def _reflected(self, q: Tensor) -> Tensor:
        """X of the Householder map itself."""
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        a, tau = reflections(q)
        signs = diagonal(a, dim1=-2, dim2=-1)
        turned = where(tau == 0, -signs.sign(), signs.sign())
        signs.copy_(turned)
        return a


def orthogonal(
    module: Any,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Any:
    """Keep ``module.<name>`` orthonormal in its rows or columns, whichever are fewer.

    ``orthogonal_map``: "matrix_exp" (default for square), "cayley", "householder" (default else).
    With ``use_trivialization`` the map is taken around the weight, which makes it easier to train.
    The right inverse decomposes on the host; the householder map is a loop over columns.
    Source: Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428; trivialization: Lezcano-Casado
    2019, arXiv:1909.09501.
    Raises: ValueError for another map, no such tensor, fewer than 2 dims, and complex tensors.
    """
    weight = _parameter(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if weight.is_complex():
        raise ValueError("orthogonal: the parametrization does not support complex tensors")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


# ---- norms ---------------------------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """w = g v / |v|, |v| over all dims but ``dim`` (over all where None).

    g is ``original0`` and v ``original1``; a state_dict of ``nn.utils.weight_norm`` loads too.
    Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def compatible(owner: Any, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        keys = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(k in state_dict for k in keys):
            for i, k in enumerate(keys):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(k)

    module.register_load_state_dict_pre_hook(compatible)
    return module


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ):
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got "
                f"{dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps = dim % ndim, eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = as_matrix(weight.detach(), self.dim)
                for which, n in zip(("_u", "_v"), matrix.shape, strict=True):
                    start = unit(matrix.new_empty((n,)).normal_(0, 1), eps)
                    self.register_buffer(which, start)
                self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, iterations: int) -> None:
        with no_grad():
            for _ in range(iterations):
                self._u.copy_(unit(mv(matrix, self._v), self.eps))
                self._v.copy_(unit(mv(matrix.T, self._u), self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return unit(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next call must not change what is saved
        return weight / vdot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value  # sigma of value is unknown before the next power iterations


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """w / sigma, sigma w's largest singular value by power iteration, one step a training call.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1.
    Raises: ValueError for no such tensor or no iterations, IndexError for a dim out of range.
    """
    weight = _parameter(module, name)
    dim = default_dim(module) if dim is None else dim
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
