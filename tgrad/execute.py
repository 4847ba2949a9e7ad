"""Running an op: check, allocate, fill, record; in place, into ``out=``, or as a view."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.graph import rebase_history
from tgrad.autograd.recorded import node_class
from tgrad.autograd.variable import Variable
from tgrad.device import CPU, device
from tgrad.registry import OPS, Op, Spec, wrap
from tgrad.runtime import cuda, memory, plan, recording, settings
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import at, here, is_elsewhere, on


class FallbackWarning(UserWarning):
    """An op without a CUDA kernel ran on the host."""


class fallback:
    """``tgrad.backends.cuda.fallback``: "warn" runs on the host, warning once; "error" raises."""

    mode = "warn"


def check_devices(entry: Op, inputs: Sequence[Any]) -> device:
    where: device | None = None
    for x in inputs:
        if x is None:
            continue
        if not isinstance(x, Variable):
            raise TypeError(f"{entry.name}(): expected a Tensor, got {type(x).__name__}")
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
    if entry.lists:
        inputs = entry.inputs(args)
        where, tracked, arrays = check_devices(entry, inputs), True, None
    else:
        where, tracked, arrays = read_inputs(entry, args)
        inputs = None
    if where is not CPU:
        if where.index != here.place.index:
            with on(where.index or 0):
                return run(entry, args)
        key = plan.key_of(arrays) if arrays is not None else None
        if key is not None and (found := recording.find(entry.plans, key)) is not None:
            result = run_planned(entry, args, where, tracked, arrays, found)
            if result is not None:
                return result
    spec = entry.card(*args)
    if spec.__class__ is tuple:
        return run_several(entry, args, inputs or entry.inputs(args), where, spec)
    if spec.params:
        args, arrays = with_params(entry, args, spec.params), None
    y = (memory.empty if where is CPU else cuda.empty)(spec.shape, spec.dtype.numpy)
    fill = entry.kernels.get(where.type)
    if fill is None or arrays is None:
        execute(entry, where, (y,), args)
    else:
        fill(y, *arrays)
    t = wrap(y, where)
    if tracked and entry.rules and mode.enabled:
        record(entry, args, inputs or entry.inputs(args), (t,))
    elif mode.inference:
        t.inference = True
    return t


def run_planned(
    entry: Op, args: tuple, where: device, tracked: bool, arrays: Any, found: Any
) -> Any:
    """The call by a plan, replayed or recorded now; None where it cannot be replayed."""
    if found.__class__ is plan.Plan:
        inputs = [a for a in arrays if a.__class__ is CudaArray]
        ys = plan.replay(found, inputs, ())
        params = found.params
    else:
        ys, params = record_plan(entry, args, found)
    if ys is None:
        return None
    if ys.__class__ is CudaArray:
        results: Any = wrap(ys, where)
        several = (results,)
    else:
        results = several = tuple([wrap(y, where) for y in ys])
    if tracked and entry.rules and mode.enabled:
        if params:
            args = with_params(entry, args, params)
        record(entry, args, entry.inputs(args), several)
    elif mode.inference:
        for t in several:
            t.inference = True
    return results


def record_plan(entry: Op, args: tuple, made: recording.Recording) -> tuple[Any, dict[str, Any]]:
    """Run the call in full, and keep its plan if it has one; the outputs and the card's params."""
    with made:
        spec = entry.card(*args)
    specs = spec if spec.__class__ is tuple else (spec,)
    params = specs[0].params
    if params:
        args = with_params(entry, args, params)
    ys = [cuda.empty(s.shape, s.dtype.numpy) for s in specs]
    fill = entry.kernel("cuda")
    if fill is None:
        made.refuse("runs on the host")
        execute(entry, args[entry.tensors[0]].device, ys, args)
    else:
        with made:
            arrays = [made.tagged(a) for a in unwrap(entry, args)]
            inputs = len(made.tags)
            fill(*[made.tagged(y) for y in ys], *arrays)
        made.finish(inputs, ys, params)
    return (ys if spec.__class__ is tuple else ys[0]), params


def finish_small(
    entry: Op, args: tuple, inputs: Sequence[Any], tracked: bool, y: Any, where: device
) -> Any:
    """The result of a call that took a short way: ``y`` wrapped, and recorded if need be."""
    t = wrap(y if y.__class__ is np.ndarray else np.asarray(y), where)
    if tracked and entry.rules and mode.enabled:
        record(entry, args, inputs, (t,))
    elif mode.inference:
        t.inference = True
    return t


def read_inputs(entry: Op, args: tuple) -> tuple[device, bool, list[Any]]:
    """The device, whether an input requires grad, and the arguments as a kernel takes them."""
    where: device | None = None
    tracked = False
    arrays = [*args]
    for i in entry.tensors:
        x = args[i]
        if x is not None:
            if not isinstance(x, Variable) or (where is not None and x.device is not where):
                check_devices(entry, entry.inputs(args))  # raises
            where = x.device
            arrays[i] = x.array
            if x.tracked:
                tracked = True
    if where is None:
        raise TypeError(f"{entry.name}(): expected at least one Tensor")
    return where, tracked, arrays


def run_several(
    entry: Op, args: tuple, inputs: Sequence[Any], where: device, specs: tuple[Spec, ...]
) -> tuple:
    """The rest of :func:`run` for an op with several outputs."""
    if specs[0].params:
        args = with_params(entry, args, specs[0].params)
    empty = memory.empty if where is CPU else cuda.empty
    ys = [empty(s.shape, s.dtype.numpy) for s in specs]
    execute(entry, where, ys, args)
    results = tuple([wrap(y, where) for y in ys])
    if mode.enabled:
        if entry.rules:
            record(entry, args, inputs, results)
    elif mode.inference:
        for t in results:
            t.inference = True
    return results


def with_params(entry: Op, args: tuple, params: dict[str, Any]) -> tuple:
    changed = list(args)
    for name, value in params.items():
        changed[entry.index[name]] = value
    return tuple(changed)


def execute(entry: Op, where: device, ys: Sequence[Any], args: Sequence[Any]) -> None:
    """Fill ``ys`` on the device, or on the host where the GPU has no kernel."""
    if is_elsewhere(where):
        with at(where):
            execute(entry, where, ys, args)
        return
    fill = entry.kernels.get(where.type) or entry.kernel(where.type)
    if fill is not None:
        fill(*ys, *unwrap(entry, args))
        return
    host = entry.kernel("cpu")
    if where.type == "cpu" or host is None:
        raise NotImplementedError(f"{entry.name} has no kernel for {where.type}")
    if fallback.mode == "error":
        raise RuntimeError(f"{entry.name} has no CUDA kernel and backends.cuda.fallback is 'error'")
    if not getattr(entry, "warned", False) or settings.is_warn_always_enabled():
        entry.warned = True  # pyright: ignore[reportAttributeAccessIssue]
        warnings.warn(
            f"{entry.name} has no CUDA kernel yet and runs on the host",
            FallbackWarning,
            stacklevel=4,
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
) -> None:
    """Give the floating results of a call a node, if an input requires grad."""
    edges: list[Any] = [None] * len(inputs)
    any_tracked = any_inference = False
    for i, x in enumerate(inputs):
        if x is not None:
            if x.tracked:
                edges[i] = x.edge()
                any_tracked = True
            elif x.inference:
                any_inference = True
    if not any_tracked:
        return
    if any_inference:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
            "inference mode in computation tracked by autograd."
        )
    node = node_class(entry)(entry, edges, [])
    node.save_inputs(args, inputs)
    meta = node.meta
    for i, t in enumerate(results):
        a = t.array
        meta.append((a.shape, a.dtype, t.device))
        if a.dtype.kind in "fcV":  # V: bfloat16
            t.node, t.tracked = node, True
            if i:
                t.output_nr = i
    node.save_outputs(results)


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


# ---- writing into existing tensors ---------------------------------------------------------------


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
    a = x.array
    if (
        0 in a.strides
        and a.size
        and any(s == 0 and n > 1 for s, n in zip(a.strides, a.shape, strict=True))
    ):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers "
            "to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )


def run_inplace(entry: Op, args: tuple) -> Any:
    """``name_``: like :func:`run`, with the result written over the first argument."""
    x = args[0]
    check_inplace(entry.name + "_", x)
    inputs = entry.inputs(args)
    where = check_devices(entry, inputs)
    if is_elsewhere(where):
        with at(where):
            return run_inplace(entry, args)
    spec = entry.card(*args)
    check_fits(entry.name + "_", spec, x)
    if spec.params:
        args = with_params(entry, args, spec.params)
    node = None
    if mode.enabled and entry.rules and any(t is not None and t.tracked for t in inputs):
        node = node_class(entry)(
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
            with at(o.device):
                o.array = (memory.empty if o.device.type == "cpu" else cuda.empty)(
                    r.shape, o.array.dtype
                )
        copy_array(o, r.array)
        rebase_history(o, None)


def copy_array(x: Variable, source: Any) -> None:
    """Write ``source`` over ``x``'s elements, converting; no autograd."""
    copy = OPS["copy"].kernel(x.device.type)
    assert copy is not None
    if is_elsewhere(x.device):
        with at(x.device):
            copy(x.array, source)
    else:
        copy(x.array, source)
