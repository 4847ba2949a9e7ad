"""Attention and transformer layers beside torch's: values, gradients, state, repr, errors."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import tgrad
from tgrad import nn

torch = pytest.importorskip("torch", reason="compares with torch")

LIBRARIES = (tgrad, torch)


def quietly(make, *args, **kwargs):
    """torch warns that it cannot use nested tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return make(*args, **kwargs)


def pair(name, *args, **kwargs):
    """The layer in both libraries with torch's weights; its state goes both ways."""
    theirs = quietly(getattr(torch.nn, name), *args, **kwargs).double()
    ours = getattr(nn, name)(*args, **kwargs).double()
    with torch.no_grad():  # biases and norms that start at 0 and 1 would hide a mistake
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    state = {k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    back = {k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(back)
    assert repr(ours) == repr(theirs)
    return ours, theirs


def compare(ours, theirs, arrays, masks=(), **kwargs):
    """Outputs and gradients of the inputs and all parameters agree."""
    results = []
    for lib, layer in ((tgrad, ours), (torch, theirs)):
        xs = [lib.tensor(a, requires_grad=True) for a in arrays]
        more = {k: None if m is None else lib.tensor(m) for k, m in masks}
        ys = quietly(layer, *xs, **more, **kwargs)
        ys = [y for y in (ys if isinstance(ys, tuple) else (ys,)) if y is not None]
        sum((y * y).sum() for y in ys).backward()
        grads = [x.grad for x in (*xs, *layer.parameters())]
        layer.zero_grad()
        results.append([None if t is None else t.detach().numpy() for t in (*ys, *grads)])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def randn(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape)


FUTURE = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
BY_HEAD = np.random.default_rng(0).random((6, 5, 5)) < 0.3
BY_HEAD[..., 0] = False  # no row sees nothing
MASKS = {
    "none": {}, "causal": {"attn_mask": FUTURE}, "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": FUTURE, "key_padding_mask": PADDING},
    "by head": {"attn_mask": BY_HEAD}, "added": {"attn_mask": randn(5, 5)},
    "added both": {"attn_mask": randn(5, 5), "key_padding_mask": randn(3, 5)},
}  # fmt: skip


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_agrees_whatever_the_masks(masks, need_weights):
    ours, theirs = pair("MultiheadAttention", 8, 2)
    x = [randn(5, 3, 8, seed=k) for k in range(3)]
    compare(ours, theirs, x, masks.items(), need_weights=need_weights)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True}, {"bias": False}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True},
        {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True, "kdim": 4},
        {"kdim": 5, "bias": False, "batch_first": True},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("need_weights", [False, True])
def test_every_option_of_attention_agrees(options, need_weights):
    ours, theirs = pair("MultiheadAttention", 8, 2, **options)
    n, length = (3, 5)
    shape = (n, length) if options.get("batch_first") else (length, n)
    widths = (8, options.get("kdim", 8), options.get("vdim", 8))
    xs = [randn(*shape, w, seed=k) for k, w in enumerate(widths)]
    masks = {"key_padding_mask": PADDING, "attn_mask": FUTURE}
    compare(ours, theirs, xs, masks.items(), need_weights=need_weights)
    compare(ours, theirs, [x[0] if shape[0] == n else x[:, 0] for x in xs],
            need_weights=need_weights, average_attn_weights=False)  # fmt: skip


def test_one_input_for_query_key_and_value_shares_one_product():
    ours, theirs = pair("MultiheadAttention", 8, 4, batch_first=True)
    x = randn(3, 5, 8)
    a, b = tgrad.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a, a, a)[0], theirs(b, b, b)[0]
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-12)
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "callable"])
def test_layers_agree(norm_first, batch_first, activation):
    options = {"dropout": 0.0, "norm_first": norm_first, "batch_first": batch_first}
    for name in ("TransformerEncoderLayer", "TransformerDecoderLayer"):
        both = []
        for lib in LIBRARIES:
            chosen = lib.nn.functional.silu if activation == "callable" else activation
            both.append(quietly(getattr(lib.nn, name), 8, 2, 12, activation=chosen, **options))
        ours, theirs = (m.double() for m in both)
        ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
        x, memory = randn(5, 5, 8), randn(5, 5, 8, seed=1)
        masks = {"src_mask" if "Enc" in name else "tgt_mask": FUTURE}
        compare(ours, theirs, [x] if "Enc" in name else [x, memory], masks.items())


def test_the_whole_model_agrees():
    options = {"dropout": 0.0, "bias": False}
    ours, theirs = pair("Transformer", 8, 2, 2, 2, 12, **options)
    src, tgt = randn(4, 3, 8), randn(5, 3, 8)
    compare(ours, theirs, [src, tgt])
    future = nn.Transformer.generate_square_subsequent_mask(5, dtype=tgrad.float64).numpy()
    masks = {"tgt_mask": future, "src_key_padding_mask": PADDING[:, 1:] * 1.0,
             "memory_key_padding_mask": PADDING[:, 1:] * 1.0}  # fmt: skip
    compare(ours, theirs, [src, tgt], masks.items())
    compare(ours, theirs, [src[:, 0], tgt[:, 0]])


def test_the_causal_mask_is_known_by_its_values():
    a = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0), 2).double()
    x = tgrad.tensor(randn(5, 3, 8))
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=tgrad.float64)
    y = a(x, mask=mask)
    np.testing.assert_allclose(y.detach().numpy(), a(x, mask, is_causal=False).detach().numpy())
    other = mask.clone()
    other[0, 1] = 0.0
    assert (a(x, mask=other) != y).any()


def test_generated_masks_are_equal():
    for size in (0, 1, 4):
        a, b = (lib.nn.Transformer.generate_square_subsequent_mask(size) for lib in LIBRARIES)
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_projections_start_in_the_same_range():
    for lib in LIBRARIES:
        layer = lib.nn.MultiheadAttention(64, 4, add_bias_kv=True)
        bound = (6 / (64 + 3 * 64)) ** 0.5
        weight = layer.in_proj_weight.detach().numpy()
        assert 0.99 * bound < np.abs(weight).max() <= bound
        assert not layer.in_proj_bias.detach().numpy().any()
        assert not layer.out_proj.bias.detach().numpy().any()
        assert layer.bias_k.detach().numpy().std() == pytest.approx((2 / 128) ** 0.5, rel=0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.nn.MultiheadAttention(0, 2), lambda lib: lib.nn.MultiheadAttention(7, 2),
        lambda lib: lib.nn.TransformerEncoderLayer(8, 2, activation="tanh"),
        lambda lib: attend(lib, (5, 8), (5, 2, 8)), lambda lib: attend(lib, (5, 2, 6), (5, 2, 6)),
        lambda lib: attend(lib, (5, 2, 8), (4, 2, 8)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), attn_mask=lib.zeros(4, 5)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), attn_mask=lib.zeros(5)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), attn_mask=lib.zeros(5, 5).long()),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), attn_mask=lib.zeros(3, 5, 5)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), key_padding_mask=lib.zeros(5)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), key_padding_mask=lib.zeros(2, 4)),
        lambda lib: attend(lib, (5, 2, 8), (5, 2, 8), is_causal=True),
        lambda lib: small(lib)(lib.zeros(4, 3, 8), lib.zeros(5, 2, 8)),
        lambda lib: small(lib)(lib.zeros(4, 2, 6), lib.zeros(5, 2, 8)),
    ],
)  # fmt: skip
def test_bad_input_raises_the_same_class(make):
    raised = []
    for lib in LIBRARIES:
        with pytest.raises((RuntimeError, ValueError, AssertionError)) as error:
            quietly(make, lib)
        raised.append(error.type)
    assert raised[0] is raised[1]


def attend(lib, query, key, **masks):
    layer = lib.nn.MultiheadAttention(8, 2)
    value = lib.zeros(5, 2, 8) if len(key) == 3 else lib.zeros(5, 8)
    return layer(lib.zeros(query), lib.zeros(key), value, **masks)


def small(lib):
    return quietly(lib.nn.Transformer, 8, 2, 1, 1, 12)


def test_copies_and_pickles_give_the_same():
    model = nn.TransformerEncoderLayer(8, 2, 12, 0.0).eval()
    x = tgrad.randn(5, 3, 8)
    want = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other(x) == want).all()
