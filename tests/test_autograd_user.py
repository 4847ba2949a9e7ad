"""Autograd for users: Function, gradient checks, Jacobians, checkpointing."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tgrad
from tests.test_autograd import leaf
from tgrad.autograd import Function, Variable, functional, gradcheck, gradgradcheck
from tgrad.autograd.check import GradcheckError
from tgrad.autograd.function import once_differentiable
from tgrad.autograd.graph import saved_tensors_hooks
from tgrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

# ---- Function ------------------------------------------------------------------------------------


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * 3 * x * x * ctx.scale, None


class SumAndProduct(Function):
    @staticmethod
    def forward(x, y):
        return x + y, x * y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx, gs, gp):
        x, y, product = ctx.saved_tensors
        assert product.shape == x.shape
        return gs + gp * y, gs + gp * x


def test_function_records_saves_and_differentiates_twice():
    x = leaf(1.0, 2.0)
    assert gradcheck(lambda v: Cube.apply(v, 2.0), x)
    assert gradgradcheck(lambda v: Cube.apply(v, 2.0), x)
    y = leaf(3.0, 4.0)
    assert gradcheck(SumAndProduct.apply, (x, y))
    SumAndProduct.apply(x, y)[1].sum().backward()  # the other gradient arrives as zeros
    assert x.grad.tolist() == [3.0, 4.0]


def test_function_graphs_have_no_cycles():
    gc.disable()
    try:
        y = SumAndProduct.apply(leaf(1.0), leaf(2.0))[1]
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_function_mark_dirty_and_non_differentiable():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            sign = x * 0
            ctx.mark_non_differentiable(sign)
            return x * 1, sign

        @staticmethod
        def backward(ctx, g, _):
            return g

    x = leaf(1.0)
    y = x * 1
    assert Twice.apply(y) is y
    y.sum().backward()
    assert x.grad.item() == 2.0
    value, sign = Split.apply(x)
    assert value.requires_grad and not sign.requires_grad


def test_once_differentiable_refuses_double_backward():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = leaf(3.0)
    y = Square.apply(x).sum()
    (g,) = tgrad.autograd.grad(y, x, retain_graph=True)
    assert g.item() == 6.0
    w = leaf(1.0)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        tgrad.autograd.grad(Square.apply(x) * w, x, w.detach().requires_grad_(), create_graph=True)


def test_function_with_the_wrong_number_of_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(1.0), leaf(2.0)).sum().backward()


# ---- checks --------------------------------------------------------------------------------------


def test_gradcheck_finds_a_wrong_gradient():
    class Bad(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf(1.0, 2.0)
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="mismatch"):
            gradcheck(Bad.apply, x, fast_mode=fast)
    assert not gradcheck(Bad.apply, x, raise_exception=False)
    with pytest.raises(ValueError, match="require"):
        gradcheck(lambda v: v, x.detach())


def test_detect_anomaly_shows_the_forward_line():
    x = leaf(0.0)
    with tgrad.autograd.detect_anomaly():
        y = x / x  # the line that the message must show
        with pytest.raises(RuntimeError, match="the line that the message must show"):
            y.sum().backward()
    assert not tgrad.autograd.is_anomaly_enabled()


def test_functional_products_agree_with_the_jacobian():
    def f(x, y):
        return x * y.exp(), (x * x).sum()

    x, y = leaf(1.0, 2.0, 3.0).detach(), leaf(0.1, 0.2, 0.3).detach()
    jac = functional.jacobian(f, (x, y))
    assert [[tuple(j.shape) for j in row] for row in jac] == [[(3, 3), (3, 3)], [(3,), (3,)]]
    forward = functional.jacobian(f, (x, y), strategy="forward-mode")
    for row, other in zip(jac, forward, strict=True):
        for a, b in zip(row, other, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy())
    v = (leaf(1.0, -1.0, 2.0).detach(), leaf(0.5, 0.5, 0.5).detach())
    _, out = functional.jvp(f, (x, y), v)
    want = jac[0][0].numpy() @ v[0].numpy() + jac[0][1].numpy() @ v[1].numpy()
    np.testing.assert_allclose(out[0].numpy(), want)
    _, (dx, _) = functional.vjp(
        f, (x, y), (leaf(1.0, 2.0, 3.0).detach(), tgrad.tensor(2.0).double())
    )
    want = np.array([1.0, 2.0, 3.0]) @ jac[0][0].numpy() + 2 * jac[1][0].numpy()
    np.testing.assert_allclose(dx.numpy(), want)


def test_hessian_and_its_products():
    def f(x):
        return (x * x * x).sum() + x[0] * x[1]

    x = leaf(1.0, 2.0).detach()
    h = functional.hessian(f, x)
    np.testing.assert_allclose(h.numpy(), [[6.0, 1.0], [1.0, 12.0]])
    v = tgrad.tensor([1.0, 2.0], dtype=tgrad.float64)
    np.testing.assert_allclose(functional.vhp(f, x, v)[1].numpy(), h.numpy() @ v.numpy())
    np.testing.assert_allclose(functional.hvp(f, x, v)[1].numpy(), h.numpy() @ v.numpy())


# ---- saving less ---------------------------------------------------------------------------------


def test_saved_tensors_hooks_pack_and_unpack():
    x = leaf(1.0, 2.0)
    packed = []

    def pack(t):
        packed.append(t.shape)
        return t.numpy().copy()

    with saved_tensors_hooks(pack, tgrad.from_numpy):
        y = (x * 2).exp().sum()
    y.backward()
    assert packed
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]))


def test_checkpoint_recomputes_once_and_gives_the_same_gradients():
    calls = []

    def block(v, w):
        calls.append(1)
        return (v * w).exp() * v

    x, w = leaf(0.1, 0.2), leaf(0.3, 0.4)
    block(x * 1, w).sum().backward()
    want = x.grad.tolist(), w.grad.tolist()
    x.grad = w.grad = None
    calls.clear()
    y = checkpoint(block, x * 1, w, use_reentrant=False).sum()
    assert calls == [1]
    y.backward()
    assert calls == [1, 1]
    np.testing.assert_allclose([p.grad.tolist() for p in (x, w)], want)
    (g,) = tgrad.autograd.grad(checkpoint(block, x, w, use_reentrant=False).sum(), w)
    np.testing.assert_allclose(g.tolist(), want[1])


def test_checkpoint_repeats_random_numbers():
    x = tgrad.ones(100).requires_grad_()

    def noisy(v):
        return (v * tgrad.rand(100)) * v

    y = checkpoint(noisy, x * 1, use_reentrant=False)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * y.detach().numpy(), rtol=1e-6)


def test_checkpoint_notices_a_function_that_changes():
    shapes = iter([2, 3])

    def fickle(v):
        w = tgrad.ones(next(shapes)) * v
        return w * w

    y = checkpoint(fickle, tgrad.ones(1).requires_grad_() * 1, use_reentrant=False)
    with pytest.raises(CheckpointError):
        y.sum().backward()


def test_checkpoint_sequential_equals_the_plain_sequence():
    steps = [lambda v: v * 2, lambda v: v.exp(), lambda v: v * v]
    x = leaf(0.1, 0.2)
    checkpoint_sequential(steps, 2, x, use_reentrant=False).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * np.exp(4 * x.detach().numpy()))


def test_grad_takes_the_only_inputs_of_old_programs():
    x = leaf((3,))
    y = (x**3).sum()
    (g,) = tgrad.autograd.grad(
        outputs=y, inputs=x, grad_outputs=tgrad.ones(()), create_graph=True, retain_graph=True,
        only_inputs=True,
    )  # fmt: skip
    assert tgrad.allclose(g, 3 * x**2) and x.grad is None
    with pytest.warns(FutureWarning, match="only_inputs is ignored"):
        tgrad.autograd.grad(y, x, None, True, False, False)


def test_variable_of_old_programs_is_the_tensor_outside_its_graph():
    x = leaf((3,))
    y = Variable(x * 2, requires_grad=True)
    assert type(y) is tgrad.Tensor and y.is_leaf and y.requires_grad
    assert not Variable(x).requires_grad and Variable(x).data_ptr() == x.data_ptr()
    assert isinstance(x, Variable) and not isinstance(1.0, Variable)
    with pytest.warns(UserWarning, match="volatile was removed"):
        Variable(x, volatile=True)
    with pytest.raises(TypeError, match="has to be a tensor, but got list"):
        Variable([1.0])
    with pytest.raises(RuntimeError, match="floating point"):
        Variable(tgrad.arange(2), requires_grad=True)
