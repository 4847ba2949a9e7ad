"""Programs written for PyTorch run with their import line changed, and learn what they should."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

PROGRAMS = ("gan", "segment", "words")


@pytest.fixture(scope="module")
def results():
    return {name: importlib.import_module(f"tests.programs.{name}").main() for name in PROGRAMS}


def test_the_critic_of_a_gan_learns_under_its_gradient_penalty(results):
    losses = results["gan"][0:12:3]
    assert np.isfinite(results["gan"]).all() and losses[-1] < losses[0]


def test_a_network_of_squares_learns_and_its_rate_falls_on_the_plateau(results):
    losses, rates = results["segment"][0:6:2], results["segment"][1:6:2]
    assert losses[0] > losses[1] > losses[2] and rates == [1e-2, 5e-3, 2.5e-3]


def test_text_is_learnt_alike_with_either_attention(results):
    fast, slow = np.split(np.array(results["words"]), 2)
    np.testing.assert_allclose(fast, slow, rtol=1e-3)
    assert fast[33] < 0.9 * fast[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_print_what_a_reader_of_pytorch_expects(name, results, capsys):
    again = importlib.reload(importlib.import_module(f"tests.programs.{name}")).main()
    assert again == pytest.approx(results[name], rel=1e-5)
    text = capsys.readouterr().out
    wanted = {
        "gan": "(1): LeakyReLU(negative_slope=0.2, inplace=True)|grad_fn=<AddBackward0>|"
        "tgrad.return_types.max(\nvalues=tensor([",
        "segment": "(norm): GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)|"
        "<All keys matched successfully>|AdamW (\nParameter Group 0\n    amsgrad: False|"
        "tgrad.int64",
        "words": "(0-1): 2 x Block(|7,216 parameters|grad_fn=<NllLossBackward0>|tensor([[20,",
    }[name]
    assert not [part for part in wanted.split("|") if part not in text], text


PATHS = """nn.modules.conv._ConvNd nn.modules.batchnorm._BatchNorm nn.modules.utils._pair
nn.modules.loss._WeightedLoss nn.modules.rnn.RNNBase nn.init._calculate_fan_in_and_fan_out
optim.optimizer.ParamsT optim.lr_scheduler._LRScheduler utils.data._utils.collate.default_collate
utils.data.dataloader.default_collate utils.data.distributed.DistributedSampler
utils.hooks.RemovableHandle utils._pytree.tree_map autograd.profiler.record_function
autograd.function.once_differentiable autograd.Variable nn.utils.rnn.pad_sequence"""


@pytest.mark.parametrize("path", PATHS.split())
def test_paths_that_programs_import_lead_somewhere(path):
    module, _, name = f"tgrad.{path}".rpartition(".")
    assert getattr(importlib.import_module(module), name) is not None
