"""GradScaler: a loss scale that keeps float16 gradients from vanishing."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from tgrad.autograd import no_grad
from tgrad.creation import full
from tgrad.device import device as Device
from tgrad.dtypes import dtype, float16, float32, int32
from tgrad.ops import where
from tgrad.ops.amp import unscale_
from tgrad.optim.optimizer import Optimizer
from tgrad.runtime import cuda
from tgrad.tensor import Tensor


class OptState(Enum):
    """How far an optimizer is in this iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Multiplies the loss by a scale that is as large as the gradients stay finite.

    ``scale(loss).backward()``, ``step(optimizer)``, ``update()``. A step whose gradients are not
    finite is left out and the scale multiplied by ``backoff_factor``; after ``growth_interval``
    steps without one it is multiplied by ``growth_factor``. All gradients of a device and dtype are
    unscaled and looked through in one pass; the host waits for the flag once a step, with fused
    optimizers too.
    Source: Micikevicius et al. 2017, arXiv:1710.03740, section 3.2.
    Raises: AssertionError for factors on the wrong side of 1.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        self._device, self._enabled = device, enabled
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn(
                "GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2
            )
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale, self._init_growth_tracker = init_scale, 0
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh)

    def _started(self, name: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._growth_tracker is None:
            what = "_scale" if self._scale is None else "_growth_tracker"
            raise AssertionError(
                f"Attempted {name} but {what} is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale, self._growth_tracker

    def _start(self, where: Device) -> Tensor:
        if self._scale is None:
            self._scale = full((), self._init_scale, dtype=float32, device=where)
            self._growth_tracker = full((), self._init_growth_tracker, dtype=int32, device=where)
        return self._scale

    # ---- one iteration ---------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """``outputs`` times the scale: a tensor, or an iterable of them.

        Raises: ValueError for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._start(outputs.device).to(outputs.device)
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(x) for x in outputs])
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of ``optimizer`` by the scale, for those who want to see them.

        Raises: RuntimeError the second time in an iteration or after ``step``, ValueError for
        float16 gradients of float16 parameters.
        """
        if not self._enabled:
            return
        scale, _ = self._started("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        groups = self._gradients(optimizer)
        with no_grad():
            inverse = scale.double().reciprocal().float()
            flags: dict[Device, Tensor] = {}
            for (where, _), grads in groups.items():
                if where not in flags:
                    flags[where] = full((), 0.0, dtype=float32, device=where)
                unscale_(grads, flags[where], inverse.to(where))
        state["found_inf_per_device"] = flags
        state["stage"] = OptState.UNSCALED

    def _gradients(self, optimizer: Optimizer) -> dict[tuple[Device, dtype], list[Tensor]]:
        found: dict[tuple[Device, dtype], list[Tensor]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.dtype is float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                found.setdefault((p.grad.device, p.grad.dtype), []).append(p.grad)
        return found

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)`` on unscaled gradients, unless one is not finite.

        Raises: RuntimeError for a closure, or the second time in an iteration; AssertionError where
        there is no gradient at all.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._started("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        flags = state["found_inf_per_device"]
        if not flags:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not any(flag.item() for flag in flags.values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Set the scale for the next iteration: by what ``step`` found, or to ``new_scale``.

        Raises: AssertionError where nothing was looked through, or for an unfit tensor.
        """
        if not self._enabled:
            return
        scale, tracker = self._started("update")
        with no_grad():
            if new_scale is None:
                self._adapt(scale, tracker)
            elif isinstance(new_scale, Tensor):
                fits = new_scale.device.type == self._device and new_scale.numel() == 1
                if not fits or new_scale.requires_grad:
                    raise AssertionError(
                        "new_scale should be a float or a 1-element tensor on the scaler's device "
                        "with requires_grad=False."
                    )
                scale.copy_(new_scale)
            else:
                scale.fill_(float(new_scale))
        self._per_optimizer_states = defaultdict(_fresh)

    def _adapt(self, scale: Tensor, tracker: Tensor) -> None:
        """Grow or back off, on the device: nobody waits for the flag."""
        flags = [
            flag.to(scale.device)
            for state in self._per_optimizer_states.values()
            for flag in state["found_inf_per_device"].values()
        ]
        if not flags:
            raise AssertionError("No inf checks were recorded prior to update.")
        bad = flags[0]
        for flag in flags[1:]:
            bad = bad + flag
        good = tracker + 1
        due = good == self._growth_interval
        grown = scale * self._growth_factor
        grown = where(due & grown.isfinite(), grown, scale)
        scale.copy_(where(bad > 0, scale * self._backoff_factor, grown))
        tracker.copy_(where((bad > 0) | due, 0, good))

    # ---- settings and state ----------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale, 1.0 where disabled. Waits for the GPU."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale)

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        if self._growth_tracker is None:
            return self._init_growth_tracker
        return int(self._growth_tracker)

    def state_dict(self) -> dict[str, Any]:
        """The scale and its settings; empty where disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a ``state_dict``. Raises RuntimeError for that of a disabled scaler."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, "
                    "or at the end after scaler.update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state
