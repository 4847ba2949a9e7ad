"""The libraries that are compared: how each takes inputs, computes a case and its gradients."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from comparison.case import Case, Job, Shape


class Absent(Exception):
    """The library, or a part of it that a case needs, is not there."""


class Torchlike:
    """tgrad and torch, whose programs are the same. ``setting``: what a library was told to do."""

    setting = "shipped kernels and tables"

    def __init__(self, name: str, device: str, threads: int):
        self.lib = lib = importlib.import_module(name)
        importlib.import_module(f"{name}.nn")
        self.name, self.version, self.device = name, lib.__version__, device
        lib.set_num_threads(threads)
        self.precision = lib.set_float32_matmul_precision

    def inputs(self, job: Job, turn: int) -> list[Any]:
        return [self.tensor(job, k, shape, turn) for k, shape in enumerate(job.shapes)]

    def tensor(self, job: Job, k: int, shape: Shape, turn: int) -> Any:
        """On a GPU the period is laid end to end there: a copy of it all would take longer."""
        there = self.device == "cuda" and job.case.kind(k) != "q"
        a = period(job.case, k, shape, turn) if there else host_input(job.case, k, shape, turn)
        x = self.lib.from_numpy(a).to(self.device)
        if a.dtype.kind == "f":
            x = x.to(getattr(self.lib, "float32" if job.dtype == "tf32" else job.dtype))
        if there:
            n = math.prod(shape)
            x = x.repeat(-(-n // max(len(a), 1)))[:n].reshape(shape)
        last = job.case.layout == "channels_last" and len(shape) == 4
        return x.to(memory_format=self.lib.channels_last) if last else x

    def widened(self, xs: Sequence[Any]) -> list[Any]:
        """Floating tensors in float64, of the numbers that they have."""
        return [x.to(self.lib.float64) if x.is_floating_point() else x for x in xs]

    def set_precision(self, dtype: str) -> None:
        # torch on a CPU takes "medium" for leave to use bfloat16
        fast = dtype == "tf32" and self.device == "cuda"
        self.precision("medium" if fast else "highest")

    def call(self, job: Job, inputs: list[Any]) -> Callable[[], Any]:
        """What is timed: the computation, or its gradients by what was recorded once."""
        case, lib = job.case, self.lib
        if job.backward:
            for x in inputs:
                if x.is_floating_point():
                    x.requires_grad_()
        if case.build is not None:
            run, leaves = case.build(lib, *inputs)
        else:
            run, leaves = lambda: case.run(lib, *inputs), inputs
        if not job.backward:
            return self.without_grad(run)
        leaves = [x for x in leaves if x.requires_grad]
        y = run()
        g = self.lib.from_numpy(seed(case, y.shape)).to(device=y.device, dtype=y.dtype)
        return lambda: lib.autograd.grad(y, leaves, g, retain_graph=True)

    def without_grad(self, run: Callable[[], Any]) -> Callable[[], Any]:
        no_grad = self.lib.no_grad

        def forward() -> Any:
            with no_grad():
                return run()

        return forward

    def numbers(self, y: Any, probes: bool) -> list[np.ndarray]:
        """The results; or some numbers of each, chosen where they are."""
        parts = [p.detach().reshape(-1) for p in (y if isinstance(y, (tuple, list)) else [y])]
        parts = [spread(p, p.numel()) for p in parts] if probes else parts
        return [p.to(self.lib.float64).cpu().numpy() for p in parts]

    def size(self, y: Any) -> int:
        """Elements of the results."""
        return sum(p.numel() for p in (y if isinstance(y, (tuple, list)) else [y]))

    def wait(self) -> None:
        if self.device == "cuda":
            self.lib.cuda.synchronize()


class Torch(Torchlike):
    setting = "eager, cuDNN's benchmark on"

    def __init__(self, name: str, device: str, threads: int):
        super().__init__("torch", device, threads)
        self.lib.backends.cudnn.benchmark = True  # its own best choice of algorithm

    def set_precision(self, dtype: str) -> None:
        super().set_precision(dtype)
        self.lib.backends.cudnn.allow_tf32 = dtype == "tf32"


class Compiled(Torch):
    """torch.compile of the same function, which may search for the fastest kernels."""

    setting = "mode max-autotune-no-cudagraphs"  # the timer captures a graph itself

    def call(self, job: Job, inputs: list[Any]) -> Callable[[], Any]:
        if job.backward or job.case.build is not None:
            raise Absent("torch.compile is compared forwards, on functions")
        lib, run = self.lib, job.case.run
        compiled = lib.compile(lambda *xs: run(lib, *xs), mode="max-autotune-no-cudagraphs")
        return self.without_grad(lambda: compiled(*inputs))


class NumPy:
    """NumPy, and CuPy in its words."""

    setting = "plain calls"

    def __init__(self, name: str, device: str, threads: int):
        if (name == "cupy") != (device == "cuda"):
            raise Absent(f"{name} does not compute on {device}")
        self.xp = importlib.import_module(name)
        self.name, self.version, self.device = name, self.xp.__version__, device

    def set_precision(self, dtype: str) -> None:
        if dtype not in ("float32", "float16"):
            raise Absent(f"{self.name} has no {dtype}")

    def inputs(self, job: Job, turn: int) -> list[Any]:
        hosts = host_inputs(job, turn)
        return [self.xp.asarray(a.astype(job.dtype) if a.dtype.kind == "f" else a) for a in hosts]

    def call(self, job: Job, inputs: list[Any]) -> Callable[[], Any]:
        function = job.case.array
        if function is None:
            raise Absent(f"{self.name} has nothing like it")
        if job.backward:
            raise Absent(f"{self.name} has no gradients")
        return lambda: function(self.xp, *inputs)

    def numbers(self, y: Any, probes: bool) -> list[np.ndarray]:
        y = y.get() if self.name == "cupy" else y
        flat = np.asarray(y, np.float64).reshape(-1)
        return [spread(flat, flat.size) if probes else flat]

    def wait(self) -> None:
        if self.name == "cupy":
            self.xp.cuda.Device().synchronize()


class Jax:
    """JAX, each function compiled as a whole."""

    setting = "jit; gradients with their forward pass"

    def __init__(self, name: str, device: str, threads: int):
        os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda"
        self.jax = importlib.import_module("jax")
        self.xp = importlib.import_module("jax.numpy")
        self.name, self.version, self.device = name, self.jax.__version__, device

    def set_precision(self, dtype: str) -> None:
        self.jax.config.update(
            "jax_default_matmul_precision", "default" if dtype == "tf32" else "highest"
        )

    def inputs(self, job: Job, turn: int) -> list[Any]:
        kind = "float32" if job.dtype == "tf32" else job.dtype
        return [self.xp.asarray(a, kind if a.dtype.kind == "f" else None)
                for a in host_inputs(job, turn)]  # fmt: skip

    def call(self, job: Job, inputs: list[Any]) -> Callable[[], Any]:
        function, jax = job.case.array, self.jax
        if function is None or job.case.check == "moments":
            raise Absent("no such function in NumPy's names")
        if job.backward and job.case.build is not None:
            raise Absent("what a module makes of the inputs is scaled in its function")
        if not job.backward:
            run = jax.jit(lambda *xs: function(self.xp, *xs))
            return lambda: jax.block_until_ready(run(*inputs))
        places = [k for k, x in enumerate(inputs) if x.dtype.kind in "fV"]

        def gradients(g: Any, *xs: Any) -> Any:
            def of(*leaves: Any) -> Any:
                full = list(xs)
                for k, x in zip(places, leaves, strict=True):
                    full[k] = x
                return function(self.xp, *full)

            return jax.vjp(of, *[xs[k] for k in places])[1](g)

        y = jax.eval_shape(lambda *xs: function(self.xp, *xs), *inputs)
        g = self.xp.asarray(seed(job.case, y.shape), y.dtype)
        run = jax.jit(gradients)  # the forward pass is in it: JAX keeps no tape between calls
        return lambda: jax.block_until_ready(run(g, *inputs))

    def numbers(self, y: Any, probes: bool) -> list[np.ndarray]:
        parts = y if isinstance(y, (tuple, list)) else [y]
        flat = [np.asarray(p.astype("float32"), np.float64).reshape(-1) for p in parts]
        return [spread(a, a.size) for a in flat] if probes else flat

    def wait(self) -> None:
        """Calls have waited."""


LIBRARIES: dict[str, Callable[[str, str, int], Any]] = {
    "tgrad": Torchlike, "torch": Torch, "torch.compile": Compiled, "numpy": NumPy, "cupy": NumPy,
    "jax": Jax,
}  # fmt: skip


PROBES = 257  # numbers of each result that are compared with the reference


def spread(flat: Any, n: int) -> Any:
    """PROBES numbers of an array of n."""
    return flat[:: max(1, n // PROBES)][:PROBES]


def host_inputs(job: Job, turn: int) -> list[np.ndarray]:
    """The same numbers for every library: a period of random ones, laid end to end."""
    return [host_input(job.case, k, shape, turn) for k, shape in enumerate(job.shapes)]


def seed(case: Case, shape: Sequence[int]) -> np.ndarray:
    """The gradient that comes in; random, since that of a norm vanishes for one like its output."""
    return host_input(case._replace(kinds=""), 99, shape, 0)


PERIOD = 1_000_003  # numbers; a prime, so that rows differ


def host_input(case: Case, k: int, shape: Sequence[int], turn: int) -> np.ndarray:
    a = np.resize(period(case, k, shape, turn), math.prod(shape)).reshape(shape)
    positive_definite = case.kind(k) == "q"
    return a @ a.T + shape[0] * np.eye(shape[0], dtype=np.float32) if positive_definite else a


def period(case: Case, k: int, shape: Sequence[int], turn: int) -> np.ndarray:
    """The random numbers that fill an input of ``shape``, end to end."""
    rng = np.random.default_rng(1000 * turn + k)
    n = min(math.prod(shape), PERIOD)
    kind = case.kind(k)
    if kind == "i":
        return rng.integers(0, case.high, n)
    if kind == "p":
        return rng.random(n, np.float32) + np.float32(0.01)
    return rng.standard_normal(n, np.float32)
