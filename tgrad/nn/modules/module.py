"""Module: the base of every layer. It registers what is assigned to it and walks the tree."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd import no_grad
from tgrad.autograd.variable import Variable
from tgrad.layout import channels_last, channels_last_3d
from tgrad.nn.modules import hooks, state
from tgrad.nn.modules.hooks import KINDS, Hooked
from tgrad.nn.parameter import Buffer, Parameter, is_lazy
from tgrad.runtime import shared
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType


class Module(Hooked):
    """A part of a model: parameters, buffers and other modules, assigned as attributes.

    A subclass calls ``super().__init__()`` first, then assigns; it defines ``forward``. Calling
    the module runs ``forward`` between its hooks.
    """

    training: bool
    _version = 1
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        for name in ("_parameters", "_buffers", "_modules"):
            own[name] = {}
        for name in KINDS:
            own[name] = OrderedDict()
        own["_non_persistent_buffers_set"] = set()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; each subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = self.__dict__
        if not (own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"]
                or own["_backward_pre_hooks"]):  # fmt: skip
            return self.forward(*args, **kwargs)
        return hooks.call(self, args, kwargs)

    # ---- registering -----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            entries = own.get(kind)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        params, buffers, modules = map(own.get, ("_parameters", "_buffers", "_modules"))
        if isinstance(value, Parameter):
            self._need("parameters", params)
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_kind(value)}' as parameter '{name}' "
                    "(tgrad.nn.Parameter or None expected)"
                )
            params[name] = None
        elif isinstance(value, Module):
            self._need("module", modules)
            self._forget(name, "_modules")
            own["_modules"][name] = value
        elif modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_kind(value)}' as child module '{name}' "
                    "(tgrad.nn.Module or None expected)"
                )
            modules[name] = None
        elif isinstance(value, Buffer):
            self._need("buffers", buffers)
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif buffers is not None and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{_kind(value)}' as buffer '{name}' "
                    "(tgrad.nn.Buffer, tgrad.Tensor or None expected)"
                )
            buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def _need(self, what: str, entries: dict | None) -> None:
        if entries is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def _forget(self, name: str, kind: str) -> None:
        """Remove ``name`` from everywhere but ``kind``, where it keeps its place."""
        own = self.__dict__
        own.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != kind:
                own[other].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        for entries in (self._parameters, self._buffers, self._modules):
            if name in entries:
                del entries[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*object.__dir__(self), *self._parameters, *self._buffers, *self._modules}
        return sorted(n for n in names if not n[0].isdigit())

    def _check_name(self, what: str, name: str, entries: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_kind(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in entries:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name out of ``state_dict``.

        Raises: KeyError for a bad or taken name, TypeError for another kind of object, ValueError
        for a tensor that was computed.
        """
        self._need("parameter", self.__dict__.get("_parameters"))
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{_kind(param)}' object to parameter '{name}' "
                    "(tgrad.nn.Parameter or None required)"
                )
            if param.node is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    "be created explicitly; compute the value in forward() instead."
                )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not a parameter; one not persistent is not saved."""
        self._need("buffer", self.__dict__.get("_buffers"))
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_kind(tensor)}' object to buffer '{name}' "
                "(tgrad.Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent
         else self._non_persistent_buffers_set.add)(name)  # fmt: skip

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under ``name``."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_kind(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    # ---- walking the tree ------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The descendant at a dotted path; "" is the module itself. Raises AttributeError."""
        found: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(found, name):
                raise AttributeError(f"{type(found).__name__} has no attribute `{name}`")
            found = getattr(found, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path. Raises AttributeError."""
        return self._member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path. Raises AttributeError."""
        return self._member(target, "_buffers", "a buffer")

    def _member(self, target: str, kind: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        if name not in getattr(owner, kind):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(owner, kind)[name]

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted path, module) of this module and all below it, each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(memo, path, remove_duplicate)

    def _named_members(
        self,
        members: Callable[[Module], Any],
        prefix: str,
        recurse: bool,
        remove_duplicate: bool,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, owner in owners:
            for name, x in members(owner).items():
                if x is None or id(x) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(x))
                yield (f"{path}.{name}" if path else name), x

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), shared ones once."""
        return self._named_members(lambda m: m._parameters, prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), shared ones once."""
        return self._named_members(lambda m: m._buffers, prefix, recurse, remove_duplicate)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, shared ones once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and those below it."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and those below it."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def children(self) -> Iterator[Module]:
        """The direct children."""
        return (m for _, m in self.named_children())

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (m for _, m in self.named_modules())

    # ---- changing the whole tree -----------------------------------------------------------------

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn`` on every module below, children first, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` here and below: Dropout drops, BatchNorm uses the batch."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of every parameter."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of every parameter, or fill them with zeros."""
        for p in self.parameters():
            if p.grad is not None:
                p.grad = None if set_to_none else p.grad.detach().zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of every parameter (identity kept) and every buffer by ``fn`` of it."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.data)
                    if p.grad is not None:
                        p.grad = fn(p.grad)
        for name, b in self._buffers.items():
            if b is not None:
                self._buffers[name] = fn(b)
        return self

    def share_memory(self) -> Self:
        """Move parameters, their gradients and buffers into one stretch of memory that other
        processes can be given: :meth:`tgrad.Tensor.share_memory_`."""
        owned = {id(t): t for t in (*self.parameters(), *self.buffers())}
        for t in filter(is_lazy, owned.values()):
            t.share_memory_()  # raises
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        shared.move([*owned.values(), *grads])
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device and/or give floating tensors a dtype: arguments as of ``Tensor.to``.

        ``memory_format`` is for the tensors of its rank, others keep their own.
        Raises: TypeError for a dtype that is not floating or complex.
        """
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, (dtypes.dtype, Variable))]
        wanted = [a if isinstance(a, dtypes.dtype) else a.dtype for a in given]
        if wanted and wanted[0].category < dtypes.FLOAT:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={wanted[0]}"
            )

        format = kwargs.pop("memory_format", None)
        rank = {channels_last: 4, channels_last_3d: 5}.get(format)

        def convert(x: Tensor) -> Tensor:
            options = kwargs
            if format is not None and rank in (None, x.ndim):
                options = {**kwargs, "memory_format": format}
            if x.dtype.category >= dtypes.FLOAT:
                return x.to(*args, **options) if args or options else x
            place = [a.device if isinstance(a, Variable) else a for a in args]
            place = [a for a in place if not isinstance(a, dtypes.dtype)]
            options = {k: v for k, v in options.items() if k != "dtype"}
            return x.to(*place, **options) if place or options else x

        return self._apply(convert)

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self._apply(lambda x: x.cpu())

    def cuda(self, device: int | Device | None = None) -> Self:
        """Move to a GPU."""
        return self._apply(lambda x: x.cuda(device))

    def type(self, dst_type: DType) -> Self:
        """Convert every parameter and buffer, integers too."""
        return self._apply(lambda x: x.to(dst_type))

    def _floating(self, dtype: DType) -> Self:
        return self._apply(lambda x: x.to(dtype) if x.dtype.is_floating_point else x)

    def float(self) -> Self:
        """Floating parameters and buffers to float32."""
        return self._floating(dtypes.float32)

    def double(self) -> Self:
        """Floating parameters and buffers to float64."""
        return self._floating(dtypes.float64)

    def half(self) -> Self:
        """Floating parameters and buffers to float16."""
        return self._floating(dtypes.float16)

    def bfloat16(self) -> Self:
        """Floating parameters and buffers to bfloat16."""
        return self._floating(dtypes.bfloat16)

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """Parameters and persistent buffers by dotted name, detached unless ``keep_vars``."""
        return state.save(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values in by name; ``assign`` takes the given tensors themselves.

        Raises: RuntimeError listing every mismatch in shape and, if ``strict``, in names.
        """
        return state.load(self, state_dict, strict, assign)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, x in state.own(self):
            destination[prefix + name] = x if keep_vars else x.detach()
        if self.has_extra_state("get_extra_state"):
            destination[prefix + state.EXTRA] = self.get_extra_state()

    _load_from_state_dict = state.load_own

    def has_extra_state(self, method: str) -> bool:
        """Whether the subclass defines ``get_extra_state`` / ``set_extra_state``."""
        return getattr(type(self), method) is not getattr(Module, method)

    def get_extra_state(self) -> Any:
        """What else ``state_dict`` is to hold; subclasses define it together with its setter."""
        raise RuntimeError("get_extra_state is not defined by this module")

    def set_extra_state(self, state: Any) -> None:
        """Take back what ``get_extra_state`` returned."""
        raise RuntimeError("set_extra_state is not defined by this module")

    # ---- printing --------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` shows of the module's own settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        head = extra.split("\n") if extra else []
        lines = [f"({name}): " + _addindent(repr(m), 2) for name, m in self._modules.items()]
        if not lines and len(head) <= 1:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(head + lines) + "\n)"


def _addindent(s_: str, numSpaces: int) -> str:
    """All lines but the first moved ``numSpaces`` columns in."""
    return s_.replace("\n", "\n" + " " * numSpaces)


_IncompatibleKeys = state.IncompatibleKeys


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
