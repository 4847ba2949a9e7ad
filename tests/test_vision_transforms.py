"""Transforms: chance, samples, batches, devices, and Pillow's results where both are defined."""

from __future__ import annotations

import pickle
import sys
from collections import namedtuple

import numpy as np
import pytest

import tgrad
from tgrad.utils.data import DataLoader, Dataset
from tgrad.vision import transforms as T
from tgrad.vision.transforms import chance
from tgrad.vision.transforms import functional as F

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (3, 19, 14), dtype=np.uint8)
rows, columns = np.mgrid[0:19, 0:14]
SMOOTH = (127 + 100 * np.sin(np.stack([rows * 0.3, columns * 0.4, (rows + columns) * 0.2]))).astype(
    np.uint8
)

RANDOM = {
    "flip": T.RandomHorizontalFlip(), "vertical": T.RandomVerticalFlip(),
    "crop": T.RandomCrop(9, padding=2), "resized crop": T.RandomResizedCrop(8),
    "rotation": T.RandomRotation(40), "affine": T.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 5),
    "perspective": T.RandomPerspective(), "jitter": T.ColorJitter(0.3, 0.3, 0.3, 0.1),
    "grey": T.RandomGrayscale(0.5), "blur": T.GaussianBlur(3), "erasing": T.RandomErasing(),
    "noise": T.RandomErasing(value="random"), "elastic": T.ElasticTransform(20.0, 2.0),
    "rand augment": T.RandAugment(), "trivial": T.TrivialAugmentWide(), "augmix": T.AugMix(),
    **{str(p): T.AutoAugment(p) for p in T.AutoAugmentPolicy},
    "order": T.RandomOrder([T.RandomInvert(1.0), T.RandomPosterize(2, 1.0)]),
    "choice": T.RandomChoice([T.RandomInvert(1.0), T.RandomSolarize(99, 1.0)]),
    "apply": T.RandomApply([T.RandomEqualize(1.0), T.RandomAutocontrast()]),
    "sharpness": T.RandomAdjustSharpness(2.0), "permuted": T.RandomChannelPermutation(),
}  # fmt: skip


def array(image) -> np.ndarray:
    return image.numpy() if isinstance(image, tgrad.Tensor) else np.asarray(image)


def pillow(a: np.ndarray):
    return Image.fromarray(a.transpose(1, 2, 0) if a.ndim == 3 else a)


# ---- chance --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tensor", "pillow"])
@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_what_a_transform_draws(name: str, kind: str):
    image = tgrad.tensor(NOISE) if kind == "tensor" else pillow(NOISE)
    results = []
    for seed in (1, 1, *range(2, 14)):
        tgrad.manual_seed(seed)
        results.append(array(RANDOM[name](image)).copy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(array(image), array(pillow(NOISE) if kind == "pillow" else
                                                      tgrad.tensor(NOISE)))  # fmt: skip
    assert any(r.shape != results[0].shape or (r != results[0]).any() for r in results[2:])


def test_the_state_of_the_generator_decides_and_is_moved_on():
    tgrad.manual_seed(5)
    state = tgrad.get_rng_state()
    first = [chance.uniform() for _ in range(4)]
    tgrad.set_rng_state(state)
    assert [chance.uniform() for _ in range(4)] == first and len(set(first)) == 4


def test_draws_have_their_distributions():
    tgrad.manual_seed(0)
    n = 4000
    u = np.array([chance.uniform(-1, 3) for _ in range(n)])
    assert u.min() >= -1 and u.max() < 3 and abs(u.mean() - 1) < 0.06
    k = np.bincount([chance.integer(2, 5) for _ in range(n)], minlength=5)
    assert k[:2].sum() == 0 and (abs(k[2:] / n - 1 / 3) < 0.03).all()
    orders = {tuple(chance.order(3)) for _ in range(200)}
    assert len(orders) == 6
    c = np.bincount([chance.choice([1, 0, 3]) for _ in range(n)], minlength=3) / n
    assert c[1] == 0 and abs(c[0] - 0.25) < 0.03
    d = np.array([chance.dirichlet([2.0, 1.0]) for _ in range(1000)])
    np.testing.assert_allclose(d.sum(1), 1)
    assert abs(d[:, 0].mean() - 2 / 3) < 0.03


@pytest.mark.parametrize("p, changed", [(0.0, 0), (1.0, 40), (0.5, None)])
def test_p_is_how_often_a_transform_is_applied(p: float, changed: int | None):
    tgrad.manual_seed(0)
    flip, image = T.RandomHorizontalFlip(p), tgrad.tensor(NOISE)
    count = sum(bool((array(flip(image)) != NOISE).any()) for _ in range(40))
    assert count == changed if changed is not None else 8 < count < 32


def test_random_windows_have_the_share_and_ratio_that_was_asked_for():
    tgrad.manual_seed(0)
    image = tgrad.zeros(1, 100, 100)
    boxes = [T.RandomResizedCrop.get_params(image, (0.2, 0.5), (0.5, 2.0)) for _ in range(200)]
    for top, left, h, w in boxes:
        assert 0 <= top <= 100 - h and 0 <= left <= 100 - w
        assert 0.19 <= h * w / 1e4 <= 0.51 and 0.48 <= w / h <= 2.1
    assert len({(b[0], b[1]) for b in boxes}) > 150
    assert T.RandomResizedCrop.get_params(tgrad.zeros(1, 10, 100), (1, 1), (1, 1)) == (
        0,
        45,
        10,
        10,
    )


def test_erasing_sets_a_rectangle_of_the_asked_share():
    tgrad.manual_seed(0)
    image = tgrad.ones(3, 50, 40)
    y = T.RandomErasing(1.0, (0.2, 0.2), (1.0, 1.0), value=[2, 3, 4])(image)
    changed = array(y) != 1
    at = np.argwhere(changed[0])
    h, w = at.max(0) - at.min(0) + 1
    assert changed.all(0).sum() == h * w == 400 and (h, w) == (20, 20)
    assert [array(y)[c][changed[c]].max() for c in range(3)] == [2, 3, 4]
    assert array(image).min() == 1
    assert T.RandomErasing(1.0, (0.2, 0.2), inplace=True)(image) is image


def test_workers_draw_what_the_parent_would():
    class Rows(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            draw = T.Compose([T.RandomCrop(8, padding=3), T.ColorJitter(0.5), T.RandomRotation(9)])
            return draw(tgrad.tensor(NOISE))

    batches = []
    for workers in (0, 1):
        tgrad.manual_seed(3)
        batches.append([array(b).copy() for b in DataLoader(Rows(), 2, num_workers=workers)])
    np.testing.assert_array_equal(batches[0], batches[1])


# ---- samples and batches -------------------------------------------------------------------------


def test_the_rest_of_a_sample_is_passed_on():
    image, label = tgrad.tensor(NOISE), tgrad.tensor(3)
    invert = T.RandomInvert(1.0)
    y, same = invert(image, label)
    assert same is label and (array(y) == 255 - NOISE).all()
    Sample = namedtuple("Sample", "image target")
    z = invert(Sample(image, {"label": label, "name": "a"}))
    assert isinstance(z, Sample) and z.target["name"] == "a" and z.target["label"] is label
    a, b, c = invert(
        [pillow(NOISE), tgrad.tensor(NOISE), 7]
    )  # a tensor beside Pillow's is no image
    assert (array(a) == 255 - NOISE.transpose(1, 2, 0)).all() and (array(b) == NOISE).all()
    assert c == 7


def test_images_of_one_sample_are_changed_alike():
    tgrad.manual_seed(1)
    for _ in range(4):
        a, b = T.RandomCrop(6)(pillow(NOISE), pillow(NOISE))
        np.testing.assert_array_equal(array(a), array(b))


def test_any_callable_is_a_transform():
    double = T.Compose([lambda x: x * 2, T.Lambda(lambda x: x + 1, tgrad.Tensor)])
    assert double(tgrad.tensor([[1.0]])).item() == 3
    assert T.Compose([T.Identity(), T.RandomApply([abs], 1.0)])(-3) == 3


BATCHED = {
    "rotate": (25.0, "bilinear"), "autocontrast": (), "equalize": (), "adjust_contrast": (1.7,),
    "gaussian_blur": (3,), "pad": ([1, 2], [1, 2, 3]), "rgb_to_grayscale": (3,),
    "adjust_hue": (0.3,), "adjust_sharpness": (0.0,), "center_crop": (7,),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_is_its_images_one_by_one(name: str):
    a = np.stack([NOISE, SMOOTH, NOISE[::-1], SMOOTH // 2]).reshape(2, 2, *NOISE.shape)
    function = getattr(F, name)
    whole = array(function(tgrad.tensor(a), *BATCHED[name]))
    for i in range(2):
        for j in range(2):
            one = array(function(tgrad.tensor(np.ascontiguousarray(a[i, j])), *BATCHED[name]))
            np.testing.assert_array_equal(whole[i, j], one)


@pytest.mark.parametrize("name", ["rotate", "equalize", "gaussian_blur", "adjust_hue", "pad"])
def test_the_gpu_gives_the_same(name: str):
    a = tgrad.tensor(NOISE[:, :7, :5])
    want = array(getattr(F, name)(a, *BATCHED[name])).astype(int)
    y = getattr(F, name)(a.to("cuda"), *BATCHED[name])
    assert y.device.type == "cuda" and np.abs(array(y.cpu()).astype(int) - want).max() <= 1


def test_mixed_labels_are_the_shares_of_what_is_seen():
    tgrad.manual_seed(2)
    colours = np.arange(4.0)[:, None, None, None] * np.ones((1, 2, 6, 8))
    labels = tgrad.tensor([0, 1, 2, 1])
    for mix in (T.MixUp(num_classes=3), T.CutMix(num_classes=3, alpha=0.5)):
        for _ in range(5):
            x, y = mix(tgrad.tensor(colours), labels)
            assert y.shape == (4, 3)
            np.testing.assert_allclose(array(y).sum(1), 1, rtol=1e-6)
            share = array(y)[0, 0]  # of row 0 in itself; the rest is row 3's
            seen = array(x)[0].mean() / 3
            np.testing.assert_allclose(seen, 1 - share, atol=1e-6)
    cut = array(T.CutMix(num_classes=3)(tgrad.tensor(colours), labels)[0])
    assert set(np.unique(cut[1])) <= {0.0, 1.0}
    shares = tgrad.tensor([[1.0, 0.0, 0.0]] * 4)
    x, target = T.MixUp()((tgrad.tensor(colours), {"label": shares}))
    assert target["label"].shape == (4, 3)


# ---- values --------------------------------------------------------------------------------------

SAME_AS_PILLOW = {
    "hflip": (), "vflip": (), "crop": (-2, 3, 30, 6), "center_crop": ([8, 20],), "invert": (),
    "pad": ([1, 2, 3, 4], 7), "posterize": (3,), "solarize": (100,), "equalize": (),
    "adjust_brightness": (1.4,), "autocontrast": (), "rgb_to_grayscale": (),
    "adjust_gamma": (0.7, 1.2), "resize": ([7, 11],), "resize small": (5,),
    "resize bicubic": ([30, 9], "bicubic"), "resize lanczos": ([9, 8], "lanczos"),
    "resized_crop": (3, 1, 12, 9, [6, 14]),
}  # fmt: skip
LEVELS = {"rgb_to_grayscale": 1, "autocontrast": 1, "adjust_gamma": 1, "adjust_brightness": 1,
          "resize": 1, "resized_crop": 1}  # fmt: skip


@pytest.mark.parametrize("name", SAME_AS_PILLOW)
@pytest.mark.parametrize("a", [NOISE, SMOOTH, NOISE // 100 * 100], ids=["noise", "smooth", "few"])
def test_tensors_get_what_pillow_gives(name: str, a: np.ndarray):
    function, arguments = getattr(F, name.split()[0]), SAME_AS_PILLOW[name]
    y = array(function(tgrad.tensor(a), *arguments)).astype(int)
    want = array(function(pillow(a), *arguments)).astype(int)
    want = want.transpose(2, 0, 1) if want.ndim == 3 else want[None]
    assert y.shape == want.shape and np.abs(y - want).max() <= LEVELS.get(name.split()[0], 0)


WARPS = {
    "rotate": (F.rotate, (33.0,), {"fill": 9}),
    "rotate expand": (F.rotate, (33.0,), {"expand": True}),
    "affine": (F.affine, (20.0, [2, -3], 1.3, [9.0, 4.0]), {"fill": [1, 2, 3], "center": [4, 5]}),
    "perspective": (
        F.perspective,
        ([[0, 0], [13, 0], [13, 18], [0, 18]], [[2, 1], [12, 3], [13, 15], [1, 17]]), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_warps_are_those_of_pillow_away_from_the_border(name: str, mode: str):
    function, arguments, options = WARPS[name]
    y = array(function(tgrad.tensor(SMOOTH), *arguments, interpolation=mode, **options))
    want = array(function(pillow(SMOOTH), *arguments, interpolation=mode, **options))
    wrong = np.abs(y.astype(int) - want.transpose(2, 0, 1).astype(int))
    # the border differs: tensors fade into the fill, Pillow rounds the expanded middle
    assert wrong.shape == y.shape and np.median(wrong) <= (1 if "expand" not in name else 8)
    assert name == "rotate expand" or (wrong > 2).mean() < 0.2


def test_bilinear_warps_match_a_float64_reference():
    a = RNG.standard_normal((2, 9, 7))
    got = array(F.affine(tgrad.tensor(a), 15.0, [1, -2], 0.9, [6.0, -4.0], "bilinear"))
    t, sx, sy = np.radians([15.0, 6.0, -4.0])
    forward = 0.9 * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    forward = forward @ [[1, 0], [-np.tan(sy), 1]] @ [[1, -np.tan(sx)], [0, 1]]
    want = np.zeros_like(a)
    for i in range(9):
        for j in range(7):
            at = np.array([j - 3.0 - 1, i - 4.0 + 2])  # about the middle, before the shift
            x, y = np.linalg.solve(forward, at) + np.array([3.0, 4.0])
            for r in (int(np.floor(y)), int(np.floor(y)) + 1):
                for c in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= r < 9 and 0 <= c < 7:
                        want[:, i, j] += a[:, r, c] * (1 - abs(y - r)) * (1 - abs(x - c))
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_gaussian_blur_matches_a_float64_reference():
    a = RNG.standard_normal((1, 8, 9))
    got = array(F.gaussian_blur(tgrad.tensor(a), [5, 3], [0.8, 1.7]))[0]
    wx, wy = (
        np.exp(-((np.arange(k) - k // 2) ** 2) / (2 * s * s)) for k, s in ((5, 0.8), (3, 1.7))
    )
    wide = np.pad(a[0], ((1, 1), (2, 2)), mode="reflect")
    window = np.outer(wy / wy.sum(), wx / wx.sum())
    want = sum(window[i, j] * wide[i : i + 8, j : j + 9] for i in range(3) for j in range(5))
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_hue_matches_the_colour_model_of_python():
    import colorsys

    a = RNG.random((3, 4, 5))
    got = array(F.adjust_hue(tgrad.tensor(a.astype(np.float32)), 0.3))
    for i in range(4):
        for j in range(5):
            h, s, v = colorsys.rgb_to_hsv(*a[:, i, j])
            want = colorsys.hsv_to_rgb((h + 0.3) % 1, s, v)
            np.testing.assert_allclose(got[:, i, j], want, atol=2e-6)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("kind", ["tensor", "pillow"])
def test_padding_is_that_of_numpy(mode, kind: str):
    y = F.pad(tgrad.tensor(NOISE) if kind == "tensor" else pillow(NOISE), [1, 2, 3, 4], 0, mode)
    want = np.pad(NOISE, ((0, 0), (2, 4), (1, 3)), mode=mode)
    got = array(y) if kind == "tensor" else array(y).transpose(2, 0, 1)
    np.testing.assert_array_equal(got, want)


def test_crops_outside_of_the_image_are_black():
    y = F.crop(tgrad.tensor(NOISE), 20, -9, 3, 4)
    assert y.shape == (3, 3, 4) and not array(y).any()
    np.testing.assert_array_equal(
        array(F.crop(tgrad.tensor(NOISE), -1, 10, 3, 9))[:, 1:, :4], NOISE[:, :2, 10:]
    )


def test_five_and_ten_crops_are_corners_and_middle():
    x = tgrad.tensor(NOISE)
    five, ten = T.FiveCrop(4)(x), T.TenCrop([4, 4], vertical_flip=True)(x)
    ends = [NOISE[:, :4, :4], NOISE[:, :4, -4:], NOISE[:, -4:, :4], NOISE[:, -4:, -4:],
            NOISE[:, 8:12, 5:9]]  # fmt: skip
    for got, want in zip(five, ends, strict=True):
        np.testing.assert_array_equal(array(got), want)
    assert len(ten) == 10
    np.testing.assert_array_equal(array(ten[5]), NOISE[:, ::-1][:, :4, :4])


def test_images_go_to_tensors_and_back():
    image = pillow(NOISE)
    assert array(T.ToTensor()(image)).max() <= 1 and T.ToTensor()(NOISE[0]).shape == (1, 19, 14)
    np.testing.assert_array_equal(array(T.PILToTensor()(image)), NOISE)
    np.testing.assert_array_equal(array(T.ToImage()(NOISE.transpose(1, 2, 0))), NOISE)
    for back in (T.ToPILImage()(tgrad.tensor(NOISE)), T.ToPILImage()(T.ToTensor()(image))):
        assert back.mode == "RGB" and back.tobytes() == image.tobytes()
    whole = T.Compose([T.ToImage(), T.ToDtype(tgrad.float32, scale=True),
                       T.Normalize([0.5] * 3, [0.25] * 3)])  # fmt: skip
    np.testing.assert_allclose(array(whole(image)), (NOISE / 255 - 0.5) / 0.25, atol=1e-5)
    assert T.ToTensor()({"x": image, "y": 4})["y"] == 4


def test_normalize_keeps_nothing_of_the_mode_it_first_ran_in():
    mean, std = [0.11, 0.22, 0.33], [0.5, 0.25, 0.125]
    with tgrad.inference_mode():
        F.normalize(tgrad.rand(3, 2, 2), mean, std)
    x = tgrad.rand(3, 2, 2, requires_grad=True)
    F.normalize(x, mean, std).sum().backward()
    assert x.grad is not None and x.grad[:, 0, 0].tolist() == [2, 4, 8]


def test_transforms_are_pickled_whole():
    made = T.Compose(
        [T.RandomCrop(6), T.ColorJitter(0.3), T.AutoAugment(), T.Normalize([0.1], [1])]
    )
    again = pickle.loads(pickle.dumps(made))
    assert repr(again) == repr(made)
    tgrad.manual_seed(1)
    y = made(tgrad.rand(3, 8, 8))
    tgrad.manual_seed(1)
    np.testing.assert_array_equal(array(again(tgrad.rand(3, 8, 8))), array(y))


def test_repr_names_the_arguments():
    crop = T.RandomCrop(4, padding=[1, 2])
    assert repr(crop) == (
        "RandomCrop(size=(4, 4), padding=[1, 1, 2, 2], pad_if_needed=False, fill=0, "
        "padding_mode=constant)"
    )
    assert repr(T.Compose([T.Grayscale(), crop])).split("\n")[1] == (
        "      Grayscale(num_output_channels=1)"
    )


# ---- without Pillow ------------------------------------------------------------------------------


def test_without_pillow_tensors_work_and_the_rest_says_what_to_install(monkeypatch):
    for name in ("PIL", "PIL.Image", "PIL.ImageOps", "PIL.ImageEnhance"):
        monkeypatch.setitem(sys.modules, name, None)
    x = tgrad.tensor(NOISE)
    assert array(T.RandomInvert(1.0)(x)).shape == NOISE.shape
    with pytest.raises(ImportError, match=r"to_pil_image needs Pillow: pip install 'tgrad\[vision"):
        F.to_pil_image(x)
