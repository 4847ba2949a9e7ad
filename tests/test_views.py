"""Views share memory and history: writes through a view, gradients, versions and errors."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.autograd import gradcheck, gradgradcheck

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


def tensor(data, device="cpu", grad=False):
    return tgrad.tensor(data, dtype=tgrad.float64, device=device, requires_grad=grad)


def arange(*shape, device="cpu", grad=False):
    n = int(np.prod(shape))
    return tensor(np.arange(float(n)).reshape(shape), device, grad)


def assert_equal(x, want):
    np.testing.assert_array_equal(x.detach().cpu().numpy(), np.asarray(want, np.float64))


# ---- memory --------------------------------------------------------------------------------------

VIEWS = {
    "reshape": lambda x: x.reshape(6, 2),
    "transpose": lambda x: x.t(),
    "permute": lambda x: x.permute(1, 0),
    "slice": lambda x: x[1:, ::2],
    "select": lambda x: x[1],
    "last element": lambda x: x[2, 3],
    "unsqueeze": lambda x: x.unsqueeze(1),
    "diagonal": lambda x: x.diagonal(1),
    "unfold": lambda x: x.unfold(1, 2, 2),
    "as_strided": lambda x: x.as_strided((2, 2), (4, 1), 5),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "bits": lambda x: x.view(tgrad.int64).view(tgrad.float64),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
}


@on_devices
@pytest.mark.parametrize("name", VIEWS)
def test_a_write_through_a_view_is_seen_in_its_base(name, device):
    x = arange(3, 4, device=device)
    expected = x.clone()
    view = VIEWS[name](x)
    view.fill_(-1)
    assert (VIEWS[name](x) == -1).all().item()
    assert x.eq(-1).sum().item() == view.numel()
    assert ((x == expected) | (x == -1)).all().item()


@on_devices
@pytest.mark.parametrize("name", VIEWS)
def test_a_write_to_the_base_is_seen_in_its_views(name, device):
    x = arange(3, 4, device=device)
    view = VIEWS[name](x)
    x.mul_(2)
    assert_equal(view, VIEWS[name](arange(3, 4, device=device) * 2).cpu().numpy())


def test_views_of_views_have_the_first_tensor_as_base():
    x = arange(3, 4)
    assert x[1:].t()[0].base is x


def test_numpy_shares_memory_with_views():
    x = arange(3, 4)
    x[1].numpy()[:] = 9
    assert_equal(x[1], [9, 9, 9, 9])


@on_devices
def test_storage_offset_counts_from_the_start_of_the_memory(device):
    for n in (12, 30000):  # of small arrays and of the allocator's blocks
        x = arange(n, device=device)
        assert x.storage_offset() == 0
        assert x[5:].storage_offset() == 5
        assert x[2:].reshape(2, -1)[1, 1:].storage_offset() == 2 + (n - 2) // 2 + 1
        assert_equal(x[7:].as_strided((3,), (2,), 1), [1, 3, 5])
        assert_equal(x[7:].as_strided((3,), (2,)), [7, 9, 11])


def test_bits_are_read_as_larger_and_smaller_dtypes():
    x = tgrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.view(tgrad.int16).shape == (2, 4)
    assert x.view(tgrad.float64).shape == (2, 1)
    assert x.view(tgrad.int32)[0, 0].item() == np.float32(1).view(np.int32)
    assert tgrad.tensor([1.0], dtype=tgrad.bfloat16).view(tgrad.int16).item() == 0x3F80


# ---- gradients of views --------------------------------------------------------------------------

DIFFERENTIABLE = {name: view for name, view in VIEWS.items() if name != "bits"} | {
    "overlapping windows": lambda x: x.unfold(1, 3, 1),
    "overlapping strides": lambda x: x.as_strided((3, 3), (2, 1), 1),
    "repeated strides": lambda x: x.as_strided((2, 3), (0, 1), 1),
    "strides of a transpose": lambda x: x.t().as_strided((2, 2), (1, 4), 2),
    "all parts": lambda x: sum((k + 1) * part.sum(0) ** 2 for k, part in enumerate(x.split(2, 1))),
    "some parts": lambda x: x.unbind(1)[0] * x.unbind(1)[2],
    "scattered diagonal": lambda x: tgrad.diag_embed(x, 1),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_views_are_right_twice(name):
    x = tensor(np.random.default_rng(1).standard_normal((3, 4)), grad=True)

    def f(x):
        return DIFFERENTIABLE[name](x) ** 2

    assert gradcheck(f, (x,))
    assert gradgradcheck(f, (x,))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_views_agree_on_cuda(name):
    grads = []
    for device in ("cpu", "cuda"):
        for dtype in (tgrad.float64, tgrad.float32, tgrad.bfloat16):
            x = (arange(3, 4, device=device) / 8).to(dtype).requires_grad_()
            (DIFFERENTIABLE[name](x) ** 2).sum().backward()
            grads.append(x.grad.cpu().double().numpy())
    np.testing.assert_allclose(grads[3], grads[0], rtol=1e-12)
    np.testing.assert_allclose(grads[4], grads[1], rtol=1e-6)
    np.testing.assert_allclose(grads[5], grads[2], rtol=2e-2)


@on_devices
def test_parts_that_are_not_used_get_zero_gradient(device):
    x = arange(2, 4, device=device, grad=True)
    _, b, _ = x.split([1, 2, 1], 1)
    (b * b).sum().backward()
    assert_equal(x.grad, [[0, 2, 4, 0], [0, 10, 12, 0]])


# ---- writing into views, with history ------------------------------------------------------------


@on_devices
def test_a_write_through_a_view_changes_the_gradient_of_its_base(device):
    leaf = tensor([1.0, 2, 3, 4], device, grad=True)
    x = leaf * 1
    x[1:3].mul_(10)
    assert_equal(x, [1, 20, 30, 4])
    (x * x).sum().backward()
    assert_equal(leaf.grad, [2, 400, 600, 8])


@on_devices
def test_a_number_written_into_a_view_stops_the_gradient_there(device):
    leaf = arange(2, 3, device=device, grad=True)
    x = leaf * 2
    x[0, 1:] = 7
    (x * x).sum().backward()
    assert_equal(leaf.grad, [[0, 0, 0], [24, 32, 40]])


@on_devices
def test_a_tensor_written_into_a_view_gets_the_gradient_of_that_part(device):
    leaf, source = arange(2, 3, device=device, grad=True), tensor([5.0, 6, 7], device, grad=True)
    x = leaf * 1
    x[1] = source
    (x * arange(2, 3, device=device)).sum().backward()
    assert_equal(leaf.grad, [[0, 1, 2], [0, 0, 0]])
    assert_equal(source.grad, [3, 4, 5])


@on_devices
def test_adding_in_place_to_an_indexed_part_adds_once(device):
    leaf, source = arange(3, 2, device=device, grad=True), tensor([1.0, 2], device, grad=True)
    x = leaf * 1
    x[0] += source
    x[..., 1] *= 3
    assert_equal(x, [[1, 9], [2, 9], [4, 15]])
    (x * x).sum().backward()
    assert_equal(leaf.grad, [[2, 54], [4, 54], [8, 90]])
    assert_equal(source.grad, [2, 54])


def test_a_view_made_before_a_write_to_its_base_follows_it():
    leaf = tensor([1.0, 2, 3], grad=True)
    x = leaf * 1
    view = x[:2]
    x.mul_(5)
    (view * view).sum().backward()
    assert_equal(leaf.grad, [50, 100, 0])


def test_writes_through_chained_views_reach_the_first_base():
    leaf = arange(2, 3, grad=True)
    x = leaf * 1
    row = x.t()[1]  # x[:, 1]
    row[1:].mul_(4)
    assert_equal(x, [[0, 1, 2], [3, 16, 5]])
    (x**2).sum().backward()
    assert_equal(leaf.grad, [[0, 2, 4], [6, 128, 10]])


def test_two_views_of_one_base_see_each_others_writes():
    leaf = tensor([1.0, 2, 3], grad=True)
    x = leaf * 1
    a, b = x[:2], x[1:]
    a.mul_(2)
    b.mul_(3)
    assert_equal(a, [2, 12])
    a.sum().backward()
    assert_equal(leaf.grad, [2, 6, 0])


def test_a_view_of_a_constant_takes_part_in_the_graph_after_a_write():
    x, leaf = tensor([0.0, 0, 0]), tensor([4.0], grad=True)
    x[1:2].copy_(leaf)
    assert x.requires_grad
    (x * tensor([1.0, 2, 3])).sum().backward()
    assert_equal(leaf.grad, [2])


def test_writes_through_parts_of_a_split_reach_the_base():
    leaf = tensor([1.0, 2, 3, 4], grad=True)
    x = leaf * 1
    a, b = x.split(2)
    a.mul_(3)
    b[1].mul_(5)
    assert_equal(x, [3, 6, 3, 20])
    (x * x).sum().backward()
    assert_equal(leaf.grad, [18, 36, 6, 200])


def test_a_detached_alias_shares_memory_and_no_history():
    leaf = tensor([1.0, 2], grad=True)
    x = leaf * 1
    x.detach()[0] = 5
    assert_equal(x, [5, 2])
    x.sum().backward()
    assert_equal(leaf.grad, [1, 1])


def test_assigning_a_detached_copy_of_itself_stops_the_gradient():
    leaf = tensor([1.0, 2], grad=True)
    x = leaf * 1
    x[0] = x[0].detach()
    x.sum().backward()
    assert_equal(leaf.grad, [0, 1])


@on_devices
def test_overlapping_parts_are_copied_as_if_at_once(device):
    x = arange(6, device=device)
    x[1:] = x[:-1]
    assert_equal(x, [0, 0, 1, 2, 3, 4])
    x[:-1] = x[1:]
    assert_equal(x, [0, 1, 2, 3, 4, 4])


def test_views_made_without_grad_mode_share_memory_too():
    leaf = tensor([1.0, 2, 3], grad=True)
    with tgrad.no_grad():
        leaf[1:].mul_(10)
        leaf[0] = 7
    assert_equal(leaf, [7, 20, 30])
    assert leaf.is_leaf and leaf.requires_grad


# ---- versions and errors -------------------------------------------------------------------------


def test_views_share_one_version_count():
    x = arange(4)
    view = x[1:]
    before = x._version
    view.add_(1)
    x[0] = 3
    assert x._version == view._version == before + 2


def test_backward_notices_that_a_saved_base_was_written_through_a_view():
    x = tensor([1.0, 2], grad=True) * 1
    y = (x * x).sum()
    x[0] = 5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_leaf_that_requires_grad_is_not_written_through_a_view():
    leaf = tensor([1.0, 2], grad=True)
    for write in (
        lambda: leaf[0].mul_(2),
        lambda: leaf.__setitem__(0, 1.0),
        lambda: leaf[:1].zero_(),
    ):
        with pytest.raises(RuntimeError, match="view of a leaf Variable that requires grad"):
            write()
    assert_equal(leaf, [1, 2])


def test_an_index_tensor_does_not_write_into_a_leaf_that_requires_grad():
    leaf = tensor([1.0, 2], grad=True)
    for index in (tgrad.tensor([0]), tgrad.tensor([True, False])):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            leaf[index] = 3.0
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            leaf[index] = tensor([3.0])
    assert_equal(leaf, [1, 2])


@on_devices
def test_expanded_tensors_are_not_written(device):
    x = tensor([[1.0], [2]], device).expand(2, 3)
    for write in (lambda: x.add_(1), lambda: x.__setitem__((0, slice(None)), 1.0)):
        with pytest.raises(RuntimeError, match="more than one element"):
            write()
    assert_equal(x, [[1, 1, 1], [2, 2, 2]])
