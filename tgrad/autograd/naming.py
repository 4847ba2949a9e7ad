"""What a recorded op is called where its node is printed: PyTorch's name for the same computation.

Most nodes are named after their op. Here are the ops that PyTorch calls otherwise, and those of
which it has several, told apart by the shapes of a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.autograd.graph import Edge, Meta

OTHERWISE = {
    "amax": "Amax", "batch_norm": "NativeBatchNorm", "clamp_min": "Clamp", "clamp_max": "Clamp",
    "convolution_backward_input": "Convolution", "copy": "Clone", "cross_entropy": "NllLoss",
    "cube": "Pow", "dropout": "Mul", "index_select": "IndexSelect", "layer_norm": "NativeLayerNorm",
    "lerp_far": "Lerp", "logsigmoid": "LogSigmoid", "max_dim": "Max",
    "max_pool2d": "MaxPool2DWithIndices", "min_dim": "Min", "prelu": "PreluKernel",
    "relu6": "Hardtanh", "selu": "Elu", "square": "Pow", "triangle": "Tril",
    "vector_norm": "LinalgVectorNorm",
    "cholesky_ex": "LinalgCholeskyEx", "det": "LinalgDet", "eigh": "LinalgEigh",
    "inv_ex": "LinalgInvEx", "matrix_exp": "LinalgMatrixExp", "qr": "LinalgQr",
    "solve_ex": "LinalgSolveEx", "svd": "LinalgSvd",
}  # fmt: skip

NUMBERED = {"clamp": "Clamp", "clamp_min": "Clamp", "clamp_max": "Clamp", "scatter_fill": "Scatter"}

PRODUCTS = ("Dot", "Mv", "Mm")  # by the rank of the result; batches of products are Bmm


def class_name(op: str) -> str:
    """The name of the class of an op's nodes."""
    op = op.lstrip("_")
    if op in NUMBERED:
        return f"{NUMBERED[op]}Backward1"
    return f"{OTHERWISE.get(op) or op.title().replace('_', '')}Backward0"


def node_name(op: str, edges: Sequence[Edge | None], meta: list[Meta], saved: Any) -> str:
    """The name of one node, which ``edges``, the results' ``meta`` and what is ``saved`` decide."""
    op = op.lstrip("_")
    if op in ("slice", "permute") and saved:
        return f"{(_of_slice if op == 'slice' else _of_order)(saved[0][-1])}Backward0"
    if op in ("matmul", "linear", "sum", "mean") and meta:
        rank = len(meta[0][0])
        if op in ("sum", "mean"):
            return f"{op.title()}Backward{int(rank > 0)}"
        if op == "linear":
            names = ("Addmm", "View") if edges[2] is not None else ("Mm", "UnsafeView")
            return f"{names[rank > 2]}Backward0"
        return f"{PRODUCTS[rank] if rank < 3 else 'Bmm'}Backward0"
    return class_name(op)


def _of_slice(index: Any) -> str:
    """PyTorch indexes a dim at a time: the last that does anything is what remains visible."""
    for item in reversed(index if isinstance(index, tuple) else (index,)):
        if isinstance(item, int):
            return "Select"
        if item is None:
            return "Unsqueeze"
        if item is not ... and item != slice(None):
            break
    return "Slice"


def _of_order(order: Sequence[int]) -> str:
    moved = sum(i != d for i, d in enumerate(order))
    return "Transpose" if moved == 2 and len(order) > 2 else "Permute"
