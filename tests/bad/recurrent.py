"""Bad input to recurrent layers, cells and packed sequences."""


def layer(t, gates, **other):
    """Arguments of an op with input 3, hidden 2, batch 2; ``other`` replaces some by name."""
    args = {
        "input": t.ones(4, 2, 3), "hx": t.zeros(1, 2, 2),
        "params": [t.ones(gates * 2, 3), t.ones(gates * 2, 2)], "has_biases": False,
        "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False,
        "batch_first": False,
    }  # fmt: skip
    return tuple({**args, **other}.values())


def cell(t, gates, **other):
    args = {"input": t.ones(2, 3), "hx": t.zeros(2, 2), "w_ih": t.ones(gates * 2, 3),
            "w_hh": t.ones(gates * 2, 2)}  # fmt: skip
    return tuple({**args, **other}.values())


def pair(t):
    return t.zeros(1, 2, 2), t.zeros(1, 2, 2)


PACK = "nn.utils.rnn."

BAD = [
    ("gru", lambda t: layer(t, 3, input=t.ones(2, 3)), IndexError, "dimension"),
    ("gru", lambda t: layer(t, 3, hx=t.zeros(1, 2, 5)), RuntimeError, ""),
    ("gru", lambda t: layer(t, 3, hx=t.zeros(1, 3, 2)), RuntimeError, ""),
    ("gru", lambda t: layer(t, 3, input=t.ones(4, 2, 4)), RuntimeError, ""),
    ("gru", lambda t: layer(t, 3, input=t.ones(0, 2, 3)), RuntimeError, "larger than 0"),
    ("gru", lambda t: layer(t, 3, params=[t.ones(6, 3)]), RuntimeError, ""),
    ("rnn_tanh", lambda t: layer(t, 1, input=t.ones(4, 2, 3).double()), RuntimeError, "dtype"),
    ("rnn_relu", lambda t: layer(t, 1, params=[t.ones(2, 3), t.ones(2, 3)]), RuntimeError, ""),
    ("lstm", lambda t: layer(t, 4, hx=(t.zeros(1, 2, 2),)), RuntimeError, "two hidden states"),
    ("lstm_cell", lambda t: cell(t, 4, hx=(t.zeros(2, 2),)), RuntimeError, "two hidden states"),
    ("gru_cell", lambda t: cell(t, 3, hx=t.zeros(3, 2)), RuntimeError, ""),
    ("rnn_tanh_cell", lambda t: cell(t, 1, input=t.ones(2, 4)), RuntimeError, ""),
    ("rnn_relu_cell", lambda t: cell(t, 1, w_hh=t.ones(2, 3)), RuntimeError, ""),
    ("nn.LSTM", lambda t: (0, 4), ValueError, "input_size must be greater than zero"),
    ("nn.LSTM", lambda t: (3, 0), ValueError, "hidden_size must be greater than zero"),
    ("nn.LSTM", lambda t: (3.0, 4), TypeError, "input_size should be of type int"),
    ("nn.LSTM", lambda t: (3, 4, 0), ValueError, "num_layers must be greater than zero"),
    ("nn.LSTM", lambda t: ((3, 4), {"bias": 1}), TypeError, "bias should be of type bool"),
    ("nn.LSTM", lambda t: ((3, 4), {"batch_first": 1}), TypeError, "batch_first should be of type"),
    ("nn.LSTM", lambda t: ((3, 4, 2), {"dropout": 1.5}), ValueError, "number in range"),
    ("nn.LSTM", lambda t: ((3, 4), {"proj_size": 4}), ValueError, "smaller than hidden_size"),
    ("nn.LSTM", lambda t: ((3, 4), {"proj_size": -1}), ValueError, "positive integer or zero"),
    ("nn.GRU", lambda t: ((3, 4), {"proj_size": 2}), ValueError, "only supported for LSTM"),
    ("nn.RNN", lambda t: ((3, 4), {"proj_size": 2}), ValueError, "only supported for LSTM"),
    ("nn.RNN", lambda t: ((3, 4), {"nonlinearity": "elu"}), ValueError, "Unknown nonlinearity"),
    ("nn.RNNBase", lambda t: ("SRU", 3, 4), ValueError, "Unrecognized RNN mode"),
    ("nn.LSTM.forward", lambda t: (t.nn.LSTM(3, 4), t.ones(3)), ValueError, "2D or 3D, got 1D"),
    ("nn.LSTM.forward", lambda t: (t.nn.LSTM(3, 4), t.ones(2, 2, 4)), RuntimeError,
     "input.size(-1) must be equal to input_size. Expected 3, got 4"),
    ("nn.LSTM.forward", lambda t: (t.nn.LSTM(3, 4), t.ones(2, 2, 3).double()), ValueError,
     "does not match weight dtype"),
    ("nn.LSTM.forward", lambda t: (t.nn.LSTM(3, 4), t.ones(2, 2, 3), pair(t)), RuntimeError,
     "Expected hidden[0] size (1, 2, 4), got [1, 2, 2]"),
    ("nn.LSTM.forward", lambda t: (t.nn.LSTM(3, 4), t.ones(2, 3), pair(t)), RuntimeError,
     "For unbatched 2-D input, hx and cx should also be 2-D"),
    ("nn.GRU.forward", lambda t: (t.nn.GRU(3, 4), t.ones(2, 2, 3), t.zeros(2, 4)), RuntimeError,
     "For batched 3-D input, hx should also be 3-D but got 2-D"),
    ("nn.GRU.forward", lambda t: (t.nn.GRU(3, 4), t.ones(2, 2, 3), t.zeros(1, 2, 5)), RuntimeError,
     "Expected hidden size (1, 2, 4), got [1, 2, 5]"),
    ("nn.GRUCell.forward", lambda t: (t.nn.GRUCell(3, 4), t.ones(1, 1, 3)), ValueError,
     "GRUCell: Expected input to be 1D or 2D, got 3D"),
    ("nn.LSTMCell.forward", lambda t: (t.nn.LSTMCell(3, 4), t.ones(1, 3), pair(t)), ValueError,
     "Expected hx[0] to be 1D or 2D, got 3D"),
    ("nn.RNNCell.forward", lambda t: (t.nn.RNNCell(3, 4, True, "elu"), t.ones(1, 3)), RuntimeError,
     "Unknown nonlinearity: elu"),
    (PACK + "pack_padded_sequence", lambda t: (t.ones(3, 2), [2, 3]), RuntimeError,
     "must be sorted in decreasing order"),
    (PACK + "pack_padded_sequence", lambda t: (t.ones(3, 2), [3, 0]), RuntimeError,
     "greater than 0"),
    (PACK + "pack_padded_sequence", lambda t: (t.ones(3, 2), [3]), RuntimeError, "batch_size"),
    (PACK + "pack_padded_sequence", lambda t: (t.ones(3, 0), []), RuntimeError, "empty"),
    (PACK + "pad_sequence", lambda t: (3,), RuntimeError, "Expected iterable"),
    (PACK + "pad_sequence", lambda t: ([],), RuntimeError, "empty list"),
    (PACK + "pad_sequence", lambda t: ([t.ones(2, 3), t.ones(2, 4)],), RuntimeError, ""),
    (PACK + "pad_sequence", lambda t: (([t.ones(2)],), {"padding_side": "top"}), RuntimeError,
     "padding_side"),
    (PACK + "pad_packed_sequence",
     lambda t: ((t.nn.utils.rnn.pack_sequence([t.ones(3)]),), {"total_length": 2}), ValueError,
     "Expected total_length to be at least"),
]  # fmt: skip
