"""Models: published numbers of parameters, names, small ones trained a step; grids of images."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.nn import init
from tgrad.vision import models as M
from tgrad.vision import utils
from tgrad.vision.models import resnet, vgg

PARAMETERS = {
    "lenet": 61_706, "alexnet": 61_100_840, "vgg11": 132_863_336, "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848, "vgg13_bn": 133_053_736, "vgg16": 138_357_544, "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240, "vgg19_bn": 143_678_248, "resnet18": 11_689_512, "resnet34": 21_797_672,
    "resnet50": 25_557_032, "resnet101": 44_549_160, "resnet152": 60_192_808,
    "mobilenet_v2": 3_504_872, "vit_b_16": 86_567_656, "vit_b_32": 88_224_232,
    "vit_l_16": 304_326_632,
}  # fmt: skip


@pytest.fixture
def unset(monkeypatch):
    """Initialisers that leave the memory as it is, so that large models are made at once."""
    for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "ones_", "zeros_",
                 "trunc_normal_", "xavier_uniform_", "constant_"):  # fmt: skip
        monkeypatch.setattr(init, name, lambda t, *args, **kwargs: t)


@pytest.mark.parametrize("name", PARAMETERS)
def test_models_have_the_published_number_of_parameters(name: str, unset):
    model = getattr(M, name)()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


SMALL = {
    "lenet": (lambda: M.lenet(num_classes=3), (2, 1, 28, 28)),
    "resnet18": (
        lambda: M.ResNet(resnet.BasicBlock, [1, 1, 1, 1], 3, zero_init_residual=True),
        (2, 3, 16, 16)),
    "resnext": (
        lambda: M.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 3, groups=4, width_per_group=4,
                         replace_stride_with_dilation=[False, True, True]), (2, 3, 17, 16)),
    "mobilenet_v2": (lambda: M.mobilenet_v2(num_classes=3, width_mult=0.25), (4, 3, 32, 32)),
    "vit": (lambda: M.VisionTransformer(16, 4, 2, 2, 16, 32, 0.1, 0.1, num_classes=3),
            (4, 3, 16, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_small_models_learn_a_batch(name: str):
    tgrad.manual_seed(0)
    make, shape = SMALL[name]
    model, x, y = make(), tgrad.randn(*shape), tgrad.arange(shape[0]) % 3
    optimizer = tgrad.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(2 if "res" in name else 12):
        optimizer.zero_grad()
        loss = tgrad.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert model.eval()(x).shape == (shape[0], 3)


def test_vgg_ends_in_seven_by_seven():
    tgrad.manual_seed(0)
    y = vgg.make_layers(11, batch_norm=True)(tgrad.randn(1, 3, 32, 32))
    assert y.shape == (1, 512, 1, 1)
    assert tgrad.nn.AdaptiveAvgPool2d((7, 7))(y).shape == (1, 512, 7, 7)


def test_initial_values_follow_the_papers():
    tgrad.manual_seed(0)
    model = M.resnet18(zero_init_residual=True)
    w = model.layer4[1].conv2.weight.detach().numpy()  # fan out: 9 * 512
    assert abs(w.std() / np.sqrt(2 / (9 * 512)) - 1) < 0.01
    assert not model.layer1[0].bn2.weight.detach().numpy().any()
    assert (model.layer1[0].bn1.weight.detach().numpy() == 1).all()
    linear = M.mobilenet_v2(width_mult=0.1, num_classes=20).classifier[1]
    assert abs(linear.weight.detach().numpy().std() / 0.01 - 1) < 0.05
    assert not linear.bias.detach().numpy().any()


def test_weights_come_from_a_file_or_a_state_dict(tmp_path):
    first = M.lenet()
    tgrad.save(first.state_dict(), tmp_path / "lenet.pth")
    for weights in (tmp_path / "lenet.pth", str(tmp_path / "lenet.pth"), first.state_dict()):
        again = M.lenet(weights=weights)
        for a, b in zip(first.parameters(), again.parameters(), strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    with pytest.raises(ValueError, match="'IMAGENET1K_V1' is not fetched"):
        M.lenet(weights="IMAGENET1K_V1")
    with pytest.raises(TypeError, match="got bool"):
        M.lenet(weights=True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeError, match="size mismatch"):
        M.lenet(weights=first.state_dict(), num_classes=3)


@pytest.mark.parametrize("make, error, message", [
    (lambda: M.resnet18(groups=2), ValueError, "groups=1"),
    (lambda: M.ResNet(resnet.Bottleneck, [1] * 4, replace_stride_with_dilation=[True]),
     ValueError, "3-element"),
    (lambda: M.resnet18(replace_stride_with_dilation=[True] * 3), NotImplementedError, "Dilation"),
    (lambda: M.VisionTransformer(15, 4, 1, 1, 4, 4), AssertionError, "indivisible"),
    (lambda: M.VisionTransformer(16, 4, 1, 1, 4, 4)(tgrad.zeros(1, 3, 16, 12)), AssertionError,
     "Wrong image width! Expected 16 but got 12"),
    (lambda: M.mobilenet_v2(inverted_residual_setting=[[1, 2, 3]]), ValueError, "4-element"),
])  # fmt: skip
def test_impossible_models_are_refused(make, error, message, unset):
    with pytest.raises(error, match=message):
        make()


# ---- grids ---------------------------------------------------------------------------------------


def test_a_grid_has_the_images_in_rows():
    images = tgrad.arange(5.0)[:, None, None, None] * tgrad.ones(1, 1, 2, 3)
    grid = utils.make_grid(images, nrow=3, padding=1, pad_value=9.0).numpy()
    assert grid.shape == (3, 7, 13)
    want = np.full((7, 13), 9.0)
    for k in range(5):
        top, left = 1 + 3 * (k // 3), 1 + 4 * (k % 3)
        want[top : top + 2, left : left + 3] = k
    np.testing.assert_array_equal(grid, np.stack([want] * 3))
    whole = utils.make_grid(images, normalize=True).numpy()
    assert whole.max() == 1 and sorted(np.unique(whole)) == [0, 0.25, 0.5, 0.75, 1]
    each = utils.make_grid([images[1] * tgrad.arange(3.0), images[4] * tgrad.arange(3.0)],
                           normalize=True, scale_each=True, padding=0).numpy()  # fmt: skip
    np.testing.assert_array_equal(each[0, 0], [0, 0.5, 1, 0, 0.5, 1])
    assert utils.make_grid(images[0, 0]).shape == (3, 2, 3)
    with pytest.raises(TypeError, match="list of tensors expected"):
        utils.make_grid([1, 2])
    with pytest.raises(TypeError, match="tuple"):
        utils.make_grid(images, normalize=True, value_range=[0, 1])


def test_saved_images_are_read_back(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    images = tgrad.tensor(np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32))
    utils.save_image(images, tmp_path / "grid.png", padding=1)
    got = np.asarray(Image.open(tmp_path / "grid.png"))
    assert got.shape == (6, 13, 3)
    want = np.round(images[1].numpy().transpose(1, 2, 0) * 255)
    assert np.abs(got[1:5, 7:12].astype(int) - want).max() <= 1
