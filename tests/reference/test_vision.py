"""Transforms, data sets and models against torchvision: values, repr, signatures, state_dict."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.vision import datasets, models, transforms, utils
from tgrad.vision.transforms import functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Its wheel may be built for another build of torch and then cannot load its compiled ops, whose
    # registrations fail; none of them is used here.
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("_meta_registrations"))
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    V1 = importlib.import_module("torchvision.transforms.functional")
    v2 = importlib.import_module("torchvision.transforms.v2")
    G = v2.functional
    peers = importlib.import_module("torchvision.models")
    peer_utils = importlib.import_module("torchvision.utils")
    peer_datasets = importlib.import_module("torchvision.datasets")

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

RNG = np.random.default_rng(0)
U8 = RNG.integers(0, 256, (2, 3, 13, 17), dtype=np.uint8)
# smooth, so that a place that is a rounding away reads nearly the same value
WAVES = 0.5 + 0.45 * np.sin(
    np.arange(2)[:, None, None, None] + np.arange(3)[:, None, None] * 0.7
    + np.arange(13)[:, None] * 0.3 + np.arange(17) * 0.2
)  # fmt: skip
POINTS = [[0, 0], [16, 0], [16, 12], [0, 12]], [[2, 1], [15, 2], [13, 11], [1, 10]]

CALLS = {
    "hflip": {}, "vflip": {},
    "crop inside": {"top": 1, "left": 2, "height": 5, "width": 7},
    "crop outside": {"top": -2, "left": 9, "height": 20, "width": 12},
    "center_crop": {"output_size": [6, 4]}, "center_crop odd": {"output_size": [8, 5]},
    "center_crop larger": {"output_size": [20, 9]},
    "pad": {"padding": 2}, "pad two": {"padding": [1, 2], "fill": 7},
    "pad four": {"padding": [1, 0, 3, 2], "fill": [1, 2, 3]},
    "pad cut": {"padding": [-1, 2, 3, -2], "fill": 5},
    "pad cut by channel": {"padding": [-1, 2, 3, -2], "fill": [1, 2, 3]},
    "pad edge": {"padding": [1, 2, 3, 4], "padding_mode": "edge"},
    "pad reflect": {"padding": [1, 2, 3, 4], "padding_mode": "reflect"},
    "pad symmetric": {"padding": [1, 2, 3, 4], "padding_mode": "symmetric"},
    "affine": {"angle": 25.0, "translate": [2, -1], "scale": 1.2, "shear": [8.0, -5.0]},
    "affine bilinear": {"angle": -40.0, "translate": [0, 3], "scale": 0.7, "shear": [3.0],
                        "interpolation": "bilinear", "fill": 9, "center": [3, 4]},
    "affine channels": {"angle": 10.0, "translate": [1, 1], "scale": 1.0, "shear": 12.0,
                        "interpolation": "bilinear", "fill": [1, 2, 3]},
    "affine no fill": {"angle": 10.0, "translate": [1, 1], "scale": 1.0, "shear": [0.0, 9.0],
                       "interpolation": "bilinear"},
    "rotate": {"angle": 31.0}, "rotate 180": {"angle": -180.0}, "rotate 90": {"angle": 90.0},
    "rotate expand": {"angle": 31.0, "expand": True, "fill": 4, "interpolation": "bilinear"},
    "rotate expand 270": {"angle": 270.0, "expand": True},
    "rotate center": {"angle": -17.0, "center": [2.0, 3.0], "interpolation": "bilinear"},
    "perspective": {"startpoints": POINTS[0], "endpoints": POINTS[1]},
    "perspective nearest": {"startpoints": POINTS[0], "endpoints": POINTS[1], "fill": [3, 2, 1],
                            "interpolation": "nearest"},
    "resize": {"size": [7, 9]}, "resize shorter": {"size": 20}, "resize one": {"size": [6]},
    "resize plain": {"size": [5, 30], "antialias": False},
    "resize limit": {"size": 9, "max_size": 11},
    "resize lanczos": {"size": [20, 8], "interpolation": "lanczos"},
    "resize longer": {"size": None, "max_size": 8}, "resize same": {"size": [13, 17]},
    "resize bicubic": {"size": [6, 25], "interpolation": "bicubic"},
    "resize bicubic plain": {"size": [6, 25], "interpolation": "bicubic", "antialias": False},
    "resize nearest": {"size": [6, 25], "interpolation": "nearest"},
    "resize exact": {"size": [6, 25], "interpolation": "nearest-exact"},
    "resized_crop": {"top": 1, "left": 2, "height": 8, "width": 11, "size": [5, 6]},
    "rgb_to_grayscale": {}, "rgb_to_grayscale three": {"num_output_channels": 3},
    "adjust_brightness": {"brightness_factor": 1.4}, "adjust_contrast": {"contrast_factor": 0.3},
    "adjust_contrast up": {"contrast_factor": 1.7},
    "adjust_saturation": {"saturation_factor": 1.9}, "adjust_hue": {"hue_factor": 0.2},
    "adjust_hue back": {"hue_factor": -0.45}, "adjust_gamma": {"gamma": 0.6},
    "adjust_gamma gain": {"gamma": 2.2, "gain": 1.5},
    "adjust_sharpness": {"sharpness_factor": 0.2}, "adjust_sharpness up": {"sharpness_factor": 2.5},
    "posterize": {"bits": 3}, "solarize": {"threshold": 0.6}, "invert": {}, "autocontrast": {},
    "equalize": {}, "permute_channels": {"permutation": [2, 0, 1]},
    "gaussian_blur": {"kernel_size": 3}, "gaussian_blur sigma": {"kernel_size": [5, 3],
                                                                 "sigma": [0.7, 1.5]},
    "normalize": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]},
}  # fmt: skip
TENSORS_ONLY = {"normalize", "resize plain", "resize bicubic plain"}
FLOATS_ONLY = {"normalize"}
# float32 rounds before integers are cut off: one level at a few pixels
A_LEVEL = {"adjust_hue", "adjust_gamma",
           "gaussian_blur", "affine", "rotate", "perspective",
           "adjust_contrast", "adjust_saturation", "adjust_sharpness"}  # fmt: skip
# torchvision writes into what its own backward needs, or the function is a step
NO_GRADIENT = {"adjust_hue", "adjust_sharpness", "affine bilinear", "affine channels", "posterize",
               "rotate expand", "equalize", "autocontrast"}  # fmt: skip


def both(name: str, image, peer, **options):
    ours = getattr(F, name.split()[0])(image, **options)
    return ours, getattr(G, name.split()[0])(peer, **options)


@pytest.mark.parametrize("name", [n for n in CALLS if n.split()[0] not in FLOATS_ONLY])
@pytest.mark.parametrize("shape", ["batch", "image"])
def test_functions_of_uint8_tensors_agree(name: str, shape: str):
    a = U8 if shape == "batch" else (WAVES[0] * 255).astype(np.uint8)
    options = dict(CALLS[name])
    if name == "solarize":
        options["threshold"] = 150
    y, want = both(name, tgrad.tensor(a), torch.tensor(a), **options)
    assert y.dtype is tgrad.uint8 and tuple(y.shape) == tuple(want.shape)
    wrong = np.abs(y.numpy().astype(int) - want.numpy().astype(int))
    if name.split()[0] in A_LEVEL:
        assert wrong.max() <= 1 or "nearest" in name or shape == "batch", wrong.max()
        assert (wrong > 0).mean() < 0.02
    else:
        assert wrong.max() == 0


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_floating_tensors_and_their_gradients_agree(name: str):
    smooth = not {name, name.split()[0]} & NO_GRADIENT
    x = tgrad.tensor(WAVES).requires_grad_(smooth)
    z = torch.tensor(WAVES, requires_grad=smooth)
    y, want = both(name, x, z, **CALLS[name])
    assert y.dtype is tgrad.float64
    bound = 2e-6 if name.split()[0] in ("adjust_hue", "affine", "rotate", "perspective") else 1e-12
    a, b = y.detach().numpy(), want.detach().numpy()
    if name == "perspective nearest":  # its coefficients are of float32 there
        assert (np.abs(a - b) > bound).mean() < 0.01
        return
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)
    if not smooth:
        return
    w = np.random.default_rng(7).standard_normal(want.shape)
    (y * tgrad.tensor(w)).sum().backward()
    (want * torch.tensor(w)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", [n for n in CALLS if n not in TENSORS_ONLY])
def test_functions_of_pillow_images_agree(name: str, mode: str):
    if name in ("pad cut", "pad cut by channel"):
        pytest.skip("Pillow's border cannot be negative")
    image = Image.fromarray(U8[0].transpose(1, 2, 0)).convert(mode)
    options = dict(CALLS[name])
    if name == "solarize":
        options["threshold"] = 150
    if mode == "L":
        options = {k: 3 if k == "fill" else v for k, v in options.items()}
        if name == "permute_channels":
            options = {"permutation": [0]}
    y, want = both(name, image, image, **options)
    assert y.mode == want.mode and y.size == want.size
    a, b = np.asarray(y).astype(int), np.asarray(want).astype(int)
    wrong = np.abs(a - b)
    if name.startswith("perspective"):  # its coefficients are of float32 there
        assert (wrong > 1).mean() < 0.03
    else:
        assert wrong.max() <= (1 if "blur" in name or "affine" in name else 0)


@pytest.mark.parametrize("to", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("of", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_scaled_dtypes_agree(of: str, to: str):
    a = np.linspace(0, 1, 101) if of.startswith("f") else np.arange(101)
    a = a.astype(of).reshape(1, 1, 101)
    if of == "float32" and to == "int32":
        for lib, fun in ((tgrad, F.to_dtype), (torch, G.to_dtype)):
            with pytest.raises(RuntimeError, match="cannot be performed safely"):
                fun(lib.tensor(a), getattr(lib, to), scale=True)
        return
    y = F.to_dtype(tgrad.tensor(a), getattr(tgrad, to), scale=True)
    want = G.to_dtype(torch.tensor(a), getattr(torch, to), scale=True)
    np.testing.assert_array_equal(y.numpy(), want.numpy())


@pytest.mark.parametrize("mode", ["1", "L", "I", "F", "I;16", "RGB", "RGBA", "LA", "P", "HSV"])
def test_pillow_images_become_the_same_tensors_and_come_back(mode: str):
    grey = Image.fromarray(U8[0, 0])
    if mode == "I;16":
        image = Image.fromarray(U8[0, 0].astype(np.uint16) * 100)
    elif mode in ("LA", "1", "I", "F", "P"):
        image = grey.convert(mode)
    else:
        image = Image.fromarray(U8[0].transpose(1, 2, 0)).convert(mode)
    y, want = F.to_tensor(image), V1.to_tensor(image)
    assert str(y.dtype)[6:] == str(want.dtype)[6:]
    np.testing.assert_array_equal(y.numpy(), want.numpy())
    if mode not in ("1", "I;16"):  # torch has few ops for these
        np.testing.assert_array_equal(
            F.pil_to_tensor(image).numpy(), G.pil_to_tensor(image).numpy()
        )
    if mode in ("L", "RGB", "RGBA", "LA"):
        back = F.to_pil_image(F.pil_to_tensor(image))
        assert back.mode == mode and back.tobytes() == image.tobytes()
    if mode != "P":
        floats = F.to_pil_image(np.ascontiguousarray(WAVES[0, 0], np.float32), "F")
        assert floats.mode == "F"


# ---- classes -------------------------------------------------------------------------------------


def parameters(function) -> list[tuple[str, str]]:
    found = inspect.signature(function).parameters.values()
    return [(p.name, str(p.default).rpartition(".")[2] if "dtype" in p.name else repr(p.default))
            for p in found]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in transforms.__all__ if n != "functional"])
def test_classes_take_the_same_arguments(name: str):
    assert parameters(getattr(transforms, name)) == parameters(getattr(v2, name))


@pytest.mark.parametrize("name", [n for n in F.__all__ if n != "to_tensor"])
def test_functions_take_the_same_arguments(name: str):
    assert parameters(getattr(F, name)) == parameters(getattr(G, name))


MADE = [
    lambda t: t.Compose([t.Resize(3), t.RandomCrop(4, padding=2)]),
    lambda t: t.RandomApply([t.ColorJitter(0.1)]), lambda t: t.RandomChoice([t.Grayscale()]),
    lambda t: t.RandomErasing(), lambda t: t.RandAugment(), lambda t: t.AutoAugment(),
    lambda t: t.RandomAffine(3, shear=2), lambda t: t.Pad(3), lambda t: t.GaussianBlur(3),
    lambda t: t.Normalize((0.1, 0.2), [0.3, 0.4]), lambda t: t.RandomRotation([1, 2]),
    lambda t: t.MixUp(num_classes=3), lambda t: t.FiveCrop(3), lambda t: t.ElasticTransform(),
    lambda t: t.Resize(3, t.InterpolationMode.BILINEAR), lambda t: t.RandomPerspective(),
    lambda t: t.RandomResizedCrop((3, 4)), lambda t: t.TrivialAugmentWide(), lambda t: t.RGB(),
    lambda t: t.RandomPosterize(3), lambda t: t.RandomSolarize(3), lambda t: t.TenCrop(2),
]  # fmt: skip


@pytest.mark.parametrize("make", MADE)
def test_reprs_agree(make):
    assert repr(make(transforms)) == repr(make(v2))


def test_policies_are_the_published_ones():
    from tgrad.vision.transforms import auto_augment as A

    for policy in v2.AutoAugmentPolicy:
        want = v2.AutoAugment(policy)._policies
        assert A.policy_of(A.AutoAugmentPolicy(policy.value)) == want
    classes = {"AutoAugment": A._SEARCHED, "RandAugment": A._RANDOM, "TrivialAugmentWide": A._WIDE,
               "AugMix": A._MIXED}  # fmt: skip
    for name, ours in classes.items():
        theirs = getattr(v2, name)._AUGMENTATION_SPACE
        assert set(ours) == set(theirs)
        for operation, (magnitudes, signed) in theirs.items():
            want, got = magnitudes(31, 50, 70), ours[operation][0](31, 50, 70)
            assert ours[operation][1] == signed and (want is None) == (got is None)
            if got is not None:
                np.testing.assert_allclose(got, want.numpy(), rtol=1e-6, atol=1e-6)
    assert set(A._MIXED_FEW) == set(v2.AugMix._PARTIAL_AUGMENTATION_SPACE)


# ---- models and grids ----------------------------------------------------------------------------

MODELS = [n for n in models.__all__ if n[0].islower() and n != "lenet"]


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_names_and_shapes_of_torchvision(name: str, monkeypatch):
    for initialiser in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "zeros_",
                        "ones_", "trunc_normal_", "xavier_uniform_"):  # fmt: skip
        monkeypatch.setattr(tgrad.nn.init, initialiser, lambda t, *args, **kwargs: t)
    ours = getattr(models, name)()
    with torch.device("meta"):
        theirs = getattr(peers, name)()
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    assert [tuple(v.shape) for v in a.values()] == [tuple(v.shape) for v in b.values()]
    assert [type(m).__name__ for m in ours.modules() if not list(m.children())] == [
        type(m).__name__ for m in theirs.modules() if not list(m.children())
    ]


VALUES = {
    "resnet18": ({"num_classes": 5}, (2, 3, 32, 32)),
    "resnet50": ({"num_classes": 5, "replace_stride_with_dilation": [False, False, True]},
                 (1, 3, 32, 40)),
    "mobilenet_v2": ({"num_classes": 5, "width_mult": 0.35}, (2, 3, 32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_models_give_the_same_with_the_weights_of_torchvision(name: str, tmp_path):
    options, shape = VALUES[name]
    torch.manual_seed(0)
    theirs = getattr(peers, name)(**options).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = getattr(models, name)(weights=tmp_path / "weights.pth", **options).eval()
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with torch.no_grad(), tgrad.no_grad():
        want, got = theirs(torch.tensor(x)).numpy(), ours(tgrad.tensor(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


def test_vision_transformers_agree():
    options: Any = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2,
                    "hidden_dim": 16, "mlp_dim": 24, "num_classes": 5,
                    "representation_size": 7}  # fmt: skip
    theirs, ours = peers.VisionTransformer(**options), models.VisionTransformer(**options)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(0, 0.3, tuple(p.shape))))
    ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    y, want = ours(tgrad.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-4, atol=1e-5)
    y.square().sum().backward()
    want.square().sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [
    {}, {"nrow": 2, "padding": 1, "pad_value": 0.5}, {"normalize": True},
    {"normalize": True, "scale_each": True}, {"normalize": True, "value_range": (0.2, 0.7)},
])  # fmt: skip
@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (5, 1, 4, 6), (1, 3, 4, 6), (3, 4, 6), (4, 6)])
def test_grids_agree(options, shape):
    x = np.random.default_rng(0).random(shape)
    got = utils.make_grid(tgrad.tensor(x), **options)
    np.testing.assert_allclose(
        got.numpy(), peer_utils.make_grid(torch.tensor(x), **options).numpy(), rtol=1e-6
    )


def test_data_sets_read_what_torchvision_reads(tmp_path):
    from tests.test_vision_datasets import write_mnist

    write_mnist(tmp_path)
    ours, theirs = datasets.MNIST(tmp_path), peer_datasets.MNIST(tmp_path)
    np.testing.assert_array_equal(ours.data.numpy(), theirs.data.numpy())
    assert ours.targets.tolist() == theirs.targets.tolist() and ours.classes == theirs.classes
    assert repr(ours) == repr(theirs)
    for name in ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST"):
        a, b = getattr(datasets, name), getattr(peer_datasets, name)
        for what in ("train_list", "test_list", "url", "tgz_md5", "resources"):
            if hasattr(b, what):
                assert np.array_equal(getattr(a, what), getattr(b, what)), (name, what)
