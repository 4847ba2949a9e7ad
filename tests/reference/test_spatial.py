"""Layers over signals, images and volumes against torch: repr, state_dict, values, gradients."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest

import tgrad
from tests.reference.test_layers import assert_same, pair

torch = pytest.importorskip("torch", reason="torch is not installed")


def samples(nn, space: int):
    """The places of windows, of two samples and channels."""
    library = tgrad if nn is tgrad.nn else torch
    return library.tensor(np.random.default_rng(5).random((2, 2, space)))


LAYERS = {
    "max pool 3d": (lambda nn: nn.MaxPool3d((2, 3, 2), (1, 2, 2), (1, 1, 0)), (2, 2, 4, 5, 6)),
    "max pool 3d alone": (lambda nn: nn.MaxPool3d(2, ceil_mode=True), (2, 3, 5, 4)),
    "avg pool 3d": (lambda nn: nn.AvgPool3d(3, 2, 1, True, False), (1, 2, 4, 5, 6)),
    "avg pool 3d divisor": (lambda nn: nn.AvgPool3d(2, divisor_override=5), (2, 4, 4, 4)),
    "adaptive avg 3d": (lambda nn: nn.AdaptiveAvgPool3d((3, None, 2)), (1, 2, 4, 3, 5)),
    "adaptive max 3d": (lambda nn: nn.AdaptiveMaxPool3d(2), (2, 3, 5, 4)),
    "conv 3d": (lambda nn: nn.Conv3d(2, 3, (2, 3, 2), 2, 1), (1, 2, 4, 5, 4)),
    "conv 3d groups": (
        lambda nn: nn.Conv3d(2, 4, 2, dilation=(1, 2, 1), groups=2, bias=False), (2, 3, 4, 3)),
    "conv 3d same": (lambda nn: nn.Conv3d(1, 2, (3, 1, 5), padding="same"), (1, 1, 3, 3, 2)),
    **{f"conv 3d {mode}": (
        lambda nn, mode=mode: nn.Conv3d(1, 2, 2, padding=(1, 0, 1), padding_mode=mode),
        (1, 1, 3, 2, 3)) for mode in ("reflect", "replicate", "circular")},
    "conv transpose 3d": (
        lambda nn: nn.ConvTranspose3d(2, 2, 2, (2, 1, 2), 1, (1, 0, 0), 2), (2, 2, 3, 3, 2)),
    "conv transpose 3d dilated": (
        lambda nn: nn.ConvTranspose3d(1, 2, 2, bias=False, dilation=(1, 2, 3)), (1, 2, 2, 3)),
    "power mean 1d": (lambda nn: nn.LPPool1d(2, 3, 2), (2, 2, 8)),
    "power mean 2d": (lambda nn: nn.LPPool2d(4, (2, 3), 1, ceil_mode=True), (2, 4, 5)),
    "power mean 3d": (lambda nn: nn.LPPool3d(2.0, 2), (1, 2, 4, 2, 4)),
    "power mean infinite": (lambda nn: nn.LPPool2d(float("inf"), 2), (1, 2, 4, 4)),
    "fractional 2d": (
        lambda nn: nn.FractionalMaxPool2d(2, (3, 4), _random_samples=samples(nn, 2)), (2, 2, 6, 7)),
    "fractional 3d": (lambda nn: nn.FractionalMaxPool3d((2, 1, 3), output_ratio=(0.5, 0.7, 0.4),
        _random_samples=samples(nn, 3)), (2, 4, 5, 6)),
    "unfold": (lambda nn: nn.Unfold((2, 3), (1, 2), (0, 1), 2), (2, 3, 5, 6)),
    "unfold alone": (lambda nn: nn.Unfold(2), (3, 4, 4)),
    "fold": (lambda nn: nn.Fold((5, 6), 2, padding=1, stride=(2, 1)), (2, 8, 21)),
    "fold alone": (lambda nn: nn.Fold(5, (2, 3), dilation=(2, 1)), (6, 9)),
    "response norm": (lambda nn: nn.LocalResponseNorm(3, 0.1, 0.6, 2.0), (2, 5, 3, 2)),
    "response norm even": (lambda nn: nn.LocalResponseNorm(4, 0.5), (2, 3, 4)),
    "response norm wide": (lambda nn: nn.LocalResponseNorm(9, 0.5), (1, 3, 2, 1, 3)),
    "instance norm 1d": (lambda nn: nn.InstanceNorm1d(3), (2, 3, 5)),
    "instance norm 1d alone": (lambda nn: nn.InstanceNorm1d(3, affine=True), (3, 5)),
    "instance norm 2d": (lambda nn: nn.InstanceNorm2d(3, 1e-3, 0.3, True, True), (2, 3, 4, 2)),
    "instance norm 2d alone": (
        lambda nn: nn.InstanceNorm2d(2, affine=True, bias=False), (2, 4, 2)),
    "instance norm 3d": (
        lambda nn: nn.InstanceNorm3d(2, momentum=None, track_running_stats=True), (2, 2, 2, 1, 3)),
    "instance norm 3d eval": (
        lambda nn: nn.InstanceNorm3d(2, track_running_stats=True).eval(), (2, 2, 1, 2)),
}  # fmt: skip
NAMES = sorted({type(make(torch.nn)).__name__ for make, _ in LAYERS.values()})
NAMES += [f"MaxUnpool{n}d" for n in (1, 2, 3)]
each = pytest.mark.parametrize("name", LAYERS)


@each
def test_repr_and_state_dict_agree(name: str):
    theirs, ours = pair(LAYERS[name][0])
    assert repr(ours) == repr(theirs)
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b) and a._metadata == b._metadata
    assert [tuple(v.shape) for v in a.values()] == [tuple(v.shape) for v in b.values()]
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in a.items()})
    public = {k for k in vars(theirs) if not k.startswith("_")}
    assert public <= set(vars(ours)) | {"output_padding", "transposed"}
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(again) == repr(ours) and list(again.state_dict()) == list(a)


@each
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_values_gradients_and_buffers_agree(name: str, device: str):
    make, shape = LAYERS[name]
    theirs, ours = pair(make)
    ours.to(device)
    for step in range(2):
        a = np.random.default_rng(step).standard_normal(shape)
        x, z = tgrad.tensor(a, device=device).requires_grad_(), torch.tensor(a, requires_grad=True)
        y, want = ours(x), theirs(z)
        assert_same(y, want)
        w = np.random.default_rng(7).standard_normal(tuple(want.shape))
        (y * tgrad.tensor(w, device=device)).sum().backward()
        (want * torch.tensor(w)).sum().backward()
        assert_same(x.grad, z.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(p.grad, q.grad)
    for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_same(p, q)


@pytest.mark.parametrize("name", NAMES)
def test_constructors_take_the_same_arguments(name: str):
    ours, theirs = (
        [
            (p.name, p.default, p.kind)
            for p in inspect.signature(getattr(nn, name)).parameters.values()
        ]
        for nn in (tgrad.nn, torch.nn)
    )
    assert ours == theirs


@pytest.mark.parametrize("name, shape, settings", [
    ("max_pool3d", (2, 4, 5, 6), {"kernel_size": (2, 3, 2), "stride": 1, "padding": (0, 1, 1)}),
    ("adaptive_max_pool3d", (1, 2, 4, 5, 6), {"output_size": (3, 2, 4)}),
])  # fmt: skip
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_indices_agree_where_elements_are_equal(name: str, shape, settings, device: str):
    a = np.random.default_rng(0).integers(0, 3, shape).astype(np.float64)
    a.flat[5], a.flat[40] = np.nan, np.inf
    y, index = getattr(tgrad.nn.functional, name)(
        tgrad.tensor(a, device=device), **settings, return_indices=True
    )
    want, places = getattr(torch.nn.functional, name)(
        torch.tensor(a), **settings, return_indices=True
    )
    np.testing.assert_array_equal(y.cpu().numpy(), want.numpy())
    np.testing.assert_array_equal(index.cpu().numpy(), places.numpy())
    assert index.dtype is tgrad.int64


def test_instance_norm_of_other_channels_warns_or_raises_alike():
    for nn, lib in ((tgrad.nn, tgrad), (torch.nn, torch)):
        x = lib.ones(2, 4, 5)
        with pytest.warns(UserWarning, match="does not match num_features"):
            nn.InstanceNorm1d(3)(x)
        with pytest.raises(ValueError, match="to match num_features"):
            nn.InstanceNorm1d(3, affine=True)(x)
        with pytest.raises(ValueError, match="expected 2D or 3D input"):
            nn.InstanceNorm1d(3)(lib.ones(3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match="more than 1 spatial element"):
                nn.InstanceNorm2d(4)(lib.ones(2, 4, 1, 1))


def test_old_state_dicts_of_instance_norm_are_read_alike():
    for nn, lib in ((tgrad.nn, tgrad), (torch.nn, torch)):
        old = {"running_mean": lib.zeros(3), "running_var": lib.ones(3)}
        with pytest.raises(RuntimeError, match="Unexpected running stats"):
            nn.InstanceNorm1d(3).load_state_dict(old)
        kept = nn.InstanceNorm1d(3, track_running_stats=True)
        assert str(kept.load_state_dict(old)) == "<All keys matched successfully>"
        assert int(kept.num_batches_tracked) == 0


@pytest.mark.parametrize("rank", (1, 2, 3))
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_unpooling_agrees(rank: int, device: str):
    shape = (2, 2, 7, 5, 6)[: rank + 2]
    a = np.random.default_rng(0).standard_normal(shape)
    found = []
    for nn, lib in ((tgrad.nn, tgrad), (torch.nn, torch)):
        pool = getattr(nn, f"MaxPool{rank}d")(3, 2, 1, return_indices=True)
        back = getattr(nn, f"MaxUnpool{rank}d")(3, 2, 1)
        x = lib.tensor(a)
        x = (x.to(device) if lib is tgrad else x).requires_grad_()
        y = back(*pool(x), output_size=x.shape)
        (y * y * y).sum().backward()
        found.append((repr(back), y.detach().cpu().numpy(), x.grad.cpu().numpy()))
    assert found[0][0] == found[1][0]
    for ours, theirs in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_gradient_of_a_power_mean_of_zeros_is_zero_in_both():
    for nn, lib in ((tgrad.nn, tgrad), (torch.nn, torch)):
        x = lib.zeros(1, 1, 4, requires_grad=True)
        nn.LPPool1d(2, 2)(x).sum().backward()
        assert not x.grad.numpy().any()


@pytest.mark.parametrize("options", [
    {}, {"output_size": 2, "output_ratio": 0.5}, {"output_ratio": 1.0}, {"output_ratio": (0.5, 0)},
])  # fmt: skip
def test_fractional_layers_refuse_the_same(options):
    for nn in (tgrad.nn, torch.nn):
        with pytest.raises(ValueError):
            nn.FractionalMaxPool2d(2, **options)


def test_random_windows_cover_the_end_and_differ_between_calls_and_channels():
    tgrad.manual_seed(0)
    x = tgrad.arange(64.0).reshape(1, 1, 64, 1).expand(1, 8, 64, 4)
    found = [tgrad.nn.FractionalMaxPool2d((2, 1), (40, 2))(x).numpy() for _ in range(2)]
    assert (found[0] != found[1]).any() and (found[0][0, 0] != found[0][0, 1]).any()
    for y in found:
        steps = np.diff(y[..., 0], axis=2)
        assert (y[..., -1, :] == 63).all() and set(np.unique(steps)) == {1, 2}
