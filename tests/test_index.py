"""Indexing: every mixture against NumPy, reading and writing; placement, kinds and determinism."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tgrad
from tgrad.autograd import gradcheck, gradgradcheck

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])
RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5, 6))


def mask(*shape):
    return RNG.random(shape) < 0.5


def at(*values):
    return np.array(values)


INDICES = {
    "int": 0,
    "negative int": -1,
    "numpy int": np.int64(2),
    "slice": slice(1, 3),
    "slice past the end": slice(2, 99),
    "empty slice": (slice(None), slice(5, 2)),
    "steps": (slice(None, None, 3), slice(1, None, 2)),
    "ellipsis": (0, ..., 1),
    "new dims": (None, 1, None, ..., None),
    "bools": (True, 0),
    "no element": (slice(None), np.zeros(0, int)),
    "list": [0, 2, -1],
    "vector": at(0, 2, 1, 1),
    "matrix": at([0, 1], [3, -4]),
    "two vectors": (at(0, 1), at(-1, 2)),
    "vectors that broadcast": (at([0], [1]), at(1, 2, 3)),
    "second and third": (slice(None), at(0, 1), at(1, 5)),
    "apart": (at(0, 1), slice(None), at(1, -2)),
    "apart by a new dim": (slice(None), at(0, 1), None, at(1, 2)),
    "three vectors": (at(0, 1), at(2, 3), at(4, 5)),
    "vector and slices": (slice(0, 2), at(0, 4, 4), slice(None, None, 2)),
    "vector after ellipsis": (..., at(0, 5)),
    "full mask": mask(4, 5, 6),
    "mask of leading dims": mask(4, 5),
    "mask of one dim": (slice(None), mask(5)),
    "mask of trailing dims": (..., mask(5, 6)),
    "mask of nothing": np.zeros((4, 5), bool),
    "mask and vector": (mask(4, 5), at(2)),
}


def convert(index, device):
    if isinstance(index, tuple):
        return tuple(convert(i, device) for i in index)
    return tgrad.from_numpy(index).to(device) if isinstance(index, np.ndarray) else index


def tensor(a, device="cpu", grad=False):
    return tgrad.tensor(np.asarray(a), dtype=tgrad.float64, device=device, requires_grad=grad)


def numbers(x):
    return x.detach().cpu().numpy()


@on_devices
@pytest.mark.parametrize("name", INDICES)
def test_reading_agrees_with_numpy(name, device):
    index = INDICES[name]
    x = tensor(X, device, grad=True)
    y = x[convert(index, device)]
    np.testing.assert_array_equal(numbers(y), X[index])
    w = RNG.standard_normal(y.shape)
    (y * tensor(w, device)).sum().backward()
    expected = np.zeros_like(X)
    np.add.at(expected, index, w)
    np.testing.assert_allclose(numbers(x.grad), expected, rtol=1e-12, atol=1e-12)


@on_devices
@pytest.mark.parametrize("name", [n for n in INDICES if n != "vector"])  # it has an index twice
def test_writing_agrees_with_numpy(name, device):
    index = INDICES[name]
    for values in (
        3.5,
        RNG.standard_normal(X[index].shape),
        RNG.standard_normal(X[index].shape[-1:]),
    ):
        expected = X.copy()
        expected[index] = values
        leaf, x = tensor(X, device, grad=True), None
        x = leaf * 1
        source = values if isinstance(values, float) else tensor(values, device, grad=True)
        x[convert(index, device)] = source
        np.testing.assert_array_equal(numbers(x), expected)
        w = RNG.standard_normal(X.shape)
        (x * tensor(w, device)).sum().backward()
        kept = w.copy()
        kept[index] = 0
        np.testing.assert_array_equal(numbers(leaf.grad), kept)
        if isinstance(source, tgrad.Tensor) and source.numel():
            g = w[index]
            extra = tuple(range(g.ndim - source.ndim))
            np.testing.assert_allclose(numbers(source.grad), g.sum(extra), rtol=1e-12, atol=1e-12)


@on_devices
def test_ints_select_before_index_tensors_place_their_dims(device):
    x = tensor(X, device)
    # NumPy counts the int among the index arrays, so that its result is (2, 5).
    y = x[0, :, tgrad.tensor([1, 2], device=device)]
    assert y.shape == (5, 2)
    np.testing.assert_array_equal(numbers(y), X[0][:, [1, 2]])


def test_zero_dim_tensors_index_as_ints_and_bools():
    x = tensor(X)
    y = x[tgrad.tensor(1), tgrad.tensor(2) : tgrad.tensor(4)]
    assert y.base is x
    np.testing.assert_array_equal(numbers(y), X[1, 2:4])
    assert x[tgrad.tensor(True)].shape == (1, 4, 5, 6)
    assert x[tgrad.tensor(False)].shape == (0, 4, 5, 6)


def test_sequences_of_many_kinds_index_alike():
    x = tensor(X)
    for index in ([0, 2], range(0, 3, 2), np.array([0, 2], np.int32), tgrad.tensor([0, 2]),
                  [tgrad.tensor(0), np.int64(2)], [True, False, True, False],
                  tgrad.tensor([1, 0, 1, 0], dtype=tgrad.uint8)):  # fmt: skip
        np.testing.assert_array_equal(numbers(x[index]), X[[0, 2]])


def test_int32_and_cpu_indices_work_on_cuda():
    x = tensor(X, "cuda")
    np.testing.assert_array_equal(numbers(x[tgrad.tensor([1, -1])]), X[[1, -1]])
    np.testing.assert_array_equal(
        numbers(x[tgrad.tensor([1, -1], dtype=tgrad.int32, device="cuda")]), X[[1, -1]]
    )


@on_devices
def test_a_basic_index_is_one_view(device):
    x = tensor(X, device, grad=True)
    y = x[1:3, None, ..., 2]
    assert y.base is x
    assert y.grad_fn.next_functions == ((x, 0),)


def test_numbers_are_converted_to_the_dtype_written():
    x = tgrad.zeros(3, dtype=tgrad.int64)
    x[0] = 2.7
    x[tgrad.tensor([1])] = 3.9
    x[tgrad.tensor([False, False, True])] = True
    assert x.tolist() == [2, 3, 1]
    flags = tgrad.zeros(2, dtype=tgrad.bool)
    flags[0] = 5
    assert flags.tolist() == [True, False]


@on_devices
def test_values_of_other_dtypes_and_devices_are_converted(device):
    x = tgrad.zeros(2, 3, device=device)
    x[0] = tgrad.ones(3, dtype=tgrad.float64)
    x[tgrad.tensor([1], device=device)] = tgrad.full((1, 1, 3), 2, dtype=tgrad.int64)
    assert x.tolist() == [[1, 1, 1], [2, 2, 2]]


@on_devices
def test_nothing_is_written_where_an_index_is_out_of_range(device):
    x = tensor(X, device)
    for value in (1.0, tgrad.ones(5, 6, dtype=tgrad.float64, device=device)):
        with pytest.raises(
            IndexError, match="index 4 is out of bounds for dimension 0 with size 4"
        ):
            x[tgrad.tensor([0, 4], device=device)] = value
    np.testing.assert_array_equal(numbers(x), X)


@on_devices
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_repeated_indices_add_up_in_every_dtype(dtype, device):
    kind = getattr(tgrad, dtype)
    index = tgrad.tensor([1, 1, 0, 1], device=device)
    ones = tgrad.ones(4, 3, dtype=kind, device=device)
    x = tgrad.zeros(2, 3, dtype=kind, device=device)
    y = x.index_put((index,), ones, accumulate=True)
    expected = [[1] * 3, [1 if dtype == "bool" else 3] * 3]
    assert y.to(tgrad.int64).tolist() == expected
    x.index_add_(0, index, ones)
    assert x.to(tgrad.int64).tolist() == expected
    z = tgrad.zeros(2, 3, dtype=kind, device=device)
    z.scatter_add_(0, index[:, None].expand(4, 3), ones)
    assert z.to(tgrad.int64).tolist() == expected


@on_devices
def test_in_place_forms_write_into_strided_tensors(device):
    def fresh():
        base = tensor(np.zeros((3, 4)), device)
        return base, base.t()

    index = tgrad.tensor([2, 0], device=device)
    base, x = fresh()
    x.index_add_(0, index, tensor(np.ones((2, 3)), device), alpha=2)
    np.testing.assert_array_equal(numbers(base), [[2, 0, 2, 0]] * 3)
    base, x = fresh()
    x.scatter_(1, index[:, None], 4.0)
    np.testing.assert_array_equal(numbers(base), [[0, 4, 0, 0], [0, 0, 0, 0], [4, 0, 0, 0]])
    base, x = fresh()
    x.scatter_add_(1, index[:, None], tensor([[1.0], [2]], device))
    x.scatter_reduce_(1, index[:, None], tensor([[5.0], [7]], device), "prod")
    np.testing.assert_array_equal(numbers(base), [[0, 14, 0, 0], [0, 0, 0, 0], [5, 0, 0, 0]])
    base, x = fresh()
    x.index_copy_(0, index, tensor([[1.0, 2, 3], [4, 5, 6]], device))
    x.index_fill_(1, index[:1], -1)
    x.masked_fill_(x == 5, 8)
    np.testing.assert_array_equal(numbers(x), [[4, 8, -1], [0, 0, -1], [1, 2, -1], [0, 0, -1]])
    base, x = fresh()
    x.index_put_((index, index), tensor([3.0, 4], device))
    x.masked_scatter_(x == 3, tensor([9.0], device))
    x.tril_()
    assert base[2, 2].item() == 9 and base[0, 0].item() == 4


@on_devices
def test_masks_with_one_value_write_like_masked_fill(device):
    x = tensor(X, device)
    x[x > 0] = 0
    np.testing.assert_array_equal(numbers(x), np.minimum(X, 0))
    x[:, x[0, :, 0] < 0, 1] = tensor(5.0, device)
    expected = np.minimum(X, 0)
    expected[:, X[0, :, 0] < 0, 1] = 5
    np.testing.assert_array_equal(numbers(x), expected)


def test_gradients_of_gathering_and_scattering_are_right_twice():
    x, src = (
        tensor(RNG.standard_normal((4, 3)), grad=True),
        tensor(RNG.standard_normal((2, 3)), grad=True),
    )
    index = tgrad.tensor([[0, 2, 1], [3, 2, 0]])
    for f in (
        lambda x, s: x.gather(0, index) ** 2 * s,
        lambda x, s: x.scatter_add(0, index, s**2) ** 2,
        lambda x, s: x[index[0], :2] ** 2 + s[0, 0] ** 2,
        lambda x, s: x.index_put((index[0],), s[:1] ** 2, True) ** 2,
        lambda x, s: x.masked_fill(x > 0, s[0, 0] ** 2) ** 2,
        lambda x, s: x.scatter_reduce(0, index, s, "prod") ** 2,
    ):
        assert gradcheck(f, (x, src))
        assert gradgradcheck(f, (x, src))


# ---- sums in a fixed order -----------------------------------------------------------------------


@pytest.fixture
def deterministic():
    tgrad.use_deterministic_algorithms(True)
    yield
    tgrad.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_sorted_sums_agree_with_the_fast_ones(deterministic, dtype):
    assert tgrad.are_deterministic_algorithms_enabled()
    index = RNG.integers(0, 300, (1500, 2))  # several blocks of keys, several digits
    values = RNG.standard_normal((1500, 2))
    results = []
    for device in ("cpu", "cuda"):
        kind = getattr(tgrad, dtype)
        x = tensor(np.ones((300, 2)), device).to(kind)
        i, v = tgrad.from_numpy(index).to(device), tensor(values, device).to(kind)
        results.append(numbers(x.scatter_add(0, i, v).double()))
        results.append(numbers(x.index_put((i[:, 0],), v, accumulate=True).double()))
    bound = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2}[dtype]
    for got, want in zip(results[2:], results[:2], strict=True):
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound)


@on_devices
def test_extrema_keep_nan(device):
    x = tensor([0.0, 0, 0], device)
    index = tgrad.tensor([0, 0, 1, 1], device=device)
    y = x.scatter_reduce(0, index, tensor([np.nan, 1, 2, 3], device), "amax")
    np.testing.assert_array_equal(numbers(y), [np.nan, 3, 0])


# ---- any basic index -----------------------------------------------------------------------------

SHAPE = (3, 4, 5)
slices = st.builds(
    slice,
    st.none() | st.integers(-7, 7),
    st.none() | st.integers(-7, 7),
    st.none() | st.integers(1, 4),
)


def entries(n):
    return (
        slices | st.integers(-n, n - 1) | st.lists(st.integers(-n, n - 1), min_size=2, max_size=2)
    )


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[entries(n) for n in SHAPE]), st.booleans())
def test_any_index_reads_what_numpy_reads(index, new):
    ints = any(isinstance(i, int) for i in index)
    lists = any(isinstance(i, list) for i in index)
    index = (None, *index) if new else index
    a = np.arange(60.0).reshape(SHAPE)
    y = tgrad.from_numpy(a)[index]
    if ints and lists:  # placed as in PyTorch: ints first
        first = a[tuple(i if isinstance(i, int) else slice(None) for i in index if i is not None)]
        rest = tuple(i for i in index if not isinstance(i, int))
        np.testing.assert_array_equal(numbers(y), first[rest])
    else:
        np.testing.assert_array_equal(numbers(y), a[index])
