"""Parametrizations: a parameter or buffer that is computed from others each time it is read."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

from tgrad.autograd import no_grad
from tgrad.nn.modules import Module, ModuleDict, ModuleList
from tgrad.nn.parameter import Parameter
from tgrad.tensor import Tensor


class _Cache:
    """Values of parametrized tensors while a ``cached`` block is open."""

    depth = 0
    values: dict[tuple[int, str], Tensor] = {}  # noqa: RUF012 - one for the process, as in PyTorch


@contextmanager
def cached() -> Iterator[None]:
    """While open, each parametrized tensor is computed once and kept."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.values = {}


def _register(module: Module, name: str, x: Tensor) -> None:
    if isinstance(x, Parameter):
        module.register_parameter(name, x)
    else:
        module.register_buffer(name, x)


def _must_be_tensor(x: object, what: str) -> None:
    if not isinstance(x, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(x).__name__}.")


def _must_match(new: Tensor, old: Any, what: str, before: str, after: str) -> None:
    """Raise ValueError where ``new`` differs from ``old`` in dtype or shape."""
    for kind in ("dtype", "shape"):
        a, b = getattr(old, kind), getattr(new, kind)
        if a != b:
            raise ValueError(
                f"{what} may not change the {kind} of the tensor, unless the `unsafe` flag is "
                f"enabled.\n{before} {kind}: {a}\n{after} {kind}: {b}"
            )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order to ``original``.

    ``original`` is what the ``right_inverse`` of all gives for the tensor; where the first returns
    several tensors they are ``original0``, ``original1``, ...
    Raises: ValueError where a parametrization changes dtype or shape, unless ``unsafe``.
    """

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):  # it says so where it has none
                        new = module.right_inverse(new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        if isinstance(new, Tensor):
            self.ntensors = 1
            self._take_one(original, new)
        else:
            self.ntensors = len(new)
            self._take_several(original, new)
        if not self.unsafe:
            made = self()
            _must_be_tensor(made, "A parametrization")
            for kind, a, b in (("dtype", dtype, made.dtype), ("shape", shape, made.shape)):
                if a != b:
                    raise ValueError(
                        f"Registering a parametrization may not change the {kind} of the tensor, "
                        f"unless `unsafe` flag is enabled.\nunparametrized {kind}: {a}\n"
                        f"parametrized {kind}: {b}"
                    )

    def _take_one(self, original: Tensor, new: Tensor) -> None:
        for kind in ("dtype", "device"):
            a, b = getattr(original, kind), getattr(new, kind)
            if a != b:
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the {kind}.\n"
                    f"original.{kind}: {a}\nright_inverse(original).{kind}: {b}"
                )
        original.data = new.data
        _register(self, "original", original)

    def _take_several(self, original: Tensor, new: Sequence[Any]) -> None:
        for i, x in enumerate(new):
            if not isinstance(x, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                    f"tuple...). Got element {i} of the sequence with type {type(x).__name__}."
                )
            x = x.detach()
            if isinstance(original, Parameter):
                x = Parameter(x, original.requires_grad)
            x.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", x)

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes ``value``.

        Raises: RuntimeError where a parametrization has no ``right_inverse``, ValueError for one
        that returns another number of tensors or other dtypes.
        """
        new: Any = value
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                new = module.right_inverse(new)
            if self.is_tensor:
                _must_be_tensor(new, "`right_inverse`")
                pairs = [("original", new)]
            else:
                if not isinstance(new, Sequence) or len(new) != self.ntensors:
                    size = len(new) if isinstance(new, Sequence) else type(new).__name__
                    raise ValueError(
                        "'right_inverse' must return a sequence of tensors of length "
                        f"{self.ntensors}. Got {size}."
                    )
                pairs = [(f"original{i}", x) for i, x in enumerate(new)]
            for name, x in pairs:
                _must_be_tensor(x, "`right_inverse`")
                kept = getattr(self, name)
                if x.dtype != kept.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype {x.dtype} while "
                        f"`{name}` has dtype {kept.dtype}"
                    )
            for name, x in pairs:
                getattr(self, name).data = x.data

    def forward(self) -> Tensor:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        first, *others = list(self)
        x = first(*[getattr(self, name) for name in names])
        for module in others:
            x = module(x)
        return x


def _copied(self: Any, memo: dict[int, Any]) -> Any:
    """``deepcopy`` of a parametrized module, whose class cannot be pickled."""
    if id(self) in memo:
        return memo[id(self)]
    replica = memo[id(self)] = self.__new__(type(self))
    replica.__dict__ = deepcopy(self.__dict__, memo)
    for slot in copyreg._slotnames(type(self)):  # pyright: ignore[reportAttributeAccessIssue]
        if hasattr(self, slot):
            setattr(replica, slot, deepcopy(getattr(self, slot), memo))
    return replica


def _refuse(self: Any) -> Any:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict()."
    )


def _own_class(module: Module) -> None:
    """Give ``module`` a subclass of its own, for properties that no other instance has."""
    cls = type(module)
    members: dict[str, Any] = {"__getstate__": _refuse}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _copied
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _add_property(module: Module, name: str) -> None:
    def get(self: Any) -> Tensor:
        parametrization = self.parametrizations[name]
        if not _Cache.depth:
            return parametrization()
        key = (id(self), name)
        if key not in _Cache.values:
            _Cache.values[key] = parametrization()
        return _Cache.values[key]

    def set(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Have ``module.<tensor_name>`` be ``parametrization`` of an original tensor.

    The original is at ``module.parametrizations.<tensor_name>.original``; reading the attribute
    computes it, assigning goes through ``parametrization.right_inverse``. Several are composed in
    the order of registration.
    Raises: ValueError for an unknown name, or a change of dtype or shape unless ``unsafe``.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        parametrizations = ParametrizationList([parametrization], original, unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()
        _add_property(module, tensor_name)
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_next(module: Any, name: str, parametrization: Any) -> None:
    """Raise ValueError where one more parametrization of ``name`` changes dtype or shape."""
    old = getattr(module, name)
    new = parametrization(old)
    _must_be_tensor(new, "A parametrization")
    _must_match(new, old, "Registering a parametrization", f"module.{name}",
                f"parametrization(module.{name})")  # fmt: skip
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(new)
    except NotImplementedError:
        return
    _must_be_tensor(back, "parametrization.right_inverse")
    _must_match(back, old, "parametrization.right_inverse", f"module.{name}", "returned")


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether ``module`` has a parametrization, or one on this tensor."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make ``module.<tensor_name>`` a plain tensor, with its computed value or the original one.

    Raises: ValueError where it is not parametrized, or to leave an original of several tensors.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    if found.is_tensor:
        original = found.original
        if leave_parametrized:
            with no_grad():
                original.data = getattr(module, tensor_name).data
    elif leave_parametrized:
        t = getattr(module, tensor_name)
        original = Parameter(t.detach()) if t.requires_grad else t
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that ``module`` had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Any, to_module: Any, tensor_name: str | None = None
) -> Any:
    """Register the parametrizations of one module on another, which shares the originals."""
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for key in (["original"] if source.is_tensor
                    else [f"original{i}" for i in range(source.ntensors)]):  # fmt: skip
            setattr(target, key, getattr(source, key))
    return to_module


__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization",
           "remove_parametrizations", "transfer_parametrizations_and_params",
           "type_before_parametrizations"]  # fmt: skip
