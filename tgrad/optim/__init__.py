"""Optimisers, with the names, arguments and state layout of ``torch.optim``."""

from tgrad.aliases import publish
from tgrad.optim import lr_scheduler, swa_utils
from tgrad.optim.adadelta import Adadelta
from tgrad.optim.adafactor import Adafactor
from tgrad.optim.adagrad import Adagrad
from tgrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tgrad.optim.asgd import ASGD
from tgrad.optim.lbfgs import LBFGS
from tgrad.optim.muon import Muon
from tgrad.optim.optimizer import Optimizer
from tgrad.optim.rmsprop import RMSprop
from tgrad.optim.rprop import Rprop
from tgrad.optim.sgd import SGD
from tgrad.optim.stateless import swap_in_optimizer_params_and_state

__all__ = ["ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
           "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler",
           "swa_utils", "swap_in_optimizer_params_and_state"]  # fmt: skip

publish(__name__, dict.fromkeys(("adamax", "adamw", "nadam", "radam"), ("adam",)))
