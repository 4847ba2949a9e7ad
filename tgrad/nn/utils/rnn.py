"""Sequences of several lengths: padded to one length, or packed without padding."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.creation import arange, as_tensor, empty_like, tensor
from tgrad.dispatch import OPS

if TYPE_CHECKING:
    from typing_extensions import Self

    from tgrad.tensor import Tensor

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
           "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence"]  # fmt: skip


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Steps of sequences below each other: ``batch_sizes[t]`` rows of step t, longest first.

    ``sorted_indices`` says how the sequences were reordered, ``unsorted_indices`` how to undo that.
    ``data`` (R, *) is on any device, ``batch_sizes`` (L) int64 on the CPU. Made by
    :func:`pack_padded_sequence` and :func:`pack_sequence`.
    Raises: ValueError for batch_sizes on a GPU.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)  # pyright: ignore[reportArgumentType]

    def _with(self, data: Tensor, change: Any) -> Self:
        indices = (None if t is None else change(t) for t in self[2:])
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """``data.to(...)``; indices follow to its device, batch_sizes stay on the CPU."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data, lambda t: t.to(data.device))

    def pin_memory(self) -> Self:
        """Data and indices in page-locked memory."""
        return self._with(self.data.pin_memory(), lambda t: t.pin_memory())

    def cuda(self, device: Any = None) -> Self:
        """On a GPU, the current one unless ``device`` names another."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Self:
        """On the CPU."""
        return self.to("cpu")

    def double(self) -> Self:
        """As float64."""
        return self.to(dtypes.float64)

    def float(self) -> Self:
        """As float32."""
        return self.to(dtypes.float32)

    def half(self) -> Self:
        """As float16."""
        return self.to(dtypes.float16)

    def long(self) -> Self:
        """As int64."""
        return self.to(dtypes.int64)

    def int(self) -> Self:
        """As int32."""
        return self.to(dtypes.int32)

    def short(self) -> Self:
        """As int16."""
        return self.to(dtypes.int16)

    def char(self) -> Self:
        """As int8."""
        return self.to(dtypes.int8)

    def byte(self) -> Self:
        """As uint8."""
        return self.to(dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether ``data`` is on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether ``data`` is in page-locked memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation`` (N); None for None."""
    if permutation is None:
        return None
    places = arange(permutation.numel(), dtype=permutation.dtype, device=permutation.device)
    return empty_like(permutation).scatter_(0, permutation, places)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences (L, N, *), or (N, L, *) with ``batch_first``, without their padding.

    ``lengths`` (N) on the CPU, or a list. With ``enforce_sorted`` they must fall; otherwise the
    sequences are sorted, and what a layer gives for them is put back in order.
    Raises: RuntimeError for lengths that are not positive, too long, rising or not N.
    """
    if not isinstance(lengths, Variable):
        lengths = tensor(list(lengths), dtype=dtypes.int64)
    lengths = lengths.to(dtype=dtypes.int64)
    if lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.ndim}D {lengths.device} Long tensor"
        )
    order, dim = None, 0 if batch_first else 1
    if not enforce_sorted:
        lengths, order = OPS["sort"].function(lengths, descending=True)
        order = order.to(input.device)
        input = input.index_select(dim, order)
    sizes = lengths.tolist()
    check_lengths(sizes, input, dim)
    batch_sizes, rows = [], []
    padded, batch = input.shape[1 - dim], input.shape[dim]
    n = batch
    for t in range(sizes[0]):
        while sizes[n - 1] <= t:
            n -= 1
        batch_sizes.append(n)
        rows += [i * padded + t for i in range(n)] if batch_first else (
            range(t * batch, t * batch + n)
        )  # fmt: skip
    flat = input.reshape(padded * batch, *input.shape[2:])
    if len(rows) == padded * batch and not batch_first:
        data = flat
    else:
        data = flat.index_select(0, tensor(rows, dtype=dtypes.int64).to(input.device))
    return PackedSequence(data, tensor(batch_sizes, dtype=dtypes.int64), order, None)


def check_lengths(sizes: list[int], input: Tensor, dim: int) -> None:
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != input.shape[dim]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size="
            f"{input.shape[dim]})"
        )
    if sizes[-1] <= 0 or min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(a < b for a, b in itertools.pairwise(sizes)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if sizes[0] > input.shape[1 - dim]:
        raise RuntimeError(
            f"Expected lengths of at most {input.shape[1 - dim]}, the padded length, got {sizes[0]}"
        )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(padded (L, N, *) or (N, L, *), lengths (N)): undoes :func:`pack_padded_sequence`.

    ``total_length`` pads to that length. Raises: ValueError if it is shorter than a sequence.
    """
    data, sizes = sequence.data, sequence.batch_sizes.tolist()
    longest = len(sizes)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    batch = sizes[0]
    lengths = [sum(n > i for n in sizes) for i in range(batch)]
    steps = [t for t, n in enumerate(sizes) for _ in range(n)]
    places = [i for n in sizes for i in range(n)]
    rows = [i * longest + t if batch_first else t * batch + i
            for t, i in zip(steps, places, strict=True)]  # fmt: skip
    out = data.new_full((longest * batch, *data.shape[1:]), padding_value)
    at = tensor(rows, dtype=dtypes.int64).to(data.device)
    shape = (batch, longest) if batch_first else (longest, batch)
    padded = out.index_copy(0, at, data).view(*shape, *data.shape[1:])
    ends = tensor(lengths, dtype=dtypes.int64)
    back = sequence.unsorted_indices
    if back is None:
        return padded, ends
    return padded.index_select(0 if batch_first else 1, back), ends.index_select(0, back.cpu())


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, *) beside each other, (L, N, *) or (N, L, *), the shorter ones padded.

    ``padding_side``: "right" pads their ends, "left" their beginnings.
    Raises: RuntimeError for anything but an iterable of tensors of alike trailing dims.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    parts: Sequence[Tensor] = tuple(sequences)
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    if not parts:
        raise RuntimeError("received an empty list of sequences")
    rest = parts[0].shape[1:]
    for part in parts:
        if part.ndim == 0 or part.shape[1:] != rest:
            raise RuntimeError(
                f"pad_sequence: expected sequences of shape (L, {', '.join(map(str, rest))}), got "
                f"{list(part.shape)}"
            )
    longest = max(part.shape[0] for part in parts)
    padded = []
    for part in parts:
        missing = longest - part.shape[0]
        if missing:
            fill = part.new_full((missing, *rest), padding_value)
            part = OPS["cat"].function([part, fill] if padding_side == "right" else [fill, part])
        padded.append(part)
    return OPS["stack"].function(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences (L_i, *) of a padded (L, N, *), or (N, L, *) with ``batch_first``."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    sizes = as_tensor(lengths).tolist()
    if len(sizes) != rows.shape[0]:
        raise ValueError(f"unpad_sequence: {rows.shape[0]} sequences, but {len(sizes)} lengths")
    return [row[:n] for row, n in zip(rows.unbind(0), sizes, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L_i, *) packed: :func:`pad_sequence`, then :func:`pack_padded_sequence`."""
    lengths = [part.shape[0] for part in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (L_i, *) that were packed, in their first order."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
