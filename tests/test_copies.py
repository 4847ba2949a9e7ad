"""Windows, copies of complex views, the top level's forms of functionals, in-place forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tgrad as library
from tgrad.nn import functional as F

tgrad: Any = library  # most of these are functions of a table, of which type checkers know nothing
on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))


@on_devices
@pytest.mark.parametrize("name, ours, args", [
    ("hanning", "hann_window", ()), ("hamming", "hamming_window", ()),
    ("blackman", "blackman_window", ()), ("bartlett", "bartlett_window", ()),
    ("kaiser", "kaiser_window", (12.0,)), ("kaiser", "kaiser_window", (3.5,)),
])  # fmt: skip
def test_windows_are_numpys(name, ours, args, device):
    for n in (1, 2, 9, 16):
        want = getattr(np, name)(n, *args)
        got = getattr(tgrad, ours)(n, False, *args, dtype=tgrad.float64, device=device)
        np.testing.assert_allclose(got.cpu(), want, atol=1e-12)
        if n > 1:
            part = getattr(tgrad, ours)(n - 1, True, *args, dtype=tgrad.float64, device=device)
            np.testing.assert_allclose(part.cpu(), want[:-1] if n > 2 else [1.0], atol=1e-12)
    assert getattr(tgrad, ours)(0).shape == (0,)
    half = getattr(tgrad, ours)(5, dtype=tgrad.bfloat16, device=device, requires_grad=True)
    assert half.dtype is tgrad.bfloat16 and half.requires_grad and half.device.type == device


def test_copies_share_no_memory():
    x = tgrad.arange(12.0).reshape(3, 4)
    for y in (
        tgrad.view_copy(x, (4, 3)), tgrad.t_copy(x), tgrad.alias_copy(x), tgrad.slice_copy(x),
        tgrad.expand_copy(x, (2, 3, 4)), *tgrad.unbind_copy(x), *tgrad.split_copy(x, 2),
        x.narrow_copy(0, 1, 2), tgrad.as_strided_copy(x, (2, 2), (1, 1)),
    ):  # fmt: skip
        assert y.is_contiguous()
        y.fill_(-1)
    assert tgrad.equal(x.flatten(), tgrad.arange(12.0))
    out = tgrad.empty(4, 3)
    assert tgrad.t_copy(x, out=out) is out and tgrad.equal(out, x.T)
    z = tgrad.view_as_complex_copy(x.reshape(6, 2))
    assert tgrad.equal(tgrad.view_as_real_copy(z), x.reshape(6, 2))


def test_parts_of_unsafe_splits_are_views():
    x = tgrad.zeros(4)
    x.unsafe_chunk(2)[0].fill_(1)
    x.unsafe_split(3)[1].fill_(2)
    assert x.tolist() == [1, 1, 0, 2]


def test_strides_may_be_changed_in_place():
    x = tgrad.arange(6.0)
    assert x.as_strided_((2, 2), (3, 1)) is x and x.tolist() == [[0, 1], [3, 4]]
    y = tgrad.arange(6.0)
    assert tgrad.as_strided_(y, (3,), (2,), 1).tolist() == [1, 3, 5]


@on_devices
def test_what_is_put_into_strides_and_its_gradient(device: str):
    x = tgrad.arange(12.0, device=device).reshape(3, 4).requires_grad_()
    src = -tgrad.ones(2, 2, device=device).requires_grad_()
    y = tgrad.as_strided_scatter(x, src, (2, 2), (4, 1), 1)
    assert y.tolist() == [[0, -1, -1, 3], [4, -1, -1, 7], [8, 9, 10, 11]]
    dx, ds = tgrad.autograd.grad((y * y).sum(), (x, src))
    assert dx.tolist() == [[0, 0, 0, 6], [8, 0, 0, 14], [16, 18, 20, 22]]
    assert ds.tolist() == [[-2, -2], [-2, -2]]
    with pytest.raises(RuntimeError, match="as many elements as the input"):
        tgrad.gradient(x, spacing=[tgrad.ones(3)], dim=1)


def test_float_power_in_place_needs_float64():
    x = tgrad.tensor([2.0, 3.0], dtype=tgrad.float64)
    assert x.float_power_(tgrad.tensor([3, 2])).tolist() == [8, 9]
    with pytest.raises(RuntimeError, match="requires dtype float64"):
        tgrad.ones(2).float_power_(2)


def test_polygamma_is_a_method_with_its_arguments_the_other_way_round():
    x = tgrad.tensor([0.5, 2.0], dtype=tgrad.float64)
    want = tgrad.polygamma(2, x)
    assert tgrad.equal(x.polygamma(2), want) and tgrad.equal(tgrad.special.polygamma(2, x), want)
    assert x.polygamma_(2) is x and tgrad.equal(x, want)


def test_losses_of_the_top_level_take_a_number_for_the_reduction():
    rng = np.random.default_rng(2)
    a, b, c = (tgrad.tensor(v) for v in rng.uniform(0.1, 0.9, (3, 4, 5)))
    sign = tgrad.tensor(rng.choice([-1.0, 1.0], (4, 5)))
    pairs = {
        "binary_cross_entropy_with_logits": (a, b), "hinge_embedding_loss": (a, sign),
        "margin_ranking_loss": (a, b, sign), "triplet_margin_loss": (a, b, c),
        "cosine_embedding_loss": (a, b, sign[:, 0]),
    }  # fmt: skip
    for name, args in pairs.items():
        for k, how in enumerate(("none", "mean", "sum")):
            got = getattr(tgrad, name)(*args, reduction=k)
            assert tgrad.equal(got, getattr(F, name)(*args, reduction=how)), name
    for k, how in enumerate(("none", "mean", "sum")):
        got = tgrad.poisson_nll_loss(a, b, True, False, 1e-8, k)
        assert tgrad.equal(got, F.poisson_nll_loss(a, b, reduction=how))
        got = tgrad.kl_div(a, b, k, log_target=True)
        each = F.kl_div(a, b, reduction="none", log_target=True)
        assert tgrad.equal(got, [each, each.mean(), each.sum()][k])
    logs = F.log_softmax(tgrad.randn(6, 2, 4), 2)
    marks, lengths = tgrad.tensor([[1, 2], [3, 1]]), ([6, 5], [2, 1])
    assert tgrad.equal(tgrad.ctc_loss(logs, marks, *lengths), F.ctc_loss(logs, marks, *lengths))
    with pytest.raises(ValueError, match="expected 0 to 2, got 3"):
        tgrad.kl_div(a, b, 3)


@on_devices
def test_norms_of_the_top_level_return_statistics(device: str):
    x = tgrad.randn(4, 6, 5, dtype=tgrad.float64, device=device)
    w, b = tgrad.ones(6, dtype=x.dtype, device=device) * 2, tgrad.zeros(6, dtype=x.dtype,
                                                                       device=device)  # fmt: skip
    y, mean, scale = tgrad.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)
    assert tgrad.equal(y, F.batch_norm(x, None, None, w, b, True))
    assert tgrad.equal(y, tgrad.batch_norm(x, w, b, None, None, True, 0.1, 1e-5, True))
    np.testing.assert_allclose(mean.cpu(), x.cpu().numpy().mean((0, 2)), atol=1e-12)
    want = 1 / np.sqrt(x.cpu().numpy().var((0, 2)) + 1e-5)
    np.testing.assert_allclose(scale.cpu(), want, rtol=1e-10)
    y, mean, scale = tgrad.native_layer_norm(x, (6, 5), None, None, 1e-5)
    assert tgrad.equal(y, F.layer_norm(x, (6, 5))) and mean.shape == scale.shape == (4, 1, 1)
    y, mean, scale = tgrad.native_group_norm(x, w, b, 4, 6, 5, 3, 1e-5)
    assert tgrad.equal(y, F.group_norm(x, 3, w, b)) and mean.shape == scale.shape == (4, 3)
    y = tgrad.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
    assert tgrad.equal(y, F.instance_norm(x))
    with pytest.raises(RuntimeError, match="have 100 elements"):
        tgrad.native_group_norm(x, None, None, 4, 5, 5, 3, 1e-5)


def test_dropouts_of_the_top_level():
    tgrad.manual_seed(3)
    x = tgrad.ones(50, 40, 2)
    y, kept = tgrad.native_dropout(x, 0.25, True)
    assert tgrad.equal(y, kept / 0.75) and 0.7 < kept.float().mean() < 0.8
    y, kept = tgrad.native_dropout(x, 0.25, False)
    assert tgrad.equal(y, x) and kept.all() and kept.dtype is tgrad.bool
    y = tgrad.feature_dropout(x, 0.5, True)
    assert set(y.unique().tolist()) == {0, 2} and tgrad.equal(y[..., 0], y[..., 1])
    assert tgrad.feature_dropout_(x, 0.5, False) is x and (x == 1).all()
    for function in (tgrad.dropout_, tgrad.alpha_dropout_, tgrad.feature_alpha_dropout_):
        z = tgrad.ones(20, 20)
        assert function(z, 0.5, True) is z and not (z == 1).all()
    z = -tgrad.ones(20, 20)
    assert tgrad.rrelu_(z, 0.1, 0.3, True) is z and z.min() >= -0.3 and z.max() <= -0.1


def test_images_and_windows_of_the_top_level():
    x = tgrad.randn(2, 3, 5, 4)
    theta = tgrad.randn(2, 2, 3)
    grid = tgrad.affine_grid_generator(theta, (2, 3, 4, 4), False)
    assert tgrad.equal(grid, F.affine_grid(theta, (2, 3, 4, 4), align_corners=False))
    got = tgrad.grid_sampler(x, grid, 1, 2, True)
    want = F.grid_sample(x, grid, "nearest", "reflection", align_corners=True)
    assert tgrad.equal(got, want) and tgrad.equal(tgrad.grid_sampler_2d(x, grid, 1, 2, True), want)
    y, i = tgrad.adaptive_max_pool1d(x[:, :, 0], 2)
    assert tgrad.equal(x[:, :, 0].gather(2, i), y)
    y, i = tgrad.max_pool1d_with_indices(x[:, :, 0], 2)
    assert tgrad.equal(x[:, :, 0].gather(2, i), y)
    w = tgrad.randn(3, 2, 2, 2)
    got = tgrad.convolution(x, w, None, [2, 1], [0, 0], [1, 1], True, [1, 0], 1)
    assert tgrad.equal(got, F.conv_transpose2d(x, w, None, (2, 1), 0, (1, 0)))
    got = tgrad.convolution(x, w.transpose(0, 1), None, [1], [1], [1], False, [0], 1)
    assert tgrad.equal(got, F.conv2d(x, w.transpose(0, 1), padding=1))


def test_questions_of_the_top_level():
    x = tgrad.ones(2)
    assert tgrad.is_same_size(x, x) and not tgrad.is_same_size(x, tgrad.ones(1))
    assert tgrad.is_signed(x) and not tgrad.is_signed(x.byte()) and tgrad.get_device(x) == -1
    assert not (tgrad.is_conj(x) or tgrad.is_neg(x) or tgrad.is_inference(x))
    assert not tgrad.is_distributed(x)
    assert tgrad.resolve_conj(x) is x and tgrad.resolve_neg(x) is x
