"""The engine: graphs of any shape, in-place writes, modes and hooks."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import tgrad

DEVICES = ("cpu", "cuda")


def leaf(*values, device="cpu"):
    x = tgrad.tensor(list(values), dtype=tgrad.float64, device=device)
    return x.requires_grad_()


# ---- graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_accumulate_over_branches_and_calls(device):
    x = leaf(1.0, 2.0, 3.0, device=device)
    y = x * x
    (y * y + y * 3).sum().backward(retain_graph=True)
    first = x.grad.tolist()
    assert first == [4 + 6, 32 + 12, 108 + 18]
    (y.sum()).backward()
    assert x.grad.tolist() == [12, 48, 132]


def test_a_graph_of_100000_nodes_neither_overflows_nor_lingers():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_a_graph_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = (x.exp() * x).sum()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_leaves_do_not_share_one_gradient_array():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [1.0, 1.0]


def test_a_gradient_passed_in_is_not_taken_over():
    x = leaf(1.0, 2.0)
    g = tgrad.tensor([1.0, 1.0], dtype=tgrad.float64)
    (x + 0.0).backward(g)
    x.grad.mul_(5)
    assert g.tolist() == [1.0, 1.0]


def test_expanded_gradients_are_stored_dense():
    x = leaf(1.0, 2.0, 3.0)
    x.sum().backward()
    assert x.grad.is_contiguous()
    x.grad.add_(1)
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_backward_twice_needs_retain_graph():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_backward_needs_a_scalar_or_a_gradient():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs"):
        y.backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        y.backward(tgrad.ones(3, dtype=tgrad.float64))
    with pytest.raises(RuntimeError, match="does not require grad"):
        tgrad.ones(()).backward()


def test_grad_returns_and_leaves_dot_grad_alone():
    x, w = leaf(2.0), leaf(3.0)
    y = (x * w).sum()
    (g,) = tgrad.autograd.grad(y, x)
    assert g.item() == 3.0 and x.grad is None and w.grad is None


def test_grad_reaches_inner_tensors():
    x = leaf(2.0)
    h = x * 3
    (g,) = tgrad.autograd.grad((h * h).sum(), h)
    assert g.item() == 12.0


def test_grad_of_unused_inputs():
    x, w = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="not have been used"):
        tgrad.autograd.grad((x * 2).sum(), (x, w))
    g, none = tgrad.autograd.grad((x * 2).sum(), (x, w), allow_unused=True)
    assert g.item() == 2.0 and none is None
    _, zero = tgrad.autograd.grad((x * 2).sum(), (x, w), materialize_grads=True)
    assert zero.item() == 0.0


def test_backward_inputs_restricts_accumulation():
    x, w = leaf(2.0), leaf(3.0)
    (x * w).sum().backward(inputs=[x])
    assert x.grad.item() == 3.0 and w.grad is None


def test_higher_orders():
    x = leaf(2.0)
    y = x * x * x * x
    for want in (32.0, 48.0, 48.0, 24.0):
        (y,) = tgrad.autograd.grad(y.sum(), x, create_graph=True)
        assert y.item() == pytest.approx(want)


# ---- in-place and views --------------------------------------------------------------------------


def test_in_place_on_a_leaf_raises():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="view of a leaf"):
        x.view(1).add_(1)
    with tgrad.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0]


def test_backward_through_an_overwritten_value_raises_and_names_the_op():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y * y
    y.add_(1)
    with pytest.raises(
        RuntimeError, match=r"input .* of MulBackward.*version 1; expected version 0"
    ):
        z.sum().backward()


def test_a_write_through_detach_is_noticed():
    x = leaf(1.0)
    y = x.exp()
    z = y * 1
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        z.sum().backward()


def test_in_place_ops_that_need_the_old_value_keep_it():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * 1
    y.mul_(w)
    y.sum().backward()
    assert w.grad.tolist() == [1.0, 2.0] and x.grad.tolist() == [3.0, 4.0]


def test_writes_through_a_view_reach_the_base_with_gradients():
    x, w = leaf(1.0, 2.0, 3.0, 4.0), leaf(10.0, 20.0)
    y = x * 1
    y[1:3] = w
    (y * tgrad.tensor([1.0, 2.0, 3.0, 4.0], dtype=tgrad.float64)).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0, 4.0]
    assert w.grad.tolist() == [2.0, 3.0]


def test_a_view_follows_a_write_to_its_base():
    x = leaf(1.0, 2.0)
    y = x * 1
    v = y[0:1]
    y.mul_(3)
    v.sum().backward()
    assert x.grad.tolist() == [3.0, 0.0]


def test_a_buffer_filled_by_slices_carries_gradients():
    w = leaf(2.0, 3.0)
    buffer = tgrad.zeros(2, dtype=tgrad.float64)
    for k in range(2):
        buffer[k] = w[k] * (k + 1)
    buffer.sum().backward()
    assert w.grad.tolist() == [1.0, 2.0]


# ---- modes ---------------------------------------------------------------------------------------


def test_no_grad_enable_grad_and_decorators():
    x = leaf(1.0)
    with tgrad.no_grad():
        assert not (x * 2).requires_grad
        with tgrad.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad

    @tgrad.no_grad()
    def f(v):
        return v * 2

    assert not f(x).requires_grad
    with tgrad.set_grad_enabled(False):
        assert not tgrad.is_grad_enabled()
    assert tgrad.is_grad_enabled()


def test_grad_mode_belongs_to_its_thread():
    seen = []
    with tgrad.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tgrad.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_inference_tensors_stay_out_of_graphs():
    x = leaf(1.0)
    with tgrad.inference_mode():
        y = x * 2
    assert y.is_inference() and not y.requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors"):
        x * y
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        y.add_(1)


def test_detach_shares_memory_and_leaves_the_graph():
    x = leaf(1.0)
    d = (x * 2).detach()
    assert not d.requires_grad and d.is_leaf
    e = x.detach()
    e.zero_()
    assert x.tolist() == [0.0]


# ---- hooks ---------------------------------------------------------------------------------------


def test_tensor_hooks_see_and_replace_the_summed_gradient():
    x = leaf(1.0)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 10)
    (y + y).sum().backward()
    assert seen == [2.0] and x.grad.item() == 40.0
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert seen == [2.0]


def test_leaf_hooks_and_post_accumulate_hooks():
    x = leaf(1.0)
    x.register_hook(lambda g: g + 1)
    done = []
    x.register_post_accumulate_grad_hook(lambda t: done.append(t.grad.item()))
    (x * 2 + x * 3).sum().backward()
    assert x.grad.item() == 6.0 and done == [6.0]


def test_retain_grad_fills_grad_of_an_inner_tensor():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.grad.item() == 3.0


def test_node_hooks_and_next_functions():
    x = leaf(2.0)
    y = x * 3
    seen = []
    y.grad_fn.register_hook(lambda dxs, gs: seen.append(gs[0].item()))
    (y * y).sum().backward()
    assert seen == [12.0]
    assert y.grad_fn.next_functions[0][0] is x


def test_a_tensor_used_on_two_devices_gets_the_gradients_of_both():
    w = tgrad.ones(3, dtype=tgrad.float64, requires_grad=True)
    for x in (w, w * 1):  # a leaf and a computed tensor
        w.grad = None
        ((x.cuda() * 2).sum().cpu() + (x * 3).sum() + (x.cuda() * 4).sum().cpu()).backward()
        assert w.grad is not None and w.grad.device.type == "cpu"
        assert w.grad.tolist() == [9, 9, 9]
