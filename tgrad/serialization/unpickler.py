"""A pickle machine that cannot run code: PyTorch's opcodes over an allow-list of names.

Every length is checked against the bytes that are there, every call against a function of
``allowed.py``. Opcodes that could reach anything else (INST, OBJ, EXT1, PERSID, NEWOBJ_EX and the
text forms of protocol 0) are refused by name. Nothing recurses.
"""

from __future__ import annotations

import pickletools
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from tgrad.serialization import allowed
from tgrad.serialization.allowed import Function, check_key, is_vouched, need
from tgrad.tensor import Tensor

NAMES = {ord(op.code): op.name for op in pickletools.opcodes}
DICTS = (dict, OrderedDict, Counter, defaultdict)


class Unpickler:
    """Runs the pickle ``data``; ``persistent_load`` turns a persistent id into a storage."""

    def __init__(self, data: bytes, title: str, persistent_load: Callable[[Any], Any]):
        self.data, self.title, self.persistent_load = data, title, persistent_load
        self.position = 0
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object. Raises UnpicklingError naming the file, the byte and the fault."""
        start = 0
        try:
            while True:
                start = self.position
                code = self.take(1)[0]
                if code == STOP:
                    need(len(self.stack) == 1 and not self.marked, "objects are left over")
                    return self.stack[0]
                operate = OPERATIONS.get(code)
                if operate is None:
                    name = NAMES.get(code, f"0x{code:02x}")
                    raise UnpicklingError(f"opcode {name} is refused")
                operate(self)
        except UnpicklingError as e:
            raise UnpicklingError(f"load: {self.title}: {e} (byte {start} of the pickle)") from None
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError,
                struct.error, RecursionError) as e:  # fmt: skip
            raise UnpicklingError(
                f"load: {self.title}: malformed pickle at byte {start}: {type(e).__name__}: {e}"
            ) from e

    # ---- bytes -----------------------------------------------------------------------------------

    def take(self, n: int) -> bytes:
        stop = self.position + n
        need(n >= 0 and stop <= len(self.data), f"the pickle ends before {n} more bytes")
        part = self.data[self.position : stop]
        self.position = stop
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        need(end >= 0, "a name without an end")
        text = self.data[self.position : end].decode("utf-8")
        self.position = end + 1
        return text

    # ---- objects ---------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def named(self, module: Any, name: Any) -> None:
        need(type(module) is str and type(name) is str, "a global whose name is no text")
        found = allowed.lookup(module, name)
        if found is None:
            raise UnpicklingError(
                f"it names {module}.{name}, which is not allowed: tgrad.load makes tensors, "
                "parameters, numbers, text and containers of them, whatever weights_only says. If "
                "you trust the file and know the class, tgrad.serialization.add_safe_globals lets "
                "it be made"
            )
        self.push(found)

    def call(self) -> None:
        args, function = self.stack.pop(), self.stack[-1]
        need(type(args) is tuple, "a call whose arguments are no tuple")
        if isinstance(function, Function):
            self.stack[-1] = function.call(*args)
        else:
            need(is_vouched(function), f"a call of {_kind(function)}, which is no function here")
            self.stack[-1] = function(*args)

    def new(self) -> None:
        args, kind = self.stack.pop(), self.stack[-1]
        need(type(args) is tuple, "a call whose arguments are no tuple")
        if isinstance(kind, Function):
            self.stack[-1] = kind.call(*args)
        else:
            need(is_vouched(kind) and isinstance(kind, type), f"an instance of {_kind(kind)}")
            self.stack[-1] = kind.__new__(kind, *args)

    def build(self) -> None:
        """Give the object below its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is OrderedDict:
            need(type(state) is dict, "the state of an OrderedDict is no dict")
            for name, value in state.items():
                free = type(name) is str and name.isidentifier() and not name.startswith("__")
                free = free and not hasattr(OrderedDict, name)
                need(free, f"an OrderedDict's attribute {name!r} cannot be set")
                target.__dict__[name] = value
        elif type(target) is np.ndarray:
            allowed.build_array(target, state)
        elif isinstance(target, np.dtype):
            allowed.build_dtype(target, state)
        elif is_vouched(type(target)):
            _set_state(target, state)
        else:
            raise UnpicklingError(f"BUILD of {_kind(target)} is refused")

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        else:
            need(is_vouched(type(target)), f"items for {_kind(target)}, which is no list")
            for item in items:
                target.append(item)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        need(type(target) in DICTS or is_vouched(type(target)), f"entries for {_kind(target)}")
        need(len(items) % 2 == 0, "a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        need(type(target) is set, f"members for {_kind(target)}, which is no set")
        for item in items:
            check_key(item)
            target.add(item)

    def freeze(self) -> None:
        items = self.since_mark()
        for item in items:
            check_key(item)
        self.push(frozenset(items))

    def take_tuple(self, n: int) -> None:
        need(len(self.stack) >= n, "a tuple of more than there is")
        self.stack[-n:] = [tuple(self.stack[-n:])]


def _kind(x: Any) -> str:
    if isinstance(x, Function):
        return x.name
    return "a Tensor" if isinstance(x, Tensor) else f"an object of {type(x).__name__}"


def _set_state(target: Any, state: Any) -> None:
    """What pickle does for an instance of a class that the program vouched for."""
    setter = getattr(target, "__setstate__", None)
    if setter is not None:
        setter(state)
        return
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    need(type(attributes) in (dict, type(None)) and type(slots) in (dict, type(None)), "no state")
    target.__dict__.update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(target, name, value)


def _global(u: Unpickler) -> None:
    module = u.line()
    u.named(module, u.line())


def _stack_global(u: Unpickler) -> None:
    name, module = u.stack.pop(), u.stack.pop()
    u.named(module, name)


def _integer(u: Unpickler, form: str) -> None:
    u.push(int.from_bytes(u.take(u.number(form)), "little", signed=True))


def _text(u: Unpickler, form: str) -> None:
    u.push(u.take(u.number(form)).decode("utf-8", "surrogatepass"))


def _old_text(u: Unpickler, form: str) -> None:
    u.push(u.take(u.number(form)).decode("latin-1"))  # Python 2's str


def _octets(u: Unpickler, form: str) -> None:
    u.push(u.take(u.number(form)))


def _protocol(u: Unpickler) -> None:
    version = u.take(1)[0]
    need(version <= 5, f"protocol {version} is not known")


def _memoize(u: Unpickler) -> None:
    u.remember(len(u.memo))


STOP = ord(".")
_OPERATIONS: dict[str, Callable[[Unpickler], Any]] = {
    "PROTO": _protocol,
    "FRAME": lambda u: need(u.number("<Q") <= len(u.data) - u.position, "a frame that is cut off"),
    "MARK": Unpickler.mark,
    "NONE": lambda u: u.push(None),
    "NEWTRUE": lambda u: u.push(True),
    "NEWFALSE": lambda u: u.push(False),
    "BININT": lambda u: u.push(u.number("<i")),
    "BININT1": lambda u: u.push(u.number("<B")),
    "BININT2": lambda u: u.push(u.number("<H")),
    "LONG1": lambda u: _integer(u, "<B"),
    "LONG4": lambda u: _integer(u, "<i"),
    "BINFLOAT": lambda u: u.push(u.number(">d")),
    "BINUNICODE": lambda u: _text(u, "<I"),
    "SHORT_BINUNICODE": lambda u: _text(u, "<B"),
    "BINUNICODE8": lambda u: _text(u, "<Q"),
    "SHORT_BINSTRING": lambda u: _old_text(u, "<B"),
    "BINSTRING": lambda u: _old_text(u, "<i"),
    "BINBYTES": lambda u: _octets(u, "<I"),
    "SHORT_BINBYTES": lambda u: _octets(u, "<B"),
    "BINBYTES8": lambda u: _octets(u, "<Q"),
    "BYTEARRAY8": lambda u: u.push(bytearray(u.take(u.number("<Q")))),
    "EMPTY_LIST": lambda u: u.push([]),
    "EMPTY_DICT": lambda u: u.push({}),
    "EMPTY_SET": lambda u: u.push(set()),
    "EMPTY_TUPLE": lambda u: u.push(()),
    "TUPLE": lambda u: u.push(tuple(u.since_mark())),
    "TUPLE1": lambda u: u.take_tuple(1),
    "TUPLE2": lambda u: u.take_tuple(2),
    "TUPLE3": lambda u: u.take_tuple(3),
    "FROZENSET": Unpickler.freeze,
    "APPEND": lambda u: u.append([u.stack.pop()]),
    "APPENDS": lambda u: u.append(u.since_mark()),
    "SETITEM": lambda u: u.set_items([u.stack.pop(), u.stack.pop()][::-1]),
    "SETITEMS": lambda u: u.set_items(u.since_mark()),
    "ADDITEMS": lambda u: u.add(u.since_mark()),
    "BINGET": lambda u: u.push(u.memo[u.number("<B")]),
    "LONG_BINGET": lambda u: u.push(u.memo[u.number("<I")]),
    "BINPUT": lambda u: u.remember(u.number("<B")),
    "LONG_BINPUT": lambda u: u.remember(u.number("<I")),
    "MEMOIZE": _memoize,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": Unpickler.call,
    "NEWOBJ": Unpickler.new,
    "BUILD": Unpickler.build,
    "BINPERSID": lambda u: u.push(u.persistent_load(u.stack.pop())),
}
OPERATIONS = {code: _OPERATIONS[name] for code, name in NAMES.items() if name in _OPERATIONS}


def globals_of(data: bytes) -> set[str]:
    """Every global that a pickle names, without running it."""
    names: set[str] = set()
    texts: list[Any] = []  # pushed so far, those from the memo too
    memo: dict[int, Any] = {}
    last: Any = None  # what the operation before pushed, if that is text
    for op, value, _ in pickletools.genops(data):
        if op.name in ("GLOBAL", "INST"):
            names.add(str(value).replace(" ", "."))
        elif op.name == "STACK_GLOBAL":
            names.add(".".join(map(str, texts[-2:])))
        elif op.name == "MEMOIZE":
            memo[len(memo)] = last
            continue
        elif "PUT" in op.name and isinstance(value, int):
            memo[value] = last
            continue
        elif "GET" in op.name and isinstance(value, int):
            value = memo.get(value)
        last = value if isinstance(value, str) else None
        if last is not None:
            texts.append(last)
    return names
