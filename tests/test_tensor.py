"""Tensors as Python objects: copies, memory, attributes."""

from __future__ import annotations

import copy
import pickle
import weakref

import numpy as np
import pytest

import tgrad

DEVICES = ("cpu", "cuda")
on_devices = pytest.mark.parametrize("device", DEVICES)


def same(x: tgrad.Tensor, want: object, dtype: tgrad.dtype | None = None) -> None:
    assert dtype is None or x.dtype is dtype, (x.dtype, dtype)
    assert x.tolist() == want


# ---- copies --------------------------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("dtype", [tgrad.float32, tgrad.bfloat16, tgrad.int64, tgrad.bool], ids=str)
def test_pickles_and_copies_keep_everything(dtype: tgrad.dtype, device: str):
    x = tgrad.tensor([[1, 0], [3, 4]], dtype=dtype, device=device)
    if dtype.is_floating_point:
        x.requires_grad_()
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert (y.dtype, y.device, y.requires_grad) == (x.dtype, x.device, x.requires_grad)
        assert y.tolist() == x.tolist()
    assert copy.copy(x).data_ptr() == x.data_ptr() != copy.deepcopy(x).data_ptr()


def test_deepcopy_is_for_leaves_and_takes_the_gradient_along():
    x = tgrad.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    a, b = copy.deepcopy([x, x])
    assert a is b and a.grad.tolist() == [3.0, 3.0] and a.grad is not x.grad
    with pytest.raises(RuntimeError, match="created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_a_pickle_holds_a_views_elements_only():
    x = tgrad.zeros(100000)
    assert len(pickle.dumps(x[:3])) < 1000
    y = pickle.loads(pickle.dumps(tgrad.arange(6).reshape(2, 3).t()))
    same(y, [[0, 3], [1, 4], [2, 5]])


# ---- memory and attributes -----------------------------------------------------------------------


@on_devices
def test_addresses_and_offsets(device: str):
    x = tgrad.arange(12.0, device=device).reshape(3, 4)
    row = x[1:]
    assert row.storage_offset() == 4 and x.storage_offset() == 0
    assert row.data_ptr() == x.data_ptr() + 16 and tgrad.empty(0, device=device).data_ptr() == 0
    assert x.is_set_to(x.detach()) and not row.is_set_to(x)
    big = tgrad.zeros(300, 300, device=device)
    assert big[2:, 3:].storage_offset() == 603


def test_attributes():
    x = tgrad.zeros(2, 3)
    assert x.size() == (2, 3) and x.size().numel() == 6 and x.size(-1) == 3
    assert repr(x.size()) == "tgrad.Size([2, 3])"
    assert x.T.shape == x.mT.shape == (3, 2) and x.layout is tgrad.strided
    assert (x.element_size(), x.nbytes, x.ndim, x.dim(), x.numel()) == (4, 24, 2, 2, 6)
    assert not (x.is_shared() or x.is_pinned() or x.is_sparse or x.is_inference())
    assert tgrad.numel(x) == 6 and tgrad.is_floating_point(x) and not tgrad.is_complex(x)
    assert tgrad.is_nonzero(tgrad.tensor(2.0))


def test_elements_by_a_python_function():
    x = tgrad.arange(3.0)
    same(x.apply_(lambda v: v + 1), [1.0, 2.0, 3.0])
    same(x.map_(tgrad.ones(1), lambda a, b: a - b), [0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match="only implemented on CPU"):
        x.cuda().apply_(lambda v: v)


def test_grad_is_checked_when_assigned():
    x = tgrad.zeros(2, requires_grad=True)
    x.grad = tgrad.ones(2)
    x.grad = None
    for bad, error in (
        (3, TypeError), (tgrad.ones(3), RuntimeError), (tgrad.ones(2).double(), RuntimeError),
        (tgrad.ones(2).cuda(), RuntimeError), (x, RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error):
            x.grad = bad  # pyright: ignore[reportAttributeAccessIssue]
        assert x.grad is None
    x.grad = tgrad.ones(2)
    del x.grad
    assert x.grad is None


def test_retain_grad_keeps_a_computed_tensors_gradient():
    x = tgrad.ones(2, requires_grad=True)
    x.retain_grad()  # nothing to do for a leaf
    h = x * 2
    assert not h.retains_grad
    h.retain_grad()
    h.retain_grad()
    assert h.retains_grad
    y = (h * 3).sum()
    y.backward(retain_graph=True)
    same(h.grad, [3.0, 3.0])
    y.backward()
    same(h.grad, [6.0, 6.0])
    dead = weakref.ref(h)
    del h, y
    assert dead() is None


def test_requires_grad_takes_a_bool():
    with pytest.raises(TypeError, match="must be bool"):
        tgrad.zeros(2).requires_grad_(1)  # pyright: ignore[reportArgumentType]


def test_inference_mode_marks_what_is_made_in_it():
    with tgrad.inference_mode():
        made = [tgrad.zeros(2), tgrad.tensor([1.0]), tgrad.rand(2), tgrad.from_numpy(np.ones(1))]
    assert all(t.is_inference() for t in made)


def test_shapes_change_in_place():
    x = tgrad.arange(6.0).reshape(2, 3).clone()
    assert x.unsqueeze_(0).shape == (1, 2, 3) and x.squeeze_().shape == (2, 3)
    same(x.t_(), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
    assert x.transpose_(0, 1).shape == (2, 3)
    leaf = tgrad.ones(2, requires_grad=True)
    y = (leaf * 2).unsqueeze_(1)
    (y * tgrad.tensor([[1.0], [3.0]])).sum().backward()
    same(leaf.grad, [2.0, 6.0])  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        leaf.unsqueeze_(0)


def test_resize_keeps_the_first_elements():
    x = tgrad.arange(4)
    same(x.resize_(2, 1), [[0], [1]])
    assert x.resize_as_(tgrad.zeros(3, 3)).shape == (3, 3) and x.flatten()[1].item() == 1
    assert x.is_same_size(tgrad.ones(3, 3)) and x.resolve_conj() is x
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        tgrad.ones(2, requires_grad=True).resize_(1)


def test_new_makes_tensors_of_the_same_type():
    x = tgrad.zeros(1, dtype=tgrad.int32)
    assert x.new(2, 3).shape == (2, 3) and x.new(2).dtype is tgrad.int32
    same(x.new([1, 2]), [1, 2], tgrad.int32)


@on_devices
def test_diagonals_are_filled(device: str):
    x = tgrad.zeros(7, 3, device=device)
    want = np.zeros((7, 3))
    np.fill_diagonal(want, 2)
    np.testing.assert_array_equal(x.fill_diagonal_(2).cpu(), want)  # pyright: ignore
    np.fill_diagonal(want, 2, wrap=True)
    np.testing.assert_array_equal(x.fill_diagonal_(2, wrap=True).cpu(), want)  # pyright: ignore
    same(
        tgrad.zeros(2, 2, 2, device=device).fill_diagonal_(1), [[[1, 0], [0, 0]], [[0, 0], [0, 1]]]
    )


def test_parts_of_complex_tensors_are_views():
    z = tgrad.tensor([1 + 2j, 3 - 4j])
    same(z.real, [1.0, 3.0], tgrad.float32)
    z.imag.fill_(5)
    same(z, [1 + 5j, 3 + 5j])
    x = tgrad.ones(2)
    assert x.real is x
    with pytest.raises(RuntimeError, match="non-complex"):
        x.imag  # noqa: B018


def test_shapes_are_sizes_and_so_are_their_slices_and_sums():
    x = tgrad.ones(2, 3, 4)
    assert repr(x.shape) == "tgrad.Size([2, 3, 4])" and x.shape == (2, 3, 4)
    assert x.shape[1:].numel() == 12 and (x.shape + x.shape).numel() == 576
    assert isinstance(x.shape[-1], int) and isinstance(x.size(), tgrad.Size)


def test_a_tensor_is_unequal_to_what_is_no_number():
    x = tgrad.tensor([1, 2])
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert (x == "a") is False and x not in ("a", None)
    same(x == np.array([1, 3]), [True, False], tgrad.bool)  # pyright: ignore[reportArgumentType]


def test_numpy_arrays_on_the_right_of_an_operator_count_as_tensors():
    same(tgrad.ones(2) * np.array([1.0, 2.0]), [1.0, 2.0], tgrad.float64)
    same(tgrad.ones(2) @ np.ones((2, 1), np.float32), [2.0], tgrad.float32)


def test_a_tensor_without_dims_is_formatted_as_its_number():
    assert f"{tgrad.tensor(3)}" == "3" and f"{tgrad.tensor(1.234):.1f}" == "1.2"
    assert f"{tgrad.ones(1)}" == "tensor([1.])"


def test_bool_tensors_are_not_negated():
    with pytest.raises(RuntimeError, match="bool"):
        -tgrad.tensor([True])


@on_devices
def test_strides_of_empty_tensors_are_those_of_full_ones(device: str):
    for shape, expected in [
        ((0, 3), (3, 1)),
        ((3, 0), (1, 1)),
        ((2, 0, 4), (4, 4, 1)),
        ((0,), (1,)),
    ]:
        x = tgrad.empty(shape, device=device)
        assert x.stride() == expected and x.stride(-1) == 1 and x.is_contiguous()
