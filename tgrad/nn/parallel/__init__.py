"""One module on several devices of this process: copies of it, each with a part of the batch."""

from tgrad.nn.parallel.data_parallel import DataParallel, data_parallel
from tgrad.nn.parallel.parallel_apply import parallel_apply
from tgrad.nn.parallel.replicate import replicate
from tgrad.nn.parallel.scatter_gather import gather, scatter

__all__ = ["DataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter"]
