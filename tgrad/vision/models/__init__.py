"""Models under torchvision's names, with the names and shapes of its parameters.

``weights`` is a path or a state_dict: nothing is fetched, and a file that torchvision's model was
saved to is read as it is.
"""

from tgrad.vision.models.alexnet import AlexNet, alexnet
from tgrad.vision.models.lenet import LeNet, lenet
from tgrad.vision.models.mobilenetv2 import MobileNetV2, mobilenet_v2
from tgrad.vision.models.resnet import ResNet, resnet18, resnet34, resnet50, resnet101, resnet152
from tgrad.vision.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from tgrad.vision.models.vision_transformer import (
    VisionTransformer,
    vit_b_16,
    vit_b_32,
    vit_l_16,
)

__all__ = [
    "VGG", "AlexNet", "LeNet", "MobileNetV2", "ResNet", "VisionTransformer", "alexnet", "lenet",
    "mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg11",
    "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16",
    "vit_b_32", "vit_l_16",
]  # fmt: skip
