"""Kernels that a tuner has nothing to choose of, and why: all others have a space.

By file and function, or by the name of a kernel whose source is put together.
"""

from __future__ import annotations

SMALL = "reads a few numbers for each channel, row or part, beside a launch that is tuned"
MEMORY = "writes a line of elements as fast as memory takes them, at any block of some 1024"
RANDOM = "draws other numbers in float64, in which results are checked"
SORTED = "follows a sort that takes several times as long"
ARRIVAL = "what comes last stays, or sums differ in their last bits: results cannot be checked"
SEQUENCE = "one lane for each state of a sequence: the sizes leave nothing to choose"

FIXED = {
    "amp.unscale_kernel": "shares the tables of the optimisers' update, and its block",
    "arrange.repeat_index_kernel": "searches a short list, which stays in cache",
    "arrange.triangle_kernel": MEMORY,
    "attention_backward.attention_backward_mask_kernel": "mostly has the tile of dq's kernel",
    "attention_backward.row_dots_kernel": "reads what the gradients read again, a few percent",
    "batch_norm.coefficients_kernel": SMALL,
    "batch_norm.statistics_kernel": SMALL,
    "creation.arange_kernel": MEMORY,
    "creation.eye_kernel": MEMORY,
    "creation.linspace_kernel": MEMORY,
    "ctc.ctc_alpha_kernel": SEQUENCE,
    "ctc.ctc_gradient_kernel": "looks through the labels of a sequence, beside the two before it",
    "ctc.ctc_share_kernel": SEQUENCE,
    "embedding.count_kernel": SMALL,
    "embedding.embedding_runs_kernel": SORTED,
    "extrema.fill_kernel": MEMORY,
    "extrema.move_kernel": ARRIVAL,
    "extrema.place_one_kernel": MEMORY,
    "gemm.sum_splits_kernel": "adds up parts, whose number is the product's choice",
    "implicit_gemm.add_parts_kernel": "adds up parts, whose number is the convolution's choice",
    "index.count_kernel": MEMORY,
    "nonzero": "has the parts that the counts were made of",
    "norm_kernels.layer_norm_columns_kernel": "sums columns of rows too long for one program",
    "ordered.runs_kernel": SORTED,
    "ordered.scan_kernel": SMALL,
    "ordered.totals_kernel": SMALL,
    "random.bernoulli_kernel": RANDOM,
    "random.cumulative_kernel": "one program for each row of weights",
    "random.draw_kernel": RANDOM,
    "random.integers_kernel": RANDOM,
    "random.keys_kernel": RANDOM,
    "random.low_bits_kernel": RANDOM,
    "random.sample_kernel": RANDOM,
    "scan.run_lengths_kernel": SORTED,
    "scan.shift_kernel": MEMORY,
    "search.searchsorted_kernel": "waits for a chain of loads, whose length is the row's",
    "shape.unfold_backward_kernel": MEMORY,
    "sort.take_sorted_kernel": SORTED,
    "statistics.moments_merge_kernel": SMALL,
    "unique.run_starts_kernel": SORTED,
}
