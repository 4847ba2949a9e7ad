"""``torchvision.transforms.v2``: the same as :mod:`tgrad.vision.transforms`."""

from tgrad.vision.transforms import *  # noqa: F403 - the names of __all__
from tgrad.vision.transforms import __all__ as __all__
