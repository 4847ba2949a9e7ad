"""The layers, one file per family."""

from tgrad.nn.modules.activation import (
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tgrad.nn.modules.container import ModuleDict, ModuleList, Sequential
from tgrad.nn.modules.conv import Conv2d
from tgrad.nn.modules.dropout import Dropout
from tgrad.nn.modules.embedding import Embedding
from tgrad.nn.modules.flatten import Flatten, Unflatten
from tgrad.nn.modules.linear import Identity, Linear
from tgrad.nn.modules.loss import CrossEntropyLoss, MSELoss, NLLLoss
from tgrad.nn.modules.module import Module
from tgrad.nn.modules.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, LayerNorm
from tgrad.nn.modules.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
]
