"""Transforms of images, with the classes and defaults of ``torchvision.transforms.v2``.

A transform is a callable; those here take an image or a whole sample, change its images alike and
draw what is random from the CPU's default generator, so that ``tgrad.manual_seed`` repeats them.
"""

from tgrad.vision.transforms import functional
from tgrad.vision.transforms.auto_augment import (
    AugMix,
    AutoAugment,
    AutoAugmentPolicy,
    RandAugment,
    TrivialAugmentWide,
)
from tgrad.vision.transforms.base import (
    Compose,
    RandomApply,
    RandomChoice,
    RandomOrder,
    Transform,
)
from tgrad.vision.transforms.colour import (
    ColorJitter,
    GaussianBlur,
    GaussianNoise,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomChannelPermutation,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from tgrad.vision.transforms.convert import (
    RGB,
    ConvertImageDtype,
    Grayscale,
    Identity,
    Lambda,
    Normalize,
    PILToTensor,
    ToDtype,
    ToImage,
    ToPILImage,
    ToTensor,
)
from tgrad.vision.transforms.functional import InterpolationMode
from tgrad.vision.transforms.geometry import (
    CenterCrop,
    ElasticTransform,
    FiveCrop,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    TenCrop,
)
from tgrad.vision.transforms.mix import CutMix, MixUp

__all__ = [
    "RGB", "AugMix", "AutoAugment", "AutoAugmentPolicy", "CenterCrop", "ColorJitter", "Compose",
    "ConvertImageDtype", "CutMix", "ElasticTransform", "FiveCrop", "GaussianBlur", "GaussianNoise",
    "Grayscale", "Identity", "InterpolationMode", "Lambda", "MixUp", "Normalize", "PILToTensor",
    "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine", "RandomApply",
    "RandomAutocontrast", "RandomChannelPermutation", "RandomChoice", "RandomCrop",
    "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert",
    "RandomOrder", "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation",
    "RandomSolarize", "RandomVerticalFlip", "Resize", "TenCrop", "ToDtype", "ToImage", "ToPILImage",
    "ToTensor", "Transform", "TrivialAugmentWide", "functional",
]  # fmt: skip
