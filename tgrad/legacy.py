"""The older types of tensors, ``tgrad.FloatTensor`` and its like, one for each dtype and device.

A type is called for a tensor (sizes, or the elements of a sequence), is asked by ``isinstance``
whether a tensor has its dtype and device, and is given to ``tensor.type``. It has no instances of
its own: every tensor is a :class:`tgrad.Tensor`.
"""

from __future__ import annotations

from typing import Any

from tgrad import dtypes
from tgrad.conversion import TYPE_NAMES
from tgrad.device import CPU, device, get_default_device, resolve, set_default_device
from tgrad.layout import strided
from tgrad.runtime import cuda
from tgrad.tensor import Tensor, legacy


class tensortype(type):
    """The class of the types. ``tensor_type`` is the name that ``tensor.type()`` gives."""

    dtype: dtypes.dtype
    is_cuda: bool
    tensor_type: str
    layout = strided
    is_sparse = False

    def __call__(cls, *args: Any, device: str | int | device | None = None) -> Tensor:
        """Sizes, or the elements of a sequence; an empty tensor for nothing.

        Raises: TypeError for other arguments, a tensor of another type, or on CUDA where there is
        no GPU; RuntimeError for another kind of device.
        """
        kind = "cuda" if cls.is_cuda else "cpu"
        if cls.is_cuda and not cuda.is_available():
            raise TypeError(f"type {cls.tensor_type} not available: there is no GPU.")
        where = resolve(kind if device is None else device)
        if where.type != kind:
            raise RuntimeError(
                f"legacy constructor expects device type: {kind} but device type: {where.type} was "
                "passed"
            )
        return legacy(args, where, cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, Tensor)
            and instance.dtype is cls.dtype
            and instance.is_cuda == cls.is_cuda
        )


def _made(name: str, dtype: dtypes.dtype, place: str) -> tensortype:
    about = f"Tensors of {dtype.name} on {'a GPU' if place == 'tgrad.cuda' else 'the CPU'}."
    space = {
        "__module__": place, "__doc__": about, "dtype": dtype, "is_cuda": place == "tgrad.cuda",
        "tensor_type": f"{place}.{name}",
    }  # fmt: skip
    return tensortype(name, (), space)


_REAL = {name: d for d, name in TYPE_NAMES.items() if not d.is_complex}
ON_CPU = {name: _made(name, d, "tgrad") for name, d in _REAL.items()}
ON_CUDA = {name: _made(name, d, "tgrad.cuda") for name, d in _REAL.items()}

BFloat16Tensor, BoolTensor = ON_CPU["BFloat16Tensor"], ON_CPU["BoolTensor"]
ByteTensor, CharTensor = ON_CPU["ByteTensor"], ON_CPU["CharTensor"]
DoubleTensor, FloatTensor = ON_CPU["DoubleTensor"], ON_CPU["FloatTensor"]
HalfTensor, IntTensor = ON_CPU["HalfTensor"], ON_CPU["IntTensor"]
LongTensor, ShortTensor = ON_CPU["LongTensor"], ON_CPU["ShortTensor"]

__all__ = ["BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor",
           "FloatTensor", "HalfTensor", "IntTensor", "LongTensor", "ShortTensor",
           "set_default_tensor_type", "tensortype"]  # fmt: skip


class _Default:
    on_cuda = False  # whether set_default_tensor_type has made "cuda" the default device


def set_default_tensor_type(t: type | str) -> None:
    """Make new floating tensors of the dtype of ``t``, such as ``tgrad.DoubleTensor`` or its name,
    and for a type of ``tgrad.cuda`` make all on the current GPU; another type ends that.

    Raises: TypeError unless it is a floating type, or where there is no GPU for it.
    """
    found = named(t) if isinstance(t, str) else t
    if not isinstance(found, tensortype):
        raise TypeError(
            "invalid type object: only floating-point types are supported as the default type, "
            f"set_default_tensor_type got {t!r}"
        )
    if not found.dtype.is_floating_point:
        raise TypeError(
            "only floating-point types are supported as the default type, "
            f"set_default_tensor_type got {found.tensor_type}"
        )
    if found.is_cuda and not cuda.is_available():
        raise TypeError(f"type {found.tensor_type} not available: there is no GPU.")
    dtypes.set_default_dtype(found.dtype)
    if found.is_cuda:
        set_default_device("cuda")
    elif _Default.on_cuda and get_default_device() is not CPU:
        set_default_device(None)
    _Default.on_cuda = found.is_cuda


def named(name: str) -> tensortype | None:
    """The type of a name, as "tgrad.cuda.FloatTensor"; None for no type's."""
    place, _, last = name.rpartition(".")
    return (ON_CUDA if place.endswith("cuda") else ON_CPU).get(last)
