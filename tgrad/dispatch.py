"""The op registry: one entry per op, holding its card, its kernels and its gradient rules.

An op is declared once, in ``tgrad/ops``. The *card* is a function whose signature, docstring and
checks are the op's, and whose body returns the :class:`Spec` of each output. :func:`kernel` adds,
from ``kernels/<device>/<family>.py``, the code that fills the outputs; :func:`gradient` adds the
backward rule. A :func:`view` needs no kernel, a :func:`composite` neither kernel nor rule.

Calls are planned at declaration: which arguments are tensors, what each rule wants saved.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.graph import Node, rebase_history, set_history
from tgrad.autograd.recorded import OpNode, Rule
from tgrad.autograd.variable import Variable
from tgrad.device import device
from tgrad.runtime import cuda, memory

F = TypeVar("F", bound=Callable[..., Any])

PUBLIC = ("tgrad", "Tensor")


class Spec:
    """Shape and dtype of an output that does not exist yet.

    Keyword arguments replace the call's own for kernel and gradient: a card hands on
    ``dim=dim % x.ndim`` so that neither has to know of negative dims.
    """

    __slots__ = ("dtype", "params", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: dtypes.dtype, **params: Any):
        self.shape, self.dtype, self.params = shape, dtype, params

    def __repr__(self) -> str:
        return f"Spec({self.shape}, {self.dtype})"


class FallbackWarning(UserWarning):
    """An op without a CUDA kernel ran on the host."""


class fallback:
    """``tgrad.backends.cuda.fallback``: "warn" runs on the host with one warning, "error" raises."""

    mode = "warn"


class Op:
    """One registry entry. ``kind`` is "pointwise", "kernel", "view" or "composite"."""

    def __init__(self, card: Callable, kind: str, spaces: Sequence[str], family: str | None = None):
        self.name: str = card.__name__
        self.card, self.kind, self.spaces = card, kind, tuple(spaces)
        self.doc = inspect.getdoc(card)
        self.family = family or card.__module__.rpartition(".")[2]
        self.signature = inspect.signature(card)
        parameters = list(self.signature.parameters.values())
        self.names: list[str] = [p.name for p in parameters]
        self.index = {name: i for i, name in enumerate(self.names)}
        self.arity = len(self.names)
        self.tensors = [i for i, p in enumerate(parameters) if "Tensor" in str(p.annotation)]
        self.lists = {
            i for i in self.tensors if "list[" in str(parameters[i].annotation).lower()
            or "Sequence[" in str(parameters[i].annotation)
        }  # fmt: skip
        self.kernels: dict[str, Callable[..., None]] = {}
        self.rules: list[Rule] = []
        self.inplace: str | None = None  # "copy" or "direct": whether a kernel may have y is x
        self.function: Callable[..., Any] = card

    @property
    def differentiable(self) -> bool:
        return bool(self.rules)

    def kernel(self, kind: str) -> Callable[..., None] | None:
        """The kernel for a kind of device, its module imported on first use."""
        found = self.kernels.get(kind)
        if found is None:
            module = f"tgrad.kernels.{kind}.{self.family}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as e:
                if e.name not in (module, f"tgrad.kernels.{kind}"):
                    raise
            found = self.kernels.get(kind)
        return found

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple:
        """All arguments by position; ``input=`` names the first whatever the card calls it."""
        if "input" in kwargs and "input" not in self.index:
            kwargs[self.names[0]] = kwargs.pop("input")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.name}() {e}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def inputs(self, args: Sequence[Any]) -> list[Any]:
        """The tensor arguments in order, lists flattened; None for an absent optional one."""
        if not self.lists:
            return [args[i] for i in self.tensors]
        flat = []
        for i in self.tensors:
            flat.extend(args[i]) if i in self.lists else flat.append(args[i])
        return flat


OPS: dict[str, Op] = {}


def register(entry: Op) -> None:
    if entry.name in OPS:
        raise ValueError(f"op {entry.name!r} is already declared in family {OPS[entry.name].family}")
    OPS[entry.name] = entry


class _TensorType:
    """The class that results are instances of; ``tensor.py`` names it (imports go down only)."""

    cls: type[Variable] = Variable


def set_tensor_type(cls: type[Variable]) -> None:
    _TensorType.cls = cls


def wrap(array: Any, where: device) -> Any:
    """A tensor around ``array`` that is not part of any graph."""
    cls = _TensorType.cls
    t = cls.__new__(cls)
    t.array = array
    t.device = where
    return t


# ---- declaring -----------------------------------------------------------------------------------


def op(
    card: Callable | None = None,
    *,
    spaces: Sequence[str] | None = None,
    inplace: str | None = None,
) -> Any:
    """Declare a kernel op named after its card.

    ``spaces`` says where it is public ("tgrad", "Tensor", "nn.functional", ...); backward ops and
    names with a leading underscore default to nowhere. ``inplace`` gives it a ``name_`` method:
    "copy" computes and copies, "direct" promises that its kernels work when ``y is x``.
    """

    def declare(card: Callable) -> Callable:
        entry = Op(card, "kernel", spaces_of(card.__name__, spaces))
        entry.inplace = inplace
        register(entry)

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != entry.arity:
                out = kwargs.pop("out", None)
                args = entry.bind(args, kwargs)
                if out is not None:
                    return run_out(entry, args, out)
            return run(entry, args)

        return finish(entry, call)

    return declare if card is None else declare(card)


def view(card: Callable | None = None, *, spaces: Sequence[str] | None = None) -> Any:
    """Declare an op whose result shares memory: the card checks and returns the new array."""

    def declare(card: Callable) -> Callable:
        entry = Op(card, "view", spaces_of(card.__name__, spaces))
        register(entry)

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != entry.arity:
                args = entry.bind(args, kwargs)
            return run_view(entry, call, args)

        return finish(entry, call)

    return declare if card is None else declare(card)


def composite(
    function: Callable | None = None,
    *,
    spaces: Sequence[str] | None = None,
    inplace: bool = False,
) -> Any:
    """Register a plain function of other ops; it costs nothing at the call.

    ``inplace`` gives it a ``name_`` method that copies the result over its first argument.
    """

    def declare(function: F) -> F:
        entry = Op(function, "composite", spaces_of(function.__name__, spaces))
        entry.inplace = "copy" if inplace else None
        register(entry)
        entry.function = function
        function.op = entry  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return declare if function is None else declare(function)


def spaces_of(name: str, spaces: Sequence[str] | None) -> Sequence[str]:
    hidden = name.startswith("_") or name.endswith("_backward")
    return spaces if spaces is not None else () if hidden else PUBLIC


def finish(entry: Op, call: Callable) -> Callable:
    """Give ``call`` the card's name, docs and public signature."""
    parameters = list(entry.signature.parameters.values())
    if parameters and parameters[0].name == "x":
        parameters[0] = parameters[0].replace(name="input")
    call.__name__ = call.__qualname__ = entry.name
    call.__doc__, call.__module__ = entry.card.__doc__, entry.card.__module__
    call.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    call.op = entry  # pyright: ignore[reportFunctionMemberAccess]
    entry.function = call
    return call


def kernel(name: str, device: str) -> Callable[[F], F]:
    """Register ``fill(y, *args)`` as op ``name``'s kernel on ``device`` ("cpu" or "cuda").

    It gets the allocated output arrays, then the card's arguments with arrays for tensors.
    """

    def add(fill: F) -> F:
        OPS[name].kernels[device] = fill
        return fill

    return add


def gradient(of: Callable, *inputs: str) -> Callable[[F], F]:
    """Register a backward rule of op ``of`` for all tensor inputs, or for the named ones.

    The rule's parameter names say what it needs, and only that is kept until backward: ``g`` the
    gradient of the output, ``y`` the output, any argument of the card, ``<input>_spec`` for shape
    and dtype of an input without keeping it, ``needs`` for a tuple of booleans per tensor input.
    An op that itself has an input ``g`` (a backward op) calls the gradient of its output ``gg``.
    Ops with several outputs number them: ``g0``, ``g1``, ``y0``, ... (``g0`` may be None).
    It returns one gradient (or None) per input.
    """
    entry: Op = of.op  # pyright: ignore[reportFunctionMemberAccess]

    def add(rule: F) -> F:
        positions = [entry.tensors.index(entry.index[n]) for n in inputs] or None
        entry.rules.append(Rule(rule, positions, entry))
        return rule

    return add


# ---- running -------------------------------------------------------------------------------------


def check_devices(entry: Op, inputs: Sequence[Any]) -> device:
    where: device | None = None
    for x in inputs:
        if x is None:
            continue
        if not isinstance(x, Variable):
            raise TypeError(
                f"{entry.name}(): expected a Tensor, got {type(x).__name__}"
            )
        if where is None:
            where = x.device
        elif x.device is not where:
            raise RuntimeError(
                f"{entry.name}: Expected all tensors to be on the same device, but found at least "
                f"two devices, {where} and {x.device}!"
            )
    if where is None:
        raise TypeError(f"{entry.name}(): expected at least one Tensor")
    return where


def unwrap(entry: Op, args: Sequence[Any]) -> list[Any]:
    """The arguments with arrays in the place of tensors."""
    arrays = list(args)
    for i in entry.tensors:
        a = args[i]
        if a is not None:
            arrays[i] = [t.array for t in a] if i in entry.lists else a.array
    return arrays


def run(entry: Op, args: tuple) -> Any:
    """Check, allocate, fill, record: one call of a kernel op."""
    inputs = entry.inputs(args)
    where = check_devices(entry, inputs)
    specs = entry.card(*args)
    several = type(specs) is tuple
    if not several:
        specs = (specs,)
    if specs[0].params:
        args = with_params(entry, args, specs[0].params)
    empty = memory.empty if where.type == "cpu" else cuda.empty
    ys = [empty(s.shape, s.dtype.numpy) for s in specs]
    execute(entry, where, ys, args)
    results = [wrap(y, where) for y in ys]
    if mode.enabled and entry.rules:
        node = record(entry, args, inputs, results)
        if node is not None:
            node.save_outputs(results)
    if mode.inference:
        for t in results:
            t.inference = True
    return tuple(results) if several else results[0]


def with_params(entry: Op, args: tuple, params: dict[str, Any]) -> tuple:
    changed = list(args)
    for name, value in params.items():
        changed[entry.index[name]] = value
    return tuple(changed)


def execute(entry: Op, where: device, ys: list[Any], args: Sequence[Any]) -> None:
    """Fill ``ys`` on the device, or on the host where the GPU has no kernel."""
    fill = entry.kernel(where.type)
    if fill is not None:
        fill(*ys, *unwrap(entry, args))
        return
    host = entry.kernel("cpu")
    if where.type == "cpu" or host is None:
        raise NotImplementedError(f"{entry.name} has no kernel for {where.type}")
    if fallback.mode == "error":
        raise RuntimeError(f"{entry.name} has no CUDA kernel and backends.cuda.fallback is 'error'")
    if not getattr(entry, "warned", False):
        entry.warned = True  # pyright: ignore[reportAttributeAccessIssue]
        warnings.warn(
            f"{entry.name} has no CUDA kernel yet and runs on the host", FallbackWarning, stacklevel=4
        )
    gpu = cuda.active()
    moved = [
        [gpu.to_host(t) for t in a] if isinstance(a, list)
        else gpu.to_host(a) if isinstance(a, cuda.CudaArray) else a
        for a in unwrap(entry, args)
    ]  # fmt: skip
    outs = [gpu.to_host(y) for y in ys]
    host(*outs, *moved)
    for y, out in zip(ys, outs, strict=True):
        gpu.copy_from_host(y, out)


def record(
    entry: Op, args: Sequence[Any], inputs: Sequence[Any], results: Sequence[Variable]
) -> OpNode | None:
    """The node of a call whose inputs require grad, set on its floating results."""
    edges = None
    for i, x in enumerate(inputs):
        if x is not None and x.tracked:
            if edges is None:
                edges = [None] * len(inputs)
            edges[i] = x.edge()
    if edges is None:
        return None
    if any(x is not None and x.inference for x in inputs):
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
            "inference mode in computation tracked by autograd."
        )
    node = OpNode(entry, edges, [(t.array.shape, t.array.dtype, t.device) for t in results])
    node.save_inputs(args, inputs)
    for i, t in enumerate(results):
        if t.dtype.category >= dtypes.FLOAT:
            t.node, t.output_nr, t.tracked = node, i, True
    return node


def run_view(entry: Op, call: Callable, args: tuple) -> Any:
    """One call of a view op: the result shares memory, version counter and base with the input."""
    x = args[0]
    if not isinstance(x, Variable):
        raise TypeError(f"{entry.name}(): expected a Tensor, got {type(x).__name__}")
    result = wrap(entry.card(*args), x.device)
    result.counter = x.version_counter()
    result.inference = x.inference
    if mode.enabled:
        result.base = x if x.base is None else x.base
        if x.base is None or x.view_chain is not None:
            result.view_chain = (call, args[1:], x.view_chain)
        result.view_version = result.counter[0]
        if x.tracked and entry.rules:
            record(entry, args, (x,), (result,))
    else:
        result.base = x if x.base is None else x.base
    return result


# ---- writing into existing tensors ----------------------------------------------------------------


def check_inplace(name: str, x: Any) -> None:
    """Raise unless ``x`` may be written: not a leaf that requires grad, no overlap with itself."""
    if not isinstance(x, Variable):
        raise TypeError(f"{name}(): expected a Tensor, got {type(x).__name__}")
    if mode.enabled and x.tracked:
        if x.node is None and x.base is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if x.base is not None and x.base.tracked and x.base.node is None:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
    if x.inference and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed."
        )
    if any(s == 0 and n > 1 for s, n in zip(x.array.strides, x.array.shape, strict=True)):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers "
            "to a single memory location. Please clone() the tensor before performing the operation."
        )


def run_inplace(entry: Op, args: tuple) -> Any:
    """``name_``: like :func:`run`, with the result written over the first argument."""
    x = args[0]
    check_inplace(entry.name + "_", x)
    inputs = entry.inputs(args)
    where = check_devices(entry, inputs)
    spec = entry.card(*args)
    check_fits(entry.name + "_", spec, x)
    if spec.params:
        args = with_params(entry, args, spec.params)
    node = None
    if mode.enabled and entry.rules and any(t is not None and t.tracked for t in inputs):
        node = OpNode(
            entry,
            [t.edge() if t is not None and t.tracked else None for t in inputs],
            [(x.array.shape, x.array.dtype, x.device)],
        )
        node.save_inputs(args, inputs, overwritten=x)
    if entry.inplace == "direct" and spec.dtype is x.dtype:
        execute(entry, where, [x.array], args)
    else:
        y = (memory.empty if where.type == "cpu" else cuda.empty)(spec.shape, spec.dtype.numpy)
        execute(entry, where, [y], args)
        copy_array(x, y)
    rebase_history(x, node)
    if node is not None:
        node.save_outputs([x])
    return x


def check_fits(name: str, spec: Spec, x: Variable) -> None:
    if spec.shape != x.array.shape:
        raise RuntimeError(
            f"{name}: output with shape {list(x.array.shape)} doesn't match the broadcast shape "
            f"{list(spec.shape)}"
        )
    if not dtypes.can_cast(spec.dtype, x.dtype):
        raise RuntimeError(
            f"{name}: result type {spec.dtype.name} can't be cast to the desired output type "
            f"{x.dtype.name}"
        )


def run_out(entry: Op, args: tuple, out: Any) -> Any:
    """``out=``: compute, then store into the given tensors, resized where their shape differs."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    inputs = entry.inputs(args)
    check_out(entry.name, outs, inputs)
    with_grad, mode.enabled = mode.enabled, False
    try:
        results = run(entry, args)
    finally:
        mode.enabled = with_grad
    several = type(results) is tuple
    store_out(entry.name, outs, results if several else (results,))
    return out


def check_out(name: str, outs: Sequence[Any], inputs: Sequence[Any]) -> None:
    for o in outs:
        if not isinstance(o, Variable):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(o).__name__}")
    tracked = any(x is not None and x.tracked for x in (*inputs, *outs) if isinstance(x, Variable))
    if mode.enabled and tracked:
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )


def store_out(name: str, outs: Sequence[Any], results: Sequence[Any]) -> None:
    for o, r in zip(outs, results, strict=True):
        if not dtypes.can_cast(r.dtype, o.dtype):
            raise RuntimeError(
                f"{name}: result type {r.dtype.name} can't be cast to the desired output type "
                f"{o.dtype.name}"
            )
        if o.device is not r.device:
            raise RuntimeError(f"{name}: expected out= on {r.device}, got {o.device}")
        if o.shape != r.shape:
            if o.array.size:
                warnings.warn(
                    f"{name}: an output with shape {list(o.shape)} was resized to {list(r.shape)}",
                    UserWarning,
                    stacklevel=4,
                )
            o.array = (memory.empty if o.device.type == "cpu" else cuda.empty)(
                r.shape, o.array.dtype
            )
        copy_array(o, r.array)
        rebase_history(o, None)


def copy_array(x: Variable, source: Any) -> None:
    """Write ``source`` over ``x``'s elements, converting; no autograd."""
    copy = OPS["copy"].kernel(x.device.type)
    assert copy is not None
    copy(x.array, source)


def inplace_method(entry: Op) -> Callable[..., Any] | None:
    """The ``name_`` function of an op declared with ``inplace``, or None."""
    if entry.inplace is None:
        return None
    function = entry.function

    def composite_(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_inplace(entry.name + "_", self)
        return self.copy_(function(self, *args, **kwargs))

    def kernel_(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run_inplace(entry, entry.bind((self, *args), kwargs))

    method = composite_ if entry.kind == "composite" else kernel_
    method.__name__ = method.__qualname__ = entry.name + "_"
    method.__doc__ = f"In-place form of :func:`{entry.name}`."
    return method


__all__ = ["FallbackWarning", "Node", "Op", "Spec", "composite", "gradient", "kernel", "np", "op",
           "set_history", "view"]  # fmt: skip
