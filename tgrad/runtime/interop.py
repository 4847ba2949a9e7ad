"""Arrays shared with other libraries without a copy: DLPack and the CUDA array interface.

DLPack is a C structure in a Python capsule (dmlc/dlpack, version 1.0): here it is written and read
through ``ctypes``. The producer's memory lives until the consumer calls the structure's deleter.
Streams: a producer makes the consumer's stream wait for its own, so that neither waits on the host.
"""

from __future__ import annotations

import ctypes
from ctypes import pythonapi
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.runtime import cuda
from tgrad.runtime.array import Array, CudaArray, contiguous_strides
from tgrad.runtime.current import on

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13  # DLDeviceType
READ_ONLY, IS_COPIED = 1, 2  # flags
INT, UINT, FLOAT, BFLOAT, COMPLEX, BOOL = 0, 1, 2, 4, 5, 6  # DLDataTypeCode
CODES = {"b": BOOL, "i": INT, "u": UINT, "f": FLOAT, "c": COMPLEX}  # of NumPy's kinds
VERSION = (1, 0)
PLAIN, VERSIONED = b"dltensor", b"dltensor_versioned"  # names of capsules
USED = {PLAIN: b"used_dltensor", VERSIONED: b"used_dltensor_versioned"}


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


KINDS = {PLAIN: Managed, VERSIONED: ManagedVersioned}

# Python's functions for capsules. The destructor's get the address of a capsule that is going away,
# of which no reference may be made.
_new = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", pythonapi))  # fmt: skip
_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", pythonapi)
)
_dying_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", pythonapi)
)
_dying_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", pythonapi)
)


# ---- giving --------------------------------------------------------------------------------------

_given: dict[int, tuple] = {}  # by address of the structure: what must live until it is deleted


@DELETER
def _delete(address: int) -> None:
    _given.pop(address, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _destroy(capsule: int) -> None:
    """A capsule goes away; if nobody took the structure, that goes too."""
    for name in KINDS:
        if _dying_valid(capsule, name):
            _given.pop(_dying_pointer(capsule, name), None)


def device_of(a: Array) -> tuple[int, int]:
    """(device type, index) in DLPack's numbers."""
    return (CUDA, a.device) if isinstance(a, CudaArray) else (CPU, 0)


def give(a: Array, versioned: bool = False, copied: bool = False) -> Any:
    """A capsule over the memory of ``a``.

    Raises: BufferError for memory that no other library could use: that of the emulator, and
    read-only memory for a consumer that speaks a version without that notion.
    """
    read_only = isinstance(a, np.ndarray) and not a.flags.writeable
    if read_only and not versioned:
        raise BufferError("DLPack before 1.0 has no read-only memory: ask with max_version=(1, 0)")
    if isinstance(a, CudaArray) and cuda.active().is_emulated:
        raise BufferError(
            "the memory of the emulated GPU is host memory, which no other CUDA library can use; "
            "use x.cpu()"
        )
    name = VERSIONED if versioned else PLAIN
    managed = KINDS[name]()
    ndim, size = a.ndim, a.itemsize
    shape = (ctypes.c_int64 * ndim)(*a.shape)
    strides = (ctypes.c_int64 * ndim)(*[s // size for s in a.strides])
    pointer = a.ptr if isinstance(a, CudaArray) else a.__array_interface__["data"][0]
    t = managed.tensor
    t.data, t.ndim = (pointer if a.size else None), ndim
    t.device_type, t.device_id = device_of(a)
    t.code, t.bits, t.lanes = code_of(a.dtype), 8 * size, 1
    t.shape, t.strides = shape, strides
    managed.deleter = _delete
    if versioned:
        managed.major, managed.minor = VERSION
        managed.flags = READ_ONLY * read_only | IS_COPIED * copied
    address = ctypes.addressof(managed)
    _given[address] = (managed, shape, strides, a)
    return _new(address, name, ctypes.cast(_destroy, ctypes.c_void_p))


def let_wait(a: CudaArray, stream: int | None) -> None:
    """Make the consumer's ``stream`` wait for the current one, and a free of ``a`` for it."""
    if stream == 0:
        raise BufferError("__dlpack__: stream 0 is ambiguous: CUDA's default stream is 1")
    stream = 1 if stream is None else stream
    with on(a.device):
        cuda.active().let_wait(stream)
    record = getattr(a.owner, "record_stream", None)
    if record is not None:
        record(stream)


def code_of(element: np.dtype) -> int:
    return BFLOAT if element == dtypes.bfloat16.numpy else CODES[element.kind]


# ---- taking --------------------------------------------------------------------------------------


class Taken:
    """Memory of another library, given back with the last array over it."""

    def __init__(self, address: int, deleter: Any):
        self.address, self.deleter = address, deleter
        self.__array_interface__: dict[str, Any] = {}

    def __del__(self) -> None:
        if self.deleter:
            self.deleter(self.address)


def take(capsule: Any) -> Array:
    """The array in a capsule, which is then used up.

    Raises: BufferError for memory, element types or strides that arrays here cannot have, TypeError
    for what is no capsule or a used one.
    """
    name = next((n for n in (VERSIONED, PLAIN) if _valid(capsule, n)), None)
    if name is None:
        raise TypeError("from_dlpack: expected a DLPack capsule that nobody has used yet")
    address = _pointer(capsule, name)
    managed = KINDS[name].from_address(address)
    if name == VERSIONED and managed.major > VERSION[0]:
        raise BufferError(f"from_dlpack: DLPack {managed.major} is newer than {VERSION[0]}")
    t: DLTensor = managed.tensor
    shape = tuple(t.shape[: t.ndim])
    element = element_of(t)
    size = element.itemsize
    if t.strides:
        strides = tuple([s * size for s in t.strides[: t.ndim]])
    else:
        strides = contiguous_strides(shape, size)
    pointer = (t.data or 0) + t.byte_offset
    if t.device_type in (CUDA, CUDA_MANAGED):
        check_gpu_memory("from_dlpack", pointer, size, t.device_id)
    elif t.device_type not in (CPU, CUDA_HOST):
        raise BufferError(f"from_dlpack: memory of DLPack's device type {t.device_type}")
    _rename(capsule, USED[name])
    owner = Taken(address, managed.deleter)
    if t.device_type in (CUDA, CUDA_MANAGED):
        return CudaArray(owner, pointer, shape, strides, element, t.device_id)
    read_only = name == VERSIONED and bool(managed.flags & READ_ONLY)
    return host_array(owner, pointer, shape, strides, element, read_only)


def element_of(t: DLTensor) -> np.dtype:
    """The NumPy dtype of a DLPack one."""
    if t.lanes == 1:
        if (t.code, t.bits) == (BFLOAT, 16):
            return dtypes.bfloat16.numpy
        for found in dtypes.ALL:
            if (CODES.get(found.numpy.kind), 8 * found.numpy.itemsize) == (t.code, t.bits):
                return found.numpy
    raise BufferError(
        f"from_dlpack: elements of type code {t.code}, {t.bits} bits and {t.lanes} lanes"
    )


def host_array(
    owner: Taken, pointer: int, shape: tuple, strides: tuple, element: np.dtype, read_only: bool
) -> np.ndarray:
    if 0 in shape:
        return np.empty(shape, element)
    owner.__array_interface__ = {
        "data": (pointer, read_only), "shape": shape, "strides": strides, "version": 3,
        "typestr": f"|V{element.itemsize}",
    }  # fmt: skip
    return np.asarray(owner).view(element)


def check_gpu_memory(function: str, pointer: int, itemsize: int, index: int) -> None:
    """Raise BufferError unless kernels here can use the memory."""
    runtime = cuda.active()
    if runtime.is_emulated:
        raise BufferError(
            f"{function}: the GPU is emulated here and cannot use a real one's memory"
        )
    if not 0 <= index < runtime.device_count():
        raise BufferError(f"{function}: memory of cuda:{index}, which is not there")
    if pointer % itemsize:
        raise BufferError(
            f"{function}: misaligned pointer {pointer:#x}: kernels need multiples of the element "
            f"size, {itemsize} bytes. Copy the array in the library that made it."
        )


# ---- the CUDA array interface (Numba's, version 3) -----------------------------------------------


def interface_of(a: CudaArray) -> dict[str, Any]:
    """``__cuda_array_interface__``: bfloat16 as two plain bytes, which NumPy has no name for."""
    if cuda.active().is_emulated:
        raise AttributeError("the memory of the emulated GPU has no __cuda_array_interface__")
    return {
        "shape": a.shape,
        "typestr": "<V2" if a.dtype == dtypes.bfloat16.numpy else a.dtype.str,
        "data": (a.ptr if a.size else 0, False),
        "strides": None if a.is_contiguous else a.strides,
        "version": 3,
        "stream": cuda.active().stream_of(a.device),
    }


def from_interface(source: Any) -> CudaArray:
    """The array that an object describes in ``__cuda_array_interface__``; keeps the object alive.

    The current stream waits for the stream that the description names.
    """
    told = source.__cuda_array_interface__
    pointer, _ = told["data"]
    if told.get("mask") is not None:
        raise BufferError("__cuda_array_interface__: masked arrays are not supported")
    typestr = told["typestr"]
    element = dtypes.bfloat16.numpy if typestr[1:] == "V2" else np.dtype(typestr)
    if element.byteorder == ">":
        raise BufferError(f"__cuda_array_interface__: byte order of {typestr}")
    dtypes.from_numpy_dtype(element)
    shape = tuple(told["shape"])
    strides = told.get("strides")
    strides = contiguous_strides(shape, element.itemsize) if strides is None else tuple(strides)
    runtime = cuda.active()
    index = runtime.device_of(pointer) if pointer else 0
    check_gpu_memory("__cuda_array_interface__", pointer, element.itemsize, index)
    stream = told.get("stream")
    if stream == 0:
        raise BufferError("__cuda_array_interface__: stream 0 is ambiguous and not allowed")
    if stream is not None:
        with on(index):
            runtime.wait_for(stream)
    return CudaArray(source, pointer, shape, strides, element, index)
