"""What a tensor is to the rest of Python: NumPy arrays, numbers, pickles, copies, text.

A base class of :class:`tgrad.Tensor`, apart from it for length only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import CPU, device
from tgrad.dispatch import OPS, wrap
from tgrad.dtypes import dtype
from tgrad.printing import tensor_str
from tgrad.runtime import cuda, interop, pinned, shared
from tgrad.runtime.array import contiguous_strides
from tgrad.runtime.pool import Block

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Number = bool | int | float | complex


class Conversion(Variable):
    """Conversions of a tensor, and the Python protocols that rest on them."""

    if TYPE_CHECKING:
        device: device  # not the name of the class below

    # ---- NumPy -----------------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself (shared). ``force`` detaches and copies to the host first.

        bfloat16 comes as ``ml_dtypes.bfloat16``, where PyTorch raises.
        Raises: RuntimeError if it requires grad, TypeError if it is on a GPU.
        """
        if force:
            return self.detach().cpu().array
        if self.tracked:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if self.device is not CPU:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to "
                "copy the tensor to host memory first."
            )
        return self.array  # pyright: ignore[reportReturnType]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        a = self.numpy()
        if dtype is not None and a.dtype != dtype:
            if copy is False:
                raise ValueError(f"a copy is needed to convert {a.dtype} to {dtype}")
            return a.astype(dtype)
        return a.copy() if copy else a

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """A tensor of what a NumPy function computed from this one: ``np.sin(x)``."""
        a = np.asarray(array)  # 0/1 for truth values, as in PyTorch
        return wrap(a.astype(np.uint8) if a.dtype == np.bool_ else a, CPU)

    def host(self) -> np.ndarray:
        """A NumPy array of the values: shared on the CPU, copied from a GPU."""
        a = self.array
        return a if isinstance(a, np.ndarray) else cuda.active().to_host(a)

    def __dlpack__(
        self,
        *,
        stream: int | None = -1,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The memory as a DLPack capsule, for the ``from_dlpack`` of another library.

        ``stream``: the consumer's, which is made to wait for the current one (1 or None: CUDA's
        default stream, -1: no waiting). ``dl_device`` may ask for the CPU.
        Raises: BufferError if it requires grad, or where a copy is needed and ``copy`` is False.
        """
        if self.tracked:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if stream is not None and type(stream) is not int:
            raise TypeError("stream must be ``int`` or ``none``")
        own = self.__dlpack_device__()
        there = own if dl_device is None else tuple(map(int, dl_device))
        if there not in (own, (interop.CPU, 0)):
            raise BufferError(f"__dlpack__: cannot move from DLPack device {own} to {there}")
        moves = there != own
        if moves and copy is False:
            raise BufferError(f"__dlpack__: a copy is needed from DLPack device {own} to {there}")
        a = self.host() if moves else self.array
        if copy and not moves:
            a = OPS["clone"].function(self.detach()).array
        if not isinstance(a, np.ndarray) and stream != -1:
            interop.let_wait(a, stream)
        versioned = max_version is not None and max_version[0] >= 1
        return interop.give(a, versioned, bool(copy) or moves)

    def __dlpack_device__(self) -> tuple[int, int]:
        return interop.device_of(self.array)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory as Numba, CuPy and others take it. AttributeError on the CPU.

        Raises: RuntimeError if it requires grad.
        """
        if self.device is CPU:
            raise AttributeError(
                f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()} If "
                "CUDA data is required use tensor.cuda() to copy tensor to device memory."
            )
        if self.tracked:
            raise RuntimeError(
                "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
                "aren't required, use var.detach() to get Variable that doesn't require grad."
            )
        return interop.interface_of(self.array)  # pyright: ignore[reportArgumentType]

    # ---- numbers ---------------------------------------------------------------------------------

    def item(self) -> Number:
        """The one element as a Python number. Raises RuntimeError for any other count."""
        if self.array.size != 1:
            raise RuntimeError(
                f"a Tensor with {self.array.size} elements cannot be converted to Scalar"
            )
        value = self.host().item()
        return float(value) if self.dtype is dtypes.bfloat16 else value

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        a = self.host()
        return (a.astype(np.float32) if self.dtype is dtypes.bfloat16 else a).tolist()

    def __len__(self) -> int:
        if not self.array.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.array.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(OPS["unbind"].function(self, 0))

    def __reversed__(self) -> Tensor:
        return OPS["flip"].function(self, (0,)) if self.array.shape else self  # pyright: ignore[reportReturnType]

    def __bool__(self) -> bool:
        if self.array.size > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        if self.array.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        return bool(self.host().item())

    def _only(self, kind: type) -> Any:
        """The one element, for Python's conversions. Raises ValueError for any other count."""
        if self.array.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        value = self.item()
        if isinstance(value, complex) and kind is not complex:
            raise RuntimeError(f"value cannot be converted to type {kind.__name__}: {value}")
        return kind(value)

    def __float__(self) -> float:
        return self._only(float)

    def __int__(self) -> int:
        return self._only(int)

    def __complex__(self) -> complex:
        return self._only(complex)

    def __index__(self) -> int:
        if self.dtype.category > dtypes.INT or self.array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.host().item())

    def __contains__(self, element: object) -> bool:
        """Whether some element equals ``element``, a number or tensor."""
        if not isinstance(element, (int, float, complex, Variable, np.generic)):
            raise RuntimeError(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                f"{type(element)}."
            )
        return bool((self.detach() == element).any())

    # ---- types -----------------------------------------------------------------------------------

    def type(self, dtype: dtype | str | type | None = None, non_blocking: bool = False) -> Any:
        """Without an argument the name of the type, as "tgrad.FloatTensor"; else the tensor in
        ``dtype``, which may be such a name or a type such as ``tgrad.LongTensor``.

        Raises: ValueError for an unknown name, TypeError for anything else.
        """
        if dtype is None:
            place = "tgrad.cuda." if self.device.type == "cuda" else "tgrad."
            return place + TYPE_NAMES[self.dtype]
        dtype = getattr(dtype, "tensor_type", dtype)
        if isinstance(dtype, str):
            name = dtype.rpartition(".")[2]
            found = {v: k for k, v in TYPE_NAMES.items()}.get(name)
            if found is None:
                raise ValueError(f"invalid type: '{dtype}'")
            place = "cuda" if ".cuda." in dtype else CPU
            return self.to(place, found)
        return self.to(dtypes.python_dtype("type", dtype))

    # ---- copies ----------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of a leaf, with its gradient. Raises RuntimeError for computed tensors."""
        if id(self) in memo:
            return memo[id(self)]
        if self.node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        with_values = self.detach().clone()
        result = type(self).__new__(type(self))
        vars(result).update((k, v) for k, v in vars(self).items() if k in ("tracked", "inference"))
        result.array, result.device = with_values.array, self.device
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = self.grad.__deepcopy__(memo)
        return result

    def __copy__(self) -> Any:
        """A leaf over the same memory."""
        result = type(self).__new__(type(self))
        result.array, result.device, result.tracked = self.array, self.device, self.tracked
        return result

    def __reduce_ex__(self, protocol: Any) -> tuple:
        a = np.ascontiguousarray(self.host()).reshape(self.array.shape)
        # bfloat16 as its bits: NumPy's pickles know no type of another package.
        bits = a.view(np.uint16) if self.dtype is dtypes.bfloat16 else a
        return _restore, (bits, self.dtype.name, self.device, self.tracked)

    # ---- memory ----------------------------------------------------------------------------------

    def data_ptr(self) -> int:
        """The address of the first element; 0 for an empty tensor."""
        return address(self.array) if self.array.size else 0

    def storage_offset(self) -> int:
        """How many elements after the start of its memory block the first one lies."""
        a = self.array
        if isinstance(a, np.ndarray):
            root = a.base
            while isinstance(root, np.ndarray) and isinstance(root.base, np.ndarray):
                root = root.base
            if not isinstance(root, np.ndarray):
                return 0
            start = address(root)
            # Blocks of the allocator are byte arrays; tensors begin at their first aligned byte.
            if root.dtype == np.uint8 and a.dtype != np.uint8:
                start += -start % ALIGN
        elif self.base is not None:
            start = self.base.array.ptr  # pyright: ignore[reportAttributeAccessIssue]
        else:
            return 0
        return (address(a) - start) // a.itemsize

    def const_data_ptr(self) -> int:
        """:meth:`data_ptr` for readers."""
        return self.data_ptr()

    def resize_(self, *size: int, memory_format: object = None) -> Any:
        """Another shape in place: the first elements stay, new ones are uninitialised.

        Raises: RuntimeError if it requires grad.
        """
        if self.tracked:
            raise RuntimeError("cannot resize variables that require grad")
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        old = self.detach().reshape(-1)
        flat = old.new_empty(math.prod(shape))
        n = min(old.numel(), flat.numel())
        flat.narrow(0, 0, n).copy_(old.narrow(0, 0, n))
        self.array = flat.reshape(shape).array
        return self

    def resize_as_(self, tensor: Tensor) -> Any:
        """:meth:`resize_` to the shape of another tensor."""
        return self.resize_(*tensor.shape)

    def is_same_size(self, other: Tensor) -> bool:
        """Whether both have the same shape."""
        return self.array.shape == other.array.shape

    def is_nonzero(self) -> bool:
        """Whether the one element is not 0. Raises RuntimeError for any other count."""
        return bool(self)

    def is_conj(self) -> bool:
        """Whether conjugation is yet to be done: it never is."""
        return False

    is_neg = is_conj

    def resolve_conj(self) -> Any:
        """The tensor itself: nothing is done lazily."""
        return self

    resolve_neg = resolve_conj

    def is_set_to(self, tensor: Tensor) -> bool:
        """Whether both are the same view of the same memory."""
        a, b = self.array, tensor.array
        same = a.shape == b.shape and a.strides == b.strides and self.device is tensor.device
        return same and address(a) == address(b)

    def is_pinned(self, device: object = None) -> bool:
        """Whether the memory is page-locked: copies to and from a GPU then need not wait."""
        return pinned.is_pinned(self.array)

    def pin_memory(self, device: object = None) -> Any:
        """A contiguous copy in page-locked memory, without a graph; itself where it is there.

        Raises: RuntimeError for a CUDA tensor, or where there is no GPU.
        """
        if self.device is not CPU:
            raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
        if self.is_pinned():
            return self
        array = pinned.empty(self.array.shape, self.array.dtype)
        np.copyto(array, self.host())
        return wrap(array, CPU)

    def is_shared(self) -> bool:
        """Whether other processes can be given the memory itself; of a GPU's tensors always."""
        return self.device is not CPU or shared.pages_of(self.array) is not None

    def share_memory_(self) -> Any:
        """Move into memory that other processes can be given; nothing to do on a GPU.

        Tensors and arrays over the old memory keep it: unlike PyTorch's, they are not moved along,
        of which a UserWarning tells.
        Raises: RuntimeError for a view, whose base is to be moved.
        """
        if self.is_shared():
            return self
        if self.base is not None:
            raise RuntimeError("share_memory_: a view lies in its base's memory; share the base")
        shared.move([self])
        return self

    def record_stream(self, stream: Any) -> None:
        """Do not reuse this memory before the work ends that ``stream`` has when it is freed.

        Needed where another stream than the one that it was made on reads or writes it.
        Raises: TypeError unless it is a Stream, ValueError for one of another device.
        """
        if not hasattr(stream, "cuda_stream"):
            raise TypeError(f"record_stream: expected a Stream, got {type(stream).__name__}")
        if stream.device is not self.device:
            raise ValueError(
                f"record_stream: the tensor is on {self.device}, the stream on {stream.device}"
            )
        owner = self.array.owner  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(owner, Block):
            owner.record_stream(stream.handle)

    # ---- element by element ----------------------------------------------------------------------

    def apply_(self, callable: Callable[[Any], Any]) -> Any:
        """Replace each element by ``callable(element)``, in Python. CPU only."""
        return self._replaced("apply_", callable, [self])

    def map_(self, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Any:
        """Replace each element by ``callable(element, other)``, in Python. CPU only."""
        return self._replaced("map_", callable, [self, tensor])

    def _replaced(self, name: str, function: Callable[..., Any], tensors: list[Any]) -> Any:
        if self.device is not CPU:
            raise TypeError(f"{name} is only implemented on CPU tensors")
        if any(t.tracked for t in tensors):
            raise RuntimeError(f"{name}: can't be used on a tensor that requires grad")
        columns = [np.broadcast_to(t.host(), self.shape).reshape(-1).tolist() for t in tensors]
        values = [function(*row) for row in zip(*columns, strict=True)]
        made = np.array(values, self.array.dtype).reshape(self.shape)
        return self.copy_(wrap(made, CPU))

    # ---- text ------------------------------------------------------------------------------------

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return tensor_str(self)  # pyright: ignore[reportArgumentType]

    def __format__(self, format_spec: str) -> str:
        if self.array.ndim == 0 and type(self) is type(self.detach()):  # a Parameter is shown whole
            return format(self.item(), format_spec)
        return object.__format__(self, format_spec)


ALIGN = 64

TYPE_NAMES = {
    dtypes.bool_: "BoolTensor", dtypes.uint8: "ByteTensor", dtypes.int8: "CharTensor",
    dtypes.int16: "ShortTensor", dtypes.int32: "IntTensor", dtypes.int64: "LongTensor",
    dtypes.float16: "HalfTensor", dtypes.bfloat16: "BFloat16Tensor",
    dtypes.float32: "FloatTensor", dtypes.float64: "DoubleTensor",
    dtypes.complex64: "ComplexFloatTensor", dtypes.complex128: "ComplexDoubleTensor",
}  # fmt: skip


def address(a: Any) -> int:
    """Where the first element lies in memory."""
    return a.__array_interface__["data"][0] if isinstance(a, np.ndarray) else a.ptr


def has_order(a: Any, order: tuple[int, ...]) -> bool:
    """Whether the elements lie without gaps with ``order``'s axes from slowest to fastest."""
    shape = tuple(a.shape[i] for i in order)
    want = contiguous_strides(shape, a.itemsize)
    pairs = zip(shape, (a.strides[i] for i in order), want, strict=True)
    return math.prod(shape) == 0 or all(n == 1 or s == w for n, s, w in pairs)


def _restore(bits: np.ndarray, name: str, where: device, requires_grad: bool) -> Any:
    """A tensor from its pickle."""
    element = next(d for d in dtypes.ALL if d.name == name)
    a = bits.view(element.numpy) if element is dtypes.bfloat16 else bits
    t = wrap(a if a.flags.writeable else a.copy(), CPU)
    t = t if where is CPU else t.to(where)
    return t.requires_grad_(True) if requires_grad else t
