"""Which ops autocast runs in which dtype, by kind of device; the lists are PyTorch's."""

from __future__ import annotations

LOWER, FLOAT32, PROMOTE, LEAVE, BANNED = "lower", "float32", "promote", "leave", "banned"

_MATRICES = """
    addbmm addmm baddbmm bmm conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d gru linear lstm matmul mm prelu rnn_relu rnn_tanh scaled_dot_product_attention
    vecdot
"""
_LOSSES = """
    cosine_embedding_loss cross_entropy ctc_loss gaussian_nll_loss hinge_embedding_loss huber_loss
    kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss
    poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
    binary_cross_entropy_with_logits
"""

LISTS = {
    "cpu": {
        LOWER: _MATRICES,
        FLOAT32: _LOSSES + """
            avg_pool3d max_pool3d adaptive_avg_pool3d adaptive_max_pool3d fractional_max_pool2d
            fractional_max_pool3d max_unpool2d max_unpool3d binary_cross_entropy grid_sample prod
            quantile nanquantile cdist trace view_as_complex cholesky cholesky_inverse
            cholesky_solve inverse inv lu_solve pinverse pinv qr svd svdvals eig eigh eigvals
            eigvalsh lstsq solve matrix_rank cond householder_product tensorinv tensorsolve
            triangular_solve
        """,
        PROMOTE: "stack cat index_copy",
        LEAVE: "mv addmv addr dot vdot",
    },
    "cuda": {
        LOWER: _MATRICES + "addmv addr chain_matmul multi_dot mv gru_cell lstm_cell rnn_tanh_cell "
        "rnn_relu_cell",
        FLOAT32: _LOSSES + """
            acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow
            softplus layer_norm group_norm norm nuclear_norm cosine_similarity dist pdist cdist
            renorm logsumexp cumprod cumsum prod sum softmax softmin log_softmax vector_norm
            matrix_norm
        """,
        PROMOTE: "addcdiv addcmul atan2 bilinear cat cross dot grid_sample index_put scatter_add "
        "stack tensordot vdot index_copy",
        BANNED: "binary_cross_entropy",
    },
}  # fmt: skip

POLICIES: dict[str, dict[str, str]] = {
    device: {name: kind for kind, names in lists.items() for name in names.split()}
    for device, lists in LISTS.items()
}
