"""Data sets, samplers and loaders, with the names and arguments of ``torch.utils.data``."""

from tgrad.utils.data.collate import default_collate, default_convert
from tgrad.utils.data.dataloader import DataLoader
from tgrad.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tgrad.utils.data.distributed import DistributedSampler
from tgrad.utils.data.imbalance import (
    RandomOverSampler,
    RandomUnderSampler,
    class_weights,
    sample_weights,
)
from tgrad.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tgrad.utils.data.worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomOverSampler",
    "RandomSampler",
    "RandomUnderSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "class_weights",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
    "sample_weights",
]
