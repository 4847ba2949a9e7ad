"""Bad input to layers, containers, optimisers and loaders."""


def rows(lib):
    return lib.utils.data.TensorDataset(lib.ones(3, 2))


def leaf(lib):
    return lib.nn.Parameter(lib.ones(2))


def state(lib):
    """A layer and a state_dict of another shape."""
    return lib.nn.Linear(2, 3), lib.nn.Linear(3, 3).state_dict()


def lacking(lib):
    return lib.nn.Linear(2, 3), {"weight": lib.ones(3, 2)}


BAD = [
    # Making layers
    ("nn.Parameter", lambda t: (t.ones(2, dtype=t.int64),), RuntimeError, "floating point"),
    ("nn.Conv2d", lambda t: (3, 4, 3, 1, 0, 1, 2), ValueError, "in_channels must be divisible"),
    ("nn.Conv2d", lambda t: (4, 3, 3, 1, 0, 1, 2), ValueError, "out_channels must be divisible"),
    ("nn.Conv2d", lambda t: (4, 4, 3, 1, 0, 1, 0), ValueError, "positive integer"),
    ("nn.Conv2d", lambda t: (1, 1, 3, 1, "full"), ValueError, "Invalid padding string"),
    ("nn.Conv2d", lambda t: (1, 1, 3, 2, "same"), ValueError, "strided convolutions"),
    ("nn.Conv2d", lambda t: ((1, 1, 3), {"padding_mode": "mirror"}), ValueError, "padding_mode"),
    ("nn.Dropout", lambda t: (1.5,), ValueError, "between 0 and 1, but got 1.5"),
    ("nn.Unflatten", lambda t: (1, (2, "3")), TypeError, "of type str at pos 1"),
    ("nn.ModuleList", lambda t: (3,), TypeError, "iterable"),
    ("nn.ModuleDict", lambda t: ([("a",)],), ValueError, "2 is required"),
    ("nn.Sequential", lambda t: (3,), TypeError, "is not a Module subclass"),
    # Calling them
    ("nn.Module.__call__", lambda t: (t.nn.Module(), 1), NotImplementedError, "forward"),
    ("nn.Module.__call__", lambda t: (t.nn.Linear(2, 3), t.ones(4, 3)), RuntimeError, "3"),
    ("nn.Module.__call__", lambda t: (t.nn.Linear(2, 3), 1.0), TypeError, ""),
    ("nn.Module.__call__", lambda t: (t.nn.Conv2d(1, 2, 3), t.ones(4, 2, 8, 8)), RuntimeError, ""),
    ("nn.Module.__call__", lambda t: (t.nn.Conv2d(1, 2, 9), t.ones(1, 1, 8, 8)), RuntimeError, ""),
    (
        "nn.Module.__call__",
        lambda t: (t.nn.BatchNorm2d(2), t.ones(4, 2)),
        ValueError,
        "expected 4D",
    ),
    (
        "nn.Module.__call__",
        lambda t: (t.nn.BatchNorm1d(2), t.ones(1, 2)),
        ValueError,
        "more than 1",
    ),
    ("nn.Module.__call__", lambda t: (t.nn.BatchNorm1d(2), t.ones(4)), ValueError, "2D or 3D"),
    ("nn.Module.__call__", lambda t: (t.nn.LayerNorm(3), t.ones(4, 2)), RuntimeError, ""),
    (
        "nn.Module.__call__",
        lambda t: (t.nn.Linear(2, 3), t.ones(2, dtype=t.int64)),
        RuntimeError,
        "",
    ),
    # State
    ("nn.Module.load_state_dict", state, RuntimeError, "size mismatch for weight"),
    ("nn.Module.load_state_dict", lacking, RuntimeError, 'Missing key(s) in state_dict: "bias"'),
    ("nn.Module.load_state_dict", lambda t: (t.nn.ReLU(), [1]), TypeError, "dict-like"),
    (
        "nn.Module.load_state_dict",
        lambda t: (t.nn.ReLU(), {"x": 1}),
        RuntimeError,
        "Unexpected key",
    ),
    ("nn.Module.to", lambda t: (t.nn.ReLU(), t.int64), TypeError, "floating point or complex"),
    ("nn.Module.train", lambda t: (t.nn.ReLU(), 1), ValueError, "expected to be boolean"),
    ("nn.Module.get_submodule", lambda t: (t.nn.ReLU(), "a.b"), AttributeError, "no attribute `a`"),
    ("nn.Module.register_buffer", lambda t: (t.nn.ReLU(), "b", 3), TypeError, "to buffer 'b'"),
    # Initialisers
    ("nn.init.xavier_uniform_", lambda t: (t.ones(2),), ValueError, "fewer than 2 dimensions"),
    (
        "nn.init.kaiming_normal_",
        lambda t: ((t.ones(2, 2),), {"mode": "fan"}),
        ValueError,
        "Mode fan",
    ),
    ("nn.init.calculate_gain", lambda t: ("sine",), ValueError, "Unsupported nonlinearity sine"),
    # Optimisers
    ("optim.SGD", lambda t: ([],), ValueError, "empty parameter list"),
    ("optim.SGD", lambda t: (leaf(t),), TypeError, "iterable of Tensors"),
    ("optim.SGD", lambda t: ([leaf(t) * 2],), ValueError, "non-leaf"),
    ("optim.SGD", lambda t: ([leaf(t)], -1.0), ValueError, "Invalid learning rate"),
    ("optim.Adam", lambda t: (([leaf(t)],), {"betas": (0.9, 1.0)}), ValueError, "at index 1: 1.0"),
    # Loaders
    ("utils.data.TensorDataset", lambda t: (t.ones(2), t.ones(3)), AssertionError, "Size mismatch"),
    ("utils.data.DataLoader", lambda t: (rows(t), 0), ValueError, "positive integer"),
    ("utils.data.DataLoader", lambda t: (rows(t), 1, True, [1]), ValueError, "mutually exclusive"),
    (
        "utils.data.random_split",
        lambda t: (rows(t), [1, 1]),
        ValueError,
        "does not equal the length",
    ),
    ("utils.data.default_collate", lambda t: ([object()],), TypeError, "must contain tensors"),
]
