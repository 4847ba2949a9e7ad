"""A softmax over many classes whose rare ones share small matrices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tgrad.nn import functional as F
from tgrad.nn.modules.container import ModuleList, Sequential
from tgrad.nn.modules.linear import Linear
from tgrad.nn.modules.module import Module
from tgrad.ops.shape import cat
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType


class _ASMoutput(NamedTuple):
    """The log-probability of each target, and the mean of their negatives."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log_softmax in two steps: frequent classes and clusters of rare ones, then in the cluster.

    Classes are sorted by frequency; cluster i holds [cutoffs[i], cutoffs[i + 1]) and works in
    in_features / div_value^(i + 1) dimensions.

    Shape: (N, in_features) and classes (N), or (in_features) and () -> output (N) or (), loss ()
    Raises: ValueError for cutoffs that do not rise within [1, n_classes - 1], RuntimeError for
        other shapes and for a class out of range (it is looked for: on a GPU this waits).
    Source: Grave et al. 2016, arXiv:1609.04309.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        given = list(cutoffs)
        if not given:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = all(a < b for a, b in pairwise([0, *given, n_classes]))
        if not rising or any(int(c) != c for c in given):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*given, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = given[0], len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **options)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, False, **options),
                    Linear(width, high - low, False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draw every weight anew."""
        self.head.reset_parameters()
        for down, up in self.tail:
            down.reset_parameters()
            up.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        self._check(input_, target_)
        x = input_ if target_.ndim else input_.unsqueeze(0)
        target = target_ if target_.ndim else target_.unsqueeze(0)
        column, in_cluster = target, x.new_zeros(target.shape)
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if rows.numel():
                logs = F.log_softmax(self.tail[i](x[rows]), 1)
                found = logs.gather(1, (target[rows] - low).unsqueeze(1)).squeeze(1)
                in_cluster = in_cluster.index_add(0, rows, found)
                column = column.index_fill(0, rows, self.shortlist_size + i)
        head = F.log_softmax(self.head(x), 1)
        output = in_cluster + head.gather(1, column.unsqueeze(1)).squeeze(1)
        return _ASMoutput(output if target_.ndim else output.squeeze(0), (-output).mean())

    def _check(self, input: Tensor, target: Tensor) -> None:
        if target.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.ndim == 1 and input.shape[0] != target.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.ndim != target.ndim + 1:
            raise RuntimeError(
                f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
                f"inputs with size {list(input.shape)}"
            )
        if target.numel() and bool(target.lt(0).logical_or(target.ge(self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes. Shape: (N, in_features) -> (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        short = self.shortlist_size
        clusters = [
            F.log_softmax(part(input), 1) + head[:, short + i : short + i + 1]
            for i, part in enumerate(self.tail)
        ]
        return cat([head[:, :short], *clusters], 1)

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class; clusters are looked into where one wins. Shape: (N, D) -> (N)."""
        best = self.head(input).argmax(1)
        rows = (best >= self.shortlist_size).nonzero().squeeze(1)
        if rows.numel():
            best = best.index_copy(0, rows, self.log_prob(input[rows]).argmax(1))
        return best
