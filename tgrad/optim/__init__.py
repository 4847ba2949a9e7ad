"""Optimisers, with the names, arguments and state layout of ``torch.optim``."""

from tgrad.optim.adam import Adam, AdamW
from tgrad.optim.optimizer import Optimizer
from tgrad.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
