"""Recurrent layers over whole sequences, and their cells over single steps."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import TYPE_CHECKING, Any

from tgrad.amp.state import is_autocast_enabled
from tgrad.creation import empty, zeros
from tgrad.dispatch import OPS
from tgrad.nn import init
from tgrad.nn.modules.module import Module
from tgrad.nn.parameter import Parameter
from tgrad.nn.utils.rnn import PackedSequence

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def autocasts() -> bool:
    return is_autocast_enabled("cpu") or is_autocast_enabled("cuda")


class RNNBase(Module):
    """What the recurrent layers share: arguments, weights, checks of what is given.

    Weights of layer k: ``weight_ih_lk`` (gates * H, I), ``weight_hh_lk`` (gates * H, P), biases
    ``bias_ih_lk`` and ``bias_hh_lk`` (gates * H), with ``proj_size`` ``weight_hr_lk`` (P, H); those
    of the other direction end in ``_reverse``. All start as U(-k, k), k = 1 / sqrt(hidden_size).
    Raises: ValueError and TypeError for arguments out of range or of another type.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        check_arguments(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        out, directions = proj_size or hidden_size, 2 if bidirectional else 1
        rows = GATES[mode] * hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else out * directions
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, inputs),
                "weight_hh": (rows, out),
            }
            if bias:
                shapes.update(bias_ih=(rows,), bias_hh=(rows,))
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for end in ("", "_reverse")[:directions]:
                for name, shape in shapes.items():
                    weight = Parameter(empty(shape, device=device, dtype=dtype))
                    setattr(self, f"{name}_l{layer}{end}", weight)
                self._all_weights.append([f"{name}_l{layer}{end}" for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        k = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -k, k)

    def flatten_parameters(self) -> None:
        """Does nothing: weights need not lie together in memory."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        kind = self._flat_weights[0].dtype
        if input.dtype != kind and not autocasts():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({kind}). Convert "
                f"input: input.to({kind}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.ndim != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.ndim}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _state_shape(
        self, input: Tensor, batch_sizes: Tensor | None, size: int
    ) -> tuple[int, int, int]:
        if batch_sizes is not None:
            batch = int(batch_sizes[0].item())
        else:
            batch = input.shape[0 if self.batch_first else 1]
        return self.num_layers * (2 if self.bidirectional else 1), batch, size

    def get_expected_hidden_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """(layers * directions, N, P)."""
        return self._state_shape(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The state of the sequences in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def extra_repr(self) -> str:
        shown = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False,
                 "dropout": 0, "bidirectional": False}  # fmt: skip
        changed = [f"{k}={self.__dict__[k]}" for k, v in shown.items() if self.__dict__[k] != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])

    # ---- the way of a call, alike for all ----

    def _initial(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        shape = self.get_expected_hidden_size(input, batch_sizes)
        return zeros(shape, dtype=input.dtype, device=input.device)

    def _check_dims(self, hx: Any, batched: bool) -> None:
        if hx.ndim != (3 if batched else 2):
            kind = "batched 3-D input, hx should also be 3-D" if batched else (
                "unbatched 2-D input, hx should also be 2-D"
            )  # fmt: skip
            raise RuntimeError(f"For {kind} but got {hx.ndim}-D tensor")

    def _each(self, hx: Any, change: Any) -> Any:
        """``change`` of every tensor of a state."""
        return change(hx)

    def _state(self, result: Any) -> Any:
        return result[1]

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            name = "tensor " if self.mode.startswith("RNN") else ""
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D {name}"
                "instead"
            )
        batched, dim = input.ndim == 3, 0 if self.batch_first else 1
        if hx is not None:
            self._check_dims(hx, batched)
        if not batched:
            input = input.unsqueeze(dim)
            hx = hx if hx is None else self._each(hx, lambda t: t.unsqueeze(1))
        hx = self._initial(input, None) if hx is None else hx
        self.check_forward_args(input, hx, None)
        result = self._function()(
            input, hx, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
            self.bidirectional, self.batch_first,
        )  # fmt: skip
        output, state = result[0], self._state(result)
        if not batched:
            output, state = output.squeeze(dim), self._each(state, lambda t: t.squeeze(1))
        return output, state

    def _forward_packed(self, sequence: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, order, back = sequence
        hx = self._initial(data, batch_sizes) if hx is None else self.permute_hidden(hx, order)
        self.check_forward_args(data, hx, batch_sizes)
        result = self._function()(
            data, batch_sizes, hx, self._flat_weights, self.bias, self.num_layers, self.dropout,
            self.training, self.bidirectional,
        )  # fmt: skip
        output = PackedSequence(result[0], batch_sizes, order, back)
        return output, self.permute_hidden(self._state(result), back)

    def _function(self) -> Any:
        return OPS[self.mode.lower()].function


def check_arguments(
    input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool,
    dropout: float, proj_size: int,
) -> None:  # fmt: skip
    number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    kinds = {"bias": (bias, bool), "batch_first": (batch_first, bool),
             "input_size": (input_size, int), "hidden_size": (hidden_size, int)}  # fmt: skip
    for name, (value, kind) in kinds.items():
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
            )
    for name, value in {"input_size": input_size, "hidden_size": hidden_size,
                        "num_layers": num_layers}.items():  # fmt: skip
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f tanh or relu, over sequences.

    ``RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
    dropout=0.0, bidirectional=False, device=None, dtype=None)``. Called with an input and, if it is
    not to be zero, the first state; gives (output, last state).
    Shape: input (L, N, I), (N, L, I) with ``batch_first``, (L, I) or a PackedSequence; state
    (layers * directions, N, H); output (L, N, directions * H).
    Raises: ValueError for an input of another dtype or number of dims, RuntimeError for sizes.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078) over sequences.

    ``GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None)``. Gates in the order r, z, n; all else as
    :class:`RNN`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000) over sequences.

    ``LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, proj_size=0, device=None, dtype=None)``. Gates in the order i, f, g, o; the
    state is (h, c), h of ``proj_size`` features where that is given (Sak et al. 2014,
    arXiv:1402.1128); all else as :class:`RNN`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """(layers * directions, N, H)."""
        return self._state_shape(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        self.check_hidden_size(
            hidden[0], self.get_expected_hidden_size(input, batch_sizes),
            "Expected hidden[0] size {}, got {}",
        )  # fmt: skip
        self.check_hidden_size(
            hidden[1], self.get_expected_cell_size(input, batch_sizes),
            "Expected hidden[1] size {}, got {}",
        )  # fmt: skip

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states of the sequences in another order."""
        base = super()
        return hx if permutation is None else tuple(base.permute_hidden(t, permutation) for t in hx)

    def _initial(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        shape = self.get_expected_cell_size(input, batch_sizes)
        c = zeros(shape, dtype=input.dtype, device=input.device)
        return super()._initial(input, batch_sizes), c

    def _check_dims(self, hx: Any, batched: bool) -> None:
        kind, dims = ("batched 3-D", 3) if batched else ("unbatched 2-D", 2)
        if hx[0].ndim != dims or hx[1].ndim != dims:
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {dims}-D but got "
                f"({hx[0].ndim}-D, {hx[1].ndim}-D) tensors"
            )

    def _each(self, hx: Any, change: Any) -> Any:
        return change(hx[0]), change(hx[1])

    def _state(self, result: Any) -> Any:
        return tuple(result[1:])


# ---- cells ---------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells share: ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh``, all of them
    U(-k, k) at the start, k = 1 / sqrt(hidden_size)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        k = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -k, k)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(parts)

    def _step(self, function: str, input: Tensor, hx: Any) -> Any:
        """The op on (N, I), or on (I) as a batch of one."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        pair = self.weight_ih.shape[0] == 4 * self.hidden_size
        states: Any = () if hx is None else tuple(hx) if pair else (hx,)
        for i, state in enumerate(states):
            if state.ndim not in (1, 2):
                what = f"hx[{i}]" if pair else "hidden"
                raise ValueError(
                    f"{name}: Expected {what} to be 1D or 2D, got {state.ndim}D instead"
                )
        batched = input.ndim == 2
        if not batched:
            input, states = input.unsqueeze(0), tuple(t.unsqueeze(0) for t in states)
        if hx is None:
            shape = input.shape[0], self.hidden_size
            states = (zeros(shape, dtype=input.dtype, device=input.device),) * (1 + pair)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        made = OPS[function].function(input, states if pair else states[0], *weights)
        if batched:
            return made
        return tuple(t.squeeze(0) for t in made) if pair else made.squeeze(0)


class RNNCell(RNNCellBase):
    """One step h' = f(W_ih x + b_ih + W_hh h + b_hh), f tanh or relu.

    Shape: input (N, I) or (I), state (N, H) or (H), zero where left out. Raises: ValueError for
    other numbers of dims, RuntimeError for sizes and an unknown ``nonlinearity``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"rnn_{self.nonlinearity}_cell", input, hx)


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: (h', c') from an input and (h, c); shapes as :class:`RNNCell`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._step("lstm_cell", input, hx)


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`; shapes as :class:`RNNCell`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("gru_cell", input, hx)
