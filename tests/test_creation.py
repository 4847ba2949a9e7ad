"""Creation and conversion: from sizes, from data, to Python and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import tgrad

DEVICES = ("cpu", "cuda")
on_devices = pytest.mark.parametrize("device", DEVICES)


def same(x: tgrad.Tensor, want: object, dtype: tgrad.dtype | None = None) -> None:
    assert dtype is None or x.dtype is dtype, (x.dtype, dtype)
    assert x.tolist() == want


# ---- from sizes ----------------------------------------------------------------------------------


@on_devices
def test_constants(device: str):
    same(tgrad.zeros(2, 3, device=device), [[0.0] * 3] * 2, tgrad.float32)
    same(tgrad.ones((2,), dtype=tgrad.int8, device=device), [1, 1], tgrad.int8)
    same(tgrad.ones(size=(1, 1), dtype=bool, device=device), [[True]], tgrad.bool)
    assert tgrad.empty(4, 0, device=device).shape == (4, 0)
    same(tgrad.zeros((), device=device), 0.0)
    same(tgrad.zeros(tgrad.tensor(2), device=device), [0.0, 0.0])
    assert tgrad.zeros(2, requires_grad=True, device=device).requires_grad


@on_devices
def test_full_takes_the_dtype_of_its_value(device: str):
    for value, dtype in ((1, tgrad.int64), (1.5, tgrad.float32), (True, tgrad.bool)):
        same(tgrad.full((2,), value, device=device), [value] * 2, dtype)
    same(tgrad.full((2,), tgrad.tensor(3), device=device), [3, 3], tgrad.int64)
    same(tgrad.full((2,), 1.7, dtype=tgrad.int32, device=device), [1, 1], tgrad.int32)
    same(tgrad.full((1,), -1, dtype=tgrad.uint8, device=device), [255])
    same(tgrad.full((2,), -1, dtype=tgrad.bfloat16, device=device), [-1.0, -1.0])
    same(tgrad.full((1,), 2**62 + 1, device=device), [2**62 + 1])
    same(tgrad.full((1,), float("inf"), dtype=tgrad.float16, device=device), [float("inf")])
    same(tgrad.full((), 1 + 2j), 1 + 2j, tgrad.complex64)
    same(tgrad.scalar_tensor(3, device=device), 3.0, tgrad.float32)


ARANGES = [
    ((5,), {}), ((5.0,), {}), ((1, 2, 0.5), {}), ((5, 0, -2), {}), ((-3, 4), {}), ((0,), {}),
    ((0, 1, 0.1), {"dtype": "float64"}), ((3,), {"dtype": "float16"}), ((3, 3), {}),
    ((1.5, 4), {"dtype": "int64"}), ((0, 1, 0.1), {"dtype": "int32"}), ((70001,), {}),
    ((2**40, 2**40 + 3), {}), ((1, 6, 2), {"dtype": "bfloat16"}),
]  # fmt: skip


@on_devices
@pytest.mark.parametrize("args, options", ARANGES)
def test_arange_is_numpys(args: tuple, options: dict, device: str):
    given = {k: getattr(tgrad, v) for k, v in options.items()}
    y = tgrad.arange(*args, **given, device=device)
    whole = all(isinstance(a, int) for a in args)
    kind = options.get("dtype") or ("int64" if whole else "float32")
    assert y.dtype.name == kind
    if kind == "int64":
        args = tuple(int(a) for a in args)
    want = np.arange(*args)
    want = (
        np.zeros(10)
        if kind == "int32"
        else want.astype(ml_dtypes.bfloat16 if "b" in kind else kind)
    )
    np.testing.assert_allclose(y.cpu().double().numpy(), want.astype(np.float64), rtol=1e-7)


def test_arange_takes_keywords_and_tensors():
    same(tgrad.arange(end=3), [0, 1, 2])
    same(tgrad.arange(start=1, end=3), [1, 2])
    same(tgrad.arange(tgrad.tensor(3)), [0, 1, 2], tgrad.int64)
    same(tgrad.arange(tgrad.tensor(2.0)), [0.0, 1.0], tgrad.float32)
    same(tgrad.arange(True), [0], tgrad.int64)
    same(tgrad.range(1, 3), [1.0, 2.0, 3.0], tgrad.float32)


@on_devices
@pytest.mark.parametrize("n", [0, 1, 2, 5, 12, 9001])
def test_linspace_is_numpys_and_exact_at_both_ends(n: int, device: str):
    y = tgrad.linspace(-3, 10, n, dtype=tgrad.float64, device=device).cpu().numpy()
    np.testing.assert_allclose(y, np.linspace(-3, 10, n), rtol=1e-14, atol=1e-14)
    assert n < 2 or (y[0], y[-1]) == (-3, 10)


@on_devices
def test_linspace_of_integers_truncates_from_the_nearer_end(device: str):
    y = tgrad.linspace(3, -10, 6, dtype=tgrad.int32, device=device)
    same(y, [3, 0, -2, -4, -7, -10], tgrad.int32)
    same(tgrad.linspace(0, 10, 4, dtype=tgrad.int64, device=device), [0, 3, 6, 10])
    same(tgrad.linspace(tgrad.tensor(0), tgrad.tensor(3.0), 4, device=device), [0.0, 1.0, 2.0, 3.0])


def test_linspace_of_complex_numbers():
    same(tgrad.linspace(0, 1j, 3), [0j, 0.5j, 1j], tgrad.complex64)


@on_devices
@pytest.mark.parametrize("base", [10.0, 2.0, 1.0, 0.0, -2.0])
def test_logspace_is_a_power_of_linspace(base: float, device: str):
    y = tgrad.logspace(0, 3, 7, base=base, dtype=tgrad.float64, device=device).cpu().numpy()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, np.power(base, np.linspace(0, 3, 7)), rtol=1e-13)


@on_devices
def test_eye(device: str):
    for n, m in ((2, None), (2, 4), (4, 2), (0, None), (40, 33)):
        y = tgrad.eye(n, m, device=device).cpu().numpy() if m else tgrad.eye(n, device=device)
        np.testing.assert_array_equal(y if m else y.cpu(), np.eye(n, m or n))  # pyright: ignore
    same(tgrad.eye(2, dtype=tgrad.bool, device=device), [[True, False], [False, True]])


@on_devices
def test_tensors_like_others(device: str):
    x = tgrad.ones(2, 3, dtype=tgrad.float64, device=device)
    for made, value in (
        (tgrad.zeros_like(x), 0), (tgrad.ones_like(x), 1), (tgrad.full_like(x, 7), 7),
        (x.new_zeros(2, 3), 0), (x.new_ones((2, 3)), 1), (x.new_full((2, 3), 7), 7),
    ):  # fmt: skip
        same(made, [[value] * 3] * 2, tgrad.float64)
        assert made.device is x.device
    assert tgrad.empty_like(x, dtype=tgrad.int8).dtype is tgrad.int8
    assert x.new_empty(4).shape == (4,) and x.new_tensor([1]).dtype is tgrad.float64
    assert tgrad.zeros_like(x, device="cpu").is_cpu
    assert tgrad.zeros_like(x, requires_grad=True).requires_grad


def test_likeness_includes_the_order_of_axes():
    x = tgrad.zeros(2, 3, 4)
    assert tgrad.ones_like(x.permute(2, 0, 1)).stride() == x.permute(2, 0, 1).stride()
    assert tgrad.ones_like(x.expand(5, 2, 3, 4)).stride() == (24, 12, 4, 1)
    assert tgrad.rand_like(x[:, ::2]).stride() == (8, 4, 1)
    images = tgrad.empty(2, 3, 4, 5, memory_format=tgrad.channels_last)
    assert images.stride() == (60, 1, 15, 3)
    assert images.is_contiguous(memory_format=tgrad.channels_last)
    assert not images.is_contiguous()
    assert tgrad.zeros_like(images).stride() == images.stride()
    assert tgrad.zeros_like(images, memory_format=tgrad.contiguous_format).is_contiguous()


def test_memory_formats_order_a_copy():
    x = tgrad.arange(120.0).reshape(2, 3, 4, 5).requires_grad_()
    for y in (
        x.contiguous(memory_format=tgrad.channels_last),
        x.to(memory_format=tgrad.channels_last),
        x.clone(memory_format=tgrad.channels_last),
    ):
        assert y.stride() == (60, 1, 15, 3) and y.dim_order() == (0, 2, 3, 1)
        assert y.tolist() == x.tolist()
        (g,) = tgrad.autograd.grad(y.sum(), x)
        assert g.shape == x.shape
    assert repr(tgrad.channels_last) == "tgrad.channels_last" and x.layout is tgrad.strided


def test_empty_strided_has_the_strides():
    x = tgrad.empty_strided((2, 3), (1, 2))
    assert x.stride() == (1, 2) and x.shape == (2, 3)
    assert x.new_empty_strided((2, 2), (2, 1)).is_contiguous()
    assert tgrad.empty_strided((0, 3), (1, 2)).numel() == 0


@on_devices
def test_out_is_written_and_returned(device: str):
    out = tgrad.empty(3, dtype=tgrad.float64, device=device)
    assert tgrad.arange(3, out=out) is out
    same(out, [0.0, 1.0, 2.0], tgrad.float64)
    grown = tgrad.empty(0, device=device)
    assert tgrad.ones(2, 2, out=grown).shape == (2, 2)
    with pytest.raises(RuntimeError, match="does not match that of out"):
        tgrad.zeros(3, dtype=tgrad.int8, out=out)


@on_devices
def test_filling_in_place(device: str):
    x = tgrad.empty(3, 5, device=device)
    same(x.fill_(2), [[2.0] * 5] * 3)
    x.t()[1].fill_(True)
    same(x[0], [2.0, 1.0, 2.0, 2.0, 2.0])
    same(x.zero_(), [[0.0] * 5] * 3)
    same(tgrad.zeros(2, dtype=tgrad.uint8, device=device).fill_(-1), [255, 255])
    same(tgrad.fill(tgrad.zeros(2, device=device), 3), [3.0, 3.0])


def test_gradients_of_filling():
    x, v = tgrad.ones(3, requires_grad=True), tgrad.tensor(2.0, requires_grad=True)
    y = x * 1
    y[1:].fill_(v)
    y.sum().backward()
    same(x.grad, [1.0, 0.0, 0.0])  # pyright: ignore[reportArgumentType]
    same(v.grad, 2.0)  # pyright: ignore[reportArgumentType]
    (g,) = tgrad.autograd.grad(tgrad.fill(x, 3).sum(), x)
    same(g, [0.0, 0.0, 0.0])


# ---- from data -----------------------------------------------------------------------------------

DATA = [
    (3, "int64"), (2.5, "float32"), (True, "bool"), (1 + 2j, "complex64"), ([], "float32"),
    ([[], []], "float32"), ([1, 2.5, True], "float32"), ([True, False], "bool"),
    ([1, True], "int64"), ([1, 2j], "complex64"), (range(4), "int64"), (((1, 2), (3, 4)), "int64"),
    (np.float64(1), "float64"), (np.float16(1), "float16"), (np.int32(1), "int32"),
    ([np.float64(1)], "float64"), ([np.float32(1)], "float32"), ([np.int32(1)], "int32"),
    ([np.int32(1), 2.5], "float32"), (np.arange(3, dtype=np.int16), "int16"),
    ([np.array([1, 2]), np.array([3, 4])], "int64"), (bytearray(b"ab"), "int64"),
    (np.ones(2, ml_dtypes.bfloat16), "bfloat16"), (np.arange(6).reshape(2, 3).T, "int64"),
]  # fmt: skip


@on_devices
@pytest.mark.parametrize("data, dtype", DATA, ids=[repr(d)[:24] for d, _ in DATA])
def test_tensor_takes_the_dtype_of_its_data(data: object, dtype: str, device: str):
    if device == "cuda" and dtype.startswith("complex"):
        return  # complex tensors live on the CPU only
    x = tgrad.tensor(data, device=device)
    want = np.array(list(data) if isinstance(data, (bytearray, range)) else data)
    assert x.dtype.name == dtype and x.shape == want.shape and x.is_leaf
    assert x.tolist() == want.tolist()


def test_elements_may_be_tensors():
    same(tgrad.tensor([tgrad.tensor(1), 2.5]), [1.0, 2.5], tgrad.float32)
    same(tgrad.tensor([tgrad.tensor(1, dtype=tgrad.int8)]), [1], tgrad.int8)
    same(tgrad.tensor([[tgrad.tensor(1.5, requires_grad=True)], [2]]), [[1.5], [2.0]])
    same(tgrad.tensor([tgrad.tensor([1.5])]), [1.5])


def test_a_dtype_converts():
    same(tgrad.tensor([1.5, -2.5], dtype=tgrad.int32), [1, -2], tgrad.int32)
    same(tgrad.tensor([-1], dtype=tgrad.uint8), [255], tgrad.uint8)
    same(tgrad.tensor(np.array([300]), dtype=tgrad.uint8), [44], tgrad.uint8)
    same(tgrad.tensor([0, 2], dtype=bool), [False, True], tgrad.bool)
    same(tgrad.tensor([1], dtype=float), [1.0], tgrad.float64)


def test_tensor_copies():
    a = np.zeros(3)
    x = tgrad.tensor(a)
    a[0] = 1
    same(x, [0.0, 0.0, 0.0], tgrad.float64)
    y = tgrad.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        z = tgrad.tensor(y)
    assert not z.requires_grad and z.data_ptr() != y.data_ptr()


def test_from_numpy_shares_memory_both_ways():
    a = np.zeros((2, 3), np.float32)
    x = tgrad.from_numpy(a)
    a[0, 0] = 1
    x[1, 2] = 5
    assert x[0, 0].item() == 1 and a[1, 2] == 5 and x.numpy() is a
    assert tgrad.from_numpy(a.T).stride() == (1, 3)
    assert tgrad.as_tensor(a).data_ptr() == x.data_ptr() == tgrad.asarray(a).data_ptr()
    assert tgrad.as_tensor(a, dtype=tgrad.float64).data_ptr() != x.data_ptr()
    assert tgrad.as_tensor(x) is x and tgrad.as_tensor([1, 2.0]).dtype is tgrad.float32


def test_read_only_arrays_warn():
    with pytest.warns(UserWarning, match="not writable"):
        tgrad.from_numpy(np.broadcast_to(np.float32(1), (3,)))


def test_asarray_copies_when_told_to():
    a = np.arange(3)
    assert tgrad.asarray(a, copy=True).data_ptr() != tgrad.asarray(a, copy=False).data_ptr()
    x = tgrad.ones(2, requires_grad=True)
    assert not tgrad.asarray(x).requires_grad
    assert tgrad.asarray(x, requires_grad=True).requires_grad
    same(tgrad.asarray(bytearray(b"ab"), dtype=tgrad.uint8), [97, 98])
    same(tgrad.asarray([1, 2], dtype=tgrad.float32), [1.0, 2.0], tgrad.float32)
    same(tgrad.asarray(3), 3, tgrad.int64)


def test_frombuffer_reads_memory():
    memory = bytearray(np.arange(6, dtype=np.int32).tobytes())
    x = tgrad.frombuffer(memory, dtype=tgrad.int32, offset=4, count=3)
    same(x, [1, 2, 3], tgrad.int32)
    x[0] = 9
    assert np.frombuffer(memory, np.int32)[1] == 9


def test_dlpack_shares_memory_with_numpy():
    x = tgrad.arange(4.0)
    a = np.from_dlpack(x)
    x[0] = 7
    assert a[0] == 7
    b = np.ones(3)
    y = tgrad.from_dlpack(b)
    b[1] = 5
    same(y, [1.0, 5.0, 1.0], tgrad.float64)
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        tgrad.ones(2, requires_grad=True).__dlpack__()


def test_the_constructor_takes_sizes_or_elements():
    assert tgrad.Tensor(2, 3).shape == (2, 3) and tgrad.Tensor().shape == (0,)
    same(tgrad.Tensor([1, 2]), [1.0, 2.0], tgrad.float32)
    same(tgrad.Tensor(np.arange(3)), [0.0, 1.0, 2.0], tgrad.float32)
    x = tgrad.ones(2)
    assert tgrad.Tensor(x).data_ptr() == x.data_ptr()
    assert isinstance(x, tgrad.Tensor) and tgrad.is_tensor(x) and not tgrad.is_tensor(3)


# ---- to Python -----------------------------------------------------------------------------------


@on_devices
def test_numbers_come_out(device: str):
    x = tgrad.tensor([1.5], device=device)
    assert (x.item(), int(x), float(x), complex(x), bool(x)) == (1.5, 1, 1.5, 1.5 + 0j, True)
    i = tgrad.tensor(2, device=device)
    assert [10, 20, 30][i] == 30 and list(range(i)) == [0, 1] and type(i.item()) is int
    assert type(tgrad.tensor(True, device=device).item()) is bool
    assert tgrad.tensor([0.5], dtype=tgrad.bfloat16, device=device).tolist() == [0.5]
    y = tgrad.tensor([1, 2, 3], device=device)
    assert 3 in y and 4 not in y and i in y
    assert [int(v) for v in y] == [1, 2, 3] and len(y) == 3
    assert [int(v) for v in reversed(y)] == [3, 2, 1]


def test_numpy_arrays_come_out():
    x = tgrad.arange(4.0)
    assert np.asarray(x) is x.numpy() and np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x) is not x.numpy() and np.array(x, copy=True)[1] == 1
    y = tgrad.ones(2, requires_grad=True)
    assert y.numpy(force=True).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(y)
    with pytest.raises(TypeError, match="to numpy"):
        y.detach().cuda().numpy()
    with pytest.raises(ValueError, match="copy is needed"):
        np.array(x, dtype=np.float64, copy=False)


def test_to_and_its_forms():
    x = tgrad.ones(2)
    assert x.to() is x and x.to(None) is x and x.to("cpu", tgrad.float32) is x
    assert x.to(tgrad.float32, copy=True) is not x and x.to(tgrad.float32, False, True) is not x
    like = tgrad.ones(1, dtype=tgrad.int8, device="cuda")
    assert x.to(like).is_cuda and x.to(like).dtype is tgrad.int8
    assert x.to(device="cpu", dtype=tgrad.float64).dtype is tgrad.float64
    assert x.to(float).dtype is tgrad.float64 and x.float() is x and x.cpu() is x
    for name in ("half", "double", "bfloat16", "int", "long", "short", "char", "byte", "bool",
                 "cfloat", "cdouble"):  # fmt: skip
        kind = {"char": "int8", "byte": "uint8"}.get(name, name)
        assert getattr(x, name)().dtype is getattr(tgrad, kind)


def test_conversion_truncates_and_keeps_the_gradient():
    same(tgrad.tensor([1.9, -1.9]).int(), [1, -1], tgrad.int32)
    same(tgrad.tensor([0.0, 0.5, float("nan")]).bool(), [False, True, True])
    x = tgrad.ones(2, requires_grad=True)
    x.double().sum().backward()
    same(x.grad, [1.0, 1.0], tgrad.float32)  # pyright: ignore[reportArgumentType]


def test_type_names():
    x = tgrad.zeros(2)
    assert x.type() == "tgrad.FloatTensor" and x.cuda().type() == "tgrad.cuda.FloatTensor"
    assert x.type("tgrad.IntTensor").dtype is tgrad.int32
    assert x.type(tgrad.float64).dtype is tgrad.float64
    assert tgrad.typename(x) == "tgrad.FloatTensor" and tgrad.typename(3) == "int"


@pytest.mark.parametrize("n", [0, 1, 1023, 1025, 32769, 100_003])
def test_long_sequences_are_start_plus_multiples_of_the_step(n):
    i = np.arange(n)
    for dtype in (tgrad.float32, tgrad.float64, tgrad.int32, tgrad.int64):
        for start, step in ((0, 1), (-7, 3), (5, -2)):
            y = tgrad.arange(start, start + n * step, step, dtype=dtype)
            np.testing.assert_array_equal(y.numpy(), (start + i * step).astype(dtype.numpy))
    y = tgrad.arange(0.5, 0.5 + 0.25 * n, 0.25, dtype=tgrad.float32)
    np.testing.assert_array_equal(y.numpy(), (0.5 + 0.25 * i).astype(np.float32))
    y = tgrad.arange(2**24 - 5, 2**24 - 5 + n, dtype=tgrad.float32)  # not every integer is held
    np.testing.assert_array_equal(y.numpy(), (2**24 - 5 + i).astype(np.float32))
    y = tgrad.arange(2**62, 2**62 + n)
    np.testing.assert_array_equal(y.numpy(), 2**62 + i)
