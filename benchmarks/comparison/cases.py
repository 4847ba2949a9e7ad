"""The cases, by kernel family: shapes of named models, and sweeps over sizes.

Model shapes: GPT-2 small (768 wide, 12 heads of 64, 50,257 tokens), Llama 2 7B (4096 wide, 32 heads
of 128, 11,008 hidden), ResNet-50 (224 x 224 images), MobileNetV2, the char-LSTM of the examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from comparison import array_code as arrays
from comparison.case import Case, Shape, Shapes

CPU_SINGLE = {"cpu": ("float32",), "cuda": ("float32",)}
PRODUCTS = {"cpu": ("float32",), "cuda": ("bfloat16", "float16", "float32", "tf32")}


def sweep(*sides: int) -> dict[str, list[Shape]]:
    """Square matrices."""
    return {f"{n} x {n}": [(n, n)] for n in sides}


def twice(sizes: dict[str, list[Shape]]) -> dict[str, list[Shape]]:
    return {name: [*shapes, *shapes] for name, shapes in sizes.items()}


def sized(cpu: dict[str, Any], cuda: dict[str, Any], small: Shapes) -> dict[str, dict[str, Any]]:
    """``small`` is for the emulator."""
    return {"cpu": cpu, "cuda": cuda, "small": {"small": small}}


ELEMENTWISE = sized(sweep(256, 1024, 4096), sweep(2048, 8192), [(37, 19)])
PAIRS = sized(twice(sweep(256, 1024, 4096)), twice(sweep(2048, 8192)), [(37, 19), (37, 19)])
ROWS = sized(
    {"GPT-2 hidden": [(1024, 768)], "4096 x 1024": [(4096, 1024)], "GPT-2 logits": [(64, 50257)]},
    {"Llama hidden": [(8192, 4096)], "GPT-2 logits": [(2048, 50257)],
     "long rows": [(512, 151936)]},
    [(33, 40)],
)  # fmt: skip


def with_rows(*vectors: int) -> dict[str, dict[str, Any]]:
    """ROWS with that many vectors as long as a row behind."""
    return {
        scale: {name: [s[0], *[(s[0][-1],)] * len(vectors)] for name, s in sizes.items()}
        for scale, sizes in ROWS.items()
    }


def F(t: Any) -> Any:
    return t.nn.functional


def conv(t: Any, x: Any, w: Any) -> Any:
    return F(t).conv2d(x, w, padding=w.shape[-1] // 2)


def depthwise(t: Any, x: Any, w: Any) -> Any:
    return F(t).conv2d(x, w, padding=1, groups=x.shape[1])


CONVOLUTIONS = sized(
    {"ResNet-50 3x3 64": [(8, 64, 56, 56), (64, 64, 3, 3)],
     "ResNet-50 3x3 256": [(8, 256, 14, 14), (256, 256, 3, 3)],
     "ResNet-50 1x1": [(8, 256, 56, 56), (64, 256, 1, 1)],
     "ResNet-50 stem 7x7": [(4, 3, 224, 224), (64, 3, 7, 7)],
     "digits 3x3": [(64, 24, 8, 8), (48, 24, 3, 3)]},
    {"ResNet-50 3x3 64": [(64, 64, 56, 56), (64, 64, 3, 3)],
     "ResNet-50 3x3 256": [(64, 256, 14, 14), (256, 256, 3, 3)],
     "ResNet-50 1x1": [(64, 256, 56, 56), (64, 256, 1, 1)]},
    [(2, 8, 7, 7), (8, 8, 3, 3)],
)  # fmt: skip
PRODUCT_SIZES = sized(
    {"256": [(256, 256)] * 2, "1024": [(1024, 1024)] * 2, "2048": [(2048, 2048)] * 2,
     "GPT-2 one token": [(1, 768), (768, 3072)]},
    {"2048": [(2048, 2048)] * 2, "8192": [(8192, 8192)] * 2,
     "Llama one batch of 16": [(16, 4096), (4096, 11008)]},
    [(33, 40), (40, 21)],
)  # fmt: skip
LINEAR = sized(
    {"GPT-2 up": [(1024, 768), (3072, 768), (3072,)], "MLP": [(128, 784), (512, 784), (512,)]},
    {"Llama up": [(4096, 4096), (11008, 4096), (11008,)]},
    [(20, 40), (24, 40), (24,)],
)  # fmt: skip


def heads(*shape: int) -> list[Shape]:
    return [shape] * 3


ATTENTION = sized(
    {"GPT-2 1 x 12 x 512": heads(1, 12, 512, 64), "8 x 4 x 64": heads(8, 4, 64, 32)},
    {"GPT-2 8 x 12 x 1024": heads(8, 12, 1024, 64), "Llama 2 x 32 x 4096": heads(2, 32, 4096, 128)},
    heads(1, 2, 20, 16),
)  # fmt: skip


def attention(t: Any, q: Any, k: Any, v: Any) -> Any:
    return F(t).scaled_dot_product_attention(q, k, v)


def causal(t: Any, q: Any, k: Any, v: Any) -> Any:
    return F(t).scaled_dot_product_attention(q, k, v, is_causal=True)


def ctc(t: Any, x: Any, labels: Any) -> Any:
    """Whole sequences, without repeats of blanks: labels are 1 to 4."""
    steps, batch, _ = x.shape
    lengths = (steps,) * batch, (labels.shape[1],) * batch
    return F(t).ctc_loss(x.log_softmax(2), labels + 1, *lengths)


# ---- modules and optimisers ----------------------------------------------------------------------


def lstm_shapes(batch: int, steps: int, inputs: int, hidden: int) -> list[Shape]:
    """x, and the weights and biases of one layer."""
    return [(steps, batch, inputs), (4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,),
            (4 * hidden,)]  # fmt: skip


def build_lstm(t: Any, x: Any, *weights: Any) -> tuple[Any, list[Any]]:
    hidden = weights[0].shape[0] // 4
    layer = t.nn.LSTM(x.shape[-1], hidden, device=x.device, dtype=x.dtype)
    with t.no_grad():
        for p, w in zip(layer.parameters(), weights, strict=True):
            p.copy_(w * hidden**-0.5)
    return lambda: layer(x)[0], [x, *layer.parameters()]


def build_adam(t: Any, *xs: Any) -> tuple[Any, list[Any]]:
    """One step on parameters and gradients that stay: half of the tensors each."""
    half = len(xs) // 2
    ps = [t.nn.Parameter(x.clone()) for x in xs[:half]]
    for p, g in zip(ps, xs[half:], strict=True):
        p.grad = g.clone()
    optimizer = t.optim.Adam(ps, lr=1e-3)

    def step() -> list[Any]:
        optimizer.step()
        return [p.detach() for p in ps]

    return step, []


def optimizer_shapes(*shapes: Shape) -> list[Shape]:
    return [*shapes, *shapes]


ADAM = sized(
    {"GPT-2 block": optimizer_shapes((2304, 768), (768, 768), (3072, 768), (768, 3072)),
     "MLP": optimizer_shapes((512, 784), (512,), (512, 512), (512,), (10, 512), (10,))},
    {"Llama block": optimizer_shapes(*[(4096, 4096)] * 4, *[(11008, 4096)] * 3)},
    optimizer_shapes((20, 10), (10,)),
)  # fmt: skip
LSTM = sized(
    {"char-LSTM": lstm_shapes(32, 64, 128, 256), "one sequence": lstm_shapes(1, 128, 128, 128)},
    {"char-LSTM": lstm_shapes(64, 256, 512, 512)},
    lstm_shapes(2, 5, 8, 8),
)  # fmt: skip


# ---- all -----------------------------------------------------------------------------------------


def build_copy(t: Any, x: Any) -> tuple[Any, list[Any]]:
    """Into memory that is there: fresh pages would cost more than the copy."""
    y = t.empty_like(x)
    return lambda: y.copy_(x), []


def embedding_moved(i: Shape, w: Shape) -> float:
    return 2.0 * math.prod(i) * w[1]


def gathered(x: Shape, i: Shape) -> float:
    return 3.0 * math.prod(i)


CASES: Sequence[Case] = [
    Case("copy", "copy", lambda t, x: None, lambda np, x: np.copy(x), ELEMENTWISE,
         build=build_copy),
    Case("copy", "transpose", lambda t, x: x.t().contiguous(),
         lambda np, x: np.ascontiguousarray(x.T), ELEMENTWISE),
    Case("pointwise", "add", lambda t, x, y: x + y, lambda np, x, y: x + y, PAIRS),
    Case("pointwise", "chain", lambda t, x, y: ((x * y + 1).tanh() * x).exp(),
         lambda np, x, y: np.exp(np.tanh(x * y + 1) * x), PAIRS, backward=True),
    Case("activation", "gelu", lambda t, x: F(t).gelu(x), arrays.gelu, ELEMENTWISE, backward=True),
    Case("activation", "silu", lambda t, x: F(t).silu(x), lambda np, x: x / (1 + np.exp(-x)),
         ELEMENTWISE),
    Case("maths", "exp", lambda t, x: x.exp(), lambda np, x: np.exp(x), ELEMENTWISE),
    Case("bounds", "maximum", lambda t, x, y: t.maximum(x, y), lambda np, x, y: np.maximum(x, y),
         PAIRS),
    Case("comparison", "less than", lambda t, x, y: x < y, lambda np, x, y: x < y, PAIRS),
    Case("mask", "masked_fill", lambda t, x, y: x.masked_fill(y > 0, 0.0),
         lambda np, x, y: np.where(y > 0, 0, x).astype(x.dtype), PAIRS),
    Case("elementwise_loss", "mse_loss", lambda t, x, y: F(t).mse_loss(x, y),
         lambda np, x, y: ((x - y) ** 2).mean(), PAIRS, backward=True),
    Case("power", "pow", lambda t, x: x**1.5, lambda np, x: x**1.5, ELEMENTWISE, kinds="p"),
    Case("special", "lgamma", lambda t, x: t.lgamma(x), None, ELEMENTWISE, kinds="p",
         dtypes=CPU_SINGLE),
    Case("bessel", "i0e", lambda t, x: t.special.i0e(x), None, ELEMENTWISE, kinds="p",
         dtypes=CPU_SINGLE),
    Case("gamma", "gammainc", lambda t, x, y: t.special.gammainc(x, y), None, PAIRS, kinds="pp",
         dtypes=CPU_SINGLE),
    Case("reduction", "sum of rows", lambda t, x: x.sum(1), lambda np, x: x.sum(1), ROWS),
    Case("reduction", "sum of columns", lambda t, x: x.sum(0), lambda np, x: x.sum(0), ROWS),
    Case("reduction", "sum of all", lambda t, x: x.sum(), lambda np, x: x.sum(), ELEMENTWISE),
    Case("statistics", "variance", lambda t, x: x.var(1), lambda np, x: x.var(1, ddof=1), ROWS),
    Case("norms", "row norms", lambda t, x: t.linalg.vector_norm(x, dim=1),
         lambda np, x: np.linalg.norm(x, axis=1), ROWS),
    Case("extrema", "max of rows", lambda t, x: x.max(1)[0], lambda np, x: x.max(1), ROWS),
    Case("softmax", "softmax", lambda t, x: t.softmax(x, -1), arrays.softmax, ROWS, backward=True),
    Case("softmax", "logsumexp", lambda t, x: t.logsumexp(x, -1), arrays.logsumexp, ROWS),
    Case("norm", "layer_norm", lambda t, x, w, b: F(t).layer_norm(x, x.shape[1:], w, b),
         arrays.layer_norm, with_rows(1, 1), backward=True),
    Case("norm", "rms_norm", lambda t, x, w: F(t).rms_norm(x, x.shape[1:], w, 1e-6),
         arrays.rms_norm,
         with_rows(1), backward=True),
    Case("batch_norm", "batch_norm",
         lambda t, x, w, b: F(t).batch_norm(x, None, None, w, b, training=True), arrays.batch_norm,
         sized({"ResNet-50": [(8, 256, 28, 28), (256,), (256,)]},
               {"ResNet-50": [(64, 256, 56, 56), (256,), (256,)]}, [(2, 5, 6, 6), (5,), (5,)]),
         backward=True),
    Case("loss", "cross_entropy", lambda t, x, y: F(t).cross_entropy(x, y), arrays.cross_entropy,
         sized({"GPT-2 logits": [(256, 50257), (256,)], "digits": [(128, 10), (128,)]},
               {"GPT-2 logits": [(4096, 50257), (4096,)]}, [(17, 30), (17,)]),
         kinds=".i", backward=True),
    Case("ctc", "ctc_loss", ctc, None,
         sized({"speech": [(300, 8, 29), (8, 60)]}, {"speech": [(1000, 64, 29), (64, 200)]},
               [(7, 2, 5), (2, 3)]), kinds=".i", high=4, backward=True, dtypes=CPU_SINGLE,
         loose=10),  # logarithms near -1000, of which a float32 is off by 6e-5
    Case("embedding", "embedding", lambda t, i, w: F(t).embedding(i, w), lambda np, i, w: w[i],
         sized({"GPT-2": [(4, 1024), (50257, 768)]}, {"GPT-2": [(32, 1024), (50257, 768)]},
               [(3, 7), (50, 8)]), kinds="i.", backward=True, moved=embedding_moved),
    Case("scan", "cumsum", lambda t, x: x.cumsum(1), lambda np, x: np.cumsum(x, 1), ROWS,
         dtypes=CPU_SINGLE),
    Case("sort", "sort", lambda t, x: x.sort(1)[0], lambda np, x: np.sort(x, 1),
         sized({"1024 x 1024": [(1024, 1024)], "a million": [(1, 1 << 20)]},
               {"4096 x 4096": [(4096, 4096)]}, [(5, 37)]), dtypes=CPU_SINGLE),
    Case("sort", "topk", lambda t, x: x.topk(16, 1)[0],
         lambda np, x: np.sort(np.partition(x, -16, 1)[:, -16:], 1)[:, ::-1],
         sized({"GPT-2 logits": [(64, 50257)]}, {"GPT-2 logits": [(1024, 50257)]}, [(5, 37)]),
         dtypes=CPU_SINGLE),
    Case("search", "searchsorted", lambda t, x, y: t.searchsorted(t.cumsum(x, 0), y * 100),
         lambda np, x, y: np.searchsorted(np.cumsum(x, 0), y * 100),
         sized({"a million in 4096": [(4096,), (1 << 20,)]},
               {"10 M in 4096": [(4096,), (10 << 20,)]}, [(20,), (50,)]),
         kinds="pp", dtypes=CPU_SINGLE),
    Case("unique", "unique", lambda t, x: t.unique(x), lambda np, x: np.unique(x),
         sized({"a million": [(1 << 20,)]}, {"10 M": [(10 << 20,)]}, [(50,)]), kinds="i",
         high=1000, dtypes=CPU_SINGLE),
    Case("index", "rows by index", lambda t, x, i: x[i], lambda np, x, i: x[i],
         sized({"4096 of 10,000 x 256": [(10000, 256), (4096,)]},
               {"64k of 100,000 x 256": [(100000, 256), (65536,)]}, [(10, 8), (5,)]), kinds=".i",
         moved=lambda x, i: 2.0 * i[0] * x[1]),
    Case("scatter", "scatter_add", lambda t, x, i, s: x.scatter_add(1, i, s), None,
         sized({"1024 x 1024": [(1024, 64), (1024, 1024), (1024, 1024)]},
               {"8192 x 8192": [(8192, 64), (8192, 8192), (8192, 8192)]},
               [(5, 10), (5, 7), (5, 7)]), kinds=".i."),
    Case("scatter", "gather", lambda t, x, i: x.gather(1, i),
         lambda np, x, i: np.take_along_axis(x, i, 1),
         sized({"4096 x 64 of 1024": [(4096, 1024), (4096, 64)]},
               {"64k x 64 of 1024": [(65536, 1024), (65536, 64)]}, [(5, 12), (5, 3)]), kinds=".i",
         moved=gathered),
    Case("shape", "cat", lambda t, x, y: t.cat([x, y], 1),
         lambda np, x, y: np.concatenate([x, y], 1), PAIRS),
    Case("shape", "pad", lambda t, x: F(t).pad(x, (3, 5)),
         lambda np, x: np.pad(x, ((0, 0), (3, 5))), ELEMENTWISE),
    Case("arrange", "roll", lambda t, x: x.roll(7, 1), lambda np, x: np.roll(x, 7, 1), ELEMENTWISE),
    Case("dropout", "dropout", lambda t, x: F(t).dropout(x, 0.1), None, ELEMENTWISE,
         check="moments"),
    Case("random", "normal", lambda t, x: t.randn_like(x),
         lambda np, x: np.random.default_rng(0).standard_normal(x.shape, x.dtype), ELEMENTWISE,
         check="moments", moved=lambda x: float(math.prod(x)), dtypes=CPU_SINGLE),
    Case("creation", "arange", lambda t, x: t.arange(x.numel(), device=x.device),
         lambda np, x: np.arange(x.size), ELEMENTWISE, moved=lambda x: 2.0 * math.prod(x),
         dtypes=CPU_SINGLE),
    Case("matmul", "matmul", lambda t, a, b: a @ b, lambda np, a, b: a @ b, PRODUCT_SIZES,
         backward=True, dtypes=PRODUCTS),
    Case("matmul", "linear", lambda t, x, w, b: F(t).linear(x, w, b),
         lambda np, x, w, b: x @ w.T + b, LINEAR, backward=True, dtypes=PRODUCTS),
    Case("matmul", "bmm", lambda t, a, b: t.bmm(a, b), lambda np, a, b: a @ b,
         sized({"64 x 128": [(64, 128, 128)] * 2},
               {"512 x 512 x 64": [(512, 512, 64), (512, 64, 512)]},
               [(2, 20, 16), (2, 16, 20)])),
    Case("linalg", "cholesky", lambda t, x: t.linalg.cholesky(x),
         lambda np, x: np.linalg.cholesky(x),
         sized({"512": [(512, 512)]}, {"512": [(512, 512)]}, [(8, 8)]), kinds="q",
         dtypes={"cpu": ("float32",), "cuda": ()}),
    Case("lu", "lu_factor", lambda t, x: t.linalg.lu_factor(x)[0], None,
         sized({"512": [(512, 512)]}, {}, [(8, 8)]), kinds="q",
         dtypes={"cpu": ("float32",), "cuda": ()}),
    Case("decomposition", "svdvals", lambda t, x: t.linalg.svdvals(x),
         lambda np, x: np.linalg.svd(x, compute_uv=False),
         sized({"256": [(256, 256)]}, {}, [(8, 6)]), dtypes={"cpu": ("float32",), "cuda": ()}),
    Case("matrix_function", "matrix_exp", lambda t, x: t.matrix_exp(x * 0.01), None,
         sized({"256": [(256, 256)]}, {"1024": [(1024, 1024)]}, [(8, 8)]), dtypes=CPU_SINGLE),
    Case("conv", "conv2d", conv, arrays.conv2d, CONVOLUTIONS, backward=True,
         dtypes={"cpu": ("float32",), "cuda": ("bfloat16", "tf32")}),
    Case("conv", "conv2d channels last", conv, None,
         {"cuda": CONVOLUTIONS["cuda"], "cpu": {}, "small": CONVOLUTIONS["small"]}, backward=True,
         dtypes={"cpu": ("float32",), "cuda": ("bfloat16",)}, layout="channels_last"),
    Case("conv", "conv2d depthwise", depthwise, None,
         sized({"MobileNetV2": [(8, 96, 56, 56), (96, 1, 3, 3)]},
               {"MobileNetV2": [(64, 96, 112, 112), (96, 1, 3, 3)]}, [(2, 8, 7, 7), (8, 1, 3, 3)]),
         backward=True),
    Case("pool", "max_pool2d", lambda t, x: F(t).max_pool2d(x, 2), arrays.max_pool,
         sized({"ResNet-50": [(8, 64, 112, 112)]}, {"ResNet-50": [(64, 64, 112, 112)]},
               [(2, 3, 8, 8)]), backward=True),
    Case("pool", "avg_pool2d", lambda t, x: F(t).avg_pool2d(x, 2), arrays.avg_pool,
         sized({"ResNet-50": [(8, 64, 112, 112)]}, {"ResNet-50": [(64, 64, 112, 112)]},
               [(2, 3, 8, 8)])),
    Case("resample", "bilinear upsampling",
         lambda t, x: F(t).interpolate(x, scale_factor=2, mode="bilinear"), None,
         sized({"8 x 64 x 56": [(8, 64, 56, 56)]}, {"64 x 64 x 56": [(64, 64, 56, 56)]},
               [(2, 3, 7, 7)]), backward=True),
    Case("attention", "attention", attention, arrays.attention, ATTENTION, backward=True,
         dtypes={"cpu": ("float32",), "cuda": ("bfloat16", "float16")}),
    Case("attention", "attention causal", causal, arrays.causal_attention, ATTENTION, backward=True,
         dtypes={"cpu": ("float32",), "cuda": ("bfloat16",)}),
    Case("recurrent", "lstm", lambda t, *xs: None, arrays.lstm, LSTM, backward=True,
         build=build_lstm, dtypes={"cpu": ("float32",), "cuda": ("bfloat16", "float32")}),
    Case("optim", "adam", lambda t, *xs: None, None, ADAM, build=build_adam, dtypes=CPU_SINGLE,
         moved=lambda *s: 3.5 * sum(math.prod(x) for x in s)),  # reads p g m v, writes p m v
    Case("distance", "cdist", lambda t, x, y: t.cdist(x, y), arrays.cdist,
         sized({"1000 x 1000 x 64": [(1000, 64)] * 2}, {"8192 x 8192 x 64": [(8192, 64)] * 2},
               [(20, 4), (10, 4)]), dtypes=CPU_SINGLE),
]  # fmt: skip


def named(words: Sequence[str]) -> list[Case]:
    """The cases whose family or name has one of ``words`` in it; all for none.

    Raises: ValueError for a word that names nothing.
    """
    for word in words:
        if not any(word in (c.family, c.name) or word in c.name for c in CASES):
            families = ", ".join(sorted({c.family for c in CASES}))
            raise ValueError(f"no kernel or case {word!r}; families: {families}")
    return [c for c in CASES if not words or any(w == c.family or w in c.name for w in words)]


assert len({c.name for c in CASES}) == len(CASES), "two cases of one name"
