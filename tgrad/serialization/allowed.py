"""What a file may name: the globals that loading knows, each with the checks of its arguments.

Nothing of the file's is ever looked up in a module. A name is found in the table below, or among
the classes that the program itself vouched for with :func:`add_safe_globals`, or refused.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pickle import UnpicklingError
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.device import KINDS, device
from tgrad.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
    strided,
)
from tgrad.serialization.pickler import STORAGES
from tgrad.serialization.storage import StorageType, rebuild_tensor, rebuild_untyped
from tgrad.tensor import Size, Tensor


class Function:
    """A global that a file may call: ``call`` checks its arguments itself.

    ``value`` is what the name means where it is no function to call but, say, a default factory.
    """

    def __init__(self, name: str, call: Callable[..., Any], value: Any = None):
        self.name, self.call, self.value = name, call, value

    def __repr__(self) -> str:
        return f"<{self.name} of a file>"


def need(condition: bool, what: str) -> None:
    if not condition:
        raise UnpicklingError(what)


# ---- tensors -------------------------------------------------------------------------------------


def _parameter(data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Any:
    from tgrad.nn.parameter import Parameter

    need(type(data) is Tensor and type(requires_grad) is bool, "a parameter needs a tensor")
    need(not hooks, "backward hooks are not loaded")
    floating = data.dtype.category >= dtypes.FLOAT
    need(floating or not requires_grad, f"a parameter of {data.dtype.name} that requires grad")
    p = Parameter(data.detach(), requires_grad)
    if state is not None:
        _set_attributes(p, state)
    return p


def _from_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """A tensor or parameter to which the program had given attributes."""
    known = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3",
             "torch._utils._rebuild_parameter")  # fmt: skip
    need(isinstance(function, Function) and function.name in known, "no way to rebuild a tensor")
    need(isinstance(kind, Function) and kind.name in ("torch.Tensor", PARAMETER), "no tensor class")
    need(type(args) is tuple, "arguments that are no tuple")
    t = function.call(*args)
    _set_attributes(t, state)
    return t


def _set_attributes(t: Any, state: Any) -> None:
    parts: Any = state if type(state) is tuple and len(state) == 2 else (state, None)
    attributes, slots = parts
    need(type(attributes) is dict and not slots, "the attributes of a tensor are no dict")
    for name, value in attributes.items():
        free = type(name) is str and name.isidentifier() and not name.startswith("__")
        need(free and not hasattr(t, str(name)), f"a tensor's attribute {name!r} cannot be set")
        t.__dict__[name] = value


def _device(kind: Any, index: Any = None) -> device:
    need(kind in KINDS if type(kind) is str else False, f"device type {kind!r} is not known here")
    need(index is None or (type(index) is int and 0 <= index < 1 << 16), f"device index {index!r}")
    return device(kind, index)


def _size(sizes: Any) -> Size:
    need(type(sizes) is tuple and all(type(n) is int for n in sizes), "a Size that is no tuple")
    return Size(sizes)


def _layout(name: Any) -> Any:
    need(name == "torch.strided", f"layout {name!r} is not known here")
    return strided


# ---- Python and NumPy ----------------------------------------------------------------------------


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    need(type(text) is str and encoding in ("latin1", "latin-1"), "bytes that are no latin-1 text")
    return text.encode("latin-1")


def _bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_encode(data, encoding) if type(data) is str else _bytes_only(data))


def _bytes_only(data: Any) -> bytes:
    need(type(data) is bytes, "bytes expected")  # not a number, which would be a size
    return data


def _set_of(kind: type) -> Callable[..., Any]:
    def call(items: Any = ()) -> Any:
        need(type(items) in (list, tuple), "a set of no list")
        for item in items:
            check_key(item)
        return kind(items)

    return call


def _complex(real: Any, imag: Any) -> complex:
    need({type(real), type(imag)} <= {int, float}, "a complex number of no numbers")
    return complex(real, imag)


def _ordered(items: Any = ()) -> OrderedDict:
    made = OrderedDict()
    need(type(items) in (list, tuple), "an OrderedDict of no list")
    for pair in items:
        need(type(pair) in (list, tuple) and len(pair) == 2, "an OrderedDict of no pairs")
        check_key(pair[0])
        made[pair[0]] = pair[1]
    return made


def _counter(counts: Any = None) -> Counter:
    need(counts is None or type(counts) is dict, "a Counter of no dict")
    made: Counter = Counter()
    dict.update(made, counts or {})  # the values as they are
    return made


def _defaultdict(factory: Any = None) -> defaultdict:
    need(factory is None or (isinstance(factory, Function) and factory.value is not None),
         "a defaultdict with a factory other than Python's own types")  # fmt: skip
    return defaultdict(None if factory is None else factory.value)


def _nothing(kind: type) -> Callable[[], Any]:
    return lambda: kind()


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype:
    plain = type(code) is str and re.fullmatch(r"[biufc]\d{1,2}", code) is not None
    need(plain, f"NumPy's dtype {code!r} is not loaded")
    return np.dtype(code, copy=True)  # its own, for the byte order that may follow


def _scalar(kind: Any, data: Any) -> Any:
    need(isinstance(kind, np.dtype) and type(data) is bytes and len(data) == kind.itemsize,
         "a NumPy number of the wrong size")  # fmt: skip
    return np.frombuffer(data, kind)[0]


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    need(isinstance(kind, Function) and kind.name == "numpy.ndarray", "no NumPy array class")
    need(shape == (0,), "an array that is to be filled has shape (0,)")
    return np.empty((0,), np.int8)


def build_array(a: np.ndarray, state: Any) -> None:
    """Fill what :func:`_empty_array` made."""
    need(type(state) is tuple and len(state) == 5, "no state of a NumPy array")
    parts: list[Any] = list(state)
    _, shape, kind, fortran, data = parts
    need(type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape), "no shape")
    data = data.encode("latin-1") if type(data) is str else data  # Python 2's bytes
    need(isinstance(kind, np.dtype) and type(data) is bytes and not kind.hasobject, "no dtype")
    size = math.prod(list(shape)) * np.dtype(kind).itemsize
    need(size == len(data) and a.size == 0, f"an array of {size} bytes with {len(data)} bytes")
    fill: Any = a.__setstate__
    fill((1, shape, kind, bool(fortran), data))


def build_dtype(kind: np.dtype, state: Any) -> None:
    """Give a fresh dtype its byte order."""
    plain = type(state) is tuple and state[2:] == (None, None, None, -1, -1, 0)
    need(plain and state[1] in ("<", ">", "|", "="), "no state of a NumPy number's dtype")
    kind.__setstate__((3, state[1], None, None, None, -1, -1, 0))  # pyright: ignore[reportAttributeAccessIssue]


KEYS = (str, int, float, bool, bytes, complex, type(None), dtypes.dtype, device)


def check_key(key: Any) -> None:
    """Raise unless ``key`` is cheap to hash: nested tuples could cost exponential time."""
    todo, seen = [key], 0
    while todo:
        part, seen = todo.pop(), seen + 1
        need(seen <= 1000, "a key of more than 1000 parts")
        if type(part) in (tuple, frozenset, Size):
            todo.extend(part)
        else:
            simple = isinstance(part, (*KEYS, Tensor, np.generic))
            need(simple or id(part) in _user_ids(), f"{type(part).__name__} cannot be a key")


def _call_not(name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        raise UnpicklingError(f"{name} cannot be made here")

    return call


PARAMETER = "torch.nn.parameter.Parameter"
_PYTHON = {"set": set, "frozenset": frozenset, "dict": dict, "list": list, "int": int,
           "float": float, "str": str, "bool": bool}  # fmt: skip


def _functions() -> dict[str, Callable[..., Any]]:
    core = {"_reconstruct": _empty_array, "scalar": _scalar}
    numpy = {f"numpy.{m}.multiarray.{n}": f for m in ("core", "_core") for n, f in core.items()}
    return {
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        "torch._utils._rebuild_tensor_v3": rebuild_untyped,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "torch.serialization._get_layout": _layout,
        "torch.device": _device,
        "torch.Size": _size,
        "collections.OrderedDict": _ordered,
        "collections.Counter": _counter,
        "collections.defaultdict": _defaultdict,
        "_codecs.encode": _encode,
        "builtins.bytearray": _bytearray,
        "builtins.bytes": _nothing(bytes),
        "builtins.complex": _complex,
        "builtins.set": _set_of(set),
        "builtins.frozenset": _set_of(frozenset),
        "numpy.dtype": _dtype,
        **numpy,
    }


def _table() -> dict[str, Any]:
    table: dict[str, Any] = {n: Function(n, f) for n, f in _functions().items()}
    for n, kind in _PYTHON.items():
        full = f"builtins.{n}"
        call = table[full].call if full in table else _nothing(kind)
        table[full] = Function(full, call, kind)
    for n in ("torch.Tensor", PARAMETER, "numpy.ndarray"):
        table[n] = Function(n, _call_not(n))
    for d in dtypes.ALL:
        table[f"torch.{d.name}"] = d
        table[f"torch.{STORAGES[d]}"] = StorageType(d)
    table["torch.storage.UntypedStorage"] = StorageType(None)
    for form in (contiguous_format, preserve_format, channels_last, channels_last_3d):
        table[f"torch.{form.name}"] = form
    return table


ALLOWED: dict[str, Any] = _table()
_OLD = {"__builtin__": "builtins"}  # Python 2's names, which protocol 2 writes


# ---- what the program vouches for ----------------------------------------------------------------

_user: dict[str, Any] = {}


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Let files name these classes and functions: loading will call them.

    Each is a class or function, or a pair of it and the full name by which a file knows it.
    Raises: ValueError and TypeError for other tuples.
    """
    _user.update(_named(g) for g in safe_globals)


def _named(g: Any) -> tuple[str, Any]:
    if not isinstance(g, tuple):
        return f"{g.__module__}.{g.__qualname__}", g
    if len(g) != 2:
        raise ValueError(
            "Expected tuple of length 2 (global, str of callable full path), but got tuple of "
            f"length: {len(g)}"
        )
    if type(g[1]) is not str:
        raise TypeError(
            f"Expected second item in tuple to be str of callable full path, but got: {type(g[1])}"
        )
    return g[1], g[0]


def get_safe_globals() -> list[Any]:
    """What :func:`add_safe_globals` was given."""
    return list(_user.values())


def clear_safe_globals() -> None:
    """Forget what :func:`add_safe_globals` was given."""
    _user.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: Sequence[Any]) -> Iterator[None]:
    """:func:`add_safe_globals` for the length of a block."""
    before = dict(_user)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _user.clear()
        _user.update(before)


def _user_ids() -> set[int]:
    return {id(g) for g in _user.values()}


def is_vouched(g: Any) -> bool:
    """Whether the program itself named ``g`` as safe."""
    return id(g) in _user_ids()


def lookup(module: str, name: str) -> Any:
    """What a file's global means here; None if nothing."""
    full = f"{_OLD.get(module, module)}.{name}"
    found = ALLOWED.get(full)
    return _user.get(full) if found is None else found
