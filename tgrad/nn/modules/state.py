"""state_dict: a module tree's parameters and persistent buffers by dotted name, out and in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad.autograd import no_grad
from tgrad.autograd.variable import Variable
from tgrad.nn.parameter import Parameter, empty_state, is_lazy

if TYPE_CHECKING:
    from tgrad.nn.modules.module import Module

EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` did not find, and what it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


def save(module: Module, destination: Any, prefix: str, keep_vars: bool) -> Any:
    """Add the tree under ``module``: parameters, then buffers, then children."""
    if destination is None:
        destination = empty_state()
    local = {"version": module._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = local
    for hook in module._state_dict_pre_hooks.values():
        hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(
                destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
            )
    for hook in module._state_dict_hooks.values():
        replaced = hook(module, destination, prefix, local)
        if replaced is not None:
            raise RuntimeError("state_dict post-hook must return None")
    return destination


def own(module: Module) -> Iterator[tuple[str, Variable]]:
    """The parameters and persistent buffers of ``module`` itself."""
    for name, p in module._parameters.items():
        if p is not None:
            yield name, p
    for name, b in module._buffers.items():
        if b is not None and name not in module._non_persistent_buffers_set:
            yield name, b


def load(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy ``state`` into the tree under ``module``; every problem is reported in one error."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    metadata = getattr(state, "_metadata", None) or {}
    found = IncompatibleKeys([], [])
    errors: list[str] = []

    def visit(part: Module, entries: dict[str, Any], prefix: str) -> None:
        local = dict(metadata.get(prefix[:-1], {}))
        if assign:
            local["assign_to_params_buffers"] = True
        part._load_from_state_dict(entries, prefix, local, True, *found, errors)
        for name, child in part._modules.items():
            if child is not None:
                inner = f"{prefix}{name}."
                visit(child, {k: v for k, v in entries.items() if k.startswith(inner)}, inner)
        for hook in part._load_state_dict_post_hooks.values():
            if hook(part, found) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected "
                    "to return new values; change incompatible_keys in place."
                )

    visit(module, OrderedDict(state), "")
    if strict and found.unexpected_keys:
        errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(found.unexpected_keys)}. ")
    if strict and found.missing_keys:
        errors.insert(0, f"Missing key(s) in state_dict: {_quoted(found.missing_keys)}. ")
    if errors:
        lines = "\n\t".join(errors)
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}"
        )
    return found


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{k}"' for k in keys)


def load_own(
    module: Module,
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Copy the entries of ``module`` itself; append to the three lists."""
    for hook in module._load_state_dict_pre_hooks.values():
        hook(module, state, prefix, metadata, strict, missing, unexpected, errors)
    local = dict(own(module))
    for name, x in local.items():
        key = prefix + name
        if key not in state:
            if strict:
                missing.append(key)
            continue
        given = state[key]
        if not isinstance(given, Variable):
            errors.append(
                f'While copying the parameter named "{key}", expected a Tensor from checkpoint but '
                f"received {type(given)}"
            )
        elif is_lazy(x) and is_lazy(given):
            continue  # nothing is known of either
        elif given.shape != x.shape and not (x.shape == () and given.shape == (1,)):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {_size(given)} from "
                f"checkpoint, the shape in current model is {_size(x)}."
            )
        else:
            _put(module, name, x, given if given.shape == x.shape else given[0], metadata, key,
                 errors)  # fmt: skip
    _load_extra(module, state, prefix, strict, missing, unexpected)
    if strict:
        for key in state:
            if not key.startswith(prefix) or key == prefix + EXTRA:
                continue
            name, dot, _ = key[len(prefix) :].partition(".")
            if name not in (module._modules if dot else local):
                unexpected.append(key)


def _size(x: Variable) -> str:
    return repr(x.shape)


def _put(module: Module, name: str, x: Any, given: Any, metadata: dict, key: str, errors: list):
    try:
        with no_grad():
            if not metadata.get("assign_to_params_buffers"):
                x.copy_(given)
            elif isinstance(x, Parameter):
                if not isinstance(given, Parameter):
                    given = Parameter(given, x.requires_grad)
                setattr(module, name, given.requires_grad_(x.requires_grad))
            else:
                setattr(module, name, given)
    except Exception as e:
        errors.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are '
            f"{_size(x)} and whose dimensions in the checkpoint are {_size(given)}, an exception "
            f"occurred : {e.args}."
        )


def _load_extra(
    module: Module, state: dict, prefix: str, strict: bool, missing: list, unexpected: list
) -> None:
    key = prefix + EXTRA
    if module.has_extra_state("set_extra_state"):
        if key in state:
            module.set_extra_state(state[key])
        elif strict:
            missing.append(key)
    elif strict and key in state:
        unexpected.append(key)
