"""CUDA graphs: see ``tgrad.runtime.graph``; and functions whose calls replay one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad.autograd import Function, grad
from tgrad.autograd.function import once_differentiable
from tgrad.runtime import cuda
from tgrad.runtime.current import here
from tgrad.runtime.graph import CUDAGraph, PoolHandle, graph, graph_pool_handle
from tgrad.runtime.stream import Stream, current_stream, stream
from tgrad.tensor import Tensor
from tgrad.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = [
    "CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing",
    "make_graphed_callables",
]  # fmt: skip


def is_current_stream_capturing() -> bool:
    """Whether the current stream's work is being recorded. Does not start the driver."""
    if cuda._active is None:
        return False
    return bool(cuda._active.driver.capture_status(here.place.stream))


def make_graphed_callables(
    callables: Any,
    sample_args: tuple,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: PoolHandle | None = None,
) -> Any:
    """Functions or modules of which each call replays a CUDA graph, and so does its backward.

    ``callables`` is one function or ``nn.Module``, with the tuple of tensors ``sample_args``, or a
    tuple of them in the order in which they will be called, with a tuple of such tuples. Each is
    run ``num_warmup_iters`` times, then recorded; a module gets a new ``forward`` (used while it is
    in the mode, training or not, in which it was recorded) and is returned itself. Arguments must
    have the shapes, dtypes, devices and ``requires_grad`` of the samples, whose memory they are
    copied to; what comes out lies in the graph's memory, which the next call overwrites. There are
    no second derivatives. ``allow_unused_input``: some inputs may have no influence on the outputs.

    Raises: TypeError for arguments that are no tensors; ValueError for a number of ``sample_args``
    other than that of ``callables``; RuntimeError under an autocast that caches, for modules with
    hooks or trainable buffers, and when called with arguments unlike the samples.
    """
    several = isinstance(callables, tuple)
    functions = callables if several else (callables,)
    samples = sample_args if several else (sample_args,)
    if len(functions) != len(samples):
        raise ValueError(
            f"make_graphed_callables: {len(functions)} callables need as many sample_args, got "
            f"{len(samples)}"
        )
    refuse_autocast()
    sections = [
        Section(f, args, allow_unused_input) for f, args in zip(functions, samples, strict=True)
    ]
    warm_up(sections, num_warmup_iters)
    handle = graph_pool_handle() if pool is None else pool
    for section in sections:
        section.record(handle)
    for section in reversed(sections):
        section.record_backward(handle)
    made = tuple(section.graphed() for section in sections)
    return made if several else made[0]


def refuse_autocast() -> None:
    from tgrad.amp.state import is_autocast_cache_enabled, is_autocast_enabled

    if is_autocast_enabled("cuda") and is_autocast_cache_enabled():
        raise RuntimeError(
            "make_graphed_callables does not support the autocast caching. Please set "
            "`cache_enabled=False`."
        )


def warm_up(sections: Sequence[Section], count: int) -> None:
    """Run all forwards and backwards aside: kernels are compiled, caches filled."""
    side, before = Stream(), current_stream()
    side.wait_stream(before)
    with stream(side):
        for section in sections:
            for _ in range(count):
                outputs = tree_leaves(section.function(*section.args))
                section.gradients(outputs, [y.new_zeros(y.shape) for y in tracked(outputs)])
    before.wait_stream(side)


class Section:
    """One callable, its recorded forward and backward, and the memory that they read and write."""

    def __init__(self, function: Callable, args: tuple, allow_unused: bool):
        from tgrad.nn import Module

        self.function, self.args, self.allow_unused = function, args, allow_unused
        self.samples = tree_leaves(args)
        self.module = function if isinstance(function, Module) else None
        parameters: list[Tensor] = []
        if self.module is not None:
            self.function = self.module.forward
            check(self.module)
            parameters = list(self.module.parameters())
        for x in self.samples:
            if not isinstance(x, Tensor):
                raise TypeError(
                    "make_graphed_callables: expected tensors alone among sample_args, got "
                    f"{type(x).__name__}"
                )
        self.inputs = [*self.samples, *parameters]
        self.forward, self.backward = CUDAGraph(), CUDAGraph()
        self.outputs: list[Tensor] = []
        self.output_gradients: list[Tensor] = []  # of outputs that have one
        self.input_gradients: list[Tensor | None] = []  # of every input

    def gradients(self, outputs: list[Tensor], given: list[Tensor]) -> list[Tensor | None]:
        """The gradient of each input; None where it needs or has none."""
        wanted = [x for x in self.inputs if x.requires_grad]
        if not given or not wanted:
            return [None] * len(self.inputs)
        found = iter(grad(tracked(outputs), wanted, given, allow_unused=self.allow_unused))
        return [next(found) if x.requires_grad else None for x in self.inputs]

    def record(self, pool: PoolHandle) -> None:
        with graph(self.forward, pool=pool):
            outputs = self.function(*self.args)
        self.outputs, self.form = tree_flatten(outputs)

    def record_backward(self, pool: PoolHandle) -> None:
        self.output_gradients = [y.new_zeros(y.shape) for y in tracked(self.outputs)]
        if self.output_gradients:
            with graph(self.backward, pool=pool):
                self.input_gradients = self.gradients(self.outputs, self.output_gradients)
        self.trained = [y.requires_grad for y in self.outputs]
        self.outputs = [y.detach() for y in self.outputs]

    def __call__(self, *args: Any) -> Any:
        given = tree_leaves(args)
        if len(given) != len(self.samples):
            raise RuntimeError(
                f"a graphed callable takes the {len(self.samples)} tensors of its sample_args, got "
                f"{len(given)}"
            )
        for i, (x, sample) in enumerate(zip(given, self.samples, strict=True)):
            if signature(x) != signature(sample):
                raise RuntimeError(
                    f"a graphed callable needs arguments like its sample_args: {i} is "
                    f"{describe(x)}, recorded was {describe(sample)}"
                )
        made = Graphed.apply(self, *given, *self.inputs[len(given) :])
        return tree_unflatten(made if isinstance(made, tuple) else (made,), self.form)

    def graphed(self) -> Any:
        """The callable that replays; for a module, itself with another ``forward``."""
        module, eager = self.module, self.function
        if module is None:
            return self
        training = module.training

        def forward(*args: Any, **options: Any) -> Any:
            if module.training != training:
                return eager(*args, **options)
            return self(*args, **options)

        module.forward = forward
        return module


class Graphed(Function):
    """A call of a :class:`Section` in the autograd graph: two replays."""

    @staticmethod
    def forward(ctx: Any, section: Section, *inputs: Tensor) -> Any:
        ctx.section = section
        for x, static in zip(inputs, section.samples, strict=False):
            if x.data_ptr() != static.data_ptr():
                static.detach().copy_(x)
        section.forward.replay()
        made = tuple(y.detach() for y in section.outputs)
        constant = [y for y, trained in zip(made, section.trained, strict=True) if not trained]
        ctx.mark_non_differentiable(*constant)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gs: Tensor) -> tuple:
        section = ctx.section
        given = [g for g, trained in zip(gs, section.trained, strict=True) if trained]
        for g, static in zip(given, section.output_gradients, strict=True):
            if g.data_ptr() != static.data_ptr():
                static.copy_(g)
        section.backward.replay()
        return None, *(None if g is None else g.detach() for g in section.input_gradients)


def tracked(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [y for y in outputs if y.requires_grad]


def signature(x: Any) -> tuple:
    return (tuple(x.shape), x.dtype, x.device, x.requires_grad) if isinstance(x, Tensor) else (x,)


def describe(x: Any) -> str:
    if not isinstance(x, Tensor):
        return f"a {type(x).__name__}"
    needs = ", requires_grad" if x.requires_grad else ""
    return f"{tuple(x.shape)} {x.dtype} on {x.device}{needs}"


def check(module: Any) -> None:
    """Raises RuntimeError for a module whose calls do more than its forward says."""
    name = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        raise RuntimeError(
            f"make_graphed_callables: {name} has hooks. Modules must not have hooks registered at "
            "the time they are passed; registering them on the returned one is allowed."
        )
    if any(b.requires_grad for b in module.buffers()):
        raise RuntimeError(
            f"make_graphed_callables: {name} has buffers that require grad. In it only parameters "
            "may be trainable."
        )
