"""Making tensors from data: numbers, nested lists, NumPy arrays, other tensors, buffers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.variable import Variable
from tgrad.creation.sizes import existing
from tgrad.device import CPU, device, resolve
from tgrad.dispatch import wrap
from tgrad.dtypes import dtype, python_dtype
from tgrad.runtime import cuda, interop, memory
from tgrad.runtime.current import at
from tgrad.tensor import Tensor, legacy

Device = str | int | device | None


def tensor(
    data: Any,
    *,
    dtype: dtype | type | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf with a copy of ``data``: a number, nested sequences, or an array.

    dtype: of the data (Python floats the default dtype, ints int64), unless given.
    Raises: ValueError for ragged sequences and arrays that from_numpy refuses, TypeError for
    what is not a number, RuntimeError for a number that the dtype cannot hold, or if it is to be
    pinned and there is no GPU.
    """
    wanted = None if dtype is None else python_dtype("tensor", dtype)
    if isinstance(data, Variable):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than "
            "tgrad.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        place = data.device if device is None else existing(device)
        t = data.detach().to(place, wanted or data.dtype, copy=True)
    else:
        a = parsed(data, wanted)
        t = placed(a, existing(device))
    t = t.pin_memory() if pin_memory else t
    return t.requires_grad_(True) if requires_grad else t


def placed(a: np.ndarray, where: device) -> Tensor:
    """A tensor on ``where`` around a NumPy array, shared on the CPU."""
    if where.type == "cpu":
        t = wrap(a, where)
    else:
        with at(where):
            t = wrap(cuda.active().from_host(a), where)
    if mode.inference:
        t.inference = True
    return t


def copied(a: np.ndarray, dtype: dtype) -> np.ndarray:
    """A contiguous copy in the allocator's memory, converted."""
    out = memory.empty(a.shape, dtype.numpy)
    with np.errstate(all="ignore"):
        np.copyto(out, a, casting="unsafe")
    return out


def parsed(data: Any, wanted: dtype | None) -> np.ndarray:
    """``data`` as a new NumPy array of ``wanted``, or of the dtype that it has by itself."""
    if isinstance(data, np.ndarray):
        checked(data)
        return copied(data, wanted or dtypes.from_numpy_dtype(data.dtype))
    if type(data) is float and wanted is None:
        return np.array(data, dtypes.get_default_dtype().numpy)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"tensor(): invalid data type '{type(data).__name__}'")
    a, native = numbers(data)
    if wanted is None:
        wanted = native
    elif native.is_complex and not wanted.is_complex:
        raise TypeError(f"tensor(): must be real number, not complex, for {wanted}")
    elif wanted.category == dtypes.INT:
        check_range(a, wanted)
    if a.dtype == wanted.numpy:
        return a
    with np.errstate(all="ignore"):
        return a.astype(wanted.numpy)


def check_range(a: np.ndarray, wanted: dtype) -> None:
    """Raise RuntimeError where an integer dtype cannot hold an element (uint8 wraps negatives)."""
    info = np.iinfo(wanted.numpy)
    low = info.min if wanted.is_signed else -info.max
    if a.size and not (a.min() >= low and a.max() <= info.max):
        raise RuntimeError(
            f"tensor(): value cannot be converted to type {wanted.name} without overflow"
        )


def numbers(data: Any) -> tuple[np.ndarray, dtype]:
    """The elements as NumPy has them, and the dtype that PyTorch infers."""
    a = None
    data = list(data) if isinstance(data, bytearray) else data
    first = leaf(data)
    if not isinstance(first, Variable):
        try:
            a = np.array(data)
        except Exception:  # ragged, or holding tensors: walked below, which names the fault
            a = None
    if a is None or a.dtype.kind not in "biufcV" or not (a.size or a.ndim):
        return walked(data)
    if a.dtype.kind == "u" and a.dtype != np.uint8:
        raise ValueError("tensor(): Overflow when unpacking long long")
    if a.dtype == np.float64 and not isinstance(first, (np.float64, np.ndarray)):
        return a, dtypes.get_default_dtype()
    if a.dtype == np.complex128 and not isinstance(first, (np.complex128, np.ndarray)):
        return a, dtypes.scalar_dtype(1j)
    return a, dtypes.from_numpy_dtype(a.dtype)


def is_sequence(data: Any) -> bool:
    """Whether ``data`` is another level of nesting."""
    if isinstance(data, (list, tuple, range, bytearray)):
        return True
    if isinstance(data, (np.ndarray, Variable)):
        return data.ndim > 0
    return isinstance(data, Sequence) and not isinstance(data, (str, bytes))


def is_single(data: Any) -> bool:
    """Whether ``data`` is a tensor that counts as a number."""
    return isinstance(data, Variable) and data.array.size == 1


def leaf(data: Any) -> Any:
    """The first element, or None where a level is empty."""
    while is_sequence(data) and not isinstance(data, (np.ndarray, Variable)):
        if not len(data):
            return None
        data = data[0]
    return data


def walked(data: Any) -> tuple[np.ndarray, dtype]:
    """:func:`numbers` element by element: tensors as elements, and PyTorch's errors."""
    shape = []
    level = data
    while is_sequence(level) and not is_single(level):
        shape.append(len(level))
        if not len(level):
            break
        level = level[0]
    leaves: list[Any] = []
    kinds: list[dtype] = []
    collect(data, tuple(shape), 0, leaves, kinds)
    native = dtypes.get_default_dtype()
    if kinds:
        native = kinds[0]
        for kind in set(kinds):
            native = dtypes.promote_types(native, kind)
    a = np.array(leaves, np.complex128 if native.is_complex else None).reshape(shape)
    return a.astype(native.numpy), native


def collect(data: Any, shape: tuple[int, ...], dim: int, leaves: list, kinds: list) -> None:
    """Append the elements below ``data`` and their dtypes. Raises where the nesting is uneven."""
    if dim < len(shape):
        if not is_sequence(data):
            raise TypeError(f"tensor(): not a sequence at dim {dim}: {type(data).__name__}")
        if len(data) != shape[dim]:
            raise ValueError(
                f"expected sequence of length {shape[dim]} at dim {dim} (got {len(data)})"
            )
        for item in data:
            collect(item, shape, dim + 1, leaves, kinds)
        return
    if isinstance(data, Variable):
        if data.array.size != 1:
            raise TypeError("tensor(): only one element tensors can be converted to numbers")
        leaves.append(data.item())
        kinds.append(data.dtype)
    elif isinstance(data, (bool, int, float, complex)) and not isinstance(data, np.generic):
        if isinstance(data, int) and not -(2**63) <= data < 2**63:
            raise ValueError("tensor(): Overflow when unpacking long long")
        leaves.append(data)
        kinds.append(dtypes.scalar_dtype(data))
    elif isinstance(data, (np.generic, np.ndarray)):
        kinds.append(dtypes.from_numpy_dtype(data.dtype))
        leaves.append(data.item())
    elif isinstance(data, (str, bytes)):
        raise ValueError(f"too many dimensions '{type(data).__name__}'")
    elif is_sequence(data):
        raise TypeError(f"tensor(): expected a number at dim {dim}, got {type(data).__name__}")
    else:
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


# ---- sharing memory ------------------------------------------------------------------------------


def checked(a: np.ndarray) -> np.ndarray:
    """``a``, if a tensor can share its memory.

    Raises: TypeError for element types that tensors lack, ValueError for negative strides, strides
    that are no multiple of the element size, and foreign byte order.
    """
    if not a.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    dtypes.from_numpy_dtype(a.dtype)
    for s, n in zip(a.strides, a.shape, strict=True):
        if s < 0 and n > 1:
            raise ValueError(
                "At least one stride in the given numpy array is negative, and tensors with "
                "negative strides are not currently supported. (You can probably work around this "
                "by making a copy of your array with array.copy().)"
            )
        if s % a.itemsize and n > 1:
            raise ValueError(
                "given numpy array strides not a multiple of the element byte size. Copy the numpy "
                "array to reallocate the memory."
            )
    return a


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the array's own memory: each sees what is written through the other.

    Raises: TypeError for anything but arrays of supported dtypes, ValueError for negative strides
    or foreign byte order. Warns if the array is read-only.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    a = checked(ndarray)
    if not a.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and tgrad does not support non-writable "
            "tensors. Writing to this tensor raises an error. You may want to copy the array to "
            "protect its data or make it writable before converting it to a tensor.",
            UserWarning,
            stacklevel=2,
        )
    return placed(a if type(a) is np.ndarray else a.view(np.ndarray), CPU)


def as_tensor(data: Any, dtype: dtype | type | None = None, device: Device = None) -> Tensor:
    """``data`` itself or its memory where dtype and device allow, else :func:`tensor` of it."""
    wanted = None if dtype is None else python_dtype("as_tensor", dtype)
    if isinstance(data, Variable):
        return data.to(data.device if device is None else existing(device), wanted or data.dtype)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(existing(device), wanted)
    if hasattr(data, "__cuda_array_interface__"):
        t = over(interop.from_interface(data))
        return t.to(t.device if device is None else existing(device), wanted or t.dtype)
    return tensor(data, dtype=wanted, device=device)


def asarray(
    obj: Any,
    *,
    dtype: dtype | type | None = None,
    device: Device = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``obj`` as a tensor: shared if ``copy`` is False, copied if True, else as can be.

    Takes tensors, arrays, objects with DLPack or the buffer protocol, numbers and sequences.
    Raises: ValueError where ``copy=False`` cannot be kept.
    """
    wanted = None if dtype is None else python_dtype("asarray", dtype)
    source = obj
    if not isinstance(source, (Variable, np.ndarray, np.generic)):
        if hasattr(source, "__dlpack__"):
            source = from_dlpack(source)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            source = frombuffer(source, dtype=wanted or dtypes.get_default_dtype())
    if not isinstance(source, (Variable, np.ndarray)):
        if copy is False:
            raise ValueError("asarray: can't alias arbitrary sequence into a tensor.")
        return tensor(source, dtype=wanted, device=device, requires_grad=requires_grad)
    t = source if isinstance(source, Variable) else from_numpy(source)
    place = t.device if device is None else existing(device)
    if copy is False and (place is not t.device or (wanted or t.dtype) is not t.dtype):
        raise ValueError(
            f"asarray: can't alias tensor with dtype {t.dtype} on {t.device} into dtype "
            f"{wanted or t.dtype} on {place}."
        )
    result = t.to(place, wanted or t.dtype, copy=bool(copy))
    if requires_grad and not result.requires_grad:
        result = (result.detach() if result is obj else result).requires_grad_(True)
    elif not requires_grad and result.requires_grad:
        result = result.detach()
    return result


def frombuffer(
    buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor over the memory of an object with the buffer protocol.

    Raises: ValueError for an empty buffer, or where offset and count leave its bounds.
    """
    element = python_dtype("frombuffer", dtype)
    size = memoryview(buffer).nbytes
    left = size - offset
    if size == 0 or not 0 <= offset < size or count == 0 or count < -1:
        raise ValueError(
            f"frombuffer: expected a non-empty part of a buffer, got offset {offset} and count "
            f"{count} in {size} bytes"
        )
    if count < 0 and left % element.itemsize:
        raise ValueError(
            f"buffer length ({left} bytes) after offset ({offset} bytes) must be a multiple of "
            f"element size ({element.itemsize})"
        )
    if count * element.itemsize > left:
        raise ValueError(
            f"requested buffer length ({count} * {element.itemsize} bytes) after offset ({offset} "
            f"bytes) must not be greater than actual buffer length ({size} bytes)"
        )
    n = left // element.itemsize if count < 0 else count
    raw = np.frombuffer(buffer, np.uint8, n * element.itemsize, offset)
    t = from_numpy(raw.view(element.numpy))
    return t.requires_grad_(True) if requires_grad else t


def from_dlpack(ext_tensor: Any, *, device: Device = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an object that speaks DLPack, or of a capsule; no copy.

    On a GPU the current stream waits for the producer's. ``device`` moves it, ``copy`` makes a copy
    (True) or forbids one (False).
    Raises: BufferError for memory that cannot be shared; ValueError where ``copy=False`` cannot be
    kept.
    """
    if isinstance(ext_tensor, Variable):
        t = ext_tensor.detach()
    elif hasattr(ext_tensor, "__dlpack__"):
        a = produced(ext_tensor)
        t = over(a)
    else:
        t = over(interop.take(ext_tensor))
    where = t.device if device is None else existing(device)
    if copy is False and where is not t.device:
        raise ValueError(
            f"from_dlpack: cannot move tensor from {t.device} to {where} without a copy"
        )
    return t.to(where, t.dtype, copy=bool(copy))


def produced(source: Any) -> Any:
    """The array that ``source`` gives through ``__dlpack__``, asked in this version and in the
    first."""
    kind, index = map(int, source.__dlpack_device__())
    options: dict[str, Any] = {}
    if kind in (interop.CUDA, interop.CUDA_MANAGED) and not cuda.active().is_emulated:
        options["stream"] = cuda.active().stream_of(index)
    try:
        capsule = source.__dlpack__(max_version=interop.VERSION, **options)
    except TypeError:  # a producer older than DLPack 1.0
        capsule = source.__dlpack__(**options)
    return interop.take(capsule)


def over(a: Any) -> Tensor:
    """A tensor over an array that :mod:`interop` took from another library."""
    if isinstance(a, np.ndarray):
        return placed(checked(a), CPU)
    t = wrap(a, resolve(a.device))
    if mode.inference:
        t.inference = True
    return t


def new_tensor(
    self: Tensor,
    data: Any,
    *,
    dtype: dtype | type | None = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """:func:`tensor` of ``data`` in this tensor's dtype and device unless others are given."""
    return tensor(
        data,
        dtype=dtype or self.dtype,
        device=self.device if device is None else resolve(device),
        requires_grad=requires_grad,
    )


def new(self: Tensor, *args: Any, device: Device = None) -> Tensor:
    """``Tensor(...)`` in this tensor's dtype and on its device: sizes, or a sequence's elements."""
    place = self.device if device is None else resolve(device)
    if len(args) == 1 and isinstance(args[0], Variable):
        return legacy(args, place).to(self.dtype)
    return legacy(args, place, self.dtype)


for _method in (new, new_tensor):
    setattr(Tensor, _method.__name__, _method)

__all__ = ["as_tensor", "asarray", "from_dlpack", "from_numpy", "frombuffer", "tensor"]
