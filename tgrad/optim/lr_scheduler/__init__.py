"""Schedulers of the learning rate, with the names and arguments of ``torch.optim.lr_scheduler``."""

from tgrad.optim.lr_scheduler.base import LRScheduler
from tgrad.optim.lr_scheduler.base import _LRScheduler as _LRScheduler
from tgrad.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from tgrad.optim.lr_scheduler.cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from tgrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tgrad.optim.lr_scheduler.schedules import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)

__all__ = ["ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
           "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
           "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR",
           "StepLR"]  # fmt: skip
