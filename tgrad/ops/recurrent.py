"""Recurrent layers: one layer in one direction over a whole sequence is one op.

Rows of all steps stand below each other, (R, features): of equally long sequences T blocks of N
rows, of packed ones blocks that get shorter, ``offsets`` saying where each begins. The backward op
walks the steps the other way round. Gradients of gradients go through single steps written in ops.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad import autograd, dtypes
from tgrad.autograd.grad_mode import is_grad_enabled
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, gradient, op

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh",
           "rnn_tanh_cell"]  # fmt: skip

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
KEPT = {"tanh": 0, "relu": 0, "gru": 4, "lstm": 4}  # numbers kept for backward, a hidden unit
NONE = (0,)  # shape of an output that a mode does not have


@op(spaces=())
def _recurrence(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None,
    w_hr: Tensor | None, h: Tensor, c: Tensor | None, offsets: Tensor | None,
    cell: str, backwards: bool, keep: bool,
) -> tuple[Spec, ...]:  # fmt: skip
    """(y, last h, last c, cells, gates) of one layer in one direction.

    tanh, relu: h' = f(W_ih x + b_ih + W_hh h + b_hh). gru: r, z = sigmoid(...), n = tanh(W_in x +
    b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h. lstm: i, f, g, o; c' = f c + i g, h' = o
    tanh(c'), times W_hr where given. ``backwards`` begins with the last step. ``keep``: cells and
    gates are wanted for backward; how they lie in memory is the device's own affair.
    Shape: x (R, I), w_ih (G H, I), w_hh (G H, P), biases (G H), w_hr (P, H), h (N, P), c (N, H),
    offsets (T + 1) int64 or None where R = T N; y (R, P).
    """
    check_sizes(x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, cell)
    rows, wide, kind = x.shape[0], w_ih.shape[0] // GATES[cell], x.dtype
    lstm = cell == "lstm"
    return (
        Spec((rows, h.shape[1]), kind), Spec(h.shape, kind),
        Spec((h.shape[0], wide) if lstm else NONE, kind),
        Spec((rows, wide) if lstm and keep else NONE, kind),
        Spec((rows, KEPT[cell] * wide) if keep and KEPT[cell] else NONE, kind),
    )  # fmt: skip


def check_sizes(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None,
    w_hr: Tensor | None, h: Tensor, c: Tensor | None, cell: str,
) -> None:  # fmt: skip
    """Raise RuntimeError naming the first tensor whose dtype or shape does not fit."""
    if x.dtype.category != dtypes.FLOAT:
        raise RuntimeError(f"{cell}: expected a floating input, got {x.dtype.name}")
    gates, (wide, below) = GATES[cell], w_ih.shape if w_ih.ndim == 2 else (0, 0)
    out = w_hh.shape[1] if w_hh.ndim == 2 else 0
    expected = {
        "input": (x, (x.shape[0], below)), "weight_ih": (w_ih, (wide // gates * gates, below)),
        "weight_hh": (w_hh, (wide, out)), "bias_ih": (b_ih, (wide,)), "bias_hh": (b_hh, (wide,)),
        "weight_hr": (w_hr, (out, wide // gates)), "hidden state": (h, (h.shape[0], out)),
        "cell state": (c, (h.shape[0], wide // gates)),
    }  # fmt: skip
    for name, (t, shape) in expected.items():
        if t is None:
            continue
        if t.dtype is not x.dtype:
            raise RuntimeError(
                f"{cell}: expected all tensors in one dtype, got input {x.dtype.name} and {name} "
                f"{t.dtype.name}"
            )
        if t.shape != shape:
            raise RuntimeError(
                f"{cell}: {name} should have shape {list(shape)}, got {list(t.shape)}"
            )
    if w_hr is None and out != wide // gates:
        raise RuntimeError(
            f"{cell}: weight_hh should have {wide // gates} columns, got {list(w_hh.shape)}"
        )


@gradient(_recurrence)
def _(
    g0, g1, g2, x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c, offsets, y0, y3, y4, cell, backwards, needs
):  # fmt: skip
    given = (x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c)
    if is_grad_enabled():
        return (*by_steps((g0, g1, g2), given, offsets, cell, backwards, needs), None)
    found = recurrence_backward(
        g0, g1, g2, *given, offsets, y0, y3, y4, cell, backwards, bool(needs[0])
    )
    wanted = [need and t is not None for need, t in zip(needs, given, strict=False)]
    return [*(d if want else None for d, want in zip(found, wanted, strict=True)), None]


@op
def recurrence_backward(
    g_y: Tensor | None, g_h: Tensor | None, g_c: Tensor | None, x: Tensor, w_ih: Tensor,
    w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None, w_hr: Tensor | None, h: Tensor,
    c: Tensor | None, offsets: Tensor | None, y: Tensor, cells: Tensor, gates: Tensor,
    cell: str, backwards: bool, needs_x: bool,
) -> tuple[Spec, ...]:  # fmt: skip
    """(dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr, dh, dc) of one layer in one direction.

    Back through time (Werbos 1990): the gradients of all gates step by step, then each weight's
    as one product over all steps. Those of absent inputs, and dx unless ``needs_x``, are empty.
    """
    given = (x if needs_x else None, w_ih, w_hh, b_ih, b_hh, w_hr, h, c)
    return tuple(Spec(NONE if t is None else t.shape, x.dtype) for t in given)


# ---- single steps, in ops ------------------------------------------------------------------------


def step(cell: str, x: Tensor, h: Tensor, c: Any, weights: Sequence[Any]) -> tuple[Tensor, Any]:
    """(h', c') of one step for x (n, I), h (n, P), c (n, H): a differentiable formula."""
    linear = OPS["linear"].function
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    a, b = linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)
    if cell == "gru":
        (r, z, n), (hr, hz, hn) = a.chunk(3, 1), b.chunk(3, 1)
        r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
        n = (n + r * hn).tanh()
        return n + z * (h - n), None
    if cell != "lstm":
        return (a + b).tanh() if cell == "tanh" else (a + b).relu(), None
    i, f, g, o = (a + b).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    m = o.sigmoid() * c.tanh()
    return (m if w_hr is None else linear(m, w_hr)), c


def unrolled(
    given: Sequence[Any], offsets: Tensor | None, cell: str, backwards: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(y, last h, last c) of :func:`_recurrence` by single steps."""
    x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0 = given
    cat = OPS["cat"].function
    batch = h0.shape[0]
    edges = [*range(0, x.shape[0] + 1, batch)] if offsets is None else offsets.tolist()
    spans = [*itertools.pairwise(edges)]
    h: Any = h0[:0]
    c: Any = None if c0 is None else c0[:0]
    ys: list[Any] = []
    ended: list[Any] = []
    for start, stop in reversed(spans) if backwards else spans:
        n, m = stop - start, h.shape[0]
        if n < m:
            ended.append((h[n:], None if c is None else c[n:]))
            h, c = h[:n], None if c is None else c[:n]
        elif n > m:
            h = cat([h, h0[m:n]])
            c = None if c0 is None else cat([c, c0[m:n]])
        h, c = step(cell, x[start:stop], h, c, (w_ih, w_hh, b_ih, b_hh, w_hr))
        ys.append(h)
    ended.append((h, c))
    y = cat(ys[::-1] if backwards else ys)
    last = [h for h, _ in reversed(ended)], [c for _, c in reversed(ended)]
    return y, cat(last[0]), None if c is None else cat(last[1])


def by_steps(
    gs: Sequence[Any], given: Sequence[Any], offsets: Any, cell: str, backwards: bool, needs: Any
) -> list[Any]:
    """The gradients of :func:`_recurrence` as differentiable functions of all that they need."""
    # Other names for the inputs: the derivative is to stop at them, whatever made them.
    inputs = [None if t is None else t.view(t.shape) for t in given]
    outputs = unrolled(inputs, offsets, cell, backwards)
    pairs = [(y, g) for y, g in zip(outputs, gs, strict=True) if y is not None and g is not None]
    wanted = [t for t, need in zip(inputs, needs, strict=False) if need and t is not None]
    found = iter(
        autograd.grad(
            [y for y, _ in pairs], wanted, [g for _, g in pairs],
            create_graph=True, allow_unused=True,
        )
    )  # fmt: skip
    asked = [need and t is not None for t, need in zip(inputs, needs, strict=False)]
    return [next(found) if ask else None for ask in asked]


# ---- layers --------------------------------------------------------------------------------------


def run(
    cell: str, x: Tensor, weights: Sequence[Any], h: Tensor, c: Any, offsets: Any, backwards: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, last h, last c) of one layer in one direction."""
    given = (x, *weights, h, c)
    keep = is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    return _recurrence(*given, offsets, cell, backwards, keep)[:3]


def weights_of(params: Sequence[Tensor], has_biases: bool, projects: bool) -> list[list[Any]]:
    """[w_ih, w_hh, b_ih, b_hh, w_hr] for each layer and direction; None for what is absent."""
    size = 2 + 2 * bool(has_biases) + projects
    found = []
    for i in range(0, len(params), size):
        part = list(params[i : i + size])
        last = part.pop() if projects else None
        found.append([*part[:2], *(part[2:] or (None, None)), last])
    return found


def layers(
    cell: str, x: Tensor, h: Tensor, c: Tensor | None, offsets: Tensor | None,
    params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """(y, last h, last c) of all layers: x (R, I), h (layers * directions, N, P)."""
    cat, stack = OPS["cat"].function, OPS["stack"].function
    directions = 2 if bidirectional else 1
    projects = cell == "lstm" and c is not None and h.shape[2] != c.shape[2]
    size = 2 + 2 * bool(has_biases) + projects
    if num_layers < 1 or len(params) != size * num_layers * directions:
        raise RuntimeError(
            f"{cell}: expected {size * num_layers * directions} parameters, got {len(params)}"
        )
    for name, t in (("hidden", h), ("cell", c)):
        if t is not None and (t.ndim != 3 or t.shape[0] != num_layers * directions):
            raise RuntimeError(
                f"{cell}: {name} state should have shape [{num_layers * directions}, N, H], got "
                f"{list(t.shape)}"
            )
    weights = weights_of(params, has_biases, projects)
    hs, cs = h.unbind(0), [None] * len(weights) if c is None else c.unbind(0)
    last: list[Any] = []
    for layer in range(num_layers):
        made = []
        for direction in range(directions):
            k = layer * directions + direction
            y, *state = run(cell, x, weights[k], hs[k], cs[k], offsets, direction == 1)
            made.append(y)
            last.append(state)
        x = made[0] if directions == 1 else cat(made, 1)
        if train and dropout > 0 and layer < num_layers - 1:
            x = OPS["dropout"].function(x, dropout, True)
    return x, stack([s[0] for s in last]), None if c is None else stack([s[1] for s in last])


def padded(
    cell: str, input: Tensor, h: Tensor, c: Tensor | None, params: Sequence[Tensor],
    has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Layers over equally long sequences (L, N, I), or (N, L, I) with ``batch_first``."""
    check_tensor(cell, input)
    if input.ndim != 3:
        raise IndexError(f"{cell}: expected an input of 3 dimensions, got {input.ndim}")
    x = input.transpose(0, 1) if batch_first else input
    length, batch, _ = x.shape
    if length == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    if h.ndim == 3 and h.shape[1] != batch:
        raise RuntimeError(
            f"{cell}: hidden state should be of {batch} sequences, got {list(h.shape)}"
        )
    y, h, c = layers(
        cell, x.reshape(length * batch, x.shape[2]), h, c, None, params, has_biases, num_layers,
        dropout, train, bidirectional,
    )  # fmt: skip
    y = y.view(length, batch, y.shape[1])
    return y.transpose(0, 1) if batch_first else y, h, c


def packed(
    cell: str, data: Tensor, batch_sizes: Tensor, h: Tensor, c: Tensor | None,
    params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Layers over sequences of several lengths, (R, I): ``batch_sizes`` of each step, falling."""
    check_tensor(cell, data)
    if data.ndim != 2 or batch_sizes.ndim != 1:
        raise RuntimeError(
            f"{cell}: expected packed data (R, I) and batch_sizes (L), got {list(data.shape)} and "
            f"{list(batch_sizes.shape)}"
        )
    batch_sizes = batch_sizes.cpu()
    sizes = batch_sizes.tolist()
    falling = all(a >= b for a, b in itertools.pairwise(sizes))
    if not sizes or not falling or sizes[-1] <= 0 or sum(sizes) != data.shape[0]:
        raise RuntimeError(
            f"{cell}: batch_sizes should fall, be positive and sum to {data.shape[0]}, got {sizes}"
        )
    if h.ndim == 3 and h.shape[1] != sizes[0]:
        raise RuntimeError(
            f"{cell}: hidden state should be of {sizes[0]} sequences, got {list(h.shape)}"
        )
    offsets = None
    if sizes[-1] != sizes[0]:
        zero = batch_sizes.new_zeros(1)
        offsets = OPS["cat"].function([zero, batch_sizes.cumsum(0)]).to(data.device)
    return layers(
        cell, data, h, c, offsets, params, has_biases, num_layers, dropout, train, bidirectional
    )


def check_tensor(cell: str, input: Any) -> None:
    if not isinstance(input, Variable):
        raise TypeError(f"{cell}(): argument 'input' must be Tensor, not {type(input).__name__}")


def pair_of(name: str, hx: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise RuntimeError(f"{name} expects two hidden states")
    return hx[0], hx[1]


def plain(cell: str, input: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A layer whose state is h alone, by either of its two signatures."""
    is_packed = "batch_sizes" in kwargs or (len(args) > 1 and isinstance(args[1], Variable))
    bind = _bind_packed if is_packed else _bind_padded
    call = bind(*args, **kwargs)
    sizes = call[:1] if is_packed else ()
    hx, *others = call[len(sizes) :]
    over: Any = packed if is_packed else padded
    y, h, _ = over(cell, input, *sizes, hx, None, *others)
    return y, h


def _bind_padded(
    hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
):  # fmt: skip
    return hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first


def _bind_packed(
    batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional
):  # fmt: skip
    return batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional


@composite(spaces=("tgrad",))
def rnn_tanh(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) over sequences: (output, last h) (Elman 1990).

    ``rnn_tanh(input, hx, params, has_biases, num_layers, dropout, train, bidirectional,
    batch_first)``, or ``rnn_tanh(data, batch_sizes, hx, params, has_biases, num_layers, dropout,
    train, bidirectional)`` for packed sequences. ``params``: weight_ih, weight_hh and, with
    biases, bias_ih, bias_hh for each layer and direction. Shape: input (L, N, I), hx (layers *
    directions, N, H), output (L, N, directions * H). dtype: floating, the same for all.
    Raises: RuntimeError for shapes, dtypes or numbers of parameters that do not fit.
    """
    return plain("tanh", input, args, kwargs)


@composite(spaces=("tgrad",))
def rnn_relu(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh) over sequences; all else as :func:`rnn_tanh`."""
    return plain("relu", input, args, kwargs)


@composite(spaces=("tgrad",))
def gru(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Gated recurrent units over sequences: (output, last h) (Cho et al. 2014, arXiv:1406.1078,
    with the reset gate behind the product, as in cuDNN). Arguments as of :func:`rnn_tanh`."""
    return plain("gru", input, args, kwargs)


@composite(spaces=("tgrad",))
def lstm(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory over sequences: (output, last h, last c) (Hochreiter & Schmidhuber
    1997; forget gates Gers et al. 2000; projections Sak et al. 2014, arXiv:1402.1128).

    Arguments as of :func:`rnn_tanh`, with ``hx`` = (h, c), and weight_hr after the others where h
    is narrower than c.
    """
    is_packed = "batch_sizes" in kwargs or (bool(args) and isinstance(args[0], Variable))
    if is_packed:
        sizes, hx, *others = _bind_packed(*args, **kwargs)
        y, h, c = packed("lstm", input, sizes, *pair_of("lstm", hx), *others)
    else:
        hx, *others = _bind_padded(*args, **kwargs)
        y, h, c = padded("lstm", input, *pair_of("lstm", hx), *others)
    assert c is not None
    return y, h, c


# ---- cells ---------------------------------------------------------------------------------------


def one_step(cell: str, input: Tensor, h: Tensor, c: Any, weights: tuple) -> tuple[Tensor, Tensor]:
    check_tensor(cell, input)
    if input.ndim != 2 or h.ndim != 2 or h.shape[0] != input.shape[0]:
        raise RuntimeError(
            f"{cell}: expected input (N, I) and hidden state (N, H), got {list(input.shape)} and "
            f"{list(h.shape)}"
        )
    return run(cell, input, (*weights, None), h, c, None, False)[1:]


@composite(spaces=("tgrad",))
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh). Shape: (N, I), (N, H) -> (N, H).

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    return one_step("tanh", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]


@composite(spaces=("tgrad",))
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh); all else as :func:`rnn_tanh_cell`."""
    return one_step("relu", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]


@composite(spaces=("tgrad",))
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """One step of :func:`gru`. Shape: (N, I), (N, H) -> (N, H); weights (3 H, I), (3 H, H).

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    return one_step("gru", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]


@composite(spaces=("tgrad",))
def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One step of :func:`lstm`: (h', c'). Shape: (N, I), hx = (h, c) of (N, H) each.

    Raises: RuntimeError for shapes or dtypes that do not fit.
    """
    h, c = pair_of("lstm_cell", hx)
    return one_step("lstm", input, h, c, (w_ih, w_hh, b_ih, b_hh))
