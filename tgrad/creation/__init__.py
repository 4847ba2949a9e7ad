"""Making tensors: ``sizes`` from shapes, ``data`` from what exists, ``samples`` by chance."""

from tgrad.creation.data import as_tensor, asarray, from_dlpack, from_numpy, frombuffer, tensor
from tgrad.creation.samples import (
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
)
from tgrad.creation.sizes import (
    arange,
    empty,
    empty_like,
    empty_strided,
    eye,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    scalar_tensor,
    zeros,
    zeros_like,
)
from tgrad.creation.sizes import (
    range_ as range,
)
from tgrad.creation.windows import (
    bartlett_window,
    blackman_window,
    hamming_window,
    hann_window,
    kaiser_window,
)

__all__ = ["arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "empty",
           "empty_like", "empty_strided", "eye", "from_dlpack", "from_numpy", "frombuffer", "full",
           "full_like", "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace",
           "normal", "ones", "ones_like", "rand", "rand_like", "randint", "randint_like", "randn",
           "randn_like", "randperm", "range", "scalar_tensor", "tensor", "zeros",
           "zeros_like"]  # fmt: skip
