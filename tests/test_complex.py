"""Complex tensors: their parts as views, and made of parts."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad


def gradient_of(f, *arrays):
    """Gradients of the sum of |f|^2, and its derivative along a direction by finite differences."""
    xs = [tgrad.tensor(a, dtype=tgrad.float64, requires_grad=True) for a in arrays]

    def loss(*xs):
        return (tgrad.view_as_real(f(*xs)) ** 2 * tgrad.arange(1.0, 3.0, dtype=tgrad.float64)).sum()

    loss(*xs).backward()
    rng = np.random.default_rng(0)
    steps = [rng.standard_normal(np.shape(a)) for a in arrays]
    e = 1e-6
    high = loss(*[tgrad.tensor(a + e * d) for a, d in zip(arrays, steps, strict=True)])
    low = loss(*[tgrad.tensor(a - e * d) for a, d in zip(arrays, steps, strict=True)])
    got = sum(float((x.grad.numpy() * d).sum()) for x, d in zip(xs, steps, strict=True))
    return got, (high - low).item() / (2 * e)


@pytest.mark.parametrize("f", [tgrad.complex, tgrad.polar])
def test_gradients_of_complex_numbers_made_of_parts(f):
    rng = np.random.default_rng(1)
    got, want = gradient_of(f, rng.standard_normal((3, 1)), rng.standard_normal(4))
    assert got == pytest.approx(want, rel=1e-6)


def test_complex_and_polar_agree_with_numpy():
    a, b = np.random.default_rng(2).standard_normal((2, 5, 7))
    x, y = tgrad.from_numpy(a), tgrad.from_numpy(b)
    np.testing.assert_array_equal(tgrad.complex(x, y).numpy(), a + 1j * b)
    np.testing.assert_allclose(tgrad.polar(x, y).numpy(), a * np.exp(1j * b), rtol=1e-15)
    assert tgrad.complex(x.float(), y.float()).dtype is tgrad.complex64


def test_pairs_and_complex_numbers_share_memory():
    z = tgrad.tensor([[1 + 2j, 3 - 4j], [5j, 6]]).t()
    pairs = tgrad.view_as_real(z)
    assert pairs.shape == (2, 2, 2) and pairs.dtype is tgrad.float32
    pairs[0, 1, 0] = 9
    assert z[0, 1].item() == 9 + 5j
    back = tgrad.view_as_complex(pairs)
    np.testing.assert_array_equal(back.numpy(), z.numpy())
    back[1, 1] = 7j
    assert z[1, 1].item() == 7j
    assert tgrad.view_as_complex(tgrad.zeros(0, 2)).shape == (0,)


@pytest.mark.parametrize("call, message", [
    (lambda: tgrad.view_as_real(tgrad.ones(2)), "complex tensors"),
    (lambda: tgrad.view_as_complex(tgrad.ones(2, dtype=tgrad.int64)), "float and double"),
    (lambda: tgrad.view_as_complex(tgrad.ones(3)), "size 2"),
    (lambda: tgrad.view_as_complex(tgrad.tensor(1.0)), "size 2"),
    (lambda: tgrad.view_as_complex(tgrad.ones(2, 2).t()), "stride 1"),
    (lambda: tgrad.view_as_complex(tgrad.ones(2, 3)[:, :2]), "divisible by 2"),
    (lambda: tgrad.complex(tgrad.ones(1), tgrad.ones(1).double()), "one dtype"),
    (lambda: tgrad.polar(tgrad.ones(1).half(), tgrad.ones(1).half()), "Float or Double"),
])  # fmt: skip
def test_wrong_parts_are_refused(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_complex_tensors_stay_on_the_cpu():
    with pytest.raises(NotImplementedError, match="CPU only"):
        tgrad.view_as_complex(tgrad.ones(2, device="cuda"))
