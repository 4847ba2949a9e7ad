"""The paths by which programs import what is not public, and the small functions behind them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections import OrderedDict

import pytest

import tgrad
from tgrad import nn

PATHS = {
    "nn.modules": "Module Linear",
    "nn.modules.module": "Module _IncompatibleKeys _addindent",
    "nn.modules.linear": "Linear Identity Bilinear LazyLinear",
    "nn.modules.conv": "_ConvNd _ConvTransposeNd Conv2d LazyConv2d",
    "nn.modules.batchnorm": "_BatchNorm _NormBase BatchNorm2d SyncBatchNorm LazyBatchNorm1d",
    "nn.modules.instancenorm": "_InstanceNorm InstanceNorm2d LazyInstanceNorm3d",
    "nn.modules.normalization": "LayerNorm GroupNorm RMSNorm CrossMapLRN2d LocalResponseNorm",
    "nn.modules.container": "Sequential ModuleList ModuleDict ParameterList ParameterDict",
    "nn.modules.activation": "ReLU MultiheadAttention Softmax",
    "nn.modules.loss": "_Loss _WeightedLoss MSELoss CTCLoss BCELoss GaussianNLLLoss KLDivLoss",
    "nn.modules.dropout": "_DropoutNd Dropout2d",
    "nn.modules.pooling": "_MaxPoolNd _AvgPoolNd _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd _LPPoolNd",
    "nn.modules.padding": "_ReflectionPadNd _ReplicationPadNd _ConstantPadNd _CircularPadNd",
    "nn.modules.rnn": "RNNBase LSTM GRUCell",
    "nn.modules.sparse": "Embedding EmbeddingBag",
    "nn.modules.pixelshuffle": "PixelShuffle PixelUnshuffle",
    "nn.modules.channelshuffle": "ChannelShuffle",
    "nn.modules.lazy": "LazyModuleMixin",
    "nn.modules.utils": "_single _pair _triple _quadruple _ntuple _reverse_repeat_tuple",
    "nn.parameter": "Parameter Buffer UninitializedParameter is_lazy UninitializedTensorMixin",
    "nn.common_types": "_size_2_t _size_any_t _ratio_3_t _tensor_list_t _maybe_indices_t",
    "nn.init": "_calculate_fan_in_and_fan_out _calculate_correct_fan",
    "nn.parallel.data_parallel": "DataParallel",
    "nn.parallel.scatter_gather": "scatter_kwargs gather",
    "nn.utils.clip_grad": "clip_grad_norm_", "nn.utils.rnn": "pack_padded_sequence",
    "nn.utils.weight_norm": "weight_norm", "nn.utils.spectral_norm": "spectral_norm",
    "optim.optimizer": "Optimizer required", "optim.adamw": "AdamW", "optim.adam": "Adam",
    "optim.sgd": "SGD", "optim.adamax": "Adamax", "optim.nadam": "NAdam", "optim.radam": "RAdam",
    "optim.lr_scheduler": "_LRScheduler LRScheduler StepLR",
    "utils.data.dataset": "Dataset Subset", "utils.data.sampler": "Sampler BatchSampler",
    "utils.data.dataloader": "DataLoader default_collate",
    "utils.data.distributed": "DistributedSampler",
    "autograd.function": "Function once_differentiable", "autograd.variable": "Variable",
    "autograd.grad_mode": "no_grad",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_names_are_where_programs_look_for_them(path: str):
    module = importlib.import_module(f"tgrad.{path}")
    found = tgrad
    for part in path.split("."):
        found = getattr(found, part)
    for name in PATHS[path].split():
        mine = getattr(module, name)
        assert getattr(nn, name, mine) is mine or name == "Variable"


@pytest.mark.parametrize("path, name", [
    ("nn.modules.rnn", "LSTM"), ("optim.adamw", "AdamW"), ("nn.modules.batchnorm", "_BatchNorm"),
])  # fmt: skip
def test_a_path_is_found_by_the_first_import_of_a_process(path: str, name: str):
    code = f"from tgrad.{path} import {name}; import tgrad.{path} as m; print(m.{name}.__name__)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.stdout.strip() == name, made.stderr


def test_isinstance_holds_for_the_bases():
    from tgrad.nn.modules.batchnorm import _BatchNorm, _NormBase
    from tgrad.nn.modules.conv import _ConvNd, _ConvTransposeNd
    from tgrad.nn.modules.loss import _Loss, _WeightedLoss

    for n in (1, 2, 3):
        assert isinstance(getattr(nn, f"BatchNorm{n}d")(3), _BatchNorm)
        norm = getattr(nn, f"InstanceNorm{n}d")(3)
        assert isinstance(norm, _NormBase) and not isinstance(norm, _BatchNorm)
        assert isinstance(getattr(nn, f"Conv{n}d")(2, 2, 1), _ConvNd)
        assert isinstance(getattr(nn, f"ConvTranspose{n}d")(2, 2, 1), _ConvTransposeNd)
    assert isinstance(nn.SyncBatchNorm(2), _BatchNorm) and issubclass(nn.KLDivLoss, _Loss)
    assert issubclass(nn.CrossEntropyLoss, _WeightedLoss) and not issubclass(
        nn.L1Loss, _WeightedLoss
    )


def test_sizes_are_repeated_and_completed():
    from tgrad.nn.modules import utils

    assert utils._pair(3) == (3, 3) and utils._triple([1, 2, 3]) == (1, 2, 3)
    assert utils._single("a") == ("a",) and utils._pair.__name__ == "_pair"
    assert utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    assert utils._list_with_default([None, 3], [1, 5, 6, 7]) == [6, 3]
    assert utils._list_with_default(4, [1]) == 4
    with pytest.raises(ValueError, match="at least 3"):
        utils._list_with_default([1, 2], [3, 4])


def test_a_wrapped_models_state_loads_into_the_model():
    state = nn.DataParallel(nn.Sequential(nn.Linear(2, 3))).cpu().state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["0.weight", "0.bias"] and isinstance(state, OrderedDict)
    assert set(state._metadata) == {"", "0"}  # pyright: ignore[reportAttributeAccessIssue]
    nn.Sequential(nn.Linear(2, 3)).load_state_dict(state)


def test_groups_must_bring_required_settings():
    from tgrad.optim.optimizer import Optimizer, required

    p = nn.Parameter(tgrad.ones(2))
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Optimizer([p], {"lr": required})
    assert Optimizer([{"params": [p], "lr": 1.0}], {"lr": required}).param_groups[0]["lr"] == 1.0
    assert repr(required) == "<required parameter>"
