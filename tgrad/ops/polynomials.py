"""Orthogonal polynomials by their recurrences, as in ``torch.special``.

The degree is a number, or a tensor of them: then every degree up to the largest is computed, which
has to be read back from a GPU. Differentiable by the input, which PyTorch's are not.
Source: Abramowitz & Stegun 1964, 22.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Step = Callable[[int, Any, Any, Any], Any]  # (k, x, P_k, P_k-1) -> P_k+1


def by_recurrence(
    input: Tensor | float, n: Tensor | float, first: Callable[[Any], Any], step: Step
) -> Tensor:
    """P_n(x) from P_0 = 1 and P_1 = ``first(x)``; 0 for n < 0, the part before n's point counts."""
    tensor = input if isinstance(input, Variable) else n
    if not isinstance(tensor, Variable):
        raise TypeError("expected a Tensor for the input or the degree")
    x: Any = (
        input
        if isinstance(input, Variable)
        else tensor.new_tensor(input, dtype=dtypes.get_default_dtype())
    )
    if x.dtype.category < dtypes.FLOAT:
        x = x.to(dtypes.get_default_dtype())
    if x.dtype.itemsize < 4:
        return by_recurrence(x.float(), n, first, step).to(x.dtype)
    degree: Any = n
    if isinstance(n, Variable):
        degree = n.detach().trunc() if n.dtype.category >= dtypes.FLOAT else n
        x, degree = OPS["broadcast_tensors"].function(x, degree)
        top = int(degree.max().item()) if degree.numel() else 0
    else:
        top = degree = int(n)
    y = (x * 0).nan_to_num()  # 0 with x in its graph, for infinite x too
    before, now = y + 1, first(x)
    for k in range(max(top, 0) + 1):
        if isinstance(degree, Variable):
            y = OPS["where"].function(degree == k, before, y)
        elif k == degree:
            return before
        before, now = now, step(k + 1, x, now, before)
    return y


def declare(name: str, formula: str, first: Callable[[Any], Any], step: Step) -> None:
    """Register the polynomial ``name`` of ``torch.special``."""

    def function(input: Tensor, n: Tensor | float) -> Tensor:
        return by_recurrence(input, n, first, step)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{formula}

    ``n`` is a number or a tensor of degrees; below 0 the result is 0. Shape: broadcasts.
    """
    composite(spaces=("special",))(with_out(function))


def chebyshev(k: int, x: Any, now: Any, before: Any) -> Any:
    return 2 * x * now - before


def shifted(k: int, x: Any, now: Any, before: Any) -> Any:
    return (4 * x - 2) * now - before


T = "P_n+1 = 2 x P_n - P_n-1"
declare("chebyshev_polynomial_t", f"Chebyshev, first kind: {T}, P_1 = x.", lambda x: x, chebyshev)
declare("chebyshev_polynomial_u", f"Chebyshev, second kind: {T}, P_1 = 2 x.",
        lambda x: 2 * x, chebyshev)  # fmt: skip
declare("chebyshev_polynomial_v", f"Chebyshev, third kind: {T}, P_1 = 2 x - 1.",
        lambda x: 2 * x - 1, chebyshev)  # fmt: skip
declare("chebyshev_polynomial_w", f"Chebyshev, fourth kind: {T}, P_1 = 2 x + 1.",
        lambda x: 2 * x + 1, chebyshev)  # fmt: skip
declare("shifted_chebyshev_polynomial_t", "chebyshev_polynomial_t of 2 x - 1.",
        lambda x: 2 * x - 1, shifted)  # fmt: skip
declare("shifted_chebyshev_polynomial_u", "chebyshev_polynomial_u of 2 x - 1.",
        lambda x: 4 * x - 2, shifted)  # fmt: skip
declare("shifted_chebyshev_polynomial_v", "chebyshev_polynomial_v of 2 x - 1.",
        lambda x: 4 * x - 3, shifted)  # fmt: skip
declare("shifted_chebyshev_polynomial_w", "chebyshev_polynomial_w of 2 x - 1.",
        lambda x: 4 * x - 1, shifted)  # fmt: skip
declare("hermite_polynomial_h", "Hermite (physicists'): P_n+1 = 2 x P_n - 2 n P_n-1, P_1 = 2 x.",
        lambda x: 2 * x, lambda k, x, now, before: 2 * (x * now - k * before))  # fmt: skip
declare("hermite_polynomial_he", "Hermite (probabilists'): P_n+1 = x P_n - n P_n-1, P_1 = x.",
        lambda x: x, lambda k, x, now, before: x * now - k * before)  # fmt: skip
declare("laguerre_polynomial_l", "Laguerre: P_n+1 = ((2 n + 1 - x) P_n - n P_n-1) / (n + 1).",
        lambda x: 1 - x,
        lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1))  # fmt: skip
declare("legendre_polynomial_p", "Legendre: P_n+1 = ((2 n + 1) x P_n - n P_n-1) / (n + 1).",
        lambda x: x,
        lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1))  # fmt: skip
