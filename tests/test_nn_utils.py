"""nn.utils: clipping, vectors, norms of weights, parametrizations, fusing, stateless calls."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn import utils
from tgrad.nn.utils import parametrizations, parametrize, stateless

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


def numpy_of(x: Any) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def with_grads(device: str = "cpu") -> list[Any]:
    params = [nn.Parameter(tgrad.zeros(s, device=device)) for s in ((2, 3), (4,), ())]
    for k, p in enumerate(params[:2]):
        g = np.random.default_rng(k).standard_normal(p.shape).astype(np.float32)
        p.grad = tgrad.tensor(g, device=device)
    return params


# ---- clipping ------------------------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
def test_gradients_are_clipped_to_a_norm(order: float, device: str):
    params = with_grads(device)
    before = np.concatenate([numpy_of(p.grad).ravel() for p in params[:2]])
    norm = np.linalg.norm(before, order)
    got = utils.clip_grad_norm_(params, 0.7, order)
    assert got.device.type == device and got.item() == pytest.approx(norm, rel=1e-5)
    after = np.concatenate([numpy_of(p.grad).ravel() for p in params[:2]])
    np.testing.assert_allclose(after, before * min(1, 0.7 / (norm + 1e-6)), rtol=1e-5)
    assert utils.clip_grad_norm_(params, 100.0, order).item() == pytest.approx(0.7, rel=1e-4)
    np.testing.assert_array_equal(
        np.concatenate([numpy_of(p.grad).ravel() for p in params[:2]]), after
    )


@on_devices
def test_gradients_are_clipped_to_a_value(device: str):
    params = with_grads(device)
    before = [numpy_of(p.grad) for p in params[:2]]
    utils.clip_grad_value_(params, 0.5)
    for p, b in zip(params, before, strict=False):
        np.testing.assert_allclose(numpy_of(p.grad), np.clip(b, -0.5, 0.5))


def test_norms_that_are_not_finite_raise_on_request_and_change_nothing():
    params = with_grads()
    params[0].grad[0, 0] = math.inf
    kept = numpy_of(params[1].grad)
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(numpy_of(params[1].grad), kept)
    assert utils.clip_grad_norm_(params, 1.0).item() == math.inf


def test_clipping_knows_nothing_single_and_old_calls():
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0
    with pytest.warns(UserWarning, match="empty generator"):
        utils.clip_grad_norm_((p for p in ()), 1.0)
    p = with_grads()[0]
    assert utils.get_total_norm(p.grad).item() == pytest.approx(np.linalg.norm(numpy_of(p.grad)))
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        utils.clip_grad_norm(p, 1.0)
    utils.clip_grads_with_norm_(p, 0.25, utils.get_total_norm(p.grad))
    assert utils.get_total_norm(p.grad).item() == pytest.approx(0.25, rel=1e-4)


@on_devices
def test_parameters_move_to_a_vector_and_back(device: str):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).to(device)
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (13,) and vector.requires_grad
    utils.vector_to_parameters(vector.detach() * 2, model.parameters())
    got = utils.parameters_to_vector(model.parameters())
    np.testing.assert_allclose(numpy_of(got), 2 * numpy_of(vector))
    with pytest.raises(TypeError, match=r"expected tgrad.Tensor, but got: list"):
        utils.vector_to_parameters([1.0], model.parameters())  # pyright: ignore[reportArgumentType]
    a, b = nn.Parameter(tgrad.ones(1)), nn.Parameter(tgrad.ones(1, device="cuda"))
    with pytest.raises(TypeError, match="two parameters on different devices"):
        utils.parameters_to_vector([a, b])


# ---- fusing --------------------------------------------------------------------------------------


def settled(bn: Any) -> Any:
    """A batch norm in evaluation mode with statistics and weights of its own."""
    rng = np.random.default_rng(0)
    with tgrad.no_grad():
        for t in (bn.running_mean, bn.weight, bn.bias):
            t.copy_(tgrad.tensor(rng.standard_normal(t.shape).astype(np.float32)))
        bn.running_var.copy_(tgrad.tensor(rng.uniform(0.5, 2, bn.running_var.shape)))
    return bn.eval()


@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_folds_into_the_layer_before(bias: bool):
    x = tgrad.randn(2, 3, 5, 5)
    conv, bn = nn.Conv2d(3, 4, 3, bias=bias).eval(), settled(nn.BatchNorm2d(4))
    fused = utils.fuse_conv_bn_eval(conv, bn)
    np.testing.assert_allclose(numpy_of(fused(x)), numpy_of(bn(conv(x))), rtol=1e-4, atol=1e-5)
    linear, bn = nn.Linear(5, 4, bias=bias).eval(), settled(nn.BatchNorm1d(4))
    x = tgrad.randn(6, 5)
    fused = utils.fuse_linear_bn_eval(linear, bn)
    np.testing.assert_allclose(numpy_of(fused(x)), numpy_of(bn(linear(x))), rtol=1e-4, atol=1e-5)
    assert isinstance(fused.weight, nn.Parameter) and fused.weight is not linear.weight
    with pytest.raises(AssertionError, match="Fusion only for eval!"):
        utils.fuse_linear_bn_eval(linear.train(), bn)
    with pytest.raises(AssertionError, match=r"got linear\.out_features=4 and bn"):
        utils.fuse_linear_bn_eval(linear.eval(), settled(nn.BatchNorm1d(3)))


def test_skip_init_makes_the_same_module_without_drawing():
    tgrad.manual_seed(3)
    state = tgrad.get_rng_state()
    made = utils.skip_init(nn.Linear, 3, 2)
    assert type(made) is nn.Linear and made.weight.shape == (2, 3)
    assert tgrad.equal(tgrad.get_rng_state(), state)
    with pytest.raises(RuntimeError, match="must support a 'device' arg"):
        utils.skip_init(nn.Identity if False else nn.Flatten)
    with pytest.raises(RuntimeError, match="Expected a Module"):
        utils.skip_init(int)  # pyright: ignore[reportArgumentType]


def test_convolution_weights_change_their_memory_format():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    before = numpy_of(model[0].weight)
    assert utils.convert_conv2d_weight_memory_format(model, tgrad.channels_last) is model
    assert model[0].weight.is_contiguous(memory_format=tgrad.channels_last)
    np.testing.assert_array_equal(numpy_of(model[0].weight), before)


# ---- norms of weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_by_hook_and_by_parametrization(dim: int | None):
    for modern in (False, True):
        layer = nn.Linear(4, 3)
        w = numpy_of(layer.weight)
        axis = None if dim is None else 1 - dim
        norm = np.sqrt((w**2).sum(axis, keepdims=dim is not None))
        if modern:
            parametrizations.weight_norm(layer, dim=dim)
            g = layer.parametrizations.weight.original0
        else:
            with pytest.warns(FutureWarning, match="parametrizations.weight_norm"):
                utils.weight_norm(layer, dim=dim)
            g = layer.weight_g
        np.testing.assert_allclose(numpy_of(g), norm, rtol=1e-5)
        with tgrad.no_grad():
            g.mul_(3)
        x = tgrad.randn(2, 4)
        want = numpy_of(x) @ (3 * w).T + numpy_of(layer.bias)
        np.testing.assert_allclose(numpy_of(layer(x)), want, rtol=1e-4, atol=1e-5)
        layer(x).sum().backward()
        assert g.grad is not None
        if modern:
            parametrize.remove_parametrizations(layer, "weight")
        else:
            utils.remove_weight_norm(layer)
        assert sorted(layer.state_dict()) == ["bias", "weight"]
        np.testing.assert_allclose(numpy_of(layer.weight), 3 * w, rtol=1e-5)
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
        utils.remove_weight_norm(layer)


def test_weight_norm_loads_the_keys_of_the_hook():
    old, new = nn.Linear(4, 3), parametrizations.weight_norm(nn.Linear(4, 3))
    with pytest.warns(FutureWarning):
        utils.weight_norm(old)
    new.load_state_dict(old.state_dict())
    np.testing.assert_allclose(numpy_of(new.weight), numpy_of(old.weight), rtol=1e-6)


def test_spectral_norm_by_hook_and_by_parametrization():
    tgrad.manual_seed(0)
    for modern in (False, True):
        layer = nn.Conv2d(2, 3, 2)
        w = numpy_of(layer.weight).reshape(3, -1)
        add = parametrizations.spectral_norm if modern else utils.spectral_norm
        add(layer, n_power_iterations=10)
        x = tgrad.randn(1, 2, 3, 3)
        for _ in range(3):
            layer(x)
        sigma = np.linalg.svd(w)[1][0]
        np.testing.assert_allclose(numpy_of(layer.weight).reshape(3, -1), w / sigma, rtol=2e-2)
        layer.eval()
        before = numpy_of(layer.weight)
        layer(x)
        np.testing.assert_array_equal(numpy_of(layer.weight), before)  # no iterations
        if not modern:
            assert set(layer.state_dict()) == {"bias", "weight_orig", "weight_u", "weight_v"}
            utils.remove_spectral_norm(layer)
            assert set(layer.state_dict()) == {"bias", "weight"}
    with pytest.raises(ValueError, match="spectral_norm of 'weight' not found"):
        utils.remove_spectral_norm(layer)
    with pytest.raises(ValueError, match="n_power_iterations to be positive"):
        utils.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        parametrizations.spectral_norm(nn.Linear(2, 2), dim=5)


def test_a_power_iteration_on_the_gpu_follows_its_formula():
    layer = utils.spectral_norm(nn.Linear(3, 2, device="cuda"))
    w, u = numpy_of(layer.weight_orig), numpy_of(layer.weight_u)
    layer(tgrad.ones(1, 3, device="cuda"))
    v = w.T @ u / np.linalg.norm(w.T @ u)
    u = w @ v / np.linalg.norm(w @ v)
    np.testing.assert_allclose(numpy_of(layer.weight), w / (u @ w @ v), rtol=1e-5)
    np.testing.assert_allclose(numpy_of(layer.weight_u), u, rtol=1e-5)


# ---- orthogonal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivialized", [True, False])
def test_weights_stay_orthogonal_while_they_train(kind: str, shape: tuple, trivialized: bool):
    layer: Any = nn.Linear(shape[1], shape[0]).double()
    w = np.empty(0)
    parametrizations.orthogonal(layer, orthogonal_map=kind, use_trivialization=trivialized)
    optimizer = tgrad.optim.SGD(layer.parameters(), lr=0.1)
    before = numpy_of(layer.weight)
    target = tgrad.tensor(np.random.default_rng(0).standard_normal(shape))
    for _ in range(3):
        optimizer.zero_grad()
        ((layer.weight - target) ** 2).sum().backward()
        optimizer.step()
        w = numpy_of(layer.weight)
        gram = w @ w.T if shape[0] <= shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)
    assert np.abs(w - before).max() > 1e-3
    if trivialized or kind == "householder":
        q = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0][: max(shape)]
        q = np.linalg.qr(q[: max(shape), : max(shape)])[0][: shape[0], : shape[1]]
        layer.weight = tgrad.tensor(q)
        np.testing.assert_allclose(numpy_of(layer.weight), q, atol=1e-12)
    else:
        with pytest.raises(NotImplementedError, match="use_trivialization=False"):
            layer.weight = tgrad.tensor(before)


def test_bad_orthogonal_calls_are_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="has no parameter or buffer with name 'other'"):
        parametrizations.orthogonal(layer, "other")
    with pytest.raises(ValueError, match="Got a tensor of 1 dimensions"):
        parametrizations.orthogonal(layer, "bias")
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(layer, orthogonal_map="other")


# ---- parametrize ---------------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, a):
        return a.triu()


class Doubled(nn.Module):
    calls = 0

    def forward(self, x):
        Doubled.calls += 1
        return 2 * x

    def right_inverse(self, y):
        return y / 2


class Pair(nn.Module):
    def forward(self, a, b):
        return a @ b

    def right_inverse(self, w):
        return w, tgrad.eye(w.shape[1])


def test_parametrizations_compose_and_are_assigned_through_their_inverses():
    layer: Any = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert type(layer).__name__ == "ParametrizedLinear" and nn.Linear in type(layer).mro()
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    value = tgrad.tensor([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    layer.weight = value
    assert layer.weight.tolist() == value.tolist()
    original = layer.parametrizations.weight.original
    assert original.tolist() == (value.triu() / 2).tolist()
    layer(tgrad.ones(1, 3)).sum().backward()
    assert original.grad is not None


def test_a_cached_block_computes_once():
    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Doubled())
    Doubled.calls = 0
    with parametrize.cached():
        first = layer.weight
        assert layer.weight is first and Doubled.calls == 1
    assert layer.weight is not first and Doubled.calls == 2


def test_removing_leaves_the_value_or_the_original():
    for leave in (True, False):
        layer = nn.Linear(2, 2)
        w = layer.weight
        before = numpy_of(w)
        parametrize.register_parametrization(layer, "weight", Doubled())
        with tgrad.no_grad():
            layer.parametrizations.weight.original.fill_(5)
        parametrize.remove_parametrizations(layer, "weight", leave)
        assert type(layer) is nn.Linear and layer.weight is w
        assert (numpy_of(layer.weight) == (10 if leave else 5)).all() and before.shape == (2, 2)
        assert list(layer.state_dict()) == ["weight", "bias"] or set(layer.state_dict()) == {
            "weight", "bias"}  # fmt: skip
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")


def test_a_parametrization_may_have_several_originals():
    layer = nn.Linear(3, 2)
    before = numpy_of(layer.weight)
    parametrize.register_parametrization(layer, "weight", Pair())
    keys = [f"parametrizations.weight.original{i}" for i in (0, 1)]
    assert [k for k in layer.state_dict() if k != "bias"] == keys
    np.testing.assert_allclose(numpy_of(layer.weight), before, rtol=1e-6)
    with pytest.raises(ValueError, match="Cannot leave unparametrized"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_allclose(numpy_of(layer.weight), before, rtol=1e-6)


def test_parametrized_modules_are_copied_but_not_pickled():
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Doubled())
    other = copy.deepcopy(layer)
    with tgrad.no_grad():
        other.parametrizations.weight.original.fill_(1)
    assert (other.weight == 2).all() and not (layer.weight == 2).all()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


def test_parametrizations_are_transferred_with_their_originals():
    source = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Doubled())
    target = parametrize.transfer_parametrizations_and_params(source, nn.Linear(2, 2))
    assert target.parametrizations.weight.original is source.parametrizations.weight.original
    np.testing.assert_array_equal(numpy_of(target.weight), numpy_of(source.weight))


def function_module(forward: Any, inverse: Any = None) -> Any:
    made: Any = type("Made", (nn.Module,), {"forward": lambda self, x: forward(x)})
    if inverse is not None:
        made.right_inverse = lambda self, x: inverse(x)
    return made()


def test_bad_parametrizations_are_refused_and_change_nothing():
    cases = [
        (function_module(lambda x: x[:1]), "may not change the shape"),
        (function_module(lambda x: x.double()), "may not change the dtype"),
        (function_module(lambda x: 1), "must return a tensor"),
        (function_module(lambda x: x, lambda x: 3), "'right_inverse' must return a Tensor"),
        (function_module(lambda x: x, lambda x: x.double()), "may not change the dtype"),
        (function_module(lambda x: x, lambda x: (x, 1)), "Got element 1 of the sequence"),
    ]
    for module, message in cases:
        layer = nn.Linear(2, 2)
        with pytest.raises(ValueError, match=message):
            parametrize.register_parametrization(layer, "weight", module)
        assert type(layer) is nn.Linear and list(layer.state_dict()) == ["weight", "bias"]
    with pytest.raises(ValueError, match="does not have a parameter, a buffer"):
        parametrize.register_parametrization(nn.Linear(2, 2), "other", Doubled())
    layer = parametrize.register_parametrization(
        nn.Linear(2, 2), "weight", function_module(lambda x: 2 * x)
    )
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        layer.weight = tgrad.ones(2, 2)


# ---- stateless -----------------------------------------------------------------------------------


def test_a_stateless_call_uses_other_tensors_and_leaves_the_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    w, b = tgrad.ones(2, 2, requires_grad=True), tgrad.zeros(2)
    before = model[0].weight
    x = tgrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    model.eval()
    with pytest.warns(FutureWarning, match="functional_call"):
        y = stateless.functional_call(model, {"0.weight": w, "0.bias": b}, x)
    np.testing.assert_allclose(numpy_of(y), numpy_of(model[1](x @ w.T)), rtol=1e-6)
    y.sum().backward()
    assert w.grad is not None and before.grad is None and model[0].weight is before


def test_a_stateless_call_updates_the_buffers_it_was_given():
    model = nn.BatchNorm1d(2)
    given = {"running_mean": tgrad.zeros(2), "num_batches_tracked": tgrad.tensor(4)}
    with pytest.warns(FutureWarning):
        stateless.functional_call(model, given, (tgrad.randn(8, 2),))
    assert given["num_batches_tracked"].item() == 5 and model.num_batches_tracked.item() == 0
    assert given["running_mean"].abs().sum() > 0 and model.running_mean.abs().sum() == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tied_strict_and_unknown_names():
    model: Any = nn.Module()
    model.a = model.b = nn.Parameter(tgrad.ones(1))
    model.forward = lambda: model.a + model.b
    ten = tgrad.tensor([10.0])
    assert stateless.functional_call(model, {"a": ten}).item() == 20
    assert stateless.functional_call(model, {"a": ten}, tie_weights=False).item() == 11
    with pytest.raises(ValueError, match="multiple values for keys"):
        stateless.functional_call(model, {"a": ten, "b": tgrad.ones(1)})
    linear = nn.Linear(1, 1)
    with pytest.raises(
        RuntimeError, match=r"Unexpected key\(s\): 'c'.\n\tMissing key\(s\): 'bias'"
    ):
        stateless.functional_call(linear, {"c": ten, "weight": ten}, (ten,), strict=True)
    with pytest.raises(AttributeError):
        stateless.functional_call(linear, {"c": ten}, (ten,))
    assert model.a.item() == 1
